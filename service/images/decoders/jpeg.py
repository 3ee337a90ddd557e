"""JPEG: whether all of a picture was made of data that are there, where it lacks its end or ends early."""

import hashlib
import io
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from PIL import Image

from service.errors import ImageDimensions, UndecodableImage
from service.images.decoders import colour
from service.images.picture import BROKEN, PIXEL_BYTES, Format, Picture

_SIGNATURE = b"\xff\xd8"
END = b"\xff\xd9"

_PROGRESSIVE_NEEDS_MEMORY = (
    "The image needs more memory to be decoded than this service has for one: it is a progressive JPEG, of which all "
    "must be in memory at once. Save it as a baseline JPEG, or smaller."
)

INKS_WARNING = (
    "The JPEG is in CMYK and does not say which number is full ink: it was taken as Adobe's programs and browsers take "
    "it, and is a negative if it was meant otherwise."
)

# What ends a scan's data: not an FF among them, not a restart in them, not what fills up to a marker.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_USUAL_FRAMES = (*_SEQUENTIAL, _PROGRESSIVE)
# All ways to code a picture; the three are tables and what is reserved.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_READ = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_SCAN, _LAST, _NO_MORE = 0xDA, 0xD9, 0
_MAX_SEGMENTS = 1_000
_COEFFICIENTS = 64
_RESTARTS = tuple(bytes([0xFF, 0xD0 + number]) for number in range(8))
_MOST_OF_A_UNIT = 4_096  # more bytes than a minimum coded unit can have: ten blocks of 64 codes of up to 27 bits
# What may follow: whatever code begins there, these make several of it, before a restart and after each.
_ANYTHING = tuple(
    b"".join(restart + byte * _MOST_OF_A_UNIT for restart in (b"", *_RESTARTS))
    for byte in (b"\x00", b"\x55", b"\xaa", b"\xcc")
)
_BAND_ROWS = 256

# What libjpeg makes of blocks of which it has no data: mid-grey, which in CMYK is inverted.
_FILLED_UP = frozenset((127, 128))
_MOST_SCANS = 4  # of a sequential JPEG that is decoded once more: one for each component
_MAX_ORDINARY_PIXELS = 8_000_000
# Coefficients, all scans together: each goes over the whole picture again, however few bytes it has.
_MAX_SCANNED = 300_000_000
_MAX_METADATA = 65_536  # bytes of EXIF, XMP, thumbnails and the like; more take Pillow longer to read through
# Bytes that libjpeg may take: of the picture, and where it comes in several scans, of its coefficients as well.
_MAX_DECODED = 70_000_000
_MAX_ORDINARY_SEGMENTS = 100
_TABLES = (0xC4, 0xDB, 0xDD)
_COMMENT, _PROFILE = 0xFE, 0xE2
_ICC = b"ICC_PROFILE\0"
_ICC_HEAD = len(_ICC) + 2  # the number of the part, and of all parts

# There is a bit at least for each block of 64 pixels; a master of fewer costs more than what was sent is worth.
_MAX_PIXELS_A_BYTE = 512


class JpegPicture(Picture):
    """A JPEG, or the first of several: libjpeg halves it up to three times for a part of the time and of the memory."""

    format = "JPEG"
    is_reduced_early = True
    _min_short_side: int | None = None

    def error_of_kind(self) -> UndecodableImage:
        """Return what is wrong with a JPEG that can't be decoded: whether its kind is one that is not read."""
        if not _is_of_another_kind(self.file):
            return UndecodableImage()
        return UndecodableImage(
            "The image is a JPEG of a kind that is not read: lossless, hierarchical, or not of 8 bits a sample."
        )

    def check_whole(self) -> None:
        """Raise UndecodableImage where there are too few bytes: what is not there, libjpeg fills up with grey."""
        if self.size[0] * self.size[1] > _MAX_PIXELS_A_BYTE * len(self.file):
            raise UndecodableImage

    def reduce(self, min_short_side: int, max_pixels: int) -> None:  # noqa: ARG002  # which is checked
        """Decode it at a half, a quarter or an eighth, if that keeps so many pixels on its short side."""
        self._min_short_side = min_short_side
        self.image.draft(None, (min_short_side, min_short_side))
        self.decoded_size = self.image.size

    def decoder_pixel_bytes(self) -> int:
        """Return what the coefficients of all scans take, which libjpeg keeps of a progressive one."""
        return 2 * len(self.image.getbands()) if self.image.info.get("progressive") else 0

    def load(self, *, has_memory: bool) -> Image.Image:
        """Return the picture, decoded once more where it is in doubt whether all data are there.

        One that lacks nothing but its end gets one. What inks are, Adobe's marker alone says.
        """
        try:
            self.image.load()
        except BROKEN:
            if not has_memory:  # libjpeg says the same of both
                is_progressive = self.image.info.get("progressive")
                raise (ImageDimensions(_PROGRESSIVE_NEEDS_MEMORY) if is_progressive else MemoryError()) from None
            self.image.close()  # which lets its memory go
            if not lacks_only_its_end(self.file, self._min_short_side):
                raise self.error_of_kind() from None
            self._load_again(self.file.removesuffix(b"\xff") + END)
        else:
            if _is_filled_up(self.image):
                self.image.close()
                if _ends_early(self.file, self._min_short_side):
                    raise UndecodableImage
                self._load_again(self.file)
        if self.image.mode == "CMYK" and "adobe" not in self.image.info:
            self.warnings = (INKS_WARNING,)
        return self.image

    def _load_again(self, file: bytes) -> None:
        self.image = self.open(file)
        if self._min_short_side is not None:
            self.image.draft(None, (self._min_short_side, self._min_short_side))
        self.image.load()


def _is_filled_up(image: Image.Image) -> bool:
    """Say whether the last pixel of a loaded picture is as libjpeg fills up one that ends early; it is alone in doubt.

    Of progressive pictures that end early, most have all their pixels, less sharp.
    """
    last = image.getpixel((image.width - 1, image.height - 1))
    return not image.info.get("progressive") and _FILLED_UP.issuperset(last if isinstance(last, tuple) else (last,))


def as_if_more(encoded: bytes) -> Iterator[bytes]:
    """Yield a sequential JPEG with different data behind its own, before its end; of more scans than it needs, nothing.

    If it had ended early, some of these would look otherwise.
    """
    scans = 0
    for segment in _segments(encoded):
        if segment.kind == _LAST and scans <= _MOST_SCANS:
            yield from (encoded[: segment.start] + more + END for more in _ANYTHING)
        if segment.kind == _LAST or scans > _MOST_SCANS:
            return
        scans += segment.kind == _SCAN


def _ends_early(encoded: bytes, min_short_side: int | None) -> bool:
    """Say whether some pixels of a JPEG would look otherwise if it went on. Raises what Pillow does.

    min_short_side: as lacks_only_its_end() has it
    """
    digest: bytes | None = None
    for each in as_if_more(encoded):
        found = _digest(each, min_short_side)
        if digest not in (None, found):
            return True
        digest = found
    return False


def lacks_only_its_end(encoded: bytes, min_short_side: int | None) -> bool:
    """Say whether each pixel of a JPEG without an end was made of data that are there.

    It is decoded with different data behind its own: where some of its own were missing, some pixels would show the
    difference. What is behind them all is no pixel's. All scans must be there, too: that of each component, and of a
    progressive JPEG those that have the last bit of each coefficient.
    min_short_side: where it is given, the JPEG is decoded at a fraction of its size that keeps so much.
    Raises what Pillow does. Source: ITU-T T.81, B.1 and G.1.
    """
    if not _has_begun_all_scans(encoded):
        return False
    data = encoded.removesuffix(END[:1])
    first, *others = (data + more + END for more in _ANYTHING)
    digest = _digest(first, min_short_side)
    return all(_digest(other, min_short_side) == digest for other in others)


def _is_of_another_kind(encoded: bytes) -> bool:
    for kind, start, _ in _segments(encoded):
        if kind in _FRAMES:
            return kind not in _READ or encoded[start + 4 : start + 5] != b"\x08"
        if kind == _SCAN:
            break
    return False


def _digest(encoded: bytes, min_short_side: int | None) -> bytes:
    """Return a digest of all pixels."""
    digest = hashlib.sha256()
    with Image.open(io.BytesIO(encoded), formats=("JPEG",)) as image:
        if min_short_side is not None:
            image.draft(None, (min_short_side, min_short_side))
        width, height = image.size
        for top in range(0, height, _BAND_ROWS):
            digest.update(image.crop((0, top, width, min(top + _BAND_ROWS, height))).tobytes())
    return digest.digest()


def _has_begun_all_scans(encoded: bytes) -> bool:
    """Say whether a JPEG has no end, and with its last scan would have all that it should have."""
    missing, progressive = set[tuple[int, int]](), False
    for kind, start, end in _segments(encoded):
        if kind == _NO_MORE:
            return not missing
        if kind == _LAST or end >= len(encoded):
            return False
        contents = encoded[start + 4 : end]
        if kind in _USUAL_FRAMES:
            progressive = kind == _PROGRESSIVE
            missing |= {(component, number) for component in contents[6::3] for number in range(_COEFFICIENTS)}
        elif kind == _SCAN:
            components = contents[1 : 1 + 2 * contents[0] : 2]
            first, last, low_bit = contents[-3], contents[-2], contents[-1] & 0x0F
            if not progressive:
                first, last, low_bit = 0, _COEFFICIENTS - 1, 0
            if not low_bit:
                missing -= {(component, number) for component in components for number in range(first, last + 1)}
    return False


class _Segment(NamedTuple):
    """The kind of a segment, by its marker, and where it begins and ends; a scan's data follow it."""

    kind: int
    start: int
    end: int


def _segments(encoded: bytes) -> Iterator[_Segment]:
    """Yield the segments that there are, so many at most, and behind the last one _NO_MORE."""
    place = len(_SIGNATURE)
    for _ in range(_MAX_SEGMENTS):
        marker = _MARKER.search(encoded, place)
        if marker is None:
            yield _Segment(_NO_MORE, len(encoded), len(encoded))
            return
        place = marker.end() + int.from_bytes(encoded[marker.end() : marker.end() + 2], "big")
        yield _Segment(marker[0][1], marker.start(), place)


def _is_ordinary(encoded: bytes) -> bool:
    """Say whether nothing is unusual, from segment to segment as libjpeg goes. Raises struct.error of a broken one."""
    place, metadata, scans, profiles = len(_SIGNATURE), 0, 0, 0
    pixels, coefficients = 0, 0.0
    for _ in range(_MAX_ORDINARY_SEGMENTS):
        prefix, kind, length = struct.unpack_from(">BBH", encoded, place)
        if prefix != 0xFF or metadata > _MAX_METADATA:
            return False
        begin, place = place + 4, place + 2 + length
        if kind == _SCAN:
            scans += 1
            marker = _MARKER.search(encoded, place)
            if marker is None:
                return False
            if marker[0] == END:
                needed = PIXEL_BYTES * pixels + (2 * coefficients if scans > 1 else 0)
                scanned = coefficients * scans
                return 0 < pixels <= _MAX_ORDINARY_PIXELS and needed <= _MAX_DECODED and scanned <= _MAX_SCANNED
            place = marker.start()
        elif kind in _USUAL_FRAMES and not pixels:
            pixels, coefficients = _of_frame(encoded, begin)
        elif kind == _COMMENT or 0xE0 <= kind <= 0xEF:
            metadata += length
            if kind == _PROFILE and encoded.startswith(_ICC, begin):
                profiles += 1
                if profiles > 1 or not colour.is_plain(encoded[begin + _ICC_HEAD : place]):
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


JPEG = Format(
    re.compile(rb"\xff\xd8\xff"),
    (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".jps"),
    JpegPicture,
    _is_ordinary,
)
