"""Colours by profile and by number, and profiles before Little CMS sees them."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from fuzz.bombs import png_chunk, shared_stages, with_profile
from fuzz.seeds import picture, seeds
from service.images.decode import ImageLimits, decode
from service.images.decoders import colour
from service.images.decoders.colour import HDR_WARNING, is_plain, without_float_pipelines
from tests.conftest import encoded

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=1_000_000)
SRGB = (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
P3 = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
BT2020 = (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046)


def matrix(points: tuple[float, ...]) -> np.ndarray:
    """Return what makes XYZ of linear RGB."""
    places = [(points[place], points[place + 1]) for place in range(0, 8, 2)]
    white, red, green, blue = (np.array([x, y, 1 - x - y]) / y for x, y in places)
    columns = np.stack([red, green, blue], axis=1)
    return np.asarray(columns * (np.linalg.inv(columns) @ white))


def linear(samples: np.ndarray, exponent: float | None) -> np.ndarray:
    """Return linear values of samples, by an exponent or sRGB's own curve."""
    share = samples / 255
    if exponent:
        return np.asarray(share**exponent)
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def in_srgb(samples: np.ndarray, points: tuple[float, ...], exponent: float | None) -> np.ndarray:
    """Return sRGB samples of those of other colours with the same white."""
    values = linear(samples, exponent) @ (np.linalg.inv(matrix(SRGB)) @ matrix(points)).T
    values = np.clip(values, 0, 1)
    return np.asarray(np.where(values <= 0.0031308, 12.92 * values, 1.055 * values ** (1 / 2.4) - 0.055) * 255)


def with_chunks(made: Image.Image, *chunks: bytes) -> bytes:
    file = encoded(made, "PNG")
    place = file.index(b"IHDR") + 4 + 13 + 4
    return file[:place] + b"".join(chunks) + file[place:]


def gama(gamma: float) -> bytes:
    return png_chunk(b"gAMA", struct.pack(">I", round(gamma * 100_000)))


def chrm(points: tuple[float, ...]) -> bytes:
    return png_chunk(b"cHRM", struct.pack(">8I", *(round(each * 100_000) for each in points)))


def cicp(primaries: int, transfer: int) -> bytes:
    return png_chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


def samples_of(file: bytes) -> np.ndarray:
    return np.asarray(decode(file, LIMITS).rgb).astype(float)


@pytest.mark.parametrize(
    ("chunks", "points", "exponent"),
    [
        ([gama(1.0)], SRGB, 1.0),
        ([gama(1 / 1.8)], SRGB, 1.8),
        ([gama(1 / 2.2), chrm(P3)], P3, None),
        ([gama(1.0), chrm(BT2020)], BT2020, 1.0),
        ([cicp(12, 13)], P3, None),
        ([cicp(9, 1)], BT2020, None),
        ([cicp(1, 8)], SRGB, 1.0),
        ([gama(1.0), cicp(12, 13)], P3, None),
    ],
)
def test_a_png_says_its_colours_in_numbers(
    chunks: list[bytes], points: tuple[float, ...], exponent: float | None
) -> None:
    made = picture("RGB")
    expected = in_srgb(np.asarray(made), points, exponent)
    assert np.abs(expected - np.asarray(made)).max() > 10
    # Tables of Little CMS are coarse where a curve is steep, as linear samples are in the dark.
    off = np.abs(samples_of(with_chunks(made, *chunks)) - expected)
    assert off.mean() < 1
    assert off.max() <= 6


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "I;16"])
def test_pictures_of_every_mode_have_a_gamma(mode: str) -> None:
    made = picture(mode)
    if mode == "I;16":
        made = Image.fromarray(np.asarray(picture("L")).astype(np.uint16) * 257)
    plain = samples_of(encoded(made, "PNG"))
    off = np.abs(samples_of(with_chunks(made, gama(1 / 1.8))) - in_srgb(plain, SRGB, 1.8))
    assert off.mean() < 1


@pytest.mark.parametrize(
    "chunks",
    [
        [gama(0.45455)],
        [gama(0.45455), chrm(SRGB)],
        [gama(1.0), png_chunk(b"sRGB", b"\0")],
        [gama(0.0)],
        [gama(9.0)],
        [chrm(P3)],
        [gama(0.45455), chrm((0.3, 0.0) * 4)],
        [gama(0.45455), chrm((0.3, 0.3) * 4)],
        [cicp(1, 13)],
        [cicp(2, 2)],
    ],
)
def test_what_says_srgb_or_what_cannot_be_changes_nothing(chunks: list[bytes]) -> None:
    made = picture("RGB")
    assert (samples_of(with_chunks(made, *chunks)) == np.asarray(made)).all()


def numbered(file: bytes, primaries: int, transfer: int) -> bytes:
    """Return a HEIF or an AVIF that says these code points."""
    place = file.index(b"colrnclx") + 8
    return file[:place] + struct.pack(">HH", primaries, transfer) + file[place + 4 :]


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("HEIF", {"quality": -1, "chroma": 444}), ("AVIF", {"quality": 100, "subsampling": "4:4:4"})],
)
@pytest.mark.parametrize(("primaries", "points"), [(12, P3), (9, BT2020)])
def test_so_do_heic_and_avif(
    file_format: str, options: dict[str, object], primaries: int, points: tuple[float, ...]
) -> None:
    file = encoded(picture("RGB"), file_format, **options)
    expected = in_srgb(samples_of(file), points, None)
    assert np.abs(samples_of(numbered(file, primaries, 13)) - expected).mean() < 1


@pytest.mark.parametrize("transfer", [16, 18])
def test_what_is_hdr_is_warned_of(transfer: int) -> None:
    made = picture("RGB")
    decoded = decode(with_chunks(made, cicp(9, transfer)), LIMITS)
    assert decoded.warnings == (HDR_WARNING,)
    assert decode(numbered(encoded(made, "AVIF"), 9, transfer), LIMITS).warnings == (HDR_WARNING,)
    assert decode(with_chunks(made, cicp(9, 1)), LIMITS).warnings == ()


def test_the_numbers_of_a_png_count_before_its_profile() -> None:
    made = picture("RGB")
    wide = colour.profile_of(P3, 1.0, grey=False)
    assert wide
    profiled = png_chunk(b"iCCP", b"a\0\0" + zlib.compress(wide))
    assert (samples_of(with_chunks(made, cicp(1, 13), profiled)) == np.asarray(made)).all()
    off = np.abs(samples_of(with_chunks(made, cicp(1, 8), profiled)) - in_srgb(np.asarray(made), SRGB, 1.0))
    assert off.mean() < 1
    # What is not said by number is said by the profile.
    unsaid = samples_of(with_chunks(made, cicp(2, 2), profiled))
    assert (unsaid == samples_of(with_chunks(made, profiled))).all()


ICC_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def with_tag(profile: bytes, name: bytes, data: bytes) -> bytes:
    """Return the profile with one tag more, at its end."""
    count = struct.unpack_from(">I", profile, 128)[0]
    table, rest = profile[132 : 132 + 12 * count], profile[132 + 12 * count :]
    moved = b"".join(
        struct.pack(">4sII", tag, place + 12, size) for tag, place, size in struct.iter_unpack(">4sII", table)
    )
    added = struct.pack(">4sII", name, len(profile) + 12, len(data))
    whole = profile[:128] + struct.pack(">I", count + 1) + moved + added + rest + data
    return struct.pack(">I", len(whole)) + whole[4:]


def pipeline(stages: int) -> bytes:
    return shared_stages(stages)[144:]


def colours_by(profile: bytes) -> bytes:
    """Return what a picture is in sRGB by a profile."""
    return decode(with_profile(seeds("JPEG")[0], profile), LIMITS).rgb.tobytes()


@pytest.mark.parametrize("segment", [4_000, 65_000])
def test_a_pipeline_of_thousands_of_stages_is_never_built(segment: int) -> None:
    profile = shared_stages(7_400)
    with pytest.raises(ImageCms.PyCMSError):  # nothing else is in it, so nothing is left to build
        ImageCms.buildTransform(io.BytesIO(without_float_pipelines(profile)), io.BytesIO(ICC_SRGB), "RGB", "RGB")
    plain = decode(seeds("JPEG")[0], LIMITS).rgb
    assert decode(with_profile(seeds("JPEG")[0], profile, segment), LIMITS).rgb.tobytes() == plain.tobytes()


def test_the_rest_of_a_profile_is_read_as_ever() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert without_float_pipelines(lab) == lab
    assert colours_by(with_tag(ICC_SRGB, b"D2B0", pipeline(3))) == colours_by(ICC_SRGB)
    assert not is_plain(with_tag(ICC_SRGB, b"D2B0", pipeline(3)))


@pytest.mark.parametrize(
    "profile", [b"", bytes(127), ICC_SRGB[:140], ICC_SRGB[:128] + b"\xff\xff\xff\xff", bytes(5_000)]
)
def test_broken_profiles_stay_as_they_are(profile: bytes) -> None:
    assert without_float_pipelines(profile) == profile


def test_a_profile_of_curves_alone_is_plain() -> None:
    assert is_plain(ICC_SRGB)
