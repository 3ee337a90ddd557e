"""JPEG 2000: its smaller sizes, of which each file has some; what its samples mean; and whether it was cut short.

Pillow reads but some of the boxes around the samples: of a palette it keeps equal colours once, and so shows others; it
knows no profile, no order of channels, and of colours only that they are CMYK. So it decodes the samples alone, and
what is said of them is done here.
Source: ITU-T T.800, I.5, and T.801, M.11.7.
"""

import io
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageChops, Jpeg2KImagePlugin

from service.errors import UndecodableImage
from service.images.decoders import colour
from service.images.picture import Format, Picture

_MAX_BOXES = 1_000
_MAX_COLOURS = 1_024
_BITS = 8

_DARK_BILEVEL = 0
# Pillow's names of the colours that are said by number.
_ENUMERATED = {_DARK_BILEVEL: "L", 12: "CMYK", 15: "L", 16: "RGB", 17: "L", 18: "YCbCr"}
_PROFILED = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}
_BY_NUMBER, _BY_PROFILE = 1, (2, 3)

# What a channel may be: the opacity's kind says whether colours are premultiplied.
_COLOUR, _OPACITY, _MULTIPLIED = 0, 1, 2
_START = b"\xff\x4f\xff\x51"
_START_OF_DATA, _END = b"\xff\x93", b"\xff\xd9"
_CODING_STYLE, _START_OF_TILE = 0x52, 0x90
_MAX_SEGMENTS = 100

# Bytes from where a segment's marker begins.
_GRID = 6
_LEVELS = 9
_COMPONENTS = 38
_LEAST_OF_A_TILE = 14  # bytes of the two markers that a tile begins with
_MAX_BITS = 16


_WHERE_ZERO = [255] + [0] * 255
_WHERE_BRIGHT = [0] * 128 + [255] * 128

_MAX_PIXELS_A_BYTE = 512  # a master of fewer bytes costs more than what was sent is worth


class Jpeg2000Picture(Picture):
    """A JPEG 2000, with boxes or without."""

    format = "JPEG2000"
    hides_memory_errors = True
    _min_short_side: int | None = None

    def __init__(self, file: bytes) -> None:
        samples, self._boxes = _opened(file)
        super().__init__(samples)

    def check_whole(self) -> None:
        """Raise UndecodableImage where the file was cut, or can't have as many tiles as it says."""
        if _lacks_end(self.file) or lacks_tiles(self.file):
            raise UndecodableImage

    def reduce(self, min_short_side: int, max_pixels: int) -> None:  # noqa: ARG002  # which is checked
        """Decode it at the smallest of its sizes whose short side keeps so many pixels."""
        if self.size[0] * self.size[1] <= _MAX_PIXELS_A_BYTE * len(self.file):
            self._min_short_side = min_short_side
            _reduce(self.image, self.file, min_short_side)
            self.decoded_size = self.image.size

    def decoder_bytes(self) -> int:
        """Return what OpenJPEG takes as well, as measured.

        Of each sample 32 bits, and as much again for its work on a tile; of a smaller size, what it keeps of each block
        of the whole picture; and of deep samples, a second picture is decoded.
        """
        image, whole = self.image, self.size
        own = (6 * len(image.getbands()) + 12) * image.width * image.height
        return super().decoder_bytes() + (own if image.size == whole else own + whole[0] * whole[1] // 2)

    def complete(self) -> Image.Image:
        """Return what the boxes say that the picture is. Raises UndecodableImage."""
        image, codes = self.image, _components(self.file)
        depths, spacings = [(code & 0x7F) + 1 for code in codes[::3]], set(zip(codes[1::3], codes[2::3], strict=True))
        is_ycc = len(spacings) > 1  # else Pillow does not take them for that
        _complete_white(image, self.file, depths, self._min_short_side, is_ycc=is_ycc)
        image.im = self._boxes.seen(image, depths, is_ycc=is_ycc).im
        image._mode = image.im.mode
        if self._boxes.profile:
            image.info["icc_profile"] = self._boxes.profile
        self.warnings = colour.depth_warnings(image, max(depths))
        return image


def _unread(kind: str) -> UndecodableImage:
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
                raise _unread("a palette, or colours, of one channel of more than 8 bits")
            return image
        if is_ycc and (self.palette or self.colours not in (None, "YCbCr")):
            raise _unread("colours of which some have fewer samples than others")
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
            raise _unread("CMYK with opacity")
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
            raise _unread("a palette of numbers of more than 8 bits")
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
            raise _unread("fewer channels than colours")
        if not self.meanings:
            return list(range(colours)), colours if channels == colours + 1 else None, False
        of_colours = {colour: place for place, (kind, colour) in self.meanings.items() if kind == _COLOUR}
        opacity = {place: kind for place, (kind, _) in self.meanings.items() if kind in (_OPACITY, _MULTIPLIED)}
        wanted = range(1, colours + 1)
        if len(opacity) > 1 or not of_colours.keys() >= set(wanted) or max(self.meanings) >= channels:
            raise _unread("channels that are not each colour once, and opacity")
        alpha = next(iter(opacity), None)
        return [of_colours[colour] for colour in wanted], alpha, opacity.get(alpha or 0) == _MULTIPLIED


def _brought_to_eight(number: int, depth: int) -> int:
    white = (1 << depth) - 1
    return (min(number, white) * 255 + white // 2) // white


def _opened(encoded: bytes) -> tuple[bytes, Boxes]:
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
        raise _unread("colours that are neither grey, RGB, CMYK nor sYCC")
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
        raise _unread("a palette of signed values, or of more than 16 bits")
    row = struct.Struct(">" + "".join("B" if depth <= _BITS else "H" for depth in depths))
    rows = [row.unpack_from(contents, 3 + columns + row.size * place) for place in range(number)]
    return [
        [_brought_to_eight(value, depth) for value in column]
        for column, depth in zip(zip(*rows, strict=True), depths, strict=True)
    ]


def _reduce(image: Image.Image, encoded: bytes, min_short_side: int) -> None:
    """Let a picture be decoded at the smallest of its sizes whose short side keeps so many pixels.

    Raises what Pillow does where the header is broken. Source: ITU-T T.800, A.5, A.6.1 and B.5.
    """
    if not isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile):
        return
    right, bottom, left, top = struct.unpack_from(">4I", encoded, _codestream(encoded) + 2 + _GRID)
    chosen, size = 0, image.size
    for level in range(1, _levels(encoded) + 1):
        # Pillow's own `reduce` rounds another way, and fails at most sizes.
        width, height = (-(-end >> level) - -(-start >> level) for start, end in ((left, right), (top, bottom)))
        if min(width, height) < min_short_side:
            break
        chosen, size = level, (width, height)
    image._size = size
    image.tile = [
        tile._replace(extents=(0, 0, *size), args=(tile.args[0], chosen, *tile.args[2:]))
        for tile in image.tile
        if isinstance(tile.args, tuple)
    ]


def _components(encoded: bytes) -> bytes:
    """Return three bytes of each component: its depth and its spacing. Source: ITU-T T.800, A.5.1."""
    sizes = _codestream(encoded) + 2 + _COMPONENTS
    (number,) = struct.unpack_from(">H", encoded, sizes)
    return encoded[sizes + 2 : sizes + 2 + 3 * number]


def _complete_white(
    image: Image.Image, encoded: bytes, depths: list[int], min_short_side: int | None, *, is_ycc: bool
) -> None:
    """Give the loaded picture its white, where samples have more than 8 bits and are several a pixel.

    Pillow rounds them to 8 bits, whereby the brightest become 256, and that becomes 0. Decoded as if they had one bit
    more, which the mean of all values stays in the middle of, they tell which of the two is meant.
    Raises UndecodableImage where Pillow's work on such samples cannot be mended.
    """
    deepest = max(depths)
    if deepest <= _MAX_BITS // 2 or (deepest <= _MAX_BITS and image.mode == "I;16"):
        return
    if deepest > _MAX_BITS or is_ycc:
        raise _unread("more than 16 bits a sample, or YCC of more than 8 with fewer samples of colour")
    deeper = bytearray(encoded)
    for number, depth in enumerate(depths):
        deeper[_codestream(encoded) + 4 + _COMPONENTS + 3 * number] += depth > _MAX_BITS // 2
    with Image.open(io.BytesIO(deeper), formats=("JPEG2000",)) as middle:
        if min_short_side is not None:
            _reduce(middle, encoded, min_short_side)
        middle.load()
        bands = [
            ImageChops.lighter(band, ImageChops.darker(band.point(_WHERE_ZERO), brighter.point(_WHERE_BRIGHT)))
            if depth > _MAX_BITS // 2
            else band
            for band, brighter, depth in zip(image.split(), middle.split(), depths, strict=False)
        ]
    image.im = Image.merge(image.mode, bands).im


def lacks_tiles(encoded: bytes) -> bool:
    """Say whether there are more tiles than can be in the file; OpenJPEG takes 11 kB for each, there or not.

    Source: ITU-T T.800, A.4.2, A.4.3 and A.5.1.
    """
    right, bottom, _, _, width, height, left, top = struct.unpack_from(">8I", encoded, _codestream(encoded) + 2 + _GRID)
    if not width or not height:
        return True
    tiles: int = -(-(right - left) // width) * -(-(bottom - top) // height)
    return tiles * _LEAST_OF_A_TILE > len(encoded)


def _lacks_end(encoded: bytes) -> bool:
    """Say whether the file was cut: where that is between two tiles, OpenJPEG fills up the rest and says nothing."""
    start_of_data = encoded.find(_START_OF_DATA)
    return encoded.find(_END, start_of_data) < 0


def _codestream(encoded: bytes) -> int:
    return encoded.index(_START)


def _levels(encoded: bytes) -> int:
    """Return how often the picture can be halved, as its main header says it."""
    place = _codestream(encoded) + 2
    for _ in range(_MAX_SEGMENTS):
        _, kind, length = struct.unpack_from(">BBH", encoded, place)
        if kind == _CODING_STYLE:
            return encoded[place + _LEVELS]
        if kind == _START_OF_TILE:
            break
        place += 2 + length
    return 0


JPEG_2000 = Format(
    re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
    (".jp2", ".j2k", ".j2c", ".jpx", ".jpc", ".jpf"),
    Jpeg2000Picture,
)
