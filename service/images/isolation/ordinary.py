"""Which pictures may be decoded in the process that answers: plain JPEGs and PNGs, told by their first bytes.

libjpeg and zlib take time and memory in proportion to what a header says, as long as it says ordinary things. A picture
that is large or says more, and every other format, is decoded where a decoder that hangs or dies does no harm.
"""

import re
import struct
import zlib

from service.images.decoders.profiles import MAX_PLAIN_BYTES, is_plain

_MAX_PIXELS = 8_000_000
_MAX_SCANNED = 300_000_000
"""Coefficients of a JPEG, all scans together: each goes over the whole picture again, however few bytes it has."""

_MAX_METADATA = 65_536
"""Bytes of EXIF, XMP, thumbnails and the like; more take Pillow longer to read through."""

_MAX_PACKED_METADATA = 16_384
"""As much of a PNG, where each byte may unpack to a thousand."""

_MAX_DECODED = 70_000_000
"""Bytes that libjpeg may take: of the picture, and where it comes in several scans, of its coefficients as well."""

_MAX_ROWS = 50_000_000
"""Bytes of a PNG's rows; of more, to unpack them and to undo their filters takes over half a second."""

_MAX_SEGMENTS = 100
_DEEP = 16
"""Bits of a PNG's samples of which Pillow keeps a half, so that it decodes twice what has a transparent value."""

_CHUNK = 1_024
"""Bytes of a PNG that a chunk must have on the average, since Pillow reads them one by one."""

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_FRAMES = (0xC0, 0xC1, 0xC2)  # sequential, extended sequential, progressive
_TABLES = (0xC4, 0xDB, 0xDD)
_SCAN, _PROFILE = 0xDA, 0xE2
_ICC = b"ICC_PROFILE\0"
_ICC_HEAD = len(_ICC) + 2  # the number of the part, and of all parts
_PIXEL_BYTES = 4
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PACKED_TEXTS = (b"zTXt", b"iTXt")
_EXIF_IN_TEXT = b"Raw profile type exif"  # may unpack to so much that Pillow reads through it for a second
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
    place, metadata, scans, profiles = len(_JPEG), 0, 0, 0
    pixels, coefficients = 0, 0.0
    for _ in range(_MAX_SEGMENTS):
        prefix, kind, length = struct.unpack_from(">BBH", encoded, place)
        if prefix != 0xFF or metadata > _MAX_METADATA:
            return False
        begin, place = place + 4, place + 2 + length
        if kind == _SCAN:
            scans += 1
            marker = _MARKER.search(encoded, place)
            if marker is None:
                return False
            if marker[0] == _END:
                needed = _PIXEL_BYTES * pixels + (2 * coefficients if scans > 1 else 0)
                return 0 < pixels <= _MAX_PIXELS and needed <= _MAX_DECODED and coefficients * scans <= _MAX_SCANNED
            place = marker.start()
        elif kind in _FRAMES and not pixels:
            pixels, coefficients = _of_frame(encoded, begin)
        elif kind == 0xFE or 0xE0 <= kind <= 0xEF:
            metadata += length
            if kind == _PROFILE and encoded.startswith(_ICC, begin):
                profiles += 1
                if profiles > 1 or not is_plain(encoded[begin + _ICC_HEAD : place]):
                    return False
        elif kind not in _TABLES:
            return False
    return False


def _of_frame(encoded: bytes, begin: int) -> tuple[int, float]:
    """Return the pixels of a JPEG, and the coefficients of all its components, as its frame's header says them."""
    height, width, components = struct.unpack_from(">HHB", encoded, begin + 1)
    factors = [(code >> 4, code & 15) for code in encoded[begin + 7 : begin + 6 + 3 * components : 3]]
    most = max((across for across, _ in factors), default=0) * max((down for _, down in factors), default=0)
    if not most:
        return 0, 0.0
    return width * height, width * height * sum(across * down for across, down in factors) / most


def _is_ordinary_png(encoded: bytes) -> bool:
    place, metadata = len(_PNG), 0
    for number in range(_MAX_SEGMENTS + len(encoded) // _CHUNK):
        length, kind = struct.unpack_from(">I4s", encoded, place)
        if number == 0:
            width, height, depth, colour = struct.unpack_from(">IIBB", encoded, place + 8)
            rows = width * height * _CHANNELS.get(colour, 1) * depth // 8
            if kind != b"IHDR" or not 0 < width * height <= _MAX_PIXELS or rows > _MAX_ROWS:
                return False
        elif kind == b"IEND":
            return True
        elif kind == b"IHDR":
            return False
        elif kind != b"IDAT":
            metadata += length
            if metadata > _MAX_PACKED_METADATA or (kind == b"tRNS" and encoded[24] == _DEEP):
                return False
            if not _is_cheap_chunk(kind, encoded[place + 8 : place + 8 + length]):
                return False
        place += 12 + length
    return False


def _is_cheap_chunk(kind: bytes, contents: bytes) -> bool:
    """Say whether what a chunk unpacks to is read through at once."""
    if kind == b"iCCP":
        packed = contents.partition(b"\0")[2][1:]
        return is_plain(zlib.decompressobj().decompress(packed, MAX_PLAIN_BYTES + 1))
    return kind not in _PACKED_TEXTS or not contents.startswith(_EXIF_IN_TEXT)
