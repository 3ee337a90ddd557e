"""JPEG 2000: its smaller sizes, of which each file has some; what its samples mean; and whether it was cut short."""

import io
import struct

from PIL import Image, ImageChops, Jpeg2KImagePlugin

from service.images.decoders import jp2

_START = b"\xff\x4f\xff\x51"
_START_OF_DATA, _END = b"\xff\x93", b"\xff\xd9"
_CODING_STYLE, _START_OF_TILE = 0x52, 0x90
_MAX_SEGMENTS = 100

# Bytes from where a segment's marker begins.
_GRID = 6
_LEVELS = 9
_COMPONENTS = 38
_LEAST_OF_A_TILE = 14
"""Bytes of the two markers that a tile begins with."""

_MAX_BITS = 16


_WHERE_ZERO = [255] + [0] * 255
_WHERE_BRIGHT = [0] * 128 + [255] * 128


def bytes_to_decode(image: Image.Image, whole: tuple[int, int]) -> int:
    """Return what OpenJPEG takes at most, as measured, to decode a picture whose size as sent is `whole`.

    Of each sample 32 bits, and as much again for its work on a tile; of a smaller size, what it keeps of each block of
    the whole picture.
    """
    # Of deep samples, a second picture is decoded.
    own = (6 * len(image.getbands()) + 12) * image.width * image.height
    return own if image.size == whole else own + whole[0] * whole[1] // 2


def reduce(image: Image.Image, encoded: bytes, min_short_side: int) -> None:
    """Let the picture be decoded at the smallest of its sizes whose short side keeps so many pixels.

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


def complete(image: Image.Image, encoded: bytes, boxes: jp2.Boxes, min_short_side: int | None) -> None:
    """Make of the loaded picture what its boxes say that it is. Raises UndecodableImage."""
    codes = _components(encoded)
    depths, spacings = _depths(codes), set(zip(codes[1::3], codes[2::3], strict=True))
    is_ycc = len(spacings) > 1  # else Pillow does not take them for that
    _complete_white(image, encoded, depths, min_short_side, is_ycc=is_ycc)
    image.im = boxes.seen(image, depths, is_ycc=is_ycc).im
    image._mode = image.im.mode
    if boxes.profile:
        image.info["icc_profile"] = boxes.profile


def depth(encoded: bytes) -> int:
    """Return the bits that the deepest samples have."""
    return max(_depths(_components(encoded)))


def _components(encoded: bytes) -> bytes:
    """Return three bytes of each component: its depth and its spacing. Source: ITU-T T.800, A.5.1."""
    sizes = _codestream(encoded) + 2 + _COMPONENTS
    (number,) = struct.unpack_from(">H", encoded, sizes)
    return encoded[sizes + 2 : sizes + 2 + 3 * number]


def _depths(components: bytes) -> list[int]:
    return [(code & 0x7F) + 1 for code in components[::3]]


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
        raise jp2.unread("more than 16 bits a sample, or YCC of more than 8 with fewer samples of colour")
    deeper = bytearray(encoded)
    for number, depth in enumerate(depths):
        deeper[_codestream(encoded) + 4 + _COMPONENTS + 3 * number] += depth > _MAX_BITS // 2
    with Image.open(io.BytesIO(deeper), formats=("JPEG2000",)) as middle:
        if min_short_side is not None:
            reduce(middle, encoded, min_short_side)
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


def lacks_end(encoded: bytes) -> bool:
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
