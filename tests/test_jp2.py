"""JP2: what the boxes say of the samples, each against arithmetic."""

import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fuzz.seeds import picture
from service.errors import UndecodableImage
from service.images.decode import ImageLimits, decode
from service.images.decoders import colour

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=1_000_000)
SRGB, GREY, CMYK, YCC, DARK_BILEVEL, BILEVEL = 16, 17, 12, 18, 0, 15
RGB = np.asarray(picture("RGB"))
LEVELS = RGB[..., 1]
ALPHA = np.tile(np.linspace(0, 255, 61).astype(np.uint8), (47, 1))
INDICES = LEVELS >> 4
PALETTE = np.random.default_rng(1).integers(0, 256, (16, 4)).astype(np.uint8)
PALETTE[5] = PALETTE[3]  # equal colours are two numbers all the same


def box(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I4s", len(contents) + 8, kind) + contents


def jp2(samples: NDArray[Any], *boxes: bytes, bits: int = 8) -> bytes:
    rows, columns, channels = (*samples.shape, 1)[:3]
    options: dict[str, Any] = {
        "level": 0,
        "reversible": True,
        "codecformat": "j2k",
        "mct": False,
        "bitspersample": bits,
    }
    coded = bytes(imagecodecs.jpeg2k_encode(np.ascontiguousarray(samples), **options))
    header = box(b"ihdr", struct.pack(">IIHBBBB", rows, columns, channels, bits - 1, 7, 0, 0)) + b"".join(boxes)
    start = box(b"jP  ", b"\r\n\x87\n") + box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + box(b"jp2h", header) + box(b"jp2c", coded)


def colours(number: int) -> bytes:
    return box(b"colr", b"\1\0\0" + struct.pack(">I", number))


def palette(values: NDArray[Any], bits: int = 8) -> bytes:
    rows = values.astype(">u2" if bits > 8 else "u1").tobytes()
    return box(b"pclr", struct.pack(">HB", *values.shape) + bytes([bits - 1] * values.shape[1]) + rows)


def mapped(*columns: int) -> bytes:
    return box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, column) for column in columns))


def meanings(*each: tuple[int, int, int]) -> bytes:
    return box(b"cdef", struct.pack(">H", len(each)) + b"".join(struct.pack(">3H", *one) for one in each))


def on_white(rgb: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    opacity = alpha[..., None] / 255
    return np.asarray(rgb * opacity + 255 * (1 - opacity))


def samples_of(file: bytes) -> NDArray[Any]:
    return np.asarray(decode(file, LIMITS).rgb).astype(float)


def alike(file: bytes, expected: NDArray[Any], most: float = 1.0) -> bool:
    expected = expected[..., None] if expected.ndim == 2 else expected
    return bool(np.abs(samples_of(file) - expected).max() <= most)


@pytest.mark.parametrize("bits", range(1, 8))
def test_samples_of_few_bits_reach_white(bits: int) -> None:
    most = (1 << bits) - 1
    for samples, number in ((LEVELS, GREY), (RGB, SRGB)):
        few = samples >> (8 - bits)
        assert few.max() == most
        assert alike(jp2(few, colours(number), bits=bits), few * (255 / most), 0.51)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("boxes_first", [False, True])
def test_a_palette(bits: int, boxes_first: bool) -> None:
    said = [colours(SRGB), palette(PALETTE[:, :3]), mapped(0, 1, 2)]
    file = jp2(INDICES, *(said[1:] + said[:1] if boxes_first else said), bits=bits)
    assert alike(file, PALETTE[INDICES][..., :3], 0)


def test_a_palettes_columns_are_channels_in_the_order_that_is_said() -> None:
    file = jp2(INDICES, colours(SRGB), palette(PALETTE[:, :3]), mapped(2, 1, 0))
    assert alike(file, PALETTE[INDICES][..., 2::-1], 0)


def test_a_palette_of_deep_values() -> None:
    file = jp2(INDICES, colours(SRGB), palette(PALETTE[:, :3].astype(int) * 257, bits=16), mapped(0, 1, 2))
    assert alike(file, PALETTE[INDICES][..., :3], 0)


def test_a_palette_of_grey_and_one_with_opacity() -> None:
    assert alike(jp2(INDICES, colours(GREY), palette(PALETTE[:, :1]), mapped(0)), PALETTE[INDICES][..., 0], 0)
    said = meanings((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 1, 0))
    file = jp2(INDICES, colours(SRGB), palette(PALETTE), mapped(0, 1, 2, 3), said)
    assert alike(file, on_white(PALETTE[INDICES][..., :3], PALETTE[INDICES][..., 3]))


def test_channels_are_told_by_their_meaning() -> None:
    assert alike(jp2(RGB[..., ::-1], colours(SRGB), meanings((0, 0, 3), (1, 0, 2), (2, 0, 1))), RGB, 0)
    argb = np.dstack([ALPHA, RGB])
    said = meanings((0, 1, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3))
    assert alike(jp2(argb, colours(SRGB), said), on_white(RGB, ALPHA))
    said = meanings((0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 65_535, 65_535))
    assert alike(jp2(np.dstack([RGB, ALPHA]), colours(SRGB), said), RGB, 0)


def test_colours_that_are_multiplied_by_opacity() -> None:
    for samples, number, said in (
        (RGB, SRGB, [(0, 0, 1), (1, 0, 2), (2, 0, 3)]),
        (LEVELS[..., None], GREY, [(0, 0, 1)]),
    ):
        multiplied = np.round(samples * (ALPHA[..., None] / 255)).astype(np.uint8)
        file = jp2(np.dstack([multiplied, ALPHA]), colours(number), meanings(*said, (len(said), 2, 0)))
        assert alike(file, on_white(samples, ALPHA), 3)


@pytest.mark.parametrize("method", [2, 3])
def test_a_profile_is_followed(method: int) -> None:
    for samples, grey in ((RGB, False), (LEVELS, True)):
        icc = colour.profile(colour.SRGB, 1.0, grey=grey)
        assert icc
        linear = samples / 255
        expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
        found = samples_of(jp2(samples, box(b"colr", bytes([method, 0, 0]) + icc)))
        assert np.abs(found - (expected[..., None] if grey else expected)).mean() < 1


def test_of_several_colours_the_first_that_is_understood() -> None:
    icc = colour.profile(colour.SRGB, 1.0, grey=False)
    assert icc
    assert alike(jp2(RGB, colours(SRGB), box(b"colr", b"\2\0\0" + icc)), RGB, 0)
    assert alike(jp2(RGB, colours(14), colours(SRGB)), RGB, 0)


def test_colours_by_number() -> None:
    bits = LEVELS >> 7
    assert alike(jp2(bits, colours(BILEVEL), bits=1), bits * 255, 0)
    assert alike(jp2(bits, colours(DARK_BILEVEL), bits=1), 255 - bits * 255.0, 0)
    assert alike(jp2(np.asarray(Image.fromarray(RGB).convert("YCbCr")), colours(YCC)), RGB, 3)
    ink = 255 - RGB
    key = np.zeros_like(LEVELS)
    assert alike(jp2(np.dstack([ink, key]), colours(CMYK)), RGB, 0)


@pytest.mark.parametrize("number", [1, 3, 4, 9, 13, 14, 20, 21, 99])
def test_other_colours_are_refused_by_name(number: int) -> None:
    with pytest.raises(UndecodableImage, match="JPEG 2000 of a kind that is not read: colours"):
        decode(jp2(RGB, colours(number)), LIMITS)


@pytest.mark.parametrize(
    "boxes",
    [
        (colours(SRGB), palette(PALETTE[:, :3])),
        (colours(SRGB), mapped(0, 1, 2)),
        (colours(SRGB), palette(PALETTE[:, :3]), mapped(0, 1, 3)),
        (colours(SRGB), palette(PALETTE[:, :3])[:-4], mapped(0, 1, 2)),
        (colours(SRGB), palette(PALETTE[:, :3]), box(b"cmap", struct.pack(">HBB", 1, 1, 0) * 3)),
        (colours(SRGB), palette(PALETTE[:, :2]), mapped(0, 1)),
        (colours(SRGB), palette(PALETTE[:, :3]), mapped(0, 1, 2), meanings((0, 0, 1), (1, 0, 1), (2, 0, 1))),
        (colours(GREY), meanings((4, 0, 1))),
        (box(b"colr", b""),),
        (box(b"colr", b"\1"),),
    ],
)
def test_boxes_that_do_not_fit_are_refused(boxes: tuple[bytes, ...]) -> None:
    with pytest.raises(UndecodableImage):
        decode(jp2(INDICES, *boxes), LIMITS)


def test_what_is_around_the_boxes_is_no_matter() -> None:
    file = jp2(RGB, colours(SRGB))
    place = file.index(b"jp2h") - 4
    assert alike(file[:place] + box(b"xml ", b"<a/>" * 99) + file[place:], RGB, 0)
    last = file.index(b"jp2c") - 4
    assert alike(file[:last] + struct.pack(">I", 0) + file[last + 4 :], RGB, 0)
    long = struct.pack(">I4sQ", 1, b"jp2c", len(file) - last + 8) + file[last + 8 :]
    assert alike(file[:last] + long, RGB, 0)
    for odd in (2, 7, 2**31):
        with pytest.raises(UndecodableImage):
            decode(file[:place] + struct.pack(">I", odd) + file[place + 4 :], LIMITS)
