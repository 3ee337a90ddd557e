"""Random changes of good files: of their bits, their length, their order, their numbers and their parts."""

import re
import zlib
from collections.abc import Callable, Sequence

from numpy.random import Generator

_NUMBERS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 7000, 16383, 60_000, 0x7FFF_FFFF, 0xFFFF_FFFF)
_PARTS = {
    "JPEG": rb"\xff[\xc0-\xfe]",
    "PNG": rb"[A-Za-z]{4}",
    "WEBP": rb"VP8[ LX]|ALPH|ANIM|ANMF|EXIF",
    "GIF": rb"[,!]",
    "JPEG2000": rb"\xff[\x4f-\x93]|jp2[chi]|ihdr|colr",
    "AVIF": rb"meta|iloc|ipco|ispe|mdat|av1C|iinf|iprp|moov",
    "HEIF": rb"meta|iloc|ipco|ispe|mdat|hvcC|iinf|iprp|iref|idat|grid|irot|auxC|pixi|colr",
}
_SIGNATURES = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n....IHDR",
    "WEBP": rb"RIFF....WEBPVP8[ LX]",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "BMP": rb"BM",
    "AVIF": rb".{4}ftyp.*?(?=....meta)",
    "HEIF": rb".{4}ftyp.*?(?=....meta)",
    "JPEG2000": rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n.{4}ftyp",
}
"""What a file begins with, without which no decoder looks at it."""

_PIXELS = {
    "JPEG": rb"\xff\xda",
    "PNG": rb"IDAT",
    "WEBP": rb"VP8[ L]",
    "GIF": rb",",
    "TIFF": rb".{180}",
    "BMP": rb"\x28\0\0\0",
    "AVIF": rb"mdat",
    "HEIF": rb"mdat",
    "JPEG2000": rb"\xff\x93",
}
"""What comes before the pixels themselves."""

_UNCHANGED = (None, _SIGNATURES, _SIGNATURES, _PIXELS, _PIXELS, _PIXELS)
_HEAD = 200


def mutated(file_format: str, files: Sequence[bytes], random: Generator) -> bytes:
    """Return one of the files with one to four changes, in most cases of what comes after its first bytes."""
    file = files[int(random.integers(len(files)))]
    unchanged = _UNCHANGED[random.integers(len(_UNCHANGED))]
    found = unchanged and re.search(unchanged[file_format], file, re.DOTALL)
    start = found.end() if found else 0
    changed = bytearray(file[start:])
    for _ in range(random.integers(1, 5)):
        _CHANGES[random.integers(len(_CHANGES))](changed, file_format, files, random)
    made = file[:start] + changed
    return _sealed(made) if file_format == "PNG" and random.random() < 0.7 else made


def _sealed(png: bytes) -> bytes:
    """Return a PNG whose checksums are right, without which its chunks are not read."""
    sealed, place = bytearray(png), 8
    while place + 12 <= len(png):
        end = place + 8 + int.from_bytes(png[place : place + 4], "big")
        if end + 4 <= len(png):
            sealed[end : end + 4] = zlib.crc32(png[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(sealed)


def _place(file: bytearray, random: Generator) -> int:
    """Return a place in the file, every other time near its beginning, where it says what it is."""
    return int(random.integers(max(1, min(len(file), _HEAD if random.random() < 0.5 else len(file)))))


def _flip(file: bytearray, _format: str, _files: Sequence[bytes], random: Generator) -> None:
    for _ in range(random.integers(1, 9)):
        if file:
            file[_place(file, random)] ^= 1 << random.integers(8)


def _cut(file: bytearray, _format: str, _files: Sequence[bytes], random: Generator) -> None:
    del file[_place(file, random) :]


def _drop(file: bytearray, _format: str, _files: Sequence[bytes], random: Generator) -> None:
    place = _place(file, random)
    del file[place : place + int(random.integers(1, 64))]


def _splice(file: bytearray, _format: str, files: Sequence[bytes], random: Generator) -> None:
    other = files[int(random.integers(len(files)))]
    file[_place(file, random) :] = other[int(random.integers(max(1, len(other)))) :]


def _number(file: bytearray, _format: str, _files: Sequence[bytes], random: Generator) -> None:
    place, size = _place(file, random), int(random.choice((1, 2, 4)))
    number = _NUMBERS[random.integers(len(_NUMBERS))] & ((1 << 8 * size) - 1)
    file[place : place + size] = number.to_bytes(size, "big" if random.random() < 0.5 else "little")


def _repeat(file: bytearray, file_format: str, _files: Sequence[bytes], random: Generator) -> None:
    places = [match.start() for match in re.finditer(_PARTS.get(file_format, rb"\0\0"), file)] or [0]
    begin = places[random.integers(len(places))]
    end = places[random.integers(len(places))]
    file[begin:begin] = file[begin:end] * int(random.choice((1, 2, 100)))


_CHANGES: tuple[Callable[[bytearray, str, Sequence[bytes], Generator], None], ...] = (
    *(_flip, _flip, _cut, _drop, _splice, _number, _number, _repeat),
)
