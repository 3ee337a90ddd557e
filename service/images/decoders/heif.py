"""HEIF and AVIF: one container of boxes, and pictures in it that are coded as HEVC, as phones write them, or as AV1.

Pillow decodes AVIF by libavif, and libheif decodes HEIF for it.
"""

import re
import struct
from collections.abc import Iterator
from functools import cache

from PIL import Image

from service.errors import UndecodableImage
from service.images.decoders import colour
from service.images.decoders.jpeg2000 import boxes
from service.images.picture import Format, Picture

_MAJOR = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"))
_AVIF = frozenset((b"avif", b"avis"))
_MAX_BRANDS = 64
_NUMBERED = b"colrnclx"
_MAX_HEAD = 1_048_576
_VERSION = 4  # bytes before the contents of boxes that have versions
_FIRST_FLAG = 1
_INDEX_BITS = {1: 0x7F, 2: 0x7FFF}


class AvifPicture(Picture):
    """An AVIF."""

    format = "AVIF"

    def decoder_pixel_bytes(self) -> int:
        """Return 12: libavif has the planes and gives Pillow a copy."""
        return 12

    def complete(self) -> Image.Image:
        """Return the part that is to be seen, with the profile of its colours."""
        self.warnings = colour.name_colours(self.image, _code_points(self.file))
        part = clean_aperture(self.file, self.image.size)
        return self.image.crop(part) if part else self.image


class HeifPicture(Picture):
    """A HEIF, without the pictures beside its first, and without threads beside libde265's own."""

    format = "HEIF"

    def open(self, file: bytes) -> Image.Image:
        """Return the picture without its pixels. Raises UnsupportedImageFormat or UndecodableImage."""
        register()
        return super().open(file)

    def decoder_pixel_bytes(self) -> int:
        """Return what libheif's planes take, as they were coded and in RGB, of which the plugin makes a third copy."""
        planes = 4 if self.image.info.get("chroma") == 420 else 6
        return planes + 6 if self.image.mode in ("RGBA", "RGBa") else planes

    def load(self, *, has_memory: bool) -> Image.Image:
        """Return the picture. Raises MemoryError where there is too little, of which libheif would end the process."""
        if not has_memory:
            raise MemoryError
        return super().load(has_memory=has_memory)

    def complete(self) -> Image.Image:
        """Return the picture with the profile of its colours."""
        if self.image.size != self.size:
            raise UndecodableImage("The image is a broken HEIF: its pixels are not as many as it says.")
        self.warnings = colour.name_colours(self.image, _code_points(self.file))
        return self.image


@cache
def register() -> None:
    """Let Pillow open HEIF, with nothing but the picture itself."""
    import pillow_heif  # noqa: PLC0415  # a process that opens no HEIF has no use for its libraries

    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)


def _opened(file: bytes) -> Picture:
    return HeifPicture(file) if is_heif(file) else AvifPicture(file)


def is_heif(encoded: bytes) -> bool:
    """Say whether this is HEIF and not AVIF: the brands of the first box decide. Source: ISO/IEC 23008-12, 10."""
    if encoded[8:12] not in _MAJOR:
        return False
    end = min(int.from_bytes(encoded[:4], "big"), 4 * _MAX_BRANDS)
    others = {encoded[place : place + 4] for place in range(16, end, 4)}
    return not others & _AVIF or bool(others & (_MAJOR - {b"mif1", b"msf1"}))


def _code_points(encoded: bytes) -> tuple[int, int] | None:
    """Return the code points of primaries and transfer, None where none are said. Source: ISO/IEC 14496-12, 12.1.5."""
    place = encoded.find(_NUMBERED, 0, _MAX_HEAD)
    if place < 0 or place + 12 > len(encoded):
        return None
    primaries, transfer = struct.unpack_from(">HH", encoded, place + len(_NUMBERED))
    return primaries, transfer


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
            found = {kind: (begin, close) for kind, begin, close in boxes(encoded, start + _VERSION, end)}
            if b"pitm" in found and b"iprp" in found:
                yield from _associated(encoded, _primary(encoded, found[b"pitm"][0]), *found[b"iprp"])
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


HEIF = Format(
    re.compile(rb"....ftyp(avi[fs]|mif1|msf1|hei[cxms]|hev[cxms])", re.DOTALL),
    (".heic", ".heif", ".hif", ".avif"),
    _opened,
    preload=register,
)
