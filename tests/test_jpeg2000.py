"""JPEG 2000: its sizes, its samples, what is said of them in boxes, and files that were cut."""

import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fuzz.seeds import picture
from service.errors import ImageDimensions, UndecodableImage
from service.images.decode import ImageLimits, decode
from service.images.decoders import colour, jpeg2000
from tests.conftest import encoded, noise

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=1_000_000)
SMALL = ImageLimits(max_bytes=32 * 1024**2, max_pixels=10_000)


def samples_of(file: bytes) -> np.ndarray:
    return np.asarray(decode(file, LIMITS).rgb).astype(int)


def lossless(samples: np.ndarray, **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(samples, level=0, reversible=True, **options))


@pytest.mark.parametrize("codec", ["jp2", "j2k"])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_of_any_depth_are_brought_to_eight_bits(channels: int, bits: int, codec: str) -> None:
    shape = (47, 61) if channels == 1 else (47, 61, channels)
    samples = np.random.default_rng(bits).integers(0, 1 << bits, shape)
    file = lossless(samples.astype(np.uint8 if bits == 8 else np.uint16), bitspersample=bits, codecformat=codec)
    expected = samples.reshape(47, 61, channels) / ((1 << bits) - 1) * 255
    assert np.abs(samples_of(file) - expected).max() <= (0 if bits == 8 else 1.5)


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("codec", ["jp2", "j2k"])
def test_white_is_white_and_black_is_black(channels: int, bits: int, codec: str) -> None:
    most = (1 << bits) - 1
    ramp = np.array([0, 1, most // 2, most - 1, most] * 8 + [0] * 24, dtype=np.uint8 if bits == 8 else np.uint16)
    samples = np.tile(ramp[:, None], (1, 64))[..., None].repeat(channels, axis=2)
    if channels in (2, 4):
        samples[..., -1] = most
    file = lossless(samples.squeeze(), bitspersample=bits, codecformat=codec)
    assert np.abs(samples_of(file)[..., 0] - samples[..., 0] / most * 255).max() <= 1.01


def test_white_is_white_at_a_smaller_size() -> None:
    samples = np.full((400, 300, 3), 65535, dtype=np.uint16)
    samples[:200] = 0
    decoded = decode(lossless(samples, resolutions=5), SMALL, 30)
    assert decoded.decoded_at == (38, 50)
    found = np.asarray(decoded.rgb)
    assert (found[:20] == 0).all()
    assert (found[-20:] == 255).all()


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_signed_samples_are_those_that_are_not(bits: int) -> None:
    samples = np.random.default_rng(bits).integers(0, 1 << bits, (47, 61, 3))
    file = bytearray(lossless(samples.astype(np.uint8 if bits == 8 else np.uint16), bitspersample=bits))
    unsigned = samples_of(bytes(file))
    place = file.index(b"\xff\x4f\xff\x51") + 42
    assert file[place] == bits - 1
    for component in range(3):
        file[place + 3 * component] |= 0x80
    assert (samples_of(bytes(file)) == unsigned).all()


def test_deep_samples_of_ycc_are_brought_to_rgb() -> None:
    rgb = np.asarray(picture("RGB"))
    ycc = np.asarray(Image.fromarray(rgb).convert("YCbCr")).astype(np.uint16) * 257
    file = lossless(ycc).replace(b"colr\1\0\0\0\0\0\x10", b"colr\1\0\0\0\0\0\x12")
    assert np.abs(samples_of(file) - rgb).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    made = noise(61, 47, mode)
    white = Image.new("RGBA", made.size, "white")
    expected = Image.alpha_composite(white, made.convert("RGBA")).convert("RGB")
    assert np.abs(samples_of(encoded(made, "JPEG2000")) - np.asarray(expected)).max() <= 1


@pytest.mark.parametrize("size", [(400, 300), (401, 299), (333, 367), (513, 511)])
@pytest.mark.parametrize("options", [{}, {"tile_size": (64, 64)}, {"no_jp2": True}, {"irreversible": True}])
def test_a_large_one_is_decoded_at_the_smallest_size_that_serves(
    size: tuple[int, int], options: dict[str, Any]
) -> None:
    made = picture("RGB", size=size)
    decoded = decode(encoded(made, "JPEG2000", num_resolutions=5, **options), SMALL, 40)
    scale = 4 if min(size) < 320 else 8
    expected = (-(-size[0] // scale), -(-size[1] // scale))
    assert (decoded.width, decoded.height) == size
    assert decoded.rgb.size == decoded.decoded_at == expected
    small = np.asarray(made.resize(expected, Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(decoded.rgb).astype(int) - small).mean() < 8


def test_a_size_of_just_so_many_pixels_serves() -> None:
    assert decode(encoded(noise(320, 400), "JPEG2000", num_resolutions=5), SMALL, 40).decoded_at == (40, 50)


def test_one_within_the_limits_is_decoded_whole() -> None:
    decoded = decode(encoded(noise(400, 300), "JPEG2000"), LIMITS, 30, fast=True)
    assert (decoded.rgb.size, decoded.decoded_at) == ((400, 300), None)


@pytest.mark.parametrize(("levels", "min_short_side"), [(1, 30), (2, 30), (6, 151)])
def test_one_without_a_size_that_serves_is_refused(levels: int, min_short_side: int) -> None:
    with pytest.raises(ImageDimensions, match="1 to 10000 pixels"):
        decode(encoded(noise(400, 300), "JPEG2000", num_resolutions=levels), SMALL, min_short_side)


@pytest.mark.parametrize("marker", [b"\xff\x52", b"\xff\x4f\xff\x51"])
def test_a_broken_header_is_refused(marker: bytes) -> None:
    file = encoded(noise(400, 300), "JPEG2000")
    broken = file.replace(marker, marker[:-1] + b"\x53", 1)
    with pytest.raises((UndecodableImage, ImageDimensions)):
        decode(broken, SMALL, 30)
    assert struct.unpack_from(">I", file, file.index(b"\xff\x51") + 6)[0] == 400


def test_more_tiles_than_there_can_be_are_refused_before_they_cost() -> None:
    file = bytearray(lossless(np.zeros((250, 250, 3), np.uint8), codecformat="j2k"))
    for side in (1, 16):
        struct.pack_into(">II", file, 24, side, side)
        assert jpeg2000.lacks_tiles(bytes(file))
        with pytest.raises(UndecodableImage):
            decode(bytes(file), LIMITS)
    struct.pack_into(">II", file, 24, 0, 0)
    with pytest.raises(UndecodableImage):
        decode(bytes(file), LIMITS)
    whole = encoded(noise(250, 250), "JPEG2000", tile_size=(16, 16), num_resolutions=1, no_jp2=True)
    assert not jpeg2000.lacks_tiles(whole)
    assert decode(whole, LIMITS).rgb.size == (250, 250)


def test_a_large_one_that_was_cut_is_refused() -> None:
    file = encoded(noise(400, 300), "JPEG2000", num_resolutions=5, tile_size=(64, 64))
    with pytest.raises(UndecodableImage):
        decode(file[: len(file) // 2], SMALL, 30)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("codec", ["jp2", "j2k"])
def test_a_picture_that_uses_few_of_its_bits_is_warned_of(channels: int, codec: str) -> None:
    samples = np.random.default_rng(1).integers(0, 1 << 12, (47, 61, channels)).astype(np.uint16).squeeze()
    (warning,) = decode(lossless(samples, codecformat=codec), LIMITS).warnings
    assert warning.startswith("The picture uses 6 % of the range that its samples have")
    assert decode(lossless(samples, bitspersample=12, codecformat=codec), LIMITS).warnings == ()


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


def jp2_samples_of(file: bytes) -> NDArray[Any]:
    return np.asarray(decode(file, LIMITS).rgb).astype(float)


def alike(file: bytes, expected: NDArray[Any], most: float = 1.0) -> bool:
    expected = expected[..., None] if expected.ndim == 2 else expected
    return bool(np.abs(jp2_samples_of(file) - expected).max() <= most)


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
        icc = colour.profile_of(colour.SRGB, 1.0, grey=grey)
        assert icc
        linear = samples / 255
        expected = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
        found = jp2_samples_of(jp2(samples, box(b"colr", bytes([method, 0, 0]) + icc)))
        assert np.abs(found - (expected[..., None] if grey else expected)).mean() < 1


def test_of_several_colours_the_first_that_is_understood() -> None:
    icc = colour.profile_of(colour.SRGB, 1.0, grey=False)
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
