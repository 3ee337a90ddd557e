"""Bytes -> one bounded, upright RGB image, as a person sees it."""

import hashlib
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from service.errors import ImageTooLarge, UnsupportedImageFormat
from service.images.decoders.bmp import BMP
from service.images.decoders.gif import GIF
from service.images.decoders.heif import HEIF
from service.images.decoders.jpeg import JPEG
from service.images.decoders.jpeg2000 import JPEG_2000
from service.images.decoders.png import PNG
from service.images.decoders.tiff import TIFF
from service.images.decoders.webp import WEBP
from service.images.picture import Format, OrientedImage, decoder_errors, oriented_size

FORMATS = (JPEG, PNG, WEBP, GIF, TIFF, BMP, HEIF, JPEG_2000)
"""Every format that is read; a file is of the first whose beginning matches its own."""

# By Pillow, with the first picture that needs it.
_IMPORTED_LATE = (
    *(
        f"PIL.{name}ImagePlugin"
        for name in ("Avif", "Bmp", "Gif", "Jpeg", "Jpeg2K", "Mpo", "Png", "Ppm", "Tiff", "WebP")
    ),
    *(f"PIL.Image{name}" for name in ("Chops", "Sequence", "Math")),
    *(f"encodings.utf_16{order}" for order in ("", "_le", "_be")),
)


MIN_SHORT_SIDES = 2
"""A short side of so many times the model's own, once it is resized, hardly shows that there was more."""


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


Inputs = Mapping[str, NDArray[Any]]
Prepare = Callable[..., Inputs]  # called with an upright RGB image, and with the cores that are free for it, by name


@dataclass(frozen=True)
class PreparedImage:
    """What a picture was sent as, its upright size, the SHA-256 of its bytes in hex, and what the model takes of it.

    decoded_at, warnings: as DecodedImage has them
    """

    width: int
    height: int
    format: str
    sha256: str
    inputs: Inputs
    decoded_at: tuple[int, int] | None = None
    warnings: tuple[str, ...] = ()


def import_decoders() -> None:
    """Import what would else be imported with the first picture that needs it, which a closed process cannot do."""
    for module in _IMPORTED_LATE:
        import_module(module)
    for each in FORMATS:
        each.preload()


def is_ordinary(encoded: bytes) -> bool:
    """Say whether a picture may be decoded in the process that answers: a JPEG or a PNG in which nothing is unusual.

    libjpeg and zlib take time and memory in proportion to what a header says, as long as it says ordinary things. A
    picture that is large or says more, and every other format, is decoded where a decoder that hangs or dies does no
    harm.
    """
    try:
        return format_of(encoded).is_ordinary(encoded)
    except (UnsupportedImageFormat, struct.error, zlib.error):
        return False


def decode(
    encoded: bytes,
    limits: ImageLimits,
    min_short_side: int | None = None,
    before_pixels: Callable[[int], bool] | None = None,
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
    image_format = format_of(encoded)
    with decoder_errors():
        picture = image_format.open(encoded)
        oriented = picture.decode(limits.max_pixels, min_short_side, before_pixels, fast=fast)
    # What the answer says of the size is what was sent.
    is_reduced = picture.decoded_size != picture.size
    width, height = oriented_size(picture.size, oriented.turn) if is_reduced else oriented.size
    decoded_at = oriented.size if is_reduced else None
    return DecodedImage(oriented, width, height, picture.format, sha256, decoded_at, picture.warnings)


def format_of(encoded: bytes) -> Format:
    """Return the format that a file's beginning is of. Raises UnsupportedImageFormat."""
    for each in FORMATS:
        if each.beginning.match(encoded):
            return each
    raise UnsupportedImageFormat
