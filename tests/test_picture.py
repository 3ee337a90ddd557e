"""What is made of a picture in parts is what is made of it as a whole."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.images.decode import ImageLimits, decode
from service.images.picture import TO_UPRIGHT
from tests.conftest import encoded, noise
from tests.support.profiled_pictures import GREY_PAPER, LINEAR_GREY, WIDE_RGB

LIMITS = ImageLimits(max_bytes=64 * 1024**2, max_pixels=10_000_000)
SIZE = (1_300, 1_700)
"""Of more than two bands, in which neither a row nor a column divides a band."""

WIDE_GREY = Image.fromarray(np.random.default_rng(5).integers(0, 65_536, SIZE[::-1], dtype=np.uint16))
FLOATS = Image.fromarray(np.random.default_rng(6).random(SIZE[::-1], dtype=np.float32))


def clear() -> Image.Image:
    picture = noise(*SIZE, "RGBA")
    picture.putalpha(Image.linear_gradient("L").resize(SIZE))
    return picture


PICTURES: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
    "RGB": (noise(*SIZE), "TIFF", {}),
    "RGB with ICC": (noise(*SIZE), "PNG", {"icc_profile": WIDE_RGB}),
    "L": (noise(*SIZE, "L"), "PNG", {}),
    "L with ICC": (noise(*SIZE, "L"), "PNG", {"icc_profile": LINEAR_GREY}),
    "CMYK": (noise(*SIZE, "CMYK"), "TIFF", {}),
    "CMYK, JPEG": (noise(*SIZE, "CMYK"), "JPEG", {}),
    "CMYK with ICC": (noise(*SIZE, "CMYK"), "TIFF", {"icc_profile": GREY_PAPER}),
    "RGBA": (clear(), "PNG", {}),
    "RGBA, TIFF": (clear(), "TIFF", {}),
    "palette": (noise(*SIZE, "P"), "PNG", {"transparency": 3}),
    "1 bit": (noise(*SIZE, "1"), "TIFF", {}),
    "16 bits": (WIDE_GREY, "PNG", {}),
    "16 bits, TIFF": (WIDE_GREY, "TIFF", {}),
    "float": (FLOATS, "TIFF", {}),
    "LAB": (Image.merge("LAB", noise(*SIZE).split()), "TIFF", {}),
}


def file_of(name: str, orientation: int) -> bytes:
    picture, file_format, options = PICTURES[name]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture, file_format, exif=exif, **options)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", PICTURES)
def test_parts_are_those_of_the_whole(name: str, orientation: int, monkeypatch: pytest.MonkeyPatch) -> None:
    file = file_of(name, orientation)
    parts = decode(file, LIMITS).oriented
    # One band as large as the picture is the straight path: converted as a whole, then turned as a whole.
    monkeypatch.setattr("service.images.picture._BAND_PIXELS", SIZE[0] * SIZE[1])
    flat = decode(file_of(name, 1), LIMITS).rgb
    whole = flat if orientation == 1 else flat.transpose(TO_UPRIGHT[orientation])
    monkeypatch.undo()
    assert parts.size == (parts.width, parts.height) == whole.size
    for box in (
        (0, 0, 1, 1),
        (0, 0, parts.width, 7),
        (0, 0, 7, parts.height),
        (3, 5, 900, 711),
        (parts.width - 1, parts.height - 2, parts.width, parts.height),
    ):
        assert parts.crop(box).mode == "RGB"
        assert parts.crop(box).tobytes() == whole.crop(box).tobytes()
    assert parts.whole().tobytes() == whole.tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pillow_does_not_turn_a_tiff(orientation: int) -> None:
    # It would for itself, which takes the memory of a second picture.
    upright = decode(encoded(noise(61, 47), "TIFF", tiffinfo={0x0112: orientation}), LIMITS).oriented
    assert upright._decoded_size == (61, 47)
    assert upright.size == ((61, 47) if orientation < 5 else (47, 61))
