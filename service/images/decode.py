"""Bytes -> one bounded, upright RGB image, as a person sees it."""

import hashlib
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from PIL import Image

from service.errors import ImageDimensions, ImageTooLarge, UnsupportedImageFormat
from service.images.decoders.base import Format, decoder_errors
from service.images.decoders.bmp import BMP
from service.images.decoders.gif import GIF
from service.images.decoders.heif import HEIF
from service.images.decoders.jpeg import JPEG
from service.images.decoders.jpeg2000 import JPEG_2000
from service.images.decoders.png import PNG
from service.images.decoders.tiff import TIFF
from service.images.decoders.webp import WEBP
from service.images.oriented import OrientedImage, oriented_size

FORMATS = (JPEG, PNG, WEBP, GIF, TIFF, BMP, HEIF, JPEG_2000)
"""Every format that is read; the first whose beginning a file has is the file's."""

MAX_ASPECT_RATIO = 100
"""A longer shape would, once its short side is the model's input, be larger than the picture that was sent."""

_IMPORTED_LATE = (
    *(
        f"PIL.{name}ImagePlugin"
        for name in ("Avif", "Bmp", "Gif", "Jpeg", "Jpeg2K", "Mpo", "Png", "Ppm", "Tiff", "WebP")
    ),
    *(f"PIL.Image{name}" for name in ("Chops", "Sequence", "Math")),
    *(f"encodings.utf_16{order}" for order in ("", "_le", "_be")),
)
"""By Pillow, with the first picture that needs it."""


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
    decoded_at:    width and height of `oriented` where it was decoded at a smaller size than that
    warnings:      sentences for a person, where the picture may not be what was meant
    """

    oriented: OrientedImage
    width: int
    height: int
    format: str
    sha256: str
    decoded_at: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()

    @property
    def rgb(self) -> Image.Image:
        """The upright RGB image as a whole, made anew each time. Raises ImageDimensions or UndecodableImage."""
        return self.oriented.whole()


def import_decoders() -> None:
    """Import all that would else be imported when the first picture wants it, which a closed process cannot do."""
    for module in _IMPORTED_LATE:
        import_module(module)
    for each in FORMATS:
        each.preload()


def min_short_side_for(image_size: int) -> int:
    """Return the pixels of a short side that will be resized to `image_size` and hardly show that there were more."""
    return 2 * image_size


def is_ordinary(encoded: bytes) -> bool:
    """Say whether a picture may be decoded in the process that answers: a JPEG or a PNG in which nothing is unusual.

    libjpeg and zlib take time and memory in proportion to what a header says, as long as it says ordinary things. A
    picture that is large or says more, and every other format, is decoded where a decoder that hangs or dies does no
    harm.
    """
    try:
        return _format_of(encoded).is_ordinary(encoded)
    except (UnsupportedImageFormat, struct.error, zlib.error):
        return False


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
    with decoder_errors():
        picture = _format_of(encoded).open(encoded)
        whole = picture.size
        _check_dimensions(whole, limits.max_pixels if min_short_side is None else picture.max_claimed_pixels)
        picture.check_whole()
        is_large = whole[0] * whole[1] > limits.max_pixels
        if min_short_side is not None and (is_large or (fast and picture.is_reduced_early)):
            picture.reduce(min_short_side, limits.max_pixels)
        is_reduced = picture.decoded_size != whole
        _check_dimensions(picture.decoded_size, limits.max_pixels)
        has_memory = before_pixels(picture.decoder_bytes())
        image = picture.decode(has_memory=has_memory)
        oriented = OrientedImage(image, picture.orientation)  # a PNG may say it behind its pixels
    # What the answer says of the size is what was sent.
    width, height = oriented_size(whole, oriented.turn) if is_reduced else oriented.size
    decoded_at = oriented.size if is_reduced else None
    return DecodedImage(oriented, width, height, picture.format, sha256, decoded_at, picture.warnings)


def _format_of(encoded: bytes) -> Format:
    for each in FORMATS:
        if each.beginning.match(encoded):
            return each
    raise UnsupportedImageFormat


def _check_dimensions(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1 or width * height > max_pixels:
        raise ImageDimensions(f"The image must have 1 to {max_pixels} pixels.")
    if max(width, height) > MAX_ASPECT_RATIO * min(width, height):
        raise ImageDimensions(f"The image's long side may be at most {MAX_ASPECT_RATIO} times its short side.")
