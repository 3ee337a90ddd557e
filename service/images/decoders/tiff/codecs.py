"""Bytes of a strip or a tile -> its rows. None yields more than requested, and none fills up what is missing.

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
from service.images.decoders.jpeg import as_if_more
from service.images.decoders.tiff import page as pages
from service.images.decoders.tiff.page import Colours, Page, unread

Samples = NDArray[Any]  # [rows, columns, channels]
_LZMA_BYTES = 64_000_000  # what its dictionary may take
_MAX_SCANS = 20
_MAX_SCANNED_PIXELS = 200_000_000  # of a JPEG, all scans together: each goes over the whole segment again
_TABLES_BYTES = 16_384  # of the JPEG tables that all segments share; they are read again for each
_MAX_CODESTREAM_TILES = 1_024  # of a JPEG 2000; OpenJPEG takes some kilobytes for each before it decodes the first
_INPUT_BYTES = 65_536  # of packed data at a time
_FRAMES = (0xC0, 0xC1, 0xC2)  # sequential, extended sequential, progressive
_LOSSLESS_FRAMES = (0xC3, 0xC7, 0xCB, 0xCF)
_BARE_MARKERS = (0x01, *range(0xD0, 0xD9))


class Unpacked:
    """The bytes of a segment, read from its beginning to its end. Raises UndecodableImage where there are fewer.

    needed: how many are in the picture
    room:   how many there may be
    """

    def __init__(self, compression: int, data: memoryview, needed: int, room: int) -> None:
        self._read = _STREAMS[compression](data, needed) if compression in _STREAMS else None
        if self._read is None:
            self._contents = memoryview(_UNPACK[compression](data, needed, room))[:needed]
            if len(self._contents) < needed:
                raise UndecodableImage

    def read(self, size: int) -> memoryview:
        """Return the next so many bytes."""
        if self._read is not None:
            return memoryview(self._read(size))
        contents, self._contents = self._contents[:size], self._contents[size:]
        return contents


def _inflated(data: memoryview, needed: int) -> Callable[[int], bytes]:
    inflate, place, left = zlib.decompressobj(), 0, needed

    def read(size: int) -> bytes:
        nonlocal place, left
        left -= size
        contents: list[bytes] = []
        while size:
            packed = inflate.unconsumed_tail or data[place : place + _INPUT_BYTES]
            place += 0 if inflate.unconsumed_tail else len(packed)
            contents.append(inflate.decompress(packed, size))
            size -= len(contents[-1])
            if size and (inflate.eof or not (packed or contents[-1])):
                raise UndecodableImage
        if not left and not inflate.eof:  # a checksum that is there and wrong is raised
            inflate.decompress(inflate.unconsumed_tail or data[place : place + _INPUT_BYTES], 1)
        return b"".join(contents)

    return read


def _unpacked_lzma(data: memoryview, _needed: int) -> Callable[[int], bytes]:
    decompressor, packed = lzma.LZMADecompressor(memlimit=_LZMA_BYTES), bytes(data)

    def read(size: int) -> bytes:
        nonlocal packed
        contents: list[bytes] = []
        while size:
            try:
                contents.append(decompressor.decompress(packed, size))
            except (EOFError, lzma.LZMAError):
                raise UndecodableImage from None
            packed = b""
            size -= len(contents[-1])
            if size and (decompressor.eof or decompressor.needs_input):
                raise UndecodableImage
        return b"".join(contents)

    return read


_STREAMS: dict[int, Callable[[memoryview, int], Callable[[int], bytes]]] = {
    pages.DEFLATE: _inflated,
    pages.OLD_DEFLATE: _inflated,
    pages.LZMA: _unpacked_lzma,
}
_UNPACK: dict[int, Callable[[memoryview, int, int], bytes | memoryview]] = {
    pages.NO_COMPRESSION: lambda data, _needed, _room: data,
    pages.LZW: lambda data, needed, _room: lzw_decode(data, out=needed),
    pages.PACKBITS: lambda data, _needed, room: packbits_decode(data, out=room),
    pages.ZSTD: lambda data, _needed, room: zstd_decode(data, out=room),
}


def bytes_at_a_time(page: Page) -> int:
    """Return what unpacking a segment of one plane takes at most, but for bands of it, as measured."""
    pixels = page.segment[0] * page.segment[1]
    samples = pixels * page.channels * page.dtype.itemsize
    if page.compression in pages.CCITT:
        return 2 * samples  # decoded twice, to compare
    if page.compression == pages.JPEG:
        return samples + 2 * pixels * page.channels  # where it is progressive, libjpeg keeps the coefficients
    if page.compression == pages.WEBP:
        return samples + 12 * pixels
    if page.compression in pages.JPEG_2000:
        return samples + 6 * pixels * page.channels
    if page.compression in _STREAMS or page.compression == pages.NO_COMPRESSION:
        return 0
    return pixels * page.channels * page.bits // 8 + page.segment[1]


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
    else:
        _check_codestream(data, page.channels)
        jpeg2k_decode(data, numthreads=1, out=out)
    return out.reshape(*size, page.channels)


def _check_codestream(jpeg_2000: bytes, channels: int) -> None:
    """Raise UndecodableImage where the data were cut, or a header asks for more memory than its picture.

    OpenJPEG takes a kilobyte for each component of each tile before it compares their number with the requested one.

    Source: ITU-T T.800, A.5.1.
    """
    start = jpeg_2000.find(b"\xff\x4f\xff\x51")
    if start < 0 or jpeg_2000.rfind(b"\xff\xd9") < start:
        raise UndecodableImage
    right, bottom, _, _, width, height, _, _, components = struct.unpack_from(">8IH", jpeg_2000, start + 8)
    if not width or not height or -(-right // width) * -(-bottom // height) > _MAX_CODESTREAM_TILES:
        raise UndecodableImage
    if components != channels:
        raise UndecodableImage


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
    tables = page.directory.contents(347, _TABLES_BYTES)
    jpeg = bytes(data)
    bits, height, width, channels = _frame(jpeg)
    has_room = width <= page.segment[0] + 64 and height <= page.segment[1] + 64
    if bits != page.bits or channels != page.channels or width < columns or height < rows or not has_room:
        raise UndecodableImage
    stored, wanted = _jpeg_colours(page, jpeg)

    def decoded(encoded: bytes) -> Samples:
        out: Samples = np.empty((height, width) if channels == 1 else (height, width, channels), page.dtype)
        jpeg8_decode(encoded, tables=tables or None, colorspace=stored, outcolorspace=wanted, out=out)
        return out.reshape(height, width, channels)

    samples = decoded(jpeg)
    # What libjpeg has filled up is mid-grey to the last.
    if (samples[-1, -1] == 1 << (bits - 1)).all() and b"\xff\xc2" not in jpeg:
        for more in as_if_more(jpeg):
            if not np.array_equal(decoded(more), samples):
                raise UndecodableImage
    return samples


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
            raise unread("compressed by lossless JPEG")
        if kind in _FRAMES:
            bits, height, width, components = struct.unpack_from(">BHHB", jpeg, place + 4)
            scans = jpeg.count(b"\xff\xda", place)
            is_slow = scans > _MAX_SCANS or scans * height * width > _MAX_SCANNED_PIXELS
            if is_slow or jpeg.rfind(b"\xff\xd9") < place:
                raise UndecodableImage
            return bits, height, width, components
        (length,) = struct.unpack_from(">H", jpeg, place + 2)
        place += 2 + length
    raise UndecodableImage
