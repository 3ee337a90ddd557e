"""The container: a header, and directories of tags, each read lazily."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from service.errors import UndecodableImage

_MAX_TAGS = 1_000  # of a directory; the richest known have some 200
_MAX_DIRECTORIES = 1_000  # that are looked at in a file, with those below others
_SUB_DIRECTORIES = 330

# Tags that are ever read.
_KNOWN = (
    *(*range(254, 260), 262, 266, *range(273, 275), *range(277, 282), 284, 317, *range(320, 326), _SUB_DIRECTORIES),
    *(270, 332, 334, *range(338, 342), 347, *range(529, 533), 292, 32_997, 34_675, 42_113, 50_706),
)
_IS_KNOWN = np.zeros(65_536, np.bool_)
_IS_KNOWN[list(_KNOWN)] = True

# numpy's names of TIFF's types of values; a rational is two numbers.
_KINDS = {
    **dict.fromkeys((1, 2, 7), "u1"),
    **dict.fromkeys((4, 5, 13), "u4"),
    **dict.fromkeys((9, 10), "i4"),
    **dict.fromkeys((16, 18), "u8"),
    3: "u2",
    6: "i1",
    8: "i2",
    11: "f4",
    12: "f8",
    17: "i8",
}
_RATIONAL = (5, 10)


@dataclass(frozen=True)
class Layout:
    """How a file writes numbers: in which byte order, and whether places have 64 bits (BigTIFF)."""

    order: Literal["<", ">"]
    is_big: bool

    @property
    def place(self) -> str:
        """The letter that struct has for where something is in the file."""
        return "Q" if self.is_big else "I"

    def entries(self) -> np.dtype[np.void]:
        """Return numpy's description of an entry of a directory."""
        word = "u8" if self.is_big else "u4"
        fields = [("tag", "u2"), ("kind", "u2"), ("count", word), ("value", word)]
        return np.dtype([(name, self.order + kind) for name, kind in fields])


@dataclass(frozen=True)
class _Tag:
    kind: int
    count: int
    place: int


class Directory:
    """One picture's tags. Raises UndecodableImage where the file ends before it does."""

    def __init__(self, encoded: bytes, layout: Layout, place: int) -> None:
        self.encoded = encoded
        self.layout = layout
        count_of = "Q" if layout.is_big else "H"
        (count,) = _unpacked(layout.order + count_of, encoded, place)
        if not 0 < count <= _MAX_TAGS:
            raise UndecodableImage
        start, entry = place + struct.calcsize(count_of), layout.entries()
        end = start + count * entry.itemsize
        if end > len(encoded):
            raise UndecodableImage
        value = entry.itemsize - struct.calcsize(layout.place)
        entries = np.frombuffer(encoded, entry, count, start)
        self._tags: dict[int, _Tag] = {}
        for number in np.flatnonzero(_IS_KNOWN[entries["tag"]]).tolist():
            tag, kind, values, _ = entries[number].tolist()
            # The first of several, as libtiff has it.
            self._tags.setdefault(tag, _Tag(kind, values, start + number * entry.itemsize + value))
        try:
            (self.following,) = _unpacked(layout.order + layout.place, encoded, end)
        except UndecodableImage:
            self.following = 0  # the last one, of a file that ends with it

    def __contains__(self, tag: int) -> bool:
        return tag in self._tags

    def count(self, tag: int) -> int:
        """Return how many values a tag has; 0 where it is absent."""
        return self._tags[tag].count if tag in self._tags else 0

    def numbers(self, tag: int, most: int) -> NDArray[Any]:
        """Return a tag's values, none where it is absent; a rational is one number.

        Raises UndecodableImage where there are more than `most`, or they are not all in the file.
        """
        found = self._tags.get(tag)
        if found is None:
            return np.zeros(0, np.uint8)
        kind = _KINDS.get(found.kind)
        if kind is None or found.count > most:
            raise UndecodableImage
        values = found.count * (2 if found.kind in _RATIONAL else 1)
        dtype = np.dtype(self.layout.order + kind)
        place = found.place
        if values * dtype.itemsize > struct.calcsize(self.layout.place):
            (place,) = _unpacked(self.layout.order + self.layout.place, self.encoded, place)
        if place + values * dtype.itemsize > len(self.encoded):
            raise UndecodableImage
        numbers = np.frombuffer(self.encoded, dtype, values, place)
        if found.kind in _RATIONAL:
            return np.asarray(numbers[::2] / np.maximum(numbers[1::2], 1))
        return numbers.astype(dtype.newbyteorder("="), copy=False)

    def number(self, tag: int, default: int) -> int:
        """Return a tag's one whole number, the first where it has several."""
        numbers = self.numbers(tag, 1_024)
        return int(numbers[0]) if numbers.size else default

    def contents(self, tag: int, most: int) -> bytes:
        """Return a tag's bytes; none where it is absent or has more than `most`."""
        if self.count(tag) > most or tag not in self._tags or self._tags[tag].kind not in (1, 2, 6, 7):
            return b""
        return self.numbers(tag, most).tobytes()

    @property
    def below(self) -> list[int]:
        """Where the directories are that are below this one."""
        return [int(place) for place in self.numbers(_SUB_DIRECTORIES, _MAX_DIRECTORIES)]


class Directories:
    """All directories of a file, read lazily, each once, a thousand at most."""

    def __init__(self, encoded: bytes) -> None:
        self._encoded = encoded
        self._seen: set[int] = set()
        order: Literal["<", ">"] = ">" if encoded[:2] == b"MM" else "<"
        # Some writers have the magic number in the other byte order than all else.
        self.layout = Layout(order, is_big=43 in encoded[2:4])
        offset = 4
        if self.layout.is_big:
            if _unpacked(order + "HH", encoded, 4) != (8, 0):
                raise UndecodableImage
            offset = 8
        (self._first,) = _unpacked(order + self.layout.place, encoded, offset)

    def chain(self) -> Iterator[Directory]:
        """Yield one after the other, to the first that is broken. Raises UndecodableImage where none is whole."""
        place, directory = self._first, None
        while place and (directory is None or self._is_new(place)):
            try:
                directory = Directory(self._encoded, self.layout, place)
            except UndecodableImage:
                if directory is None:
                    raise
                return
            self._seen.add(place)
            yield directory
            place = directory.following
        if directory is None:
            raise UndecodableImage

    def below(self, directory: Directory) -> Iterator[Directory]:
        """Yield those that a directory names as below it, and that are whole."""
        try:
            places = directory.below
        except UndecodableImage:
            return
        for place in places:
            if self._is_new(place):
                self._seen.add(place)
                try:
                    yield Directory(self._encoded, self.layout, place)
                except UndecodableImage:
                    continue

    def _is_new(self, place: int) -> bool:
        return place not in self._seen and len(self._seen) < _MAX_DIRECTORIES


def _unpacked(form: str, encoded: bytes, place: int) -> tuple[int, ...]:
    if place + struct.calcsize(form) > len(encoded):
        raise UndecodableImage
    return struct.unpack_from(form, encoded, place)
