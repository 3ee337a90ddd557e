"""AVIF: what its boxes say of the picture that libavif leaves to others."""

import struct
from collections.abc import Iterator

from service.errors import UndecodableImage
from service.images.decoders.jp2 import boxes

_VERSION = 4
"""Bytes before the contents of boxes that have versions."""

_FIRST_FLAG = 1
_INDEX_BITS = {1: 0x7F, 2: 0x7FFF}


def clean_aperture(encoded: bytes, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Return left, upper, right and lower of the part that is to be seen of a picture, None where that is all of it.

    size: width and height as decoded
    Source: ISO/IEC 14496-12, 12.1.4; ISO/IEC 23008-12, 6.5.9 and 9.3.
    Raises UndecodableImage where it is no part of the picture.
    """
    try:
        apertures = [contents for kind, contents in _properties(encoded) if kind == b"clap"]
        return _part(apertures[0], size) if apertures else None
    except (struct.error, IndexError, ZeroDivisionError):
        raise UndecodableImage from None


def _part(aperture: bytes, size: tuple[int, int]) -> tuple[int, int, int, int]:
    numbers = struct.unpack_from(">iIiIiIiI", aperture)
    wide, high, across, down = (top / bottom for top, bottom in zip(numbers[::2], numbers[1::2], strict=True))
    # Offsets are those of the centres.
    left, upper = (size[0] - wide) / 2 + across, (size[1] - high) / 2 + down
    part = round(left), round(upper), round(left + wide), round(upper + high)
    if not (0 <= part[0] < part[2] <= size[0] and 0 <= part[1] < part[3] <= size[1]):
        raise UndecodableImage
    return part


def _properties(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and contents of each property of the primary picture."""
    for kind, start, end in boxes(encoded, 0, len(encoded)):
        if kind == b"meta":
            told = {kind: (begin, close) for kind, begin, close in boxes(encoded, start + _VERSION, end)}
            if b"pitm" in told and b"iprp" in told:
                yield from _associated(encoded, _primary(encoded, told[b"pitm"][0]), *told[b"iprp"])
            return


def _primary(encoded: bytes, start: int) -> int:
    (number,) = struct.unpack_from(">I" if encoded[start] else ">H", encoded, start + _VERSION)
    return int(number)


def _associated(encoded: bytes, item: int, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    properties: list[tuple[bytes, bytes]] = []
    for kind, begin, close in boxes(encoded, start, end):
        if kind == b"ipco":
            properties += [(each, encoded[first:last]) for each, first, last in boxes(encoded, begin, close)]
        elif kind == b"ipma":  # which comes behind it
            for index in _indices(encoded[begin:close], item):
                if 0 < index <= len(properties):
                    yield properties[index - 1]


def _indices(associations: bytes, item: int) -> Iterator[int]:
    """Yield the places, counted from 1, of an item's properties."""
    number, index = (">I" if associations[0] else ">H"), (">H" if associations[3] & _FIRST_FLAG else ">B")
    (count,) = struct.unpack_from(">I", associations, _VERSION)
    place = _VERSION + 4
    for _ in range(count):
        (owner,) = struct.unpack_from(number, associations, place)
        place += struct.calcsize(number)
        many = associations[place]
        place += 1
        width = struct.calcsize(index)
        if owner == item:
            for (said,) in struct.iter_unpack(index, associations[place : place + many * width]):
                yield said & _INDEX_BITS[width]
        place += many * width
