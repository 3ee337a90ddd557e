"""HEIF: pictures that are coded as HEVC, as phones write them; by libheif, of which Pillow has none itself."""

import struct
from functools import cache

from PIL import Image

_MAJOR = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_AVIF = frozenset((b"avif", b"avis"))
_MAX_BRANDS = 64
_NUMBERED = b"colrnclx"
_MAX_HEAD = 1_048_576


@cache
def register() -> None:
    """Let Pillow open HEIF, with nothing but the picture itself and without threads beside libde265's own."""
    import pillow_heif  # noqa: PLC0415  # a process that opens no HEIF has no use for its libraries

    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)


def is_heif(encoded: bytes) -> bool:
    """Say whether this is HEIF and not AVIF, which is of the same family: the brands of its first box decide.

    Source: ISO/IEC 23008-12, 10.
    """
    if encoded[4:8] != b"ftyp" or encoded[8:12] not in _MAJOR:
        return False
    end = min(int.from_bytes(encoded[:4], "big"), 4 * _MAX_BRANDS)
    others = {encoded[place : place + 4] for place in range(16, end, 4)}
    return not others & _AVIF or bool(others & (_MAJOR - {b"mif1", b"msf1"}))


def bytes_to_decode(image: Image.Image) -> int:
    """Return what libheif takes of a pixel at most, beside the picture itself, as measured.

    It has the planes as they were coded and a copy in RGB, of which the plugin makes a third.
    """
    planes = 4 if image.info.get("chroma") == 420 else 6
    return planes + 6 if image.mode in ("RGBA", "RGBa") else planes


def code_points(encoded: bytes) -> tuple[int, int] | None:
    """Return the code points of primaries and transfer that a HEIF or an AVIF says, None where it says none.

    Source: ISO/IEC 14496-12, 12.1.5.
    """
    place = encoded.find(_NUMBERED, 0, _MAX_HEAD) if encoded[4:8] == b"ftyp" else -1
    if place < 0 or place + 12 > len(encoded):
        return None
    primaries, transfer = struct.unpack_from(">HH", encoded, place + len(_NUMBERED))
    return primaries, transfer
