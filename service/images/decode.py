"""Bytes -> one bounded, upright RGB image, as a person sees it."""

import hashlib
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from PIL import ExifTags, Image, UnidentifiedImageError

from service.errors import ImageDimensions, ImageTooLarge, UndecodableImage, UnsupportedImageFormat
from service.images.pillow_errors import BROKEN, problems_told
from service.images.upright import TO_UPRIGHT, Upright, upright_size

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000")
"""Pillow's names of the formats that are opened; an MPO is opened as a JPEG, with more pictures behind it."""

_IMPORTED_LATE = (
    *(
        f"PIL.{name}ImagePlugin"
        for name in ("Avif", "Bmp", "Gif", "Jpeg", "Jpeg2K", "Mpo", "Png", "Ppm", "Tiff", "WebP")
    ),
    *(
        "PIL.ImageChops",
        "PIL.ImageSequence",
        "PIL.ImageMath",
        "encodings.utf_16",
        "encodings.utf_16_le",
        "encodings.utf_16_be",
    ),
)

MAX_ASPECT_RATIO = 100
"""A longer shape would, once its short side is the model's input, be larger than the picture that was sent."""

_OWN_BYTES = {"WEBP": 12, "AVIF": 12, "TIFF": 4}
"""What decoders take of each pixel at most, as measured, beside the picture itself; others take a few rows.

libwebp has two canvases of its own and gives Pillow a third, libavif has the planes and gives Pillow a copy, and a TIFF
may be in one strip.
"""

MAX_CLAIMED_PIXELS = 2_000_000_000
"""What a header may say of a picture that is decoded at a smaller size, since it costs time even so."""

PICTURE_BYTES = 4
"""What Pillow takes of a pixel at most."""

_SAY_THE_SAME = ("JPEG", "MPO", "WEBP", "JPEG2000")
"""Formats whose decoders say the same of a broken file and of memory that they did not get."""

# Pillow warns of odd metadata; what matters raises. Once for all threads: they share the filters.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class ImageLimits:
    """What a picture may be at most: its size in bytes as sent, and its pixels once decoded.

    A picture of more pixels is decoded at a smaller size where its file has one that serves the model.
    """

    max_bytes: int
    max_pixels: int


@dataclass(frozen=True)
class DecodedImage:
    """A decoded picture, what it was sent as, and the SHA-256 of the bytes that were sent, in hex.

    width, height: of the upright image that was sent
    decoded_at:    width and height of `upright` where it was decoded at a smaller size than that
    warnings:      sentences for a person, where the picture may not be what was meant
    """

    upright: Upright
    width: int
    height: int
    format: str
    sha256: str
    decoded_at: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def rgb(self) -> Image.Image:
        """The upright RGB image as a whole, made anew each time. Raises ImageDimensions or UndecodableImage."""
        return self.upright.whole()


def import_decoders() -> None:
    """Import all that would else be imported when the first picture wants it, which a closed process cannot do."""
    for module in _IMPORTED_LATE:
        import_module(module)


def min_short_side_for(image_size: int) -> int:
    """Return the pixels of a short side that will be resized to `image_size` and hardly show that there were more."""
    return 2 * image_size


def decode(
    encoded: bytes,
    limits: ImageLimits,
    min_short_side: int | None = None,
    before_pixels: Callable[[int], bool] = lambda _bytes: True,
    *,
    fast: bool = False,
    sha256: str | None = None,
) -> DecodedImage:
    """Return the first frame as an upright RGB image: rotated as EXIF says, in sRGB, on white where it is transparent.

    min_short_side: pixels of a short side that serves. Where it is given, a JPEG that is larger than the limits is
    decoded at a half, a quarter or an eighth of its size, which libjpeg does for a part of the time and of the memory,
    as long as its short side keeps so many pixels.
    fast: whether one within the limits is so decoded too.
    sha256: what to say of the bytes, where that is found out elsewhere.
    before_pixels: is called with the bytes that the decoder may take, when the pixels are about to be decoded, and says
    whether they are there; if not, it is tried all the same.
    Dimensions are checked before pixels are decoded. Raises ImageTooLarge, UnsupportedImageFormat, ImageDimensions or
    UndecodableImage.
    """
    if len(encoded) > limits.max_bytes:
        raise ImageTooLarge(f"The image has more than the {limits.max_bytes} bytes that this service takes.")
    if sha256 is None:
        sha256 = hashlib.sha256(encoded).hexdigest()
    with problems_told():
        image = _open(encoded)
        whole = image.size
        _check_dimensions(whole, limits.max_pixels if min_short_side is None else MAX_CLAIMED_PIXELS)
        if image.format == "JPEG2000" and _lacks_end_of_codestream(encoded):
            raise UndecodableImage
        if min_short_side is not None and (fast or whole[0] * whole[1] > limits.max_pixels):
            _reduce(image, min_short_side)
        reduced = image.size != whole
        _check_dimensions(image.size, limits.max_pixels)
        has_memory = before_pixels(_bytes_to_decode(image, whole))
        turn = _turn_kept_from_pillow(image) if image.format == "TIFF" else None
        try:
            image.load()
        except BROKEN:
            if not has_memory and image.format in _SAY_THE_SAME:
                raise MemoryError from None
            raise
        upright = Upright(image, _turn(image) if turn is None else turn)  # a PNG may say it behind its pixels
    # What the answer says of the size is what was sent.
    width, height = upright_size(whole, upright.turn) if reduced else upright.size
    decoded_at = upright.size if reduced else None
    image_format = "JPEG" if image.format == "MPO" else str(image.format)
    return DecodedImage(upright, width, height, image_format, sha256, decoded_at)


def _reduce(image: Image.Image, min_short_side: int) -> None:
    """Let the picture be decoded at a fraction of its size where its format can do that, and the fraction serves."""
    if image.format in ("JPEG", "MPO"):
        image.draft(None, (min_short_side, min_short_side))


def _bytes_to_decode(image: Image.Image, whole: tuple[int, int]) -> int:
    """Return what the decoder takes at most of a picture whose size as sent is `whole`."""
    own = _OWN_BYTES.get(str(image.format), 0)
    if image.format == "JPEG2000":
        own = 6 * len(image.getbands())  # 32 bits of each sample, and OpenJPEG's work on a tile
    elif image.info.get("progressive"):
        own = 2 * len(image.getbands())  # libjpeg keeps the coefficients of all scans
    return PICTURE_BYTES * image.width * image.height + own * whole[0] * whole[1]


def _open(encoded: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except UnidentifiedImageError:
        raise UnsupportedImageFormat from None


def _check_dimensions(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1 or width * height > max_pixels:
        raise ImageDimensions(f"The image must have 1 to {max_pixels} pixels.")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageDimensions(f"The image's long side may be at most {MAX_ASPECT_RATIO} times its short side.")


def _lacks_end_of_codestream(jpeg_2000: bytes) -> bool:
    """Say whether the file was cut: where that is between two tiles, OpenJPEG fills up the rest and says nothing."""
    start_of_data = jpeg_2000.find(b"\xff\x93")
    return jpeg_2000.find(b"\xff\xd9", start_of_data) < 0


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what makes the picture upright, or None if it is."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except BROKEN:
        orientation = None  # a picture is no worse for broken EXIF
    return TO_UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _turn_kept_from_pillow(tiff: Image.Image) -> Image.Transpose | None:
    """Return what makes the picture upright; Pillow would turn a TIFF itself, which takes a second picture's memory."""
    turn = _turn(tiff)
    if turn is not None:
        del tiff.getexif()[ExifTags.Base.Orientation]
    return turn
