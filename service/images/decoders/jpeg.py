"""JPEG: whether all of a picture was made of data that are there, where it lacks its end or ends early."""

import hashlib
import io
import re
from collections.abc import Iterator

from PIL import Image

from service.errors import UndecodableImage

SIGNATURE = b"\xff\xd8"
END = b"\xff\xd9"

PROGRESSIVE_NEEDS_MEMORY = (
    "The image needs more memory to be decoded than this service has for one: it is a progressive JPEG, of which all "
    "must be in memory at once. Save it as a baseline JPEG, or smaller."
)

INKS_WARNING = (
    "The JPEG is in CMYK and does not say which number is full ink: it was taken as Adobe's programs and browsers take "
    "it, and is a negative if it was meant otherwise."
)

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""What ends a scan's data: not an FF among them, not a restart in them, not what fills up to a marker."""

_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""All ways to code a picture; the three are tables and what is reserved."""

_READ = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_SCAN = 0xDA
_MAX_SEGMENTS = 1_000
_COEFFICIENTS = 64
_RESTARTS = tuple(bytes([0xFF, 0xD0 + number]) for number in range(8))
_MOST_OF_A_UNIT = 4_096
"""More bytes than a minimum coded unit can have: ten blocks of 64 codes of up to 27 bits."""

_ANYTHING = tuple(
    b"".join(restart + byte * _MOST_OF_A_UNIT for restart in (b"", *_RESTARTS))
    for byte in (b"\x00", b"\x55", b"\xaa", b"\xcc")
)
"""What may follow: whatever code begins there, these make several of it, before a restart and after each."""

_BAND_ROWS = 256

_FILLED_UP = frozenset((127, 128))
"""What libjpeg makes of blocks of which it has no data: mid-grey, which in CMYK is inverted."""

_MOST_SCANS = 4
"""Of a sequential JPEG that is decoded once more: one for each component."""


def is_filled_up(image: Image.Image) -> bool:
    """Say whether the last pixel of a loaded picture is as libjpeg fills up one that ends early; it is alone in doubt.

    Of progressive pictures that end early, most have all their pixels, less sharp.
    """
    last = image.getpixel((image.width - 1, image.height - 1))
    return not image.info.get("progressive") and _FILLED_UP.issuperset(last if isinstance(last, tuple) else (last,))


def as_if_more(encoded: bytes) -> Iterator[bytes]:
    """Yield a sequential JPEG with different data behind its own, before its end; of more scans than it needs, nothing.

    If it had ended early, some of these would look otherwise.
    """
    place, scans = len(SIGNATURE), 0
    for _ in range(_MAX_SEGMENTS):
        marker = _MARKER.search(encoded, place)
        if marker is None or scans > _MOST_SCANS:
            return
        if marker[0] == END:
            yield from (encoded[: marker.start()] + more + END for more in _ANYTHING)
            return
        scans += marker[0][1] == _SCAN
        start = marker.end()
        place = start + int.from_bytes(encoded[start : start + 2], "big")


def ends_early(encoded: bytes, min_short_side: int | None) -> bool:
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


def error_of(encoded: bytes) -> UndecodableImage:
    """Return what is wrong with a JPEG that could not be decoded."""
    if _is_of_another_kind(encoded):
        return UndecodableImage(
            "The image is a JPEG of a kind that is not read: lossless, hierarchical, or not of 8 bits a sample."
        )
    return UndecodableImage()


def _is_of_another_kind(encoded: bytes) -> bool:
    place = len(SIGNATURE)
    for _ in range(_MAX_SEGMENTS):
        marker = _MARKER.search(encoded, place)
        if marker is None or marker[0][1] == _SCAN:
            break
        kind, start = marker[0][1], marker.end()
        place = start + int.from_bytes(encoded[start : start + 2], "big")
        if kind in _FRAMES:
            return kind not in _READ or encoded[start + 2 : start + 3] != b"\x08"
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
    place, missing, progressive = len(SIGNATURE), set[tuple[int, int]](), False
    for _ in range(_MAX_SEGMENTS):
        marker = _MARKER.search(encoded, place)
        if marker is None:
            return not missing
        kind, start = marker[0][1], marker.end()
        place = start + int.from_bytes(encoded[start : start + 2], "big")
        segment = encoded[start + 2 : place]
        if marker[0] == END or place >= len(encoded):
            return False
        if kind == _PROGRESSIVE or kind in _SEQUENTIAL:
            progressive = kind == _PROGRESSIVE
            missing |= {(component, number) for component in segment[6::3] for number in range(_COEFFICIENTS)}
        elif kind == _SCAN:
            components = segment[1 : 1 + 2 * segment[0] : 2]
            first, last, low_bit = segment[-3], segment[-2], segment[-1] & 0x0F
            if not progressive:
                first, last, low_bit = 0, _COEFFICIENTS - 1, 0
            if not low_bit:
                missing -= {(component, number) for component in components for number in range(first, last + 1)}
    return False
