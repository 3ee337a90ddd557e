"""GIF: what comes before its first picture, which is the only one that is looked at."""

_HEAD = 13
_TABLE, _TABLE_BITS, _FLAGS = 0x80, 0x07, 10
_EXTENSION, _PICTURE, _END = 0x21, 0x2C, 0x3B
_CONTROL = b"\xf9\x04"
_WHAT_FOLLOWS = 0b0001_1100
"""The bits of a graphic control that say what is left of its picture for the next."""


def without_disposal(encoded: bytes) -> bytes:
    """Return a GIF that does not say what becomes of its first picture when the next one comes.

    Pillow makes a picture of that as it opens the file, of as many pixels as are claimed.
    Source: GIF89a specification, 18, 20 and 23.
    """
    changed, flags = bytearray(encoded), encoded[_FLAGS : _FLAGS + 1]
    place = _HEAD + (3 << (flags[0] & _TABLE_BITS) + 1 if flags and flags[0] & _TABLE else 0)
    while place < len(encoded) and encoded[place] not in (_PICTURE, _END):
        if encoded[place] != _EXTENSION:
            place += 1  # as Pillow does
            continue
        if encoded[place + 1 : place + 3] == _CONTROL and place + 3 < len(encoded):
            changed[place + 3] &= ~_WHAT_FOLLOWS
        place += 2
        while place < len(encoded) and encoded[place]:
            place += 1 + encoded[place]
        place += 1
    return bytes(changed)
