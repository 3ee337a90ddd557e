"""GIF: the first picture alone."""

import io

import pytest
from PIL import GifImagePlugin, Image

from fuzz.bombs import gif
from service.images.decode import ImageLimits, decode

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=2_000_000)


def with_extensions(file: bytes, *extensions: bytes) -> bytes:
    place = file.index(b",\0\0\0\0")
    return file[:place] + b"".join(b"!" + each for each in extensions) + file[place:]


@pytest.mark.parametrize("control", [b"\xf9\4%c\0\0\0\0", b"\xf9\x08%c\0\0\0\0\0\0\0\0"], ids=["4", "8"])
@pytest.mark.parametrize(
    "before",
    [[], [b"\xfe\2ab\1c\0"], [b"\1\0\1!\0"], [b"\xff\x0bNETSCAPE2.0\0\1!\0"]],
    ids=["first", "comment", "empty", "loop"],
)
@pytest.mark.parametrize("disposal", [1, 2, 3, 7])
def test_what_becomes_of_the_first_picture_is_not_heeded(disposal: int, before: list[bytes], control: bytes) -> None:
    file = with_extensions(gif((10, 10), (10, 10)), *before, control % (disposal << 2))
    assert GifImagePlugin.GifImageFile(io.BytesIO(file)).disposal_method == disposal
    assert decode(file, LIMITS).rgb.size == (10, 10)
    opened = Image.open(io.BytesIO(file))
    assert isinstance(opened, GifImagePlugin.GifImageFile)
    assert opened.disposal_method == 0
    assert opened.dispose is None
