"""WebP: pixels of animations whose first picture is smaller than they are."""

import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fuzz.seeds import picture
from service.images.decode import ImageLimits, decode
from tests.conftest import encoded

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=1_000_000)
ANIMATED, TRANSPARENT = 0x02, 0x10


def chunk(kind: bytes, contents: bytes) -> bytes:
    return kind + struct.pack("<I", len(contents)) + contents + bytes(len(contents) % 2)


def three(*numbers: int) -> bytes:
    return b"".join(struct.pack("<I", number)[:3] for number in numbers)


def animation(frame: NDArray[Any], left: int, top: int, flags: int, background: bytes) -> bytes:
    """Return one of 61 x 47 pixels whose first picture is `frame`."""
    rows, columns = frame.shape[:2]
    still = encoded(picture("RGB", size=(columns, rows)), "WEBP", lossless=True)[12:]
    head = chunk(b"VP8X", bytes([flags, 0, 0, 0]) + three(60, 46)) + chunk(b"ANIM", background + b"\0\0")
    place = three(left // 2, top // 2, columns - 1, rows - 1, 100) + b"\0"
    body = b"WEBP" + head + chunk(b"ANMF", place + still)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("background", [b"\0\0\0\0", b"\xff\0\0\xff"])
@pytest.mark.parametrize("flags", [ANIMATED, ANIMATED | TRANSPARENT])
def test_where_no_picture_is_the_canvas_is_white(flags: int, background: bytes) -> None:
    frame = np.asarray(picture("RGB", size=(30, 20)))
    expected = np.full((47, 61, 3), 255)
    expected[6:26, 4:34] = frame
    assert (np.asarray(decode(animation(frame, 4, 6, flags, background), LIMITS).rgb) == expected).all()


def test_a_picture_that_covers_it_is_as_it_was() -> None:
    frame = np.asarray(picture("RGB"))
    assert (np.asarray(decode(animation(frame, 0, 0, ANIMATED, bytes(4)), LIMITS).rgb) == frame).all()
