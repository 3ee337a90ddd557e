"""Pixels of the formats that Pillow decodes, against arithmetic or another library's decoder, kind by kind."""

import io
import struct

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms

from fuzz.seeds import picture
from service.errors import UndecodableImage
from service.images.decode import ImageLimits, decode
from tests.conftest import encoded, noise
from tests.support.profiled_pictures import WIDE_RGB

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=1_000_000)
STORED = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""By EXIF orientation: the transposition that makes it upright."""


def samples_of(file: bytes) -> np.ndarray:
    return np.asarray(decode(file, LIMITS).rgb).astype(int)


def off(found: np.ndarray, expected: np.ndarray) -> int:
    assert found.shape == expected.shape
    return int(np.abs(found - expected.astype(int)).max())


def on_white(samples: np.ndarray) -> np.ndarray:
    """Return [height, width, 4] on white."""
    opaque = samples[..., 3:] / 255
    return np.asarray(samples[..., :3] * opaque + 255 * (1 - opaque))


def through_cmyk(inks: np.ndarray) -> np.ndarray:
    """Return what inks [height, width, 4] look like, 255 for all of an ink."""
    return np.asarray((255 - inks[..., :3].astype(int)) * (255 - inks[..., 3:].astype(int)) / 255)


# JPEG: two decoders may round chroma in two ways.


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg(subsampling: int, progressive: bool) -> None:
    file = encoded(picture("RGB"), "JPEG", quality=90, subsampling=subsampling, progressive=progressive)
    assert off(samples_of(file), imagecodecs.jpeg8_decode(file)) <= 3


def test_grey_jpeg() -> None:
    file = encoded(picture("L"), "JPEG", quality=90)
    assert off(samples_of(file), imagecodecs.jpeg8_decode(file)[..., None].repeat(3, axis=2)) <= 1


def adobe(transform: int | None) -> bytes:
    return b"" if transform is None else struct.pack(">HH5sHHHB", 0xFFEE, 14, b"Adobe", 100, 0, 0, transform)


@pytest.mark.parametrize("transform", [0, 1])
def test_a_jpeg_says_by_adobes_marker_whether_it_is_rgb(transform: int) -> None:
    samples = np.asarray(picture("RGB"))
    space = "RGB" if transform == 0 else "YCBCR"
    file = bytes(imagecodecs.jpeg8_encode(samples, level=98, colorspace="RGB", outcolorspace=space, subsampling="444"))
    if b"Adobe" not in file:
        file = file[:2] + adobe(transform) + file[2:]
    assert off(samples_of(file), samples) <= 8


def test_a_jpeg_may_name_its_components_rgb() -> None:
    samples = np.asarray(picture("RGB"))
    file = bytearray(imagecodecs.jpeg8_encode(samples, level=98, colorspace="RGB", outcolorspace="RGB"))
    marker = file.find(b"Adobe")
    if marker >= 0:
        del file[marker - 4 : marker + 12]
    assert off(samples_of(bytes(file)), samples) <= 8


@pytest.mark.parametrize("transform", [0, 2])
def test_inks_of_photoshop_are_stored_the_other_way_round(transform: int) -> None:
    inks = np.asarray(picture("CMYK", 3)).copy()
    inks[..., 3] = np.asarray(picture("L", 4)) // 2
    space = "CMYK" if transform == 0 else "YCCK"
    file = bytes(
        imagecodecs.jpeg8_encode(255 - inks, level=98, colorspace="CMYK", outcolorspace=space, subsampling="444")
    )
    assert b"Adobe" in file
    assert np.abs(samples_of(file) - through_cmyk(inks)).mean() < 3


def test_inks_without_adobes_marker_are_taken_for_photoshops_as_browsers_do() -> None:
    inks = np.asarray(picture("CMYK", 3)).copy()
    inks[..., 3] = 40
    file = bytearray(imagecodecs.jpeg8_encode(255 - inks, level=98, colorspace="CMYK", outcolorspace="CMYK"))
    marker = file.find(b"Adobe")
    del file[marker - 4 : marker + 12]
    assert np.abs(samples_of(bytes(file)) - through_cmyk(inks)).mean() < 3


# WebP, AVIF.


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [False, True])
def test_webp(mode: str, lossless: bool) -> None:
    made = picture(mode)
    if mode == "RGBA":
        made.putalpha(picture("L", 9))
    file = encoded(made, "WEBP", lossless=lossless, exact=True, quality=90)
    other = imagecodecs.webp_decode(file)
    expected = on_white(other) if mode == "RGBA" else other[..., :3]
    assert off(samples_of(file), expected) <= 2
    if lossless:
        assert (other == np.asarray(made)).all()


@pytest.mark.parametrize("file_format", ["WEBP", "GIF", "AVIF", "PNG"])
def test_of_an_animation_the_first_picture_is_seen(file_format: str) -> None:
    red, blue = (Image.new("RGB", (32, 24), colour) for colour in ("red", "blue"))
    found = samples_of(encoded(red, file_format, save_all=True, append_images=[blue, blue]))
    assert np.abs(found - [255, 0, 0]).max() <= 3


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_avif_of_any_depth(bits: int, channels: int) -> None:
    eight = np.asarray(picture("RGBA"))[..., :channels].copy()
    if channels == 4:
        eight[..., 3] = np.asarray(picture("L", 9))
    most = (1 << bits) - 1
    samples = eight if bits == 8 else np.round(eight / 255 * most).astype(np.uint16)
    file = bytes(imagecodecs.avif_encode(samples.squeeze(), level=100, bitspersample=bits, pixelformat="444"))
    expected = on_white(eight) if channels == 4 else eight[..., :channels].repeat(3 // channels, axis=2)
    assert off(samples_of(file), np.round(expected)) <= 3


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_a_picture_is_turned_once(file_format: str, orientation: int) -> None:
    made = picture("RGB", size=(120, 80))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turn = STORED[orientation]
    expected = made if turn is None else made.transpose(Image.Transpose(turn))
    found = samples_of(encoded(made, file_format, exif=exif.tobytes()))
    assert found.shape[:2] == expected.size[::-1]
    assert np.abs(found - np.asarray(expected)).mean() < 8


# GIF, written byte by byte.


def gif(
    screen: tuple[int, int],
    place: tuple[int, int],
    samples: np.ndarray,
    transparent: int | None = None,
    *,
    interlaced: bool = False,
) -> bytes:
    """Return a GIF of 8 colours that are red in steps, whose first frame lies somewhere on its screen."""
    height, width = samples.shape
    palette = b"".join(bytes([32 * number, 0, 255 - 32 * number]) for number in range(8))
    rows = [*range(0, height, 8), *range(4, height, 8), *range(2, height, 4), *range(1, height, 2)]
    ordered = samples[rows] if interlaced else samples
    bits = "".join(f"{code:04b}"[::-1] for value in ordered.ravel() for code in (8, int(value)))  # clear, then a colour
    bits += f"{9:04b}"[::-1]
    bits += "0" * (-len(bits) % 8)
    data = bytes(int(bits[place : place + 8][::-1], 2) for place in range(0, len(bits), 8))
    blocks = b"".join(
        bytes([len(data[place : place + 255])]) + data[place : place + 255] for place in range(0, len(data), 255)
    )
    control = b"" if transparent is None else b"!\xf9\4\1\0\0" + bytes([transparent]) + b"\0"
    return (
        b"GIF89a" + struct.pack("<HHBBB", *screen, 0x82, 0, 0) + palette + control
        + b"," + struct.pack("<HHHHB", *place, width, height, 0x40 if interlaced else 0) + b"\3" + blocks + b"\0;"
    )  # fmt: skip


def colours_of(samples: np.ndarray) -> np.ndarray:
    return np.stack([32 * samples, 0 * samples, 255 - 32 * samples], axis=2)


@pytest.mark.parametrize("interlaced", [False, True])
def test_gif(interlaced: bool) -> None:
    samples = np.random.default_rng(2).integers(0, 8, (19, 23))
    assert off(samples_of(gif((23, 19), (0, 0), samples, interlaced=interlaced)), colours_of(samples)) == 0


def test_a_transparent_colour_of_a_gif_is_white() -> None:
    samples = np.random.default_rng(2).integers(0, 8, (19, 23))
    expected = colours_of(samples)
    expected[samples == 3] = 255
    assert off(samples_of(gif((23, 19), (0, 0), samples, transparent=3)), expected) == 0


@pytest.mark.parametrize("transparent", [None, 3])
def test_what_the_first_frame_of_a_gif_leaves_of_the_screen_is_white(transparent: int | None) -> None:
    samples = np.random.default_rng(2).integers(4, 8, (10, 12))
    found = samples_of(gif((23, 19), (5, 4), samples, transparent=transparent))
    expected = np.full((19, 23, 3), 255)
    expected[4:14, 5:17] = colours_of(samples)
    assert off(found, expected) == 0


# BMP, written byte by byte.


def bmp(header: bytes, data: bytes, palette: bytes = b"") -> bytes:
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + palette + data


def information(bits: int, compression: int = 0, size: tuple[int, int] = (5, 7), colours: int = 0) -> bytes:
    return struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, 0, 0, 0, colours, 0)


@pytest.mark.parametrize("top_down", [False, True])
@pytest.mark.parametrize("bits", [1, 4, 8, 24, 32])
def test_bmp(bits: int, top_down: bool) -> None:
    rng = np.random.default_rng(bits)
    palette = np.zeros((1 << bits if bits <= 8 else 0, 4), np.uint8)
    if bits <= 8:
        palette[:, :3] = rng.integers(0, 256, (1 << bits, 3))
        samples = rng.integers(0, 1 << bits, (7, 5))
        lines = [
            np.packbits(((row[:, None] >> np.arange(bits)[::-1]) & 1).astype(np.uint8).ravel()).tobytes()
            for row in samples
        ]
        expected = palette[samples][..., 2::-1]
    else:
        expected = rng.integers(0, 256, (7, 5, 3), dtype=np.uint8)
        stored = np.dstack([expected[..., ::-1], np.zeros((7, 5), np.uint8)])[..., : bits // 8]
        lines = [np.ascontiguousarray(row).tobytes() for row in stored]
    lines = [line + bytes(-len(line) % 4) for line in lines]
    size = (5, -7 if top_down else 7)
    data = b"".join(lines if top_down else lines[::-1])
    found = samples_of(bmp(information(bits, size=size, colours=len(palette)), data, palette.tobytes()))
    assert off(found, expected) == 0


@pytest.mark.parametrize(
    ("masks", "places"),
    [((0xF800, 0x7E0, 0x1F), ((11, 5), (5, 6), (0, 5))), ((0x7C00, 0x3E0, 0x1F), ((10, 5), (5, 5), (0, 5)))],
)
def test_bmp_of_sixteen_bits(masks: tuple[int, ...], places: tuple[tuple[int, int], ...]) -> None:
    values = np.random.default_rng(1).integers(0, 1 << 16, (7, 6), dtype=np.uint16)
    expected = np.stack(
        [((values >> place) & ((1 << bits) - 1)) / ((1 << bits) - 1) * 255 for place, bits in places], 2
    )
    data = np.ascontiguousarray(values[::-1]).tobytes()
    found = samples_of(bmp(information(16, 3, (6, 7)) + struct.pack("<III", *masks), data))
    assert np.abs(found - expected).max() <= 1.01


def test_bmp_with_masks_that_pillow_does_not_know_is_refused() -> None:
    file = bmp(information(32, 3) + struct.pack("<III", 0x3FF, 0xFFC00, 0x3FF00000), bytes(140))
    with pytest.raises(UndecodableImage):
        decode(file, LIMITS)


def test_run_lengths_of_a_bmp() -> None:
    palette = b"".join(bytes([number, 2 * number, 3 * number, 0]) for number in range(80))
    # From the bottom: five of one; three as they are; a step over two; the end of the picture.
    data = b"\5\x11\0\0" + b"\0\3\x12\x13\x14\0\2\x15\0\0" + b"\0\2\2\0\3\x16\0\1"
    expected = np.zeros((3, 5), int)
    expected[2], expected[1], expected[0, 2:] = 0x11, (0x12, 0x13, 0x14, 0x15, 0x15), 0x16
    found = samples_of(bmp(information(8, 1, (5, 3), 80), data, palette))
    assert off(found, np.stack([3 * expected, 2 * expected, expected], 2)) == 0


def test_noise_of_a_phone_with_a_second_picture_behind_it() -> None:
    first = noise(64, 48)
    file = encoded(first, "MPO", save_all=True, append_images=[noise(64, 48, seed=9)], quality=95)
    assert off(samples_of(file), imagecodecs.jpeg8_decode(file)) <= 3


def test_a_bmp_may_have_a_profile() -> None:
    made = picture("RGB")
    rows = np.asarray(made)[::-1, :, ::-1]
    data = b"".join(np.ascontiguousarray(row).tobytes() + bytes(-3 * made.width % 4) for row in rows)
    header = struct.pack("<IiiHHIIiiII", 124, *made.size, 1, 24, 0, len(data), 0, 0, 0, 0) + bytes(16) + b"DEBM"
    header = header.ljust(108, b"\0") + struct.pack("<IIII", 4, 124 + len(data), len(WIDE_RGB), 0)
    expected = ImageCms.profileToProfile(
        made, ImageCms.ImageCmsProfile(io.BytesIO(WIDE_RGB)), ImageCms.createProfile("sRGB")
    )
    assert expected is not None
    found = samples_of(bmp(header, data) + WIDE_RGB)
    assert off(found, np.asarray(expected)) <= 1
    assert off(found, np.asarray(made)) > 20


@pytest.mark.parametrize("premultiplied", [False, True])
def test_transparency_of_avif(premultiplied: bool) -> None:
    made = picture("RGBA")
    made.putalpha(picture("L", 9))
    file = encoded(made, "AVIF", quality=100, subsampling="4:4:4", alpha_premultiplied=premultiplied)
    assert off(samples_of(file), np.round(on_white(np.asarray(made)))) <= 4


def test_inks_of_a_jpeg_2000() -> None:
    inks = np.asarray(picture("CMYK", 3)).copy()
    inks[..., 3] = 40
    assert off(samples_of(encoded(Image.fromarray(inks, "CMYK"), "JPEG2000")), np.round(through_cmyk(inks))) <= 2
