"""AVIF: a part of the picture that alone is to be seen."""

import struct

import numpy as np
import pytest
from PIL import ExifTags, Image

from fuzz.seeds import picture
from service.errors import UndecodableImage
from service.images.decode import ImageLimits, decode
from service.images.decoders.avif import clean_aperture
from tests.conftest import encoded

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=1_000_000)
SIZE = (200, 120)
PROFILE = b"as long as an aperture is..."
WHOLE = (200, 1, 120, 1, 0, 1, 0, 1)


def avif(aperture: tuple[int, ...], orientation: int = 1) -> bytes:
    """Return an AVIF with a clean aperture in the place of a profile."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = encoded(
        picture("RGB", size=SIZE), "AVIF", quality=100, subsampling="4:4:4", icc_profile=PROFILE, exif=exif.tobytes()
    )
    assert file.count(b"colrprof" + PROFILE) == 1
    changed = bytearray(file.replace(b"colrprof" + PROFILE, b"clap" + struct.pack(">iIiIiIiI", *aperture)))
    place = file.index(b"ipma") + 14
    count = file[place]
    for index in range(place + 1, place + 1 + count):
        changed[index] |= 0x80  # essential, as what changes a picture must be
    return bytes(changed)


def samples_of(file: bytes) -> np.ndarray:
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
    whole = samples_of(avif(WHOLE))
    assert np.array_equal(samples_of(avif(aperture)), whole[part[1] : part[3], part[0] : part[2]])
    decoded = decode(avif(aperture), LIMITS)
    assert (decoded.width, decoded.height) == (part[2] - part[0], part[3] - part[1])
    assert (decoded.format, decoded.decoded_at) == ("AVIF", None)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_the_part_is_turned_as_the_picture_is(orientation: int) -> None:
    upright = samples_of(avif(WHOLE, orientation))
    height, width = upright.shape[:2]
    seen = samples_of(avif((100, 1, 60, 1, 0, 1, 0, 1), orientation))
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
    assert clean_aperture(file, SIZE) == (50, 30, 150, 90)
    assert clean_aperture(other, SIZE) is None
