"""Good pictures decode to the pixels that a person sees."""

import hashlib
import io
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image, ImageCms, PngImagePlugin

from service.errors import ImageDimensions
from service.images.decode import MIN_SHORT_SIDES, ImageLimits, decode
from service.images.picture import OrientedImage
from service.zero_shot.classifier import ZeroShotClassifier
from tests.conftest import encoded, noise
from tests.support.gaze_requests import ask, by_base64
from tests.support.profiled_pictures import GREY_PAPER, LINEAR_GREY, STORED, UPRIGHT, WIDE_RGB

LIMITS = ImageLimits(max_bytes=1024**2, max_pixels=1_000_000)


def pixels(file: bytes) -> np.ndarray:
    """Return the RGB samples [height, width, 3] of the decoded file."""
    rgb = decode(file, LIMITS).rgb
    assert rgb.mode == "RGB"
    return np.asarray(rgb).astype(int)


def test_a_picture_that_takes_long_holds_up_no_other() -> None:
    first, second = (decode(encoded(noise(30, 20)), LIMITS) for _ in range(2))
    begun, go_on = threading.Event(), threading.Event()

    class Held(OrientedImage):
        def whole(self) -> Image.Image:
            begun.set()
            assert go_on.wait(60)
            return super().whole()

    held = replace(first, oriented=Held(noise(30, 20), None))
    with ThreadPoolExecutor(2) as threads:
        long = threads.submit(lambda: held.rgb)
        assert begun.wait(60)
        try:
            assert threads.submit(lambda: second.rgb).result(10).size == (30, 20)
        finally:
            go_on.set()
        assert long.result(10).size == (30, 20)


@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95, "subsampling": 0}, 12),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 12),
        ("PNG", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 40),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 40),
        ("BMP", {}, 0),
        ("AVIF", {"quality": 95}, 40),
        ("JPEG2000", {}, 0),
        ("JPEG2000", {"no_jp2": True, "tile_size": (32, 32)}, 0),
    ],
)
def test_every_format_decodes_to_its_pixels(file_format: str, options: dict[str, object], tolerance: int) -> None:
    picture = noise(61, 47)
    file = encoded(picture, file_format, **options)
    decoded = decode(file, LIMITS)
    assert decoded.format == file_format
    assert decoded.rgb.size == (61, 47)
    assert decoded.sha256 == hashlib.sha256(file).hexdigest()
    assert np.abs(pixels(file) - np.asarray(picture).astype(int)).max() <= tolerance


def test_gif_is_its_first_frame() -> None:
    colours = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    file = encoded(colours[0], "GIF", save_all=True, append_images=colours[1:])
    assert decode(file, LIMITS).format == "GIF"
    assert (pixels(file) == (255, 0, 0)).all()


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_several_pictures_in_one_file_are_the_first(file_format: str) -> None:
    first, second = Image.new("RGB", (6, 4), "red"), Image.new("RGB", (6, 4), "blue")
    file = encoded(first, file_format, save_all=True, append_images=[second], lossless=True)
    assert (pixels(file) == (255, 0, 0)).all()


def test_a_phones_picture_with_another_behind_it_is_a_jpeg() -> None:
    white, black = (Image.new("RGB", (32, 16), colour) for colour in ("white", "black"))
    file = encoded(white, "MPO", save_all=True, append_images=[black])
    with Image.open(io.BytesIO(file)) as opened:
        assert opened.format == "MPO"
    assert decode(file, LIMITS).format == "JPEG"
    assert (pixels(file) == 255).all()


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [
        *(("RGB", "PNG"), ("L", "PNG"), ("P", "PNG"), ("1", "PNG"), ("L", "JPEG"), ("RGB", "JPEG"), ("CMYK", "JPEG")),
        *(("CMYK", "TIFF"), ("1", "TIFF"), ("P", "GIF"), ("L", "BMP"), ("L", "WEBP"), ("L", "JPEG2000")),
    ],
)
def test_plain_pictures_equal_pillows_own_conversion(mode: str, file_format: str) -> None:
    file = encoded(noise(61, 47, mode), file_format)
    with Image.open(io.BytesIO(file)) as opened:
        assert decode(file, LIMITS).rgb.tobytes() == opened.convert("RGB").tobytes()


def test_ycbcr_is_converted() -> None:
    picture = noise(61, 47, "YCbCr")
    file = encoded(picture, "TIFF")
    with Image.open(io.BytesIO(file)) as opened:
        assert opened.mode == "YCbCr"
    assert (pixels(file) == np.asarray(picture.convert("RGB"))).all()


# What is seen through half-transparent black on white is 127 or 128.
@pytest.mark.parametrize(
    ("mode", "colour", "seen"),
    [
        ("RGBA", (200, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (200, 0, 0, 255), (200, 0, 0)),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("LA", (0, 0), (255, 255, 255)),
        ("LA", (40, 255), (40, 40, 40)),
        ("LA", (0, 128), (127, 127, 127)),
    ],
)
def test_transparent_pictures_lie_on_white(mode: str, colour: tuple[int, ...], seen: tuple[int, int, int]) -> None:
    assert (pixels(encoded(Image.new(mode, (5, 3), colour))) == seen).all()


def palette_picture() -> Image.Image:
    """Return two pixels: one of a palette's red, one of its blue."""
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putdata([0, 1])
    return picture


def test_a_palettes_transparent_colour_is_white() -> None:
    for file_format in ("PNG", "GIF"):
        file = encoded(palette_picture(), file_format, transparency=0)
        assert pixels(file).tolist() == [[[255, 255, 255], [0, 0, 255]]], file_format


def test_a_palettes_alpha_of_each_colour_is_used() -> None:
    file = encoded(palette_picture(), transparency=bytes([0, 128]))
    assert pixels(file).tolist() == [[[255, 255, 255], [127, 127, 255]]]


def test_a_palette_with_alpha_of_each_pixel_is_on_white() -> None:
    # A TIFF may have a palette and an alpha channel; PNG and GIF may not.
    picture = Image.merge("LA", [Image.new("L", (2, 1), 1), Image.new("L", (2, 1), 0)])
    file = encoded(picture, "TIFF", tiffinfo={262: 3, 320: (0,) * 768})
    with Image.open(io.BytesIO(file)) as opened:
        assert opened.mode == "PA"
    assert (pixels(file) == 255).all()


@pytest.mark.parametrize(("mode", "transparent"), [("RGB", (10, 20, 30)), ("L", 10), ("1", 1)])
def test_the_one_transparent_colour_of_a_png_is_white(mode: str, transparent: int | tuple[int, ...]) -> None:
    colour = transparent if mode != "1" else 255
    file = encoded(Image.new(mode, (5, 3), colour), transparency=transparent)
    assert (pixels(file) == 255).all()


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "JPEG2000"])
def test_sixteen_bits_are_scaled_and_not_clipped(file_format: str) -> None:
    samples = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    seen = pixels(encoded(Image.fromarray(samples), file_format))
    assert (seen == np.floor(samples / 257 + 0.5).astype(int)[..., None]).all()


@pytest.mark.parametrize(
    ("samples", "seen"),
    [
        (np.array([[0, 255]], np.int32), [0, 255]),
        (np.array([[0, 65535]], np.int32), [0, 255]),
        (np.array([[-70000, 32768]], np.int32), [0, 128]),
        (np.array([[0, 2_000_000_000]], np.int32), [0, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 51.0, 255.0]], np.float32), [0, 51, 255]),
        (np.array([[0.0, 65535.0]], np.float32), [0, 255]),
        (np.array([[-1.0, 600_000.0, 1_000_000.0]], np.float32), [0, 153, 255]),
        (np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32), [0, 0, 0, 255]),
    ],
)
def test_wide_samples_are_scaled(samples: np.ndarray, seen: list[int]) -> None:
    assert pixels(encoded(Image.fromarray(samples), "TIFF"))[0, :, 0].tolist() == seen


def test_lab_is_converted() -> None:
    lightness = Image.new("LAB", (2, 1))
    lightness.putdata([(255, 128, 128), (0, 128, 128)])
    white, black = pixels(encoded(lightness, "TIFF"))[0]
    assert white.min() >= 253
    assert black.max() <= 2


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_followed(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = pixels(encoded(STORED[orientation], file_format, exif=exif, quality=95))
    assert seen.shape == (48, 96, 3)
    assert np.abs(seen[8, 8] - (255, 0, 0)).max() <= 12
    assert np.abs(seen[8, 88] - (0, 0, 255)).max() <= 12
    assert np.abs(seen[40, 8] - 255).max() <= 12


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0", b"nonsense", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(9)])
def test_broken_exif_is_ignored(exif: bytes, file_format: str) -> None:
    assert decode(encoded(UPRIGHT, file_format, exif=exif), LIMITS).rgb.size == (96, 48)


def test_odd_exif_does_not_hide_the_orientation() -> None:
    # A tag of text where the standard has a number, which Pillow reads and cannot write.
    entries = struct.pack("<HHHIHH", 2, 0x0112, 3, 1, 6, 0) + struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0")
    exif = b"Exif\0\0II*\0\x08\0\0\0" + entries + bytes(4)
    assert decode(encoded(STORED[6], "JPEG", exif=exif), LIMITS).rgb.size == (96, 48)


@pytest.mark.parametrize(
    ("mode", "file_format", "icc"),
    [
        ("RGB", "PNG", WIDE_RGB),
        ("RGB", "TIFF", WIDE_RGB),
        ("RGB", "WEBP", WIDE_RGB),
        ("L", "PNG", LINEAR_GREY),
        ("CMYK", "TIFF", GREY_PAPER),
        ("CMYK", "JPEG", GREY_PAPER),
    ],
)
def test_an_embedded_profile_is_converted_to_srgb(mode: str, file_format: str, icc: bytes) -> None:
    file = encoded(noise(61, 47, mode), file_format, icc_profile=icc)
    srgb = ImageCms.createProfile("sRGB")
    with Image.open(io.BytesIO(file)) as opened:
        assert opened.mode == mode
        plain = opened.convert("RGB")
        reference = ImageCms.profileToProfile(opened, io.BytesIO(icc), srgb, outputMode="RGB")
    assert reference is not None
    assert np.abs(np.asarray(reference).astype(int) - np.asarray(plain)).max() > 10
    assert decode(file, LIMITS).rgb.tobytes() == reference.tobytes()


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_a_grey_profile_is_converted_where_there_is_opacity_too(file_format: str) -> None:
    grey = noise(61, 47, "L")
    opaque = Image.merge("LA", (grey, Image.new("L", grey.size, 255)))
    seen = pixels(encoded(opaque, file_format, icc_profile=LINEAR_GREY))
    assert (seen == pixels(encoded(grey, file_format, icc_profile=LINEAR_GREY))).all()
    assert (seen != pixels(encoded(opaque, file_format))).any()
    bare = Image.merge("LA", (grey, Image.new("L", grey.size, 0)))
    assert (pixels(encoded(bare, file_format, icc_profile=LINEAR_GREY)) == 255).all()


@pytest.mark.parametrize(
    ("mode", "file_format", "icc"),
    [
        *(("RGBA", file_format, WIDE_RGB) for file_format in ("PNG", "TIFF", "WEBP", "AVIF")),
        *(("LA", file_format, LINEAR_GREY) for file_format in ("PNG", "TIFF")),
    ],
)
def test_colours_are_brought_to_srgb_before_they_lie_on_white(mode: str, file_format: str, icc: bytes) -> None:
    colour = (100, 60, 20)[: len(mode) - 1]
    of_format: dict[str, dict[str, Any]] = {
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    }
    options = of_format.get(file_format, {})
    seen = pixels(encoded(Image.new(mode, (60, 40), (*colour, 128)), file_format, icc_profile=icc, **options))
    plain = Image.new(mode.removesuffix("A"), (1, 1), colour if mode == "RGBA" else colour[0])
    converted = ImageCms.profileToProfile(plain, io.BytesIO(icc), ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None
    expected = np.asarray(converted) * (128 / 255) + 127
    assert np.abs(seen - expected).max() <= (2 if file_format == "AVIF" else 1)


def test_a_palettes_profile_is_converted_too() -> None:
    picture = noise(61, 47, "P")
    assert (pixels(encoded(picture, icc_profile=WIDE_RGB)) != pixels(encoded(picture))).any()
    assert (
        pixels(encoded(picture, icc_profile=WIDE_RGB)) == pixels(encoded(picture.convert("RGB"), icc_profile=WIDE_RGB))
    ).all()


# Every maker's sRGB differs from every other's in the last digits; the second one is told by its name alone.
@pytest.mark.parametrize(
    "icc",
    [
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        WIDE_RGB.replace(b"Made for a test", b"sRGB IEC61966-2"),
    ],
)
def test_an_srgb_profile_changes_nothing(icc: bytes) -> None:
    picture = noise(61, 47)
    assert (pixels(encoded(picture, icc_profile=icc)) == np.asarray(picture)).all()


@pytest.mark.parametrize("icc", [b"nonsense", WIDE_RGB[:200], WIDE_RGB[:128] + bytes(400), LINEAR_GREY, GREY_PAPER])
def test_a_broken_or_alien_profile_is_ignored(icc: bytes) -> None:
    picture = noise(61, 47)
    assert (pixels(encoded(picture, icc_profile=icc)) == np.asarray(picture)).all()


def test_odd_metadata_is_ignored() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "x" * 1000, zip=True)
    notes.add_text("XML:com.adobe.xmp", "<tiff:Orientation>nine</tiff:Orientation>")
    picture = noise(61, 47)
    assert (pixels(encoded(picture, pnginfo=notes)) == np.asarray(picture)).all()


# Decoding a JPEG at a fraction of its size, where that is asked for.

LARGE = ImageLimits(max_bytes=16 * 1024**2, max_pixels=10_000_000)


def speckled(width: int, height: int) -> Image.Image:
    """Return the picture that suffers most: random colours, two pixels wide."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (-(-height // 2), -(-width // 2), 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)


@pytest.mark.parametrize(
    ("size", "enough", "seen"),
    [
        ((200, 300), 100, (100, 150)),
        ((300, 200), 100, (150, 100)),
        ((399, 401), 100, (200, 201)),
        ((400, 401), 100, (100, 101)),
        ((799, 900), 100, (200, 225)),
        ((800, 900), 100, (100, 113)),
        ((1700, 1700), 100, (213, 213)),
        ((199, 2000), 100, (199, 2000)),
        ((100, 100), 100, (100, 100)),
        ((20, 30), 100, (20, 30)),
    ],
)
def test_a_jpeg_keeps_enough_of_its_short_side(size: tuple[int, int], enough: int, seen: tuple[int, int]) -> None:
    decoded = decode(encoded(noise(*size), "JPEG"), LARGE, enough, fast=True)
    assert decoded.rgb.size == seen
    assert (decoded.width, decoded.height) == size
    assert decoded.decoded_at == (None if seen == size else seen)
    assert decoded.format == "JPEG"


def test_twice_the_models_picture_is_enough() -> None:
    assert MIN_SHORT_SIDES * 224 == 448


@pytest.mark.parametrize("picture", [noise(399, 600), noise(20, 10)])
def test_a_jpeg_that_is_small_is_decoded_as_it_is(picture: Image.Image) -> None:
    file = encoded(picture, "JPEG")
    assert decode(file, LARGE, 200, fast=True).rgb.tobytes() == decode(file, LARGE).rgb.tobytes()


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        *(("PNG", {}), ("WEBP", {}), ("GIF", {}), ("TIFF", {}), ("BMP", {}), ("AVIF", {}), ("JPEG2000", {})),
        ("TIFF", {"compression": "jpeg"}),
    ],
)
def test_other_formats_are_decoded_as_they_are(file_format: str, options: dict[str, str]) -> None:
    file = encoded(noise(200, 160), file_format, **options)
    fast, exact = decode(file, LARGE, 20, fast=True), decode(file, LARGE)
    assert fast.rgb.tobytes() == exact.rgb.tobytes()
    assert (
        (fast.width, fast.height, fast.format) == (exact.width, exact.height, exact.format) == (200, 160, file_format)
    )
    assert fast.decoded_at is exact.decoded_at is None


# What is nearly square turns into a square at a fraction of its size.
@pytest.mark.parametrize("size", [(2176, 2175), (2175, 2176), (1200, 700)])
@pytest.mark.parametrize("orientation", STORED)
def test_the_size_is_the_upright_one_that_was_sent(orientation: int, size: tuple[int, int]) -> None:
    turned = orientation >= 5
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = STORED[orientation].resize(size[::-1] if turned else size, Image.Resampling.NEAREST)
    decoded = decode(encoded(stored, "JPEG", exif=exif, quality=95), LARGE, 300, fast=True)
    assert (decoded.width, decoded.height) == size
    fraction = 4 if size[0] > 2000 else 2
    assert decoded.rgb.size == (-(-size[0] // fraction), -(-size[1] // fraction))
    seen = np.asarray(decoded.rgb.resize((96, 48))).astype(int)
    assert np.abs(seen[8, 8] - (255, 0, 0)).max() <= 12
    assert np.abs(seen[8, 88] - (0, 0, 255)).max() <= 12
    assert np.abs(seen[40, 8] - 255).max() <= 12


@pytest.mark.parametrize(
    ("picture", "options", "mean", "largest"),
    [
        (noise(1000, 1400), {}, 0.5, 4),
        (noise(1000, 1400), {"progressive": True}, 0.5, 4),
        (noise(1000, 1400, "L"), {}, 0.5, 4),
        (noise(1000, 1400, "CMYK"), {}, 0.5, 4),
        (noise(1000, 1400), {"icc_profile": WIDE_RGB}, 0.5, 6),
        (noise(900, 2100), {}, 0.5, 4),
        (speckled(1000, 1400), {}, 4, 40),
    ],
)
def test_what_the_model_sees_hardly_changes(
    picture: Image.Image, options: dict[str, object], mean: float, largest: int
) -> None:
    file = encoded(picture, "JPEG", quality=95, **options)
    fast, exact = (decode(file, LARGE, MIN_SHORT_SIDES * 224, fast=fast).rgb for fast in (True, False))
    assert fast.size != exact.size
    assert fast.mode == exact.mode == "RGB"
    size = (224, 224 * exact.height // exact.width)
    seen, expected = (np.asarray(each.resize(size, Image.Resampling.BICUBIC)).astype(int) for each in (fast, exact))
    assert 0 < np.abs(seen - expected).mean() < mean
    assert np.abs(seen - expected).max() <= largest


def test_a_phones_picture_with_another_behind_it_is_decoded_at_a_fraction_too() -> None:
    white, black = (Image.new("RGB", (320, 160), colour) for colour in ("white", "black"))
    decoded = decode(encoded(white, "MPO", save_all=True, append_images=[black]), LARGE, 80, fast=True)
    assert (decoded.rgb.size, decoded.width, decoded.height, decoded.format) == ((160, 80), 320, 160, "JPEG")
    assert (np.asarray(decoded.rgb) == 255).all()


def test_fast_decoding_is_opt_in_and_the_answer_tells_the_size_that_was_sent(
    make_client: Callable[..., FlaskClient], classifier: ZeroShotClassifier
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = 10 * classifier.model.image_size
    file = encoded(speckled(large, large + 3), "JPEG", exif=exif)
    results = [
        ask(make_client(**chosen), image=by_base64(file), lists=["qualities"], top_k=None)["results"][0]
        for chosen in ({}, {"decode": "exact"}, {"decode": "fast"})
    ]
    image = {
        "source": "base64",
        "name": None,
        "sha256": hashlib.sha256(file).hexdigest(),
        "format": "JPEG",
        "width": large + 3,
        "height": large,
    }
    quarter = {"width": -(-(large + 3) // 4), "height": -(-large // 4)}
    assert [result["image"] for result in results] == [image, image, image | {"decoded_at": quarter}]
    default, exact, fast = (
        {found["label"]: found["similarity"] for found in result["lists"]["qualities"]["predictions"]}
        for result in results
    )
    assert default == exact
    # Pixels move a little, so fast is another answer, and nearly the same one.
    assert fast != exact
    assert max(abs(fast[label] - exact[label]) for label in exact) < 0.05


def test_a_jpeg_larger_than_the_limits_is_decoded_at_what_serves() -> None:
    file = encoded(speckled(2000, 1600), "JPEG", quality=95)
    limits = ImageLimits(max_bytes=LARGE.max_bytes, max_pixels=2000 * 1600 - 1)
    decoded = decode(file, limits, 400)
    assert (decoded.rgb.size, decoded.width, decoded.height, decoded.decoded_at) == ((500, 400), 2000, 1600, (500, 400))
    assert decoded.rgb.tobytes() == decode(file, LARGE, 400, fast=True).rgb.tobytes()
    within = decode(file, LARGE, 400)
    assert (within.rgb.size, within.decoded_at) == ((2000, 1600), None)


@pytest.mark.parametrize(
    ("file", "min_short_side"),
    [
        (encoded(noise(1200, 1000), "JPEG"), None),
        (encoded(noise(1200, 1000), "JPEG"), 501),  # no fraction serves
        (encoded(noise(1200, 1000), "PNG"), 100),
    ],
)
def test_what_has_no_size_that_serves_within_the_limits_is_refused(file: bytes, min_short_side: int | None) -> None:
    with pytest.raises(ImageDimensions, match="1 to 1000000 pixels"):
        decode(file, LIMITS, min_short_side)


def test_an_answer_says_at_what_size_a_large_picture_was_decoded(
    make_client: Callable[..., FlaskClient], classifier: ZeroShotClassifier
) -> None:
    side = 6 * classifier.model.image_size
    client = make_client(max_image_pixels=side * side - 1)
    answer = ask(client, image=by_base64(encoded(noise(side, side), "JPEG")), lists=["qualities"])
    image = answer["results"][0]["image"]
    assert (image["width"], image["height"]) == (side, side)
    assert image["decoded_at"] == {"width": side // 2, "height": side // 2}


@pytest.mark.parametrize("with_stability", [False, True])
def test_corners_want_more_of_a_large_picture(
    make_client: Callable[..., FlaskClient], classifier: ZeroShotClassifier, with_stability: bool
) -> None:
    side = 4 * classifier.model.image_size
    client = make_client(max_image_pixels=side * side - 1)
    picture = by_base64(encoded(noise(side, side), "JPEG"))
    asked = {"image": picture, "lists": ["qualities"]} | ({"include": ["stability"]} if with_stability else {})
    assert client.post("/v1/gaze", json=asked).status_code == (422 if with_stability else 200)


@pytest.mark.parametrize("header", [40, 56, 108, 124])
@pytest.mark.parametrize(("alpha", "expected"), [((0, 0), 0), ((0, 255), 1), ((128, 255), 2)])
def test_a_bitmap_whose_alpha_is_zero_everywhere_is_opaque(header: int, alpha: tuple[int, int], expected: int) -> None:
    samples = np.random.default_rng(3).integers(0, 256, (7, 5, 4), dtype=np.uint8)
    samples[:4, :, 3], samples[4:, :, 3] = alpha
    bgra = np.ascontiguousarray(samples[::-1, :, [2, 1, 0, 3]]).tobytes()
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    # Width, height, planes, bits, that masks say where the samples are, bytes, resolution, colours.
    information = struct.pack("<IiiHHIIiiII", header, 5, 7, 1, 32, 3, len(bgra), 0, 0, 0, 0)
    # The shortest header has its masks behind it, of which there are but three.
    information += masks[:12] if header == 40 else masks.ljust(header - 40, b"\0")
    file = b"BM" + struct.pack("<IHHI", 14 + len(information) + len(bgra), 0, 0, 14 + len(information))
    opaque = np.ones((7, 5, 1)) if expected == 0 or header == 40 else samples[..., 3:] / 255
    found = pixels(file + information + bgra)
    assert np.abs(found - (samples[..., :3] * opaque + 255 * (1 - opaque))).max() <= 1
