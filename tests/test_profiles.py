"""ICC profiles before Little CMS sees them."""

import io
import struct

import pytest
from PIL import ImageCms

from fuzz.bombs import shared_stages, with_profile
from fuzz.seeds import seeds
from service.images.decode import ImageLimits, decode
from service.images.decoders.profiles import is_plain, without_float_pipelines

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LIMITS = ImageLimits(1_000_000, 1_000_000)


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
        ImageCms.buildTransform(io.BytesIO(without_float_pipelines(profile)), io.BytesIO(SRGB), "RGB", "RGB")
    plain = decode(seeds("JPEG")[0], LIMITS).rgb
    assert decode(with_profile(seeds("JPEG")[0], profile, segment), LIMITS).rgb.tobytes() == plain.tobytes()


def test_the_rest_of_a_profile_is_read_as_ever() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    assert without_float_pipelines(lab) == lab
    assert colours_by(with_tag(SRGB, b"D2B0", pipeline(3))) == colours_by(SRGB)
    assert not is_plain(with_tag(SRGB, b"D2B0", pipeline(3)))


@pytest.mark.parametrize("profile", [b"", bytes(127), SRGB[:140], SRGB[:128] + b"\xff\xff\xff\xff", bytes(5_000)])
def test_broken_profiles_stay_as_they_are(profile: bytes) -> None:
    assert without_float_pipelines(profile) == profile


def test_a_profile_of_curves_alone_is_plain() -> None:
    assert is_plain(SRGB)
