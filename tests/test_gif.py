"""GIF: what comes before its first picture."""

import pytest

from fuzz.bombs import gif
from service.images.decode import ImageLimits, decode
from service.images.gif import without_disposal
from tests.conftest import encoded, noise

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=2_000_000)


def with_control(file: bytes, flags: int, before: bytes = b"") -> bytes:
    place = file.index(b",\0\0\0\0")
    return file[:place] + before + b"!\xf9\4" + bytes([flags]) + b"\0\0\0\0" + file[place:]


@pytest.mark.parametrize("before", [b"", b"\0\0", b"!\xfe\2ab\1c\0"])
@pytest.mark.parametrize("disposal", [1, 2, 3, 7])
def test_what_becomes_of_the_first_picture_is_not_said(disposal: int, before: bytes) -> None:
    file = gif((10, 10), (10, 10))
    assert without_disposal(with_control(file, disposal << 2 | 1, before)) == with_control(file, 1, before)
    assert decode(with_control(file, disposal << 2, before), LIMITS).rgb.size == (10, 10)


@pytest.mark.parametrize("length", range(60))
def test_what_is_cut_short_is_left_as_it_is(length: int) -> None:
    file = with_control(encoded(noise(8, 8).quantize(8), "GIF"), 1)[:length]
    assert without_disposal(file) == file
