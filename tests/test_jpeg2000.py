"""JPEG 2000: pixels in every depth and colour space, and the sizes at which a large one is decoded."""

import struct
from typing import Any

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from fuzz.seeds import picture
from service.errors import ImageDimensions, UndecodableImage
from service.images.decode import ImageLimits, decode
from service.images.decoders import jpeg2000
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
