"""HEIF and AVIF: brands, colours, and the part of a picture that is to be seen."""

import io
import struct
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageCms

from fuzz.seeds import picture
from service.errors import ImageDimensions, UndecodableImage, UnsupportedImageFormat
from service.images.decode import ImageLimits, decode
from service.images.decoders import heif
from service.images.decoders.heif import clean_aperture
from service.images.isolation.decoder import Decoder
from tests.conftest import encoded
from tests.support.decoding import PREPARE
from tests.support.profiled_pictures import WIDE_RGB

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=1_000_000)
SIZE = (200, 120)
heif.register()


def heic(image: Image.Image, **options: Any) -> bytes:
    """Return a HEIC that keeps its pixels as well as HEVC can."""
    return encoded(image, "HEIF", quality=-1, chroma=444, matrix_coefficients=0, **options)


def samples_of(file: bytes) -> np.ndarray:
    return np.asarray(decode(file, LIMITS).rgb).astype(int)


def furthest(file: bytes, expected: np.ndarray) -> float:
    return float(np.abs(samples_of(file) - expected).max())


def test_pixels_of_a_lossless_one_are_those_that_were_saved() -> None:
    made = picture("RGB", size=SIZE)
    decoded = decode(heic(made), LIMITS)
    assert (decoded.format, decoded.width, decoded.height) == ("HEIF", *SIZE)
    assert np.abs(np.asarray(decoded.rgb).astype(int) - np.asarray(made)).max() <= 1


@pytest.mark.parametrize("options", [{}, {"quality": 90}, {"chroma": 420}, {"chroma": 422}, {"tile_size": 64}])
def test_pixels_are_near_those_that_were_saved(options: dict[str, Any]) -> None:
    made = picture("RGB", size=SIZE)
    file = encoded(made, "HEIF", **{"quality": 95, **options})
    assert np.abs(samples_of(file) - np.asarray(made)).mean() < 3


def test_grey_is_grey() -> None:
    made = picture("L", size=SIZE)
    assert furthest(encoded(made, "HEIF", quality=-1), np.asarray(made)[..., None]) <= 1


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("mode", ["RGB;16", "RGBA;16"])
def test_more_than_eight_bits(mode: str, bits: int) -> None:
    made = np.asarray(picture("RGB", size=SIZE)).astype(np.uint16)
    alpha = np.linspace(0, 65535, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(*SIZE[::-1], 1)
    samples = made * 257 if mode == "RGB;16" else np.concatenate([made * 257, alpha], axis=2)
    file = io.BytesIO()
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    pillow_heif.from_bytes(mode, SIZE, samples.tobytes()).save(file, quality=-1, chroma=444, matrix_coefficients=0)
    pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    opaque = alpha / 65535 if mode == "RGBA;16" else np.ones((*SIZE[::-1], 1))
    assert furthest(file.getvalue(), made * opaque + 255 * (1 - opaque)) <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    made = picture(mode, size=SIZE)
    alpha = np.linspace(0, 255, SIZE[0] * SIZE[1]).astype(np.uint8).reshape(*SIZE[::-1])
    made.putalpha(Image.fromarray(alpha))
    white = Image.new("RGBA", SIZE, "white")
    expected = np.asarray(Image.alpha_composite(white, made.convert("RGBA")).convert("RGB")).astype(int)
    assert furthest(heic(made), expected) <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_once(orientation: int) -> None:
    made = picture("RGB", size=SIZE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    expected = made if orientation == 1 else made.transpose(Image.Transpose(stored[orientation]))
    assert furthest(heic(made, exif=exif.tobytes()), np.asarray(expected).astype(int)) <= 1


def test_exif_does_not_turn_what_the_container_does_not() -> None:
    # As phones do: the container's own rotation counts, and EXIF only repeats it.
    exif = Image.Exif()
    exif[0x0112] = 6
    file = heic(picture("RGB", size=SIZE), exif=exif.tobytes())
    unturned = file.replace(b"irot", b"free")
    assert unturned != file
    decoded = decode(unturned, LIMITS)
    assert (decoded.width, decoded.height) == SIZE


def test_colours_of_a_profile_are_brought_to_srgb() -> None:
    made = picture("RGB", size=SIZE)
    wide = ImageCms.ImageCmsProfile(io.BytesIO(WIDE_RGB))
    expected = ImageCms.profileToProfile(made, wide, ImageCms.createProfile("sRGB"))
    assert expected is not None
    assert np.abs(np.asarray(expected).astype(int) - np.asarray(made)).max() > 20
    assert furthest(heic(made, icc_profile=WIDE_RGB), np.asarray(expected).astype(int)) <= 8


def test_of_several_pictures_the_primary_one_is_seen() -> None:
    red, blue = (Image.new("RGB", SIZE, colour) for colour in ("red", "blue"))
    for primary, colour in ((0, [255, 0, 0]), (1, [0, 0, 255])):
        file = heic(red, save_all=True, append_images=[blue], primary_index=primary)
        assert np.abs(samples_of(file)[5, 5] - colour).max() <= 2


@pytest.mark.parametrize("less", [1, 20, 300])
def test_what_is_cut_short_is_refused(less: int) -> None:
    with pytest.raises(UndecodableImage):
        decode(heic(picture("RGB", size=SIZE))[:-less], LIMITS)


def test_what_only_begins_as_one_is_broken() -> None:
    with pytest.raises(UndecodableImage):
        decode(struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(range(256)) * 16, LIMITS)


def test_limits_are_those_of_any_picture() -> None:
    file = encoded(Image.new("RGB", (1001, 1000)), "HEIF")
    with pytest.raises(ImageDimensions, match="1 to 1000000 pixels"):
        decode(file, LIMITS)
    with pytest.raises(ImageDimensions):
        decode(file, LIMITS, 100)
    with pytest.raises(ImageDimensions, match="at most 100 times"):
        decode(encoded(Image.new("RGB", (2020, 20)), "HEIF"), LIMITS)


@pytest.mark.parametrize("size", [(8, 8), (199, 120), (400, 240), (20_000, 20_000), (2**31, 1), (0, 0)])
def test_a_size_that_is_not_the_pictures_makes_no_picture(size: tuple[int, int]) -> None:
    file = heic(picture("RGB", size=SIZE))
    claim = b"ispe" + bytes(4)
    assert claim + struct.pack(">II", *SIZE) in file
    lying = file.replace(claim + struct.pack(">II", *SIZE), claim + struct.pack(">II", *size))
    with pytest.raises((UndecodableImage, ImageDimensions)):
        decode(lying, LIMITS)


@pytest.mark.parametrize(
    ("brands", "expected"),
    [
        (b"heic\0\0\0\0mif1heic", True),
        (b"heix\0\0\0\0mif1", True),
        (b"mif1\0\0\0\0mif1heic", True),
        (b"mif1\0\0\0\0mif1", True),
        (b"mif1\0\0\0\0mif1avif", False),
        (b"avif\0\0\0\0mif1avif", False),
        (b"avis\0\0\0\0avifmif1heic", False),
        (b"isom\0\0\0\0isommp42", False),
    ],
)
def test_brands_tell_it_from_avif(brands: bytes, expected: bool) -> None:
    file = struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands
    assert heif.is_heif(file + b"\0\0\0\x08free") == expected


def test_a_video_is_no_picture() -> None:
    with pytest.raises(UnsupportedImageFormat):
        decode(struct.pack(">I", 24) + b"ftypisom\0\0\0\0isommp42" + bytes(999), LIMITS)


def test_avif_stays_avif() -> None:
    assert decode(encoded(picture("RGB"), "AVIF"), LIMITS).format == "AVIF"


def test_a_phones_picture_of_24_megapixels_is_decoded_in_the_memory_of_two_cores() -> None:
    file = encoded(Image.new("RGB", (5712, 4284)), "HEIF", quality=30)
    decoder = Decoder(ImageLimits(32 * 1024**2, 50_000_000), 2, 60.0)
    with decoder.slot(file) as decode_in_slot:
        assert decode_in_slot(PREPARE).format == "HEIF"
    decoder.close()


def test_a_larger_one_lacks_memory_and_says_so() -> None:
    with pytest.raises(ImageDimensions, match="memory"):
        decode(heic(picture("RGB", size=SIZE)), LIMITS, before_pixels=lambda _bytes: False)


AVIF_SIZE = (200, 120)
PROFILE = b"as long as an aperture is..."
WHOLE = (200, 1, 120, 1, 0, 1, 0, 1)


def avif(aperture: tuple[int, ...], orientation: int = 1) -> bytes:
    """Return an AVIF with a clean aperture in the place of a profile."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = encoded(
        picture("RGB", size=AVIF_SIZE),
        "AVIF",
        quality=100,
        subsampling="4:4:4",
        icc_profile=PROFILE,
        exif=exif.tobytes(),
    )
    assert file.count(b"colrprof" + PROFILE) == 1
    changed = bytearray(file.replace(b"colrprof" + PROFILE, b"clap" + struct.pack(">iIiIiIiI", *aperture)))
    place = file.index(b"ipma") + 14
    count = file[place]
    for index in range(place + 1, place + 1 + count):
        changed[index] |= 0x80  # essential, as what changes a picture must be
    return bytes(changed)


def avif_samples_of(file: bytes) -> np.ndarray:
    return np.asarray(decode(file, LIMITS).rgb).astype(int)


@pytest.mark.parametrize(
    ("aperture", "part"),
    [
        (WHOLE, (0, 0, 200, 120)),
        ((100, 1, 60, 1, 0, 1, 0, 1), (50, 30, 150, 90)),
        ((100, 1, 60, 1, -50, 1, -30, 1), (0, 0, 100, 60)),
        ((200, 2, 120, 2, 100, 2, 60, 2), (100, 60, 200, 120)),
        ((99, 1, 59, 1, -1, 2, 1, 2), (50, 31, 149, 90)),
    ],
)
def test_a_part_alone_is_seen(aperture: tuple[int, ...], part: tuple[int, int, int, int]) -> None:
    whole = avif_samples_of(avif(WHOLE))
    assert np.array_equal(avif_samples_of(avif(aperture)), whole[part[1] : part[3], part[0] : part[2]])
    decoded = decode(avif(aperture), LIMITS)
    assert (decoded.width, decoded.height) == (part[2] - part[0], part[3] - part[1])
    assert (decoded.format, decoded.decoded_at) == ("AVIF", None)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_part_is_turned_as_the_picture_is(orientation: int) -> None:
    upright = avif_samples_of(avif(WHOLE, orientation))
    height, width = upright.shape[:2]
    seen = avif_samples_of(avif((100, 1, 60, 1, 0, 1, 0, 1), orientation))
    assert np.array_equal(seen, upright[height // 4 : -height // 4, width // 4 : -width // 4])


@pytest.mark.parametrize(
    "aperture",
    [
        (202, 1, 120, 1, 0, 1, 0, 1),
        (100, 1, 60, 1, 100, 1, 0, 1),
        (0, 1, 60, 1, 0, 1, 0, 1),
        (-100, 1, 60, 1, 0, 1, 0, 1),
        (100, 0, 60, 1, 0, 1, 0, 1),
    ],
)
def test_what_is_no_part_of_the_picture_is_refused(aperture: tuple[int, ...]) -> None:
    with pytest.raises(UndecodableImage):
        decode(avif(aperture), LIMITS)


def test_an_aperture_of_another_item_is_not_the_pictures() -> None:
    file = avif((100, 1, 60, 1, 0, 1, 0, 1))
    index = file.index(b"ipma") + 8
    assert struct.unpack_from(">IH", file, index) == (1, 1)
    other = file[: index + 4] + struct.pack(">H", 2) + file[index + 6 :]
    assert clean_aperture(file, AVIF_SIZE) == (50, 30, 150, 90)
    assert clean_aperture(other, AVIF_SIZE) is None
