"""Bytes -> one bounded, upright RGB image, as a person sees it."""

import hashlib
import io
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import NamedTuple

from PIL import ExifTags, GifImagePlugin, Image, UnidentifiedImageError

from service.errors import ImageDimensions, ImageTooLarge, UndecodableImage, UnsupportedImageFormat
from service.images.decoders import avif, bmp, colour, deep, gif, heif, jp2, jpeg, jpeg2000, png, webp
from service.images.decoders.pillow_errors import BROKEN, problems_told
from service.images.decoders.tiff.directory import is_tiff
from service.images.upright import TO_UPRIGHT, Upright, upright_size

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF", "JPEG2000")
"""Pillow's names of the formats that it opens itself; an MPO is opened as a JPEG, with more pictures behind it."""

_JPEG = ("JPEG", "MPO")

_IMPORTED_LATE = (
    "service.images.decoders.tiff.picture",  # with its codecs
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

_OWN_BYTES = {"WEBP": 12, "AVIF": 12}
"""What decoders take of each pixel at most, as measured, beside the picture itself; others take a few rows.

libwebp has two canvases of its own and gives Pillow a third, libavif has the planes and gives Pillow a copy.
"""

_MAX_PIXELS_A_BYTE = 512
"""A JPEG has a bit at least for each block of 64 pixels; a master of fewer costs more than what was sent is worth."""

MAX_CLAIMED_PIXELS = 2_000_000_000
"""What a header may say of a picture that is decoded at a smaller size, since it costs time even so."""

_BEGINNING = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|GIF8[79]a|RIFF....WEBP|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0"
    rb"|\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51|....ftyp(avi[fs]|mif1|msf1|hei[cxms]|hev[cxms])",
    re.DOTALL,
)
"""What files of formats that are opened begin with, also where they are so broken that Pillow does not know them."""

_LEAST_BYTES = 32
"""Of fewer, no format makes a picture."""

PICTURE_BYTES = 4
"""What Pillow takes of a pixel at most."""

_SAY_THE_SAME = ("JPEG", "MPO", "WEBP", "JPEG2000")
"""Formats whose decoders say the same of a broken file and of memory that they did not get."""

# Pillow warns of odd metadata; what matters raises. Once for all threads: they share the filters.
warnings.filterwarnings("ignore", module=r"PIL\.")
# Pillow's own limit would keep it from opening what is decoded at a smaller size.
Image.MAX_IMAGE_PIXELS = MAX_CLAIMED_PIXELS
gif.register()


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
    heif.register()


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

    min_short_side: pixels of a short side that serves. Where it is given, what is larger than the limits is decoded at
    the smallest size that keeps so many, if the file has one: a JPEG at a half, a quarter or an eighth, which libjpeg
    does for a part of the time and of the memory, a JPEG 2000 at one of its resolution levels, a TIFF as the smallest
    copy of itself that it has.
    fast: whether a JPEG or a TIFF within the limits is so decoded too.
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
        if is_tiff(encoded) and len(encoded) >= _LEAST_BYTES:
            return _decode_tiff(encoded, sha256, limits, min_short_side, before_pixels, fast=fast)
        container = _opened_container(encoded)
        encoded = container.encoded
        image = _open(encoded)
        whole = image.size
        _check_dimensions(whole, limits.max_pixels if min_short_side is None else MAX_CLAIMED_PIXELS)
        if image.format == "JPEG2000" and (jpeg2000.lacks_end(encoded) or jpeg2000.lacks_tiles(encoded)):
            raise UndecodableImage
        has_few_bytes = whole[0] * whole[1] > _MAX_PIXELS_A_BYTE * len(encoded)
        if has_few_bytes and image.format in _JPEG:
            raise UndecodableImage  # what is not there, libjpeg fills up with grey
        is_large = whole[0] * whole[1] > limits.max_pixels and not has_few_bytes
        wanted = min_short_side if is_large or (fast and image.format in _JPEG) else None
        _reduce(image, encoded, wanted)
        reduced = image.size != whole
        _check_dimensions(image.size, limits.max_pixels)
        has_memory = before_pixels(_bytes_to_decode(image, whole))
        if image.format == "HEIF" and not has_memory:
            raise MemoryError  # without which libheif would end the process
        image = _loaded(image, encoded, wanted, has_memory=has_memory)
        if image.format == "HEIF" and image.size != whole:
            raise UndecodableImage("The image is a broken HEIF: its pixels are not as many as it says.")
        _complete(image, encoded, container.boxes, wanted)
        dim = deep.warnings(image, _depth(image, encoded))
        warned = (*container.warnings, *_name_colours(image, container.code_points), *dim)
        part = avif.clean_aperture(encoded, image.size) if image.format == "AVIF" else None
        upright = Upright(image.crop(part) if part else image, _turn(image))  # a PNG may say it behind its pixels
    # What the answer says of the size is what was sent.
    width, height = upright_size(whole, upright.turn) if reduced else upright.size
    decoded_at = upright.size if reduced else None
    image_format = "JPEG" if image.format in _JPEG else str(image.format)
    return DecodedImage(upright, width, height, image_format, sha256, decoded_at, warned)


def _loaded(image: Image.Image, encoded: bytes, wanted: int | None, *, has_memory: bool) -> Image.Image:
    """Return the picture with its pixels; a JPEG is opened once more where it was in doubt whether it has all its data.

    One that lacks nothing but its end gets one.
    """
    try:
        image.load()
    except BROKEN:
        if not has_memory and image.info.get("progressive"):
            raise ImageDimensions(jpeg.PROGRESSIVE_NEEDS_MEMORY) from None
        if not has_memory and image.format in _SAY_THE_SAME:
            raise MemoryError from None
        image.close()  # which lets its memory go
        if image.format not in _JPEG:
            raise
        if not jpeg.lacks_only_its_end(encoded, wanted):
            raise jpeg.error_of(encoded) from None
        return _loaded_again(encoded.removesuffix(b"\xff") + jpeg.END, wanted)
    if image.format in _JPEG and jpeg.is_filled_up(image):
        image.close()
        if jpeg.ends_early(encoded, wanted):
            raise UndecodableImage
        return _loaded_again(encoded, wanted)
    return image


def _loaded_again(encoded: bytes, wanted: int | None) -> Image.Image:
    image = _open(encoded)
    _reduce(image, encoded, wanted)
    image.load()
    return image


def _decode_tiff(
    encoded: bytes,
    sha256: str,
    limits: ImageLimits,
    min_short_side: int | None,
    before_pixels: Callable[[int], bool],
    *,
    fast: bool,
) -> DecodedImage:
    """Decode a TIFF as decode() does; what is reduced is its smallest copy that serves, where the file has one."""
    # Its codecs are for the processes that can be killed, not for those that only know decode().
    from service.images.decoders.tiff.picture import Tiff  # noqa: PLC0415

    tiff = Tiff(encoded)
    width, height = tiff.size
    _check_dimensions(tiff.size, limits.max_pixels if min_short_side is None else sys.maxsize)
    if min_short_side is not None and (fast or width * height > limits.max_pixels):
        tiff.reduce(min_short_side, limits.max_pixels)
    _check_dimensions(tiff.decoded_size, limits.max_pixels)
    has_memory = before_pixels(tiff.decoder_bytes())
    try:
        decoded = tiff.decoded()
    except BROKEN:
        if not has_memory:  # codecs say the same of both
            raise MemoryError from None
        raise
    upright = Upright(decoded.image, TO_UPRIGHT.get(tiff.orientation))
    width, height = upright_size(tiff.size, upright.turn)
    decoded_at = None if upright.size == (width, height) else upright.size
    return DecodedImage(upright, width, height, "TIFF", sha256, decoded_at, decoded.warnings)


class _Container(NamedTuple):
    """What Pillow is to decode, and what the file says besides that Pillow would not heed."""

    encoded: bytes
    warnings: tuple[str, ...] = ()
    code_points: tuple[int, int] | None = None
    boxes: jp2.Boxes = jp2.Boxes()


def _opened_container(encoded: bytes) -> _Container:
    if encoded.startswith(png.SIGNATURE):
        return _Container(*png.essential(encoded))
    if jp2.is_jpeg_2000(encoded):
        samples, boxes = jp2.opened(encoded)
        return _Container(samples, boxes=boxes)
    if encoded[:4] == b"RIFF":
        return _Container(webp.with_bare_canvas(encoded))
    return _Container(encoded, code_points=heif.code_points(encoded))


def _reduce(image: Image.Image, encoded: bytes, min_short_side: int | None) -> None:
    """Let the picture be decoded at a fraction of its size where its format can do that, and the fraction serves.

    min_short_side: None where all of it is to be decoded
    """
    if min_short_side is None:
        return
    if image.format in _JPEG:
        image.draft(None, (min_short_side, min_short_side))
    elif image.format == "JPEG2000":
        jpeg2000.reduce(image, encoded, min_short_side)


def _bytes_to_decode(image: Image.Image, whole: tuple[int, int]) -> int:
    """Return what the decoder takes at most of a picture whose size as sent is `whole`."""
    own = _OWN_BYTES.get(str(image.format), 0)
    if image.format == "JPEG2000":
        return PICTURE_BYTES * image.width * image.height + jpeg2000.bytes_to_decode(image, whole)
    if isinstance(image, GifImagePlugin.GifImageFile) and _leaves_screen_bare(image):
        own = PICTURE_BYTES
    elif image.format == "HEIF":
        own = heif.bytes_to_decode(image)
    elif isinstance(image.info.get("transparency"), tuple):
        own = png.TRANSPARENT_BYTES
    elif image.info.get("progressive"):
        own = 2 * len(image.getbands())  # libjpeg keeps the coefficients of all scans
    return PICTURE_BYTES * image.width * image.height + own * whole[0] * whole[1]


def _open(encoded: bytes) -> Image.Image:
    is_heif = heif.is_heif(encoded)
    if is_heif:
        heif.register()
    try:
        return Image.open(io.BytesIO(encoded), formats=("HEIF",) if is_heif else _FORMATS)
    except UnidentifiedImageError:
        if len(encoded) < _LEAST_BYTES or not _BEGINNING.match(encoded):
            raise UnsupportedImageFormat from None
        if encoded.startswith(jpeg.SIGNATURE):
            raise jpeg.error_of(encoded) from None
        raise UndecodableImage from None
    except OSError:
        if encoded.startswith(bmp.SIGNATURE):
            raise bmp.error_of(encoded) from None
        raise


def _check_dimensions(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1 or width * height > max_pixels:
        raise ImageDimensions(f"The image must have 1 to {max_pixels} pixels.")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageDimensions(f"The image's long side may be at most {MAX_ASPECT_RATIO} times its short side.")


def _complete(image: Image.Image, encoded: bytes, boxes: jp2.Boxes, min_short_side: int | None) -> None:
    """Do to a loaded picture what its format asks for and Pillow does not do."""
    if image.format == "PNG":
        png.complete_transparency(image, encoded)
    elif image.format == "JPEG2000":
        jpeg2000.complete(image, encoded, boxes, min_short_side)
    elif image.format == "BMP":
        bmp.complete(image, encoded)
    elif isinstance(image, GifImagePlugin.GifImageFile) and _leaves_screen_bare(image):
        seen = Image.new("L", image.size, 0)
        seen.paste(255, image.dispose_extent)
        image.putalpha(seen)


def _depth(image: Image.Image, encoded: bytes) -> int:
    """Return the bits of a sample where the format may have samples that use a part of them; 8 of others."""
    of_format = {"PNG": png.depth, "JPEG2000": jpeg2000.depth}.get(str(image.format))
    return of_format(encoded) if of_format else 8


def _leaves_screen_bare(image: GifImagePlugin.GifImageFile) -> bool:
    """Say whether the first frame covers a part of the screen, and the rest is transparent, as browsers have it."""
    return "transparency" not in image.info and image.dispose_extent != (0, 0, *image.size)


def _name_colours(image: Image.Image, code_points: tuple[int, int] | None) -> tuple[str, ...]:
    """Give a picture without a profile one of what its file says of colours in numbers; return what to warn of.

    code_points: of primaries and transfer, which count before a PNG's gamma and its primaries
    """
    if code_points and colour.is_hdr(code_points[1]):
        return (colour.HDR_WARNING,)
    if image.format in _JPEG and image.mode == "CMYK" and "adobe" not in image.info:
        return (jpeg.INKS_WARNING,)
    if image.format == "PNG" and code_points and colour.UNSAID not in code_points:
        image.info.pop("icc_profile", None)  # PNG (Third Edition), 4.3: the numbers count before the profile
    said = colour.of_code_points(*code_points) if code_points else png.colours(image)
    if said and not isinstance(image.info.get("icc_profile"), bytes):
        grey = image.mode in ("L", "I;16") and "transparency" not in image.info
        profile = colour.profile(*said, grey=grey)
        if profile:
            image.info["icc_profile"] = profile
    return ()


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return what makes the picture upright, or None if it is."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except BROKEN:
        orientation = None  # a picture is no worse for broken EXIF
    return TO_UPRIGHT.get(orientation) if isinstance(orientation, int) else None
