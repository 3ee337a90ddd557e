"""Which pictures may be decoded in the process that answers: plain JPEGs and PNGs, told by their first bytes.

libjpeg and zlib take time and memory in proportion to what a header says, as long as it says ordinary things. A picture
that is large or says more, and every other format, is decoded where a decoder that hangs or dies does no harm.
"""

import re
import struct
import zlib

_MAX_PIXELS = 8_000_000
_MAX_SCANNED_PIXELS = 80_000_000
"""Of a JPEG, all scans together: each goes over the whole picture again, however few bytes it has."""

_MAX_METADATA = 65_536
"""Bytes of EXIF, XMP, thumbnails and the like; more take Pillow longer to read through."""

_MAX_PACKED_METADATA = 16_384
"""As much of a PNG, where each byte may unpack to a thousand."""

_MAX_PROFILE = 4_096
"""Bytes of an ICC profile; in larger ones there is room for tables that take Little CMS minutes."""

_MAX_SEGMENTS = 100
_DEEP = 16
"""Bits of a PNG's samples of which Pillow keeps a half, so that it decodes twice what has a transparent value."""

_CHUNK = 1_024
"""Bytes of a PNG that a chunk must have on the average, since Pillow reads them one by one."""

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_FRAMES = (0xC0, 0xC1, 0xC2)  # sequential, extended sequential, progressive
_TABLES = (0xC4, 0xDB, 0xDD)
_SCAN, _PROFILE = 0xDA, 0xE2
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a scan's data: not an FF among them, not a restart in them, not what fills up to a marker."""

_END = b"\xff\xd9"


def is_ordinary(encoded: bytes) -> bool:
    """Say whether these bytes are a JPEG or a PNG of moderate size in which nothing is unusual."""
    try:
        if encoded.startswith(_JPEG):
            return _is_ordinary_jpeg(encoded)
        return encoded.startswith(_PNG) and _is_ordinary_png(encoded)
    except (struct.error, zlib.error):
        return False


def _is_ordinary_jpeg(encoded: bytes) -> bool:
    """Go from segment to segment as libjpeg does, to the end of the picture."""
    place, pixels, metadata, scans = len(_JPEG), 0, 0, 0
    for _ in range(_MAX_SEGMENTS):
        prefix, kind, length = struct.unpack_from(">BBH", encoded, place)
        if prefix != 0xFF or metadata > _MAX_METADATA:
            return False
        place += 2 + length
        if kind == _SCAN:
            scans += 1
            marker = _MARKER.search(encoded, place)
            if marker is None:
                return False
            if marker[0] == _END:
                return 0 < pixels <= _MAX_PIXELS and pixels * scans <= _MAX_SCANNED_PIXELS
            place = marker.start()
        elif kind in _FRAMES and not pixels:
            height, width = struct.unpack_from(">HH", encoded, place - length + 3)
            pixels = height * width
        elif kind == 0xFE or 0xE0 <= kind <= 0xEF:
            metadata += length
            if kind == _PROFILE and length > _MAX_PROFILE:
                return False
        elif kind not in _TABLES:
            return False
    return False


def _is_ordinary_png(encoded: bytes) -> bool:
    place, metadata = len(_PNG), 0
    for number in range(_MAX_SEGMENTS + len(encoded) // _CHUNK):
        length, kind = struct.unpack_from(">I4s", encoded, place)
        if number == 0:
            width, height = struct.unpack_from(">II", encoded, place + 8)
            if kind != b"IHDR" or not 0 < width * height <= _MAX_PIXELS:
                return False
        elif kind == b"IEND":
            return True
        elif kind == b"IHDR":
            return False
        elif kind != b"IDAT":
            metadata += length
            if metadata > _MAX_PACKED_METADATA or (kind == b"tRNS" and encoded[24] == _DEEP):
                return False
            if kind == b"iCCP":
                packed = encoded[place + 8 : place + 8 + length].partition(b"\0")[2][1:]
                if len(zlib.decompressobj().decompress(packed, _MAX_PROFILE + 1)) > _MAX_PROFILE:
                    return False
        place += 12 + length
    return False
