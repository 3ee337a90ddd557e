"""JP2: what the boxes around a JPEG 2000's samples say of them.

Pillow reads but some of the boxes: of a palette it keeps equal colours once, and so shows others; it knows no profile,
no order of channels, and of colours only that they are CMYK. So it decodes the samples alone, and what is said of them
is done here.
Source: ITU-T T.800, I.5, and T.801, M.11.7.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageChops

from service.errors import UndecodableImage

_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_START = b"\xff\x4f\xff\x51"

_MAX_BOXES = 1_000
_MAX_COLOURS = 1_024
_BITS = 8

_DARK_BILEVEL = 0
_ENUMERATED = {_DARK_BILEVEL: "L", 12: "CMYK", 15: "L", 16: "RGB", 17: "L", 18: "YCbCr"}
"""Pillow's names of the colours that are said by number."""

_PROFILED = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}
_BY_NUMBER, _BY_PROFILE = 1, (2, 3)

_COLOUR, _OPACITY, _MULTIPLIED = 0, 1, 2
"""What a channel may be: colours that are multiplied by opacity already are told by the opacity's kind."""


def unread(kind: str) -> UndecodableImage:
    """Return what is raised of a whole JPEG 2000 of a kind that is not read."""
    return UndecodableImage(f"The image is a JPEG 2000 of a kind that is not read: {kind}.")


@dataclass
class Boxes:
    """What is said of the samples; of those without boxes, nothing.

    colours:  Pillow's name of what they are, None where nothing is said
    inverted: whether 0 is white
    profile:  an ICC profile, or nothing
    palette:  the values of each column, from 0 to 255
    channels: of each channel the component, and the palette's column or None; none where each component is one
    meanings: by channel, what it is, and of which colour, counted from 1
    """

    colours: str | None = None
    inverted: bool = False
    profile: bytes = b""
    palette: list[list[int]] = field(default_factory=list)
    channels: list[tuple[int, int | None]] = field(default_factory=list)
    meanings: dict[int, tuple[int, int]] = field(default_factory=dict)

    def seen(self, image: Image.Image, depths: Sequence[int], *, is_ycc: bool) -> Image.Image:
        """Return the picture that decoded components make, which had samples of so many bits.

        is_ycc: whether they were YCbCr, and are RGB now
        Raises UndecodableImage.
        """
        if image.mode == "I;16":
            if self.palette or self.inverted or self.colours not in (None, "L"):
                raise unread("a palette, or colours, of one channel of more than 8 bits")
            return image
        if is_ycc and (self.palette or self.colours not in (None, "YCbCr")):
            raise unread("colours of which some have fewer samples than others")
        channels = self._channels(image.split(), depths)
        mode = self.colours or ("L" if len(channels) < 3 else "RGB")
        places, alpha, multiplied = self._places(Image.getmodebands(mode), len(channels))
        bands = [channels[place] for place in places]
        if self.inverted:
            bands = [ImageChops.invert(band) for band in bands]
        if mode == "YCbCr":
            bands, mode = (bands if is_ycc else list(Image.merge(mode, bands).convert("RGB").split())), "RGB"
        if alpha is None:
            return Image.merge(mode, bands)
        if mode == "CMYK":
            raise unread("CMYK with opacity")
        if multiplied:
            return Image.merge(mode + "a", [*bands, channels[alpha]]).convert(mode + "A")
        return Image.merge(mode + "A", [*bands, channels[alpha]])

    def _channels(self, components: Sequence[Image.Image], depths: Sequence[int]) -> list[Image.Image]:
        """Return what is colour or opacity, in 8 bits each."""
        # Pillow moves samples of fewer bits up, whereby white is not white.
        numbers = [[value >> max(0, _BITS - depth) for value in range(256)] for depth in depths]
        direct = [
            band if depth >= _BITS else band.point([_brought_to_eight(number, depth) for number in own])
            for band, depth, own in zip(components, depths, numbers, strict=True)
        ]
        if not self.channels:
            return direct
        if any(component >= len(components) for component, _ in self.channels):
            raise UndecodableImage
        if any(depths[component] > _BITS for component, column in self.channels if column is not None):
            raise unread("a palette of numbers of more than 8 bits")
        return [
            direct[component]
            if column is None
            # A number beyond the palette is its last colour, as OpenJPEG has it.
            else components[component].point(
                [self.palette[column][min(number, len(self.palette[column]) - 1)] for number in numbers[component]]
            )
            for component, column in self.channels
        ]

    def _places(self, colours: int, channels: int) -> tuple[list[int], int | None, bool]:
        """Return which channels are the colours, which one is opacity, and whether they are multiplied by it."""
        if channels < colours:
            raise unread("fewer channels than colours")
        if not self.meanings:
            return list(range(colours)), colours if channels == colours + 1 else None, False
        of_colours = {colour: place for place, (kind, colour) in self.meanings.items() if kind == _COLOUR}
        opacity = {place: kind for place, (kind, _) in self.meanings.items() if kind in (_OPACITY, _MULTIPLIED)}
        wanted = range(1, colours + 1)
        if len(opacity) > 1 or not of_colours.keys() >= set(wanted) or max(self.meanings) >= channels:
            raise unread("channels that are not each colour once, and opacity")
        alpha = next(iter(opacity), None)
        return [of_colours[colour] for colour in wanted], alpha, opacity.get(alpha or 0) == _MULTIPLIED


def _brought_to_eight(number: int, depth: int) -> int:
    white = (1 << depth) - 1
    return (min(number, white) * 255 + white // 2) // white


def is_jpeg_2000(encoded: bytes) -> bool:
    """Say whether these bytes begin as a JPEG 2000 does, with boxes or without."""
    return encoded.startswith((_SIGNATURE, _START))


def opened(encoded: bytes) -> tuple[bytes, Boxes]:
    """Return the samples without their boxes, up to the end of the file, and what the boxes say.

    Raises UndecodableImage.
    """
    if encoded.startswith(_START):
        return encoded, Boxes()
    said: Boxes | None = None
    for kind, start, end in boxes(encoded, 0, len(encoded)):
        if kind == b"jp2h" and said is None:
            said = _said(encoded, start, end)
        elif kind == b"jp2c" and said is not None and encoded.startswith(_START, start):
            return encoded[start:], said
    raise UndecodableImage


def boxes(encoded: bytes, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind of each box, and where its contents begin and end; the last one may be cut short.

    Source: ISO/IEC 15444-1, I.4, and ISO/IEC 14496-12, 4.2, which is the same. Raises UndecodableImage.
    """
    for _ in range(_MAX_BOXES):
        if place + 8 > end:
            return
        length, kind = struct.unpack_from(">I4s", encoded, place)
        start = place + 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", encoded, start)
            start += 8
        close = place + length if length else end
        if close < start:
            raise UndecodableImage
        yield kind, start, min(close, end)
        place = close


def _said(encoded: bytes, start: int, end: int) -> Boxes:
    """Return what the boxes of a header say. Raises UndecodableImage, and struct.error where one is too short."""
    said = Boxes()
    is_unread = False
    for kind, begin, close in boxes(encoded, start, end):
        contents = encoded[begin:close]
        if kind == b"colr" and said.colours is None:  # the first that is understood
            is_unread = not _take_colours(said, contents)
        elif kind == b"pclr" and not said.palette:
            said.palette = _palette(contents)
        elif kind == b"cmap":
            mapped = struct.iter_unpack(">HBB", contents[: len(contents) // 4 * 4])
            said.channels = [
                (component, column if is_looked_up else None) for component, is_looked_up, column in mapped
            ]
        elif kind == b"cdef":
            (number,) = struct.unpack_from(">H", contents)
            meanings = struct.iter_unpack(">3H", contents[2 : 2 + 6 * number])
            said.meanings = {channel: (what, colour) for channel, what, colour in meanings}
    if is_unread and said.colours is None:
        raise unread("colours that are neither grey, RGB, CMYK nor sYCC")
    columns = [column for _, column in said.channels if column is not None]
    if bool(said.palette) != bool(said.channels) or max(columns, default=0) >= max(1, len(said.palette)):
        raise UndecodableImage
    return said


def _take_colours(boxes: Boxes, contents: bytes) -> bool:
    """Take what a box says of the colours, and say whether that is understood."""
    method = contents[0]
    if method == _BY_NUMBER:
        (number,) = struct.unpack_from(">I", contents, 3)
        boxes.colours = _ENUMERATED.get(number)
        boxes.inverted = number == _DARK_BILEVEL
    elif method in _BY_PROFILE:
        boxes.colours = _PROFILED.get(contents[3 + 16 : 3 + 20])
        boxes.profile = contents[3:] if boxes.colours else b""
    return boxes.colours is not None


def _palette(contents: bytes) -> list[list[int]]:
    """Return the values of each column, in 8 bits."""
    number, columns = struct.unpack_from(">HB", contents)
    depths = [(code & 0x7F) + 1 for code in contents[3 : 3 + columns]]
    signed = any(code & 0x80 for code in contents[3 : 3 + columns])
    if not 0 < number <= _MAX_COLOURS or len(depths) != columns or not columns:
        raise UndecodableImage
    if signed or max(depths) > 2 * _BITS:
        raise unread("a palette of signed values, or of more than 16 bits")
    row = struct.Struct(">" + "".join("B" if depth <= _BITS else "H" for depth in depths))
    rows = [row.unpack_from(contents, 3 + columns + row.size * place) for place in range(number)]
    return [
        [_brought_to_eight(value, depth) for value in column]
        for column, depth in zip(zip(*rows, strict=True), depths, strict=True)
    ]
