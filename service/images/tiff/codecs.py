"""Bytes of a strip or a tile -> its rows. None yields more than is asked for, and none fills up what is missing.

imagecodecs' bindings are imported one by one: its own way loads each with the first picture that needs it.
"""

import lzma
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from imagecodecs._ccitt import ccittfax3_decode, ccittfax4_decode, ccittrle_decode
from imagecodecs._imcd import lzw_decode, packbits_decode
from imagecodecs._jpeg2k import jpeg2k_decode
from imagecodecs._jpeg8 import jpeg8_decode
from imagecodecs._webp import webp_decode
from imagecodecs._zstd import zstd_decode
from numpy.typing import NDArray

from service.errors import UndecodableImage
from service.images.tiff import page as pages
from service.images.tiff.page import Colours, Page, Unread

Samples = NDArray[Any]
"""[rows, columns, channels]"""

_LZMA_BYTES = 64_000_000
"""What its dictionary may take."""

_MAX_SCANS = 20
"""Of a JPEG, since each goes over the whole segment again."""

_FRAMES = (0xC0, 0xC1, 0xC2)  # sequential, extended sequential, progressive
_LOSSLESS_FRAMES = (0xC3, 0xC7, 0xCB, 0xCF)
_BARE_MARKERS = (0x01, *range(0xD0, 0xD9))


def unpacked(compression: int, data: memoryview, needed: int, room: int) -> memoryview:
    """Return the bytes of a segment, `needed` of them, where there may be up to `room`. Raises UndecodableImage."""
    contents = _UNPACK[compression](data, needed, room)
    if len(contents) < needed:
        raise UndecodableImage
    return memoryview(contents)[:needed]


def _inflated(data: memoryview, needed: int, _room: int) -> bytes:
    inflate = zlib.decompressobj()
    contents = inflate.decompress(data, needed)
    if not inflate.eof:
        inflate.decompress(inflate.unconsumed_tail, 1)  # raises where the checksum is there and wrong
    return contents


def _unpacked_lzma(data: memoryview, needed: int, _room: int) -> bytes:
    try:
        return lzma.LZMADecompressor(memlimit=_LZMA_BYTES).decompress(data, needed)
    except (EOFError, lzma.LZMAError):
        raise UndecodableImage from None


_UNPACK: dict[int, Callable[[memoryview, int, int], bytes | memoryview]] = {
    pages.NO_COMPRESSION: lambda data, _needed, _room: data,
    pages.LZW: lambda data, needed, _room: lzw_decode(data, out=needed),
    pages.DEFLATE: _inflated,
    pages.OLD_DEFLATE: _inflated,
    pages.PACKBITS: lambda data, _needed, room: packbits_decode(data, out=room),
    pages.ZSTD: lambda data, _needed, room: zstd_decode(data, out=room),
    pages.LZMA: _unpacked_lzma,
}


def image(page: Page, data: memoryview, rows: int, columns: int) -> Samples:
    """Return a segment's samples, of which so many rows and columns are in the picture. Raises UndecodableImage."""
    if page.compression in pages.CCITT:
        return _ccitt(page, bytes(data), rows)
    if page.compression == pages.JPEG:
        return _jpeg(page, data, rows, columns)
    # Segments at the edge are whole, or end where the picture does.
    width, height = page.segment
    sizes = dict.fromkeys([(height, width), (rows, columns), (rows, width)])
    for size in sizes:
        try:
            return _of_size(page, bytes(data), size)
        except ValueError:  # it says that it has another size, before it is decoded
            continue
    raise UndecodableImage


def _of_size(page: Page, data: bytes, size: tuple[int, int]) -> Samples:
    shape = size if page.channels == 1 else (*size, page.channels)
    out: Samples = np.empty(shape, page.dtype)
    if page.compression == pages.WEBP:
        webp_decode(data, hasalpha=page.channels == 4, out=out)
    elif data.rfind(b"\xff\xd9") < 0:
        raise UndecodableImage
    else:
        jpeg2k_decode(data, numthreads=1, out=out)
    return out.reshape(*size, page.channels)


# What would be seen if the data went on: white rows, rows as the one before, and stripes.
_AS_IF_MORE = (b"", b"\xff" * 512, bytes([0b00101111, 0b10010111]) * 256)


def _ccitt(page: Page, data: bytes, rows: int) -> Samples:
    """Return bits as samples; the codec fills up what is missing, so what follows the data must not matter."""
    width = page.segment[0]
    seen: list[Samples] = []
    for more in _AS_IF_MORE:
        if page.compression == pages.CCITT_RLE:
            bits = ccittrle_decode(data + more, rows, width)
        elif page.compression == pages.CCITT_3:
            bits = ccittfax3_decode(data + more, rows, width, t4options=page.directory.number(292, 0))
        else:
            bits = ccittfax4_decode(data + more, rows, width)
        if bits.shape != (rows, width) or (seen and not np.array_equal(bits, seen[0])):
            raise UndecodableImage
        seen = [bits]
    return seen[0][..., np.newaxis]


def _jpeg(page: Page, data: memoryview, rows: int, columns: int) -> Samples:
    tables = page.directory.contents(347, 65_536)
    jpeg = bytes(data)
    bits, height, width, channels = _frame(jpeg)
    has_room = width <= page.segment[0] + 64 and height <= page.segment[1] + 64
    if bits != page.bits or channels != page.channels or width < columns or height < rows or not has_room:
        raise UndecodableImage
    stored, wanted = _jpeg_colours(page, jpeg)
    out: Samples = np.empty((height, width) if channels == 1 else (height, width, channels), page.dtype)
    jpeg8_decode(jpeg, tables=tables or None, colorspace=stored, outcolorspace=wanted, out=out)
    return out.reshape(height, width, channels)


def _jpeg_colours(page: Page, jpeg: bytes) -> tuple[str | None, str]:
    """Return which colours it has and which are wanted, as libjpeg names them; None for what the JPEG says itself."""
    if page.channels == 1:
        return "GRAYSCALE", "GRAYSCALE"
    if page.colours is Colours.YCBCR:
        return "YCBCR", "RGB"
    if page.colours is Colours.RGB and page.channels == 3:
        # libtiff writes no JFIF header, by which colours are YCbCr whatever the tags say.
        return (None if jpeg[6:10] == b"JFIF" else "RGB"), "RGB"
    return "UNKNOWN", "UNKNOWN"


def _frame(jpeg: bytes) -> tuple[int, int, int, int]:
    """Return bits, height, width and components, as a JPEG says them. Raises UndecodableImage where it has no end."""
    place = 2
    while jpeg[place : place + 1] == b"\xff":
        kind = jpeg[place + 1]
        if kind in _BARE_MARKERS or kind == 0xFF:
            place += 1 if kind == 0xFF else 2
            continue
        if kind in _LOSSLESS_FRAMES:
            raise Unread("compressed by lossless JPEG")
        if kind in _FRAMES:
            bits, height, width, components = struct.unpack_from(">BHHB", jpeg, place + 4)
            if jpeg.count(b"\xff\xda", place) > _MAX_SCANS or jpeg.rfind(b"\xff\xd9") < place:
                raise UndecodableImage
            return bits, height, width, components
        (length,) = struct.unpack_from(">H", jpeg, place + 2)
        place += 2 + length
    raise UndecodableImage
