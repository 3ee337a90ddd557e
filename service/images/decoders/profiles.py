"""ICC profiles, before Little CMS spends anything on them: which of them are plain, and what is kept from it."""

import struct

MAX_PLAIN_BYTES = 32_768
"""Three curves of 4,096 samples, and what such a profile says besides."""

_HEADER = struct.Struct(">12x4s4s4s12x4s88xI")
"""Class, space of the colours, space that they are taken to, a mark, and the number of tags."""

_TAG = struct.Struct(">4sII")
_MARK = b"acsp"
_CLASSES = (b"mntr", b"scnr", b"spac", b"prtr")
_SPACES = (b"RGB ", b"GRAY")
_MAX_TAGS = 40
_MOST_TAGS = 100
"""As many as Little CMS reads of any profile."""

_MAX_SAMPLES = 4_096
_FLOAT_PIPELINES = frozenset(b"D2B0 D2B1 D2B2 D2B3 B2D0 B2D1 B2D2 B2D3".split())
_CURVES = (b"rTRC", b"gTRC", b"bTRC", b"kTRC")
_OTHER_TAGS = frozenset(
    b"rXYZ gXYZ bXYZ wtpt bkpt chad desc cprt dmnd dmdd lumi meas view vued tech chrm targ calt cicp dscm mmod vcgt "
    b"ndin aarg aagg aabg aapy".split()
)
"""What else such profiles hold. Little CMS reads those of them that it needs, and each of these once."""


def without_float_pipelines(profile: bytes) -> bytes:
    """Return the profile with its float pipelines (multiProcessElements) under names that nobody reads.

    A pipeline may have any number of stages in eight bytes each, and Little CMS takes 7 ms for each. A profile that has
    them must be complete without them.
    Source: ICC.1:2022, 8.3 to 8.5 and 10.16.
    """
    changed = bytearray(profile)
    try:
        tags = min(_HEADER.unpack_from(profile)[-1], _MOST_TAGS)
        for place in range(_HEADER.size, _HEADER.size + tags * _TAG.size, _TAG.size):
            if _TAG.unpack_from(profile, place)[0] in _FLOAT_PIPELINES:
                changed[place] = ord("_")
    except struct.error:
        pass  # Little CMS says of it what it says of any that is cut short
    return bytes(changed)


def is_plain(profile: bytes) -> bool:
    """Say whether a profile has matrix and curves alone, of a moderate size, and no table and no chain of stages."""
    if len(profile) > MAX_PLAIN_BYTES:
        return False
    try:
        profile_class, space, connection, mark, tags = _HEADER.unpack_from(profile)
        if profile_class not in _CLASSES or space not in _SPACES or connection != b"XYZ " or mark != _MARK:
            return False
        return tags <= _MAX_TAGS and all(
            name in _OTHER_TAGS or (name in _CURVES and _is_plain_curve(profile, place))
            for name, place, _ in _TAG.iter_unpack(profile[_HEADER.size : _HEADER.size + tags * _TAG.size])
        )
    except struct.error:
        return False


def _is_plain_curve(profile: bytes, place: int) -> bool:
    kind, samples = struct.unpack_from(">4s4xI", profile, place)
    return bool(kind == b"para" or (kind == b"curv" and samples <= _MAX_SAMPLES))
