"""BMP: an alpha channel that is all zero, the profile, and kinds that are not read."""

import io
import re
import struct

from PIL import Image, UnidentifiedImageError

from service.errors import UndecodableImage, UnsupportedImageFormat
from service.images.picture import MIN_BYTES, Format, Picture

_HEADER = re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL)
_WITH_PROFILE, _EMBEDDED = b"\x7c\0\0\0", b"DEBM"
_SIZES_IN_16_BITS, _FULL = 12, 40
_PLAIN, _FIELDS = 0, (3, 6)
_DEPTHS = (1, 4, 8, 16, 24, 32)
_COMPRESSIONS = (0, 1, 2, 3, 6)


class BmpPicture(Picture):
    """A bitmap."""

    format = "BMP"

    def open(self, file: bytes) -> Image.Image:
        """Return the bitmap without its pixels; of a kind that Pillow does not read, UndecodableImage says so."""
        try:
            return Image.open(io.BytesIO(file), formats=("BMP",))
        except UnidentifiedImageError:
            is_bmp = len(file) >= MIN_BYTES and _HEADER.match(file)
            raise (UndecodableImage if is_bmp else UnsupportedImageFormat) from None
        except OSError:
            raise _error_of(file) from None

    def complete(self) -> Image.Image:
        """Return the bitmap with its profile, and opaque where all of its alpha is 0, as many programs leave it."""
        if self.image.mode == "RGBA" and self.image.im.getband(3).getextrema() == (0, 0):
            self.image.putalpha(255)
        profile = _profile(self.file)
        if profile:
            self.image.info["icc_profile"] = profile
        return self.image


def _error_of(encoded: bytes) -> UndecodableImage:
    """Return what is wrong with a bitmap that could not be opened: whether its kind is one that is not read.

    Source: BITMAPINFOHEADER, BITMAPV5HEADER, and OS/2's BITMAPINFOHEADER2.
    """
    if len(encoded) < 14 + _FULL:
        return UndecodableImage()
    (length,) = struct.unpack_from("<I", encoded, 14)
    is_short = length == _SIZES_IN_16_BITS
    depth = struct.unpack_from("<H", encoded, 24 if is_short else 28)[0]
    compression = _PLAIN if length < _FULL else struct.unpack_from("<I", encoded, 30)[0]
    if (
        depth in _DEPTHS
        and compression in _COMPRESSIONS
        and compression not in _FIELDS
        and length in (12, *range(40, 125))
    ):
        return UndecodableImage()
    return UndecodableImage(
        "The image is a BMP of a kind that is not read: its header, depth, bit fields or compression are rare ones."
    )


def _profile(encoded: bytes) -> bytes:
    """Return the ICC profile of a bitmap with the longest of headers, or nothing. Source: BITMAPV5HEADER."""
    if encoded[14:18] != _WITH_PROFILE or encoded[70:74] != _EMBEDDED:
        return b""
    start, length = struct.unpack_from("<II", encoded, 126)
    return encoded[14 + start : 14 + start + length]


BMP = Format(re.compile(rb"BM"), (".bmp", ".dib"), BmpPicture)
