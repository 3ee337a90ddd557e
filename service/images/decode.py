"""Bytes -> one bounded, upright RGB image, as a person sees it."""

import hashlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
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

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))


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


def decode(encoded: bytes, limits: ImageLimits, min_short_side: int | None = None) -> DecodedImage:
    """Return the first frame as an upright RGB image: rotated as EXIF says, in sRGB, on white where it is transparent.

    min_short_side: where it is given, a JPEG is decoded at a half, a quarter or an eighth of its size, which libjpeg
    does for a part of the time and of the memory, as long as its short side keeps so many pixels.
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
        image.load()
        turn = _turn(image)
        rgb = _to_rgb(image if turn is None else image.transpose(turn))
    width, height = rgb.size
    if reduced:
        width, height = whole[::-1] if turn in _ON_ITS_SIDE else whole
    return DecodedImage(rgb, width, height, "JPEG" if image.format == "MPO" else str(image.format), sha256)


@contextmanager
def _problems_told() -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            # Pillow warns of odd metadata; what matters raises.
            warnings.simplefilter("ignore")
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


def _to_rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I") or image.mode == "F":
        image = _to_eight_bits(image)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
    if image.mode in ("LA", "La", "RGBa") or (image.mode in ("L", "RGB", "1") and "transparency" in image.info):
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        image = _on_white(image)
    if image.mode == "LAB":
        return _transformed(image, _LAB)
    if image.mode not in ("RGB", "L", "CMYK"):
        image = image.convert("RGB")
    if isinstance(profile, bytes):
        image = _from_profile(image, profile)
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey picture of 16-bit, 32-bit or float samples as mode L: Pillow's own convert() only clips."""
    # In place and in 32 bits, because one such array of the largest picture takes 200 MB.
    samples = np.array(image, dtype=np.float32)
    np.nan_to_num(samples, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    brightest = float(samples.max())
    if image.mode == "F":
        white = next((white for white in (1.0, 255.0, 65535.0) if brightest <= white), brightest)
    else:
        white = max(65535.0 if image.mode.startswith("I;16") or brightest > 255.0 else 255.0, brightest)
    samples *= 255.0 / white
    samples += 0.5
    return Image.fromarray(np.clip(samples, 0.0, 255.0, out=samples).astype(np.uint8), mode="L")


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image).convert("RGB")


def _from_profile(image: Image.Image, icc: bytes) -> Image.Image:
    """Return the picture in sRGB, or as it is where its profile is sRGB, broken or of another kind of picture."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        if "srgb" in ImageCms.getProfileDescription(profile).lower():
            return image
        return _transformed(image, profile)
    except (ImageCms.PyCMSError, OSError):
        return image


def _transformed(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    transformed = ImageCms.profileToProfile(image, profile, _SRGB, outputMode="RGB")
    if transformed is None:
        raise ValueError("Pillow transformed the picture in place")
    return transformed
