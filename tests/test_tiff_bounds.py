"""Hostile TIFFs: what they may cost is known before it is spent, and whatever is broken ends as one of our errors."""

import io
import itertools
import lzma
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from service.errors import GazeError, ImageDimensions, UndecodableImage, UnsupportedImageFormat
from service.images.decode import ImageLimits, decode
from service.images.decoders.tiff.directory import Directories
from tests.support.tiff_corpus import GROUPS
from tests.support.tiff_writing import Tags, handmade, of_pages, plain

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=50_000_000)
SMALL_MEGABYTES = 20
REFUSALS = (UndecodableImage, ImageDimensions, UnsupportedImageFormat)


def grey(width: int, height: int, **more: tuple[int, list[int] | bytes]) -> Tags:
    """Return the tags of a grey picture of 8 bits in one strip, without making one."""
    sizes: Tags = {256: (4, [width]), 257: (4, [height]), 278: (4, [height])}
    return plain(np.zeros((1, 1, 1)), 1) | sizes | {int(name[1:]): value for name, value in more.items()}


def tiles(number: int, side: int, data: bytes | bytearray, compression: int) -> bytes:
    """Return a picture of so many tiles across and down that are all the same one."""
    table = {324: (3, [8] * number**2), 325: (3, [len(data)] * number**2)}
    tags = grey(number * side, number * side, t259=(3, [compression]), t322=(3, [side]), t323=(3, [side]))
    return handmade(tags | table, [data], drop=(278,))


def progressive(scans: int) -> bytes:
    """Return a JPEG whose scans come again and again."""
    file = io.BytesIO()
    Image.new("L", (800, 800)).save(file, "JPEG", progressive=True)
    start = file.getvalue().index(b"\xff\xda")
    jpeg = file.getvalue()
    return jpeg[:start] + jpeg[start:-2] * scans + jpeg[-2:]


def tiny_tiles() -> bytes:
    """Return a JPEG 2000 whose header says that its tiles are 16 pixels wide."""
    codestream = bytearray(imagecodecs.jpeg2k_encode(np.zeros((2048, 2048), np.uint8), level=0, codecformat="j2k"))
    struct.pack_into(">II", codestream, codestream.index(b"\xff\x4f\xff\x51") + 24, 16, 16)
    return bytes(codestream)


def many_components() -> bytes:
    """Return a grey picture whose JPEG 2000 says that it has 16,384 components and 1,024 tiles."""
    codestream = bytes(imagecodecs.jpeg2k_encode(np.zeros((512, 512), np.uint8), level=0, codecformat="j2k"))
    start = codestream.index(b"\xff\x51")
    size = struct.pack(">HH8IH", 38 + 3 * 16_384, 0, 512, 512, 0, 0, 16, 16, 0, 0, 16_384) + b"\7\1\1" * 16_384
    end = start + 2 + int.from_bytes(codestream[start + 2 : start + 4], "big")
    coded = codestream[: start + 2] + size + codestream[end:]
    return handmade(grey(512, 512, t259=(3, [34_712]), t279=(4, [len(coded)])), [coded])


def chain(directories: int) -> bytes:
    """Return smaller copies that follow each other, of nothing."""
    body = bytearray(b"II*\0\x08\0\0\0")
    for _ in range(directories):
        body += struct.pack("<HHHIIHHIII", 2, 254, 4, 1, 1, 330, 4, 2**20, 8, len(body) + 30)
    return bytes(body)


BOMBS: dict[str, Callable[[], bytes]] = {
    "deflate": lambda: handmade(grey(9, 9, t259=(3, [8])), [zlib.compress(bytes(60_000_000), 9)]),
    "zstd": lambda: handmade(grey(9, 9, t259=(3, [50_000])), [imagecodecs.zstd_encode(bytes(200_000_000))]),
    "LZW": lambda: handmade(grey(9, 9, t259=(3, [5])), [imagecodecs.lzw_encode(bytes(20_000_000))]),
    "LZMA": lambda: handmade(grey(9, 9, t259=(3, [34_925])), [lzma.compress(bytes(60_000_000))]),
    "a dictionary of LZMA's": lambda: handmade(
        grey(9, 9, t259=(3, [34_925])),
        [lzma.compress(bytes(90), filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 30, "mode": lzma.MODE_FAST}])],
    ),
    "PackBits": lambda: handmade(grey(9, 9, t259=(3, [32_773])), [b"\x81\0" * 100_000]),
    "JPEG of another size": lambda: handmade(
        grey(9, 9, t259=(3, [7])), [imagecodecs.jpeg8_encode(np.zeros((9_000, 9_000), np.uint8))]
    ),
    "JPEG 2000 of another size": lambda: handmade(
        grey(9, 9, t259=(3, [34_712])), [imagecodecs.jpeg2k_encode(np.zeros((5_000, 5_000), np.uint8))]
    ),
    "JPEG of a thousand scans": lambda: handmade(grey(800, 800, t259=(3, [7])), [progressive(1_000)]),
    "JPEG 2000 of tiny tiles": lambda: handmade(grey(2048, 2048, t259=(3, [34_712])), [tiny_tiles()]),
    "a tile beyond the picture": lambda: handmade(
        grey(9, 9, t322=(4, [30_000]), t323=(4, [30_000]), t259=(3, [8])), [zlib.compress(bytes(9_000_000), 9)]
    ),
    "tiles of one pixel": lambda: tiles(120, 1, b"\0", 1),
    "one tile everywhere": lambda: tiles(110, 64, zlib.compress(bytes(64 * 64)), 8),
    "one JPEG everywhere": lambda: tiles(110, 64, imagecodecs.jpeg8_encode(np.zeros((64, 64), np.uint8)), 7),
    "a large tile everywhere": lambda: tiles(100, 8, bytes(60_000), 1),
    "a thousand planes": lambda: handmade(
        grey(999, 999, t277=(3, [1024]), t262=(3, [2]), t284=(3, [2]), t273=(3, [8] * 1024), t279=(3, [60_000] * 1024)),
        [bytes(60_000)],
    ),
    "a hundred samples": lambda: handmade(grey(999, 999, t277=(3, [200]), t262=(3, [2])), [bytes(60_000)]),
    "a JPEG 2000 of many components": many_components,
    "directories": lambda: chain(2_000),
    "a directory of itself": lambda: chain(1)[:-4] + struct.pack("<I", 8),
    "tags of 4 billion values": lambda: handmade({tag: (7, [0] * 9) for tag in range(254, 999)}, [bytes(9)]).replace(
        struct.pack("<I", 9), struct.pack("<I", 2**32 - 1)
    ),
    "a strip that begins nowhere": lambda: handmade(grey(9, 9, t273=(4, [2**32 - 1])), [bytes(81)]),
    "more strips than the file has bytes": lambda: handmade(grey(4, 400, t278=(4, [1])), [bytes(81)]),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_takes_little(name: str) -> None:
    file = BOMBS[name]()
    tracemalloc.start()
    try:
        decode(file, LIMITS, 448)
    except GazeError as error:
        assert isinstance(error, UndecodableImage | ImageDimensions)  # noqa: PT017  # some are whole pictures
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < SMALL_MEGABYTES * 1_000_000


def test_samples_that_are_too_many_bytes_are_refused_before_they_are_unpacked() -> None:
    data = imagecodecs.zstd_encode(bytes(7_000 * 7_000 * 24))
    tags = grey(7_000, 7_000, t258=(3, [64]), t339=(3, [3]), t277=(3, [3]), t262=(3, [2]), t259=(3, [50_000]))
    asked: list[int] = []

    def before_pixels(needed: int) -> bool:
        asked.append(needed)
        return True

    with pytest.raises(ImageDimensions, match="memory"):
        decode(handmade(tags, [data]), LIMITS, 448, before_pixels)
    assert not asked


@pytest.mark.parametrize("compression", [1, 8, 34_925])
def test_a_strip_that_can_be_read_in_bands_is_never_in_memory(compression: int) -> None:
    pixels = bytes(range(256)) * 100_000
    packed = {1: pixels, 8: zlib.compress(pixels), 34_925: lzma.compress(pixels, preset=0)}[compression]
    file = handmade(grey(6_400, 4_000, t259=(3, [compression])), [packed])
    asked: list[int] = []

    def before_pixels(needed: int) -> bool:
        asked.append(needed)
        return True

    tracemalloc.start()
    decoded = decode(file, LIMITS, None, before_pixels).oriented
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert decoded.size == (6_400, 4_000)
    assert asked == [4 * 25_600_000]
    assert taken < SMALL_MEGABYTES * 1_000_000


def test_no_more_than_a_thousand_directories_are_looked_at() -> None:
    assert len(list(Directories(chain(3_000)).chain())) == 1_000


def test_a_directory_below_itself_ends() -> None:
    pixels = bytes(81)
    file = of_pages([(grey(9, 9, t330=(4, [0, 0, 8])), [pixels])] * 2)
    assert decode(file, LIMITS).oriented.size == (9, 9)


def test_lack_of_memory_is_told_from_what_is_broken() -> None:
    file = handmade(grey(50, 50, t259=(3, [50_000])), [b"no frame of zstd's"])
    with pytest.raises(UndecodableImage):
        decode(file, LIMITS, None, lambda _bytes: True)
    with pytest.raises(ImageDimensions, match="memory"):
        decode(file, LIMITS, None, lambda _bytes: False)


def test_mutated_files_decode_or_are_refused() -> None:
    random = np.random.default_rng(18)
    cases = [case for group in GROUPS for case in itertools.islice(group(), 0, None, 5)]
    refused = 0
    for case in cases:
        order = "<" if case.file[:2] == b"II" else ">"
        is_big = 43 in case.file[2:4]
        (directory,) = struct.unpack_from(order + ("Q" if is_big else "I"), case.file, 8 if is_big else 4)
        for _ in range(3):
            mutated = bytearray(case.file)
            for _ in range(random.integers(1, 4)):
                # Half of the changes hit the directory, where the sizes are.
                place = int(random.integers(len(mutated)))
                if random.integers(2):
                    place = min(directory + int(random.integers(300)), len(mutated) - 1)
                mutated[place] = (0, 1, 127, 255, int(random.integers(256)))[random.integers(5)]
            try:
                assert decode(bytes(mutated), LIMITS, 448).rgb.mode == "RGB"
            except GazeError as error:
                assert isinstance(error, REFUSALS)  # noqa: PT017  # others decode
                refused += 1
    assert refused > len(cases) / 2
