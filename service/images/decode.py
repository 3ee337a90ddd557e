"""Bytes -> one bounded, upright RGB image, as a person sees it."""

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from service.errors import ImageDimensions, ImageTooLarge, UndecodableImage, UnsupportedImageFormat

_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000")
"""Pillow's names of the formats that are opened; an MPO is opened as a JPEG, with more pictures behind it."""

MAX_ASPECT_RATIO = 100
"""A longer shape would, once its short side is the model's input, be larger than the picture that was sent."""

_BROKEN = (
    *(OSError, EOFError, ValueError, SyntaxError, TypeError, AttributeError, LookupError, ArithmeticError),
    *(RuntimeError, struct.error, zlib.error),
)
"""What Pillow's decoders raise on broken files."""

_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation. Pillow's exif_transpose() rewrites the whole EXIF as well, and fails where that is odd."""

_ON_ITS_SIDE = tuple(_TO_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))
"""The turns that make width of height."""

_BACKWARDS = tuple(_TO_UPRIGHT[orientation] for orientation in (3, 4, 6, 7))
"""The turns after which what was the first row is the last row or column."""

_BAND_PIXELS = 1_000_000
"""A picture of more is turned and converted in bands of rows of so many, so that there are never three copies of it."""

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))

# Pillow warns of odd metadata; what matters raises. Once for all threads: they share the filters.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class ImageLimits:
    """What a picture may be at most: its size in bytes as sent, and its pixels once decoded."""

    max_bytes: int
    max_pixels: int


@dataclass(frozen=True)
class DecodedImage:
    """An upright RGB image, what it was sent as, and the SHA-256 of the bytes that were sent, in hex.

    width, height: of the upright image that was sent; `rgb` is smaller where it was decoded at a fraction of its size
    """

    rgb: Image.Image
    width: int
    height: int
    format: str
    sha256: str


def min_short_side_for(image_size: int) -> int:
    """Return the pixels of a short side that will be resized to `image_size` and hardly show that there were more."""
    return 2 * image_size


def decode(
    encoded: bytes,
    limits: ImageLimits,
    min_short_side: int | None = None,
    before_pixels: Callable[[int], object] = lambda _pixels: None,
) -> DecodedImage:
    """Return the first frame as an upright RGB image: rotated as EXIF says, in sRGB, on white where it is transparent.

    min_short_side: where it is given, a JPEG is decoded at a half, a quarter or an eighth of its size, which libjpeg
    does for a part of the time and of the memory, as long as its short side keeps so many pixels.
    before_pixels: is called with how many pixels there are, when they are about to be decoded.
    Dimensions are checked before pixels are decoded. Raises ImageTooLarge, UnsupportedImageFormat, ImageDimensions or
    UndecodableImage.
    """
    if len(encoded) > limits.max_bytes:
        raise ImageTooLarge(f"The image has more than the {limits.max_bytes} bytes that this service takes.")
    sha256 = hashlib.sha256(encoded).hexdigest()
    with _problems_told():
        image = _open(encoded)
        _check_dimensions(image, limits.max_pixels)
        if image.format == "JPEG2000" and _lacks_end_of_codestream(encoded):
            raise UndecodableImage
        whole = image.size
        if min_short_side is not None and image.format in ("JPEG", "MPO"):
            image.draft(None, (min_short_side, min_short_side))
        reduced = image.size != whole  # what the answer says of the size is what was sent
        before_pixels(image.width * image.height)
        image.load()
        turn = _turn(image)
        rgb = _upright_rgb(image, turn)
    width, height = rgb.size
    if reduced:
        width, height = whole[::-1] if turn in _ON_ITS_SIDE else whole
    return DecodedImage(rgb, width, height, "JPEG" if image.format == "MPO" else str(image.format), sha256)


@contextmanager
def _problems_told() -> Iterator[None]:
    try:
        yield
    except Image.DecompressionBombError:
        raise ImageDimensions from None
    except MemoryError:
        raise ImageDimensions("The image needs more memory than there is.") from None
    except _BROKEN:
        raise UndecodableImage from None


def _open(encoded: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(encoded), formats=_FORMATS)
    except UnidentifiedImageError:
        raise UnsupportedImageFormat from None


def _check_dimensions(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
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
    except _BROKEN:
        orientation = None  # a picture is no worse for broken EXIF
    return _TO_UPRIGHT.get(orientation) if isinstance(orientation, int) else None


def _upright_rgb(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    to_rgb = _Conversion(image)
    if to_rgb.changes_nothing or image.width * image.height <= _BAND_PIXELS:
        rgb = to_rgb(image)
        return rgb if turn is None else rgb.transpose(turn)
    upright = Image.new("RGB", image.size[::-1] if turn in _ON_ITS_SIDE else image.size)
    for top, band in _bands(image):
        start = image.height - top - band.height if turn in _BACKWARDS else top
        rgb = to_rgb(band)
        upright.paste(rgb if turn is None else rgb.transpose(turn), (start, 0) if turn in _ON_ITS_SIDE else (0, start))
    return upright


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield the picture in bands of rows, each with the number of its first row."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


class _Conversion:
    """Makes RGB of a picture, or of a band of its rows, since no pixel depends on another."""

    def __init__(self, image: Image.Image) -> None:
        wide = image.mode.startswith("I") or image.mode == "F"
        self._white = _white(image) if wide else None
        self._icc = image.info.get("icc_profile")
        self._transforms: dict[str, ImageCms.ImageCmsTransform | None] = {}
        transparent = "transparency" in image.info
        self.changes_nothing = image.mode == "RGB" and not transparent and not isinstance(self._icc, bytes)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the picture, or the band, as RGB."""
        if self._white is not None:
            image = _to_eight_bits(image, self._white)
        if image.mode in ("P", "PA"):
            image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
        if image.mode in ("LA", "La", "RGBa") or (image.mode in ("L", "RGB", "1") and "transparency" in image.info):
            image = image.convert("RGBA")
        if image.mode == "RGBA":
            image = _on_white(image)
        if image.mode not in ("RGB", "L", "CMYK", "LAB"):
            image = image.convert("RGB")
        image = self._in_srgb(image)
        return image if image.mode == "RGB" else image.convert("RGB")

    def _in_srgb(self, image: Image.Image) -> Image.Image:
        if image.mode not in self._transforms:
            self._transforms[image.mode] = _transform(image.mode, self._icc)
        transform = self._transforms[image.mode]
        return image if transform is None else transform.apply(image)


def _white(image: Image.Image) -> float:
    """Return the sample that is white in a grey picture of 16-bit, 32-bit or float samples."""
    brightest = max(float(_finite(band).max()) for _, band in _bands(image))
    if image.mode == "F":
        return next((white for white in (1.0, 255.0, 65535.0) if brightest <= white), brightest)
    return max(65535.0 if image.mode.startswith("I;16") or brightest > 255.0 else 255.0, brightest)


def _finite(image: Image.Image) -> NDArray[np.float32]:
    samples = np.array(image, dtype=np.float32)
    return np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _to_eight_bits(image: Image.Image, white: float) -> Image.Image:
    """Return a grey picture of 16-bit, 32-bit or float samples as mode L: Pillow's own convert() only clips."""
    samples = _finite(image)
    samples *= 255.0 / white
    samples += 0.5
    return Image.fromarray(np.clip(samples, 0.0, 255.0, out=samples).astype(np.uint8), mode="L")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _transform(mode: str, icc: object) -> ImageCms.ImageCmsTransform | None:
    """Return what turns pictures of this mode into sRGB; None where they are, or their profile is broken or alien."""
    if mode == "LAB":
        return ImageCms.ImageCmsTransform(_LAB, _SRGB, mode, "RGB")
    if not isinstance(icc, bytes):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return None
        return ImageCms.ImageCmsTransform(profile, _SRGB, mode, "RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
