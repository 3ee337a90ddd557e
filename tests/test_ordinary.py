"""What may be decoded in the process that answers, and what may not."""

import zlib

import pytest

from fuzz.bombs import png, png_chunk, scan_bomb
from fuzz.seeds import seeds
from service.images.ordinary import is_ordinary
from tests.conftest import encoded, noise

JPEG = seeds("JPEG")[0]


def between_scans(jpeg: bytes, inserted: bytes) -> bytes:
    """Return a JPEG with something between its first two scans."""
    second = jpeg.index(b"\xff\xda", jpeg.index(b"\xff\xda") + 2)
    return jpeg[:second] + inserted + jpeg[second:]


@pytest.mark.parametrize(
    "file",
    [
        *seeds("JPEG"),
        *seeds("PNG"),
        encoded(noise(2175, 1713), "JPEG"),
        encoded(noise(2175, 1713), "JPEG", progressive=True),
        JPEG[:2] + b"\xff\xfe\0\2" * 50 + JPEG[2:],
        between_scans(encoded(noise(90, 60), "JPEG", progressive=True), b"\xff\xfe\0\4\xff\xd9"),
        JPEG + b"\xff\xda" * 1_000,
    ],
)
def test_usual_jpegs_and_pngs_are_ordinary(file: bytes) -> None:
    assert is_ordinary(file)


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\xff\xd8",
        b"A picture of a river.",
        *(seeds(name)[0] for name in ("WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF", "JPEG2000")),
        scan_bomb(2_000, 100),
        # What looks like the end of the picture is in a segment that libjpeg skips.
        between_scans(scan_bomb(2_000, 90), b"\xff\xfe\0\4\xff\xd9"),
        between_scans(scan_bomb(2_000, 90), b"\xff\xdb\0\x43\1\xff\xd9" + bytes(62)),
        between_scans(encoded(noise(90, 60), "JPEG", progressive=True), b"\xff\xd8"),
        JPEG.replace(b"\xff\xd9", b""),
        JPEG[:2] + b"\xff\xfe\0\2" * 101 + JPEG[2:],
        JPEG[:2] + b"\xff" * 20 + JPEG[2:],
        JPEG[:2] + b"\xff\xe2\x10\1" + bytes(4095) + JPEG[2:],
        JPEG[:2] + (b"\xff\xe1\xff\xff" + bytes(65_533)) * 2 + JPEG[2:],
        encoded(noise(3_000, 2_700), "JPEG"),
        png(width=3_000, height=2_700),
        png(png_chunk(b"zTXt", bytes(16_385))),
        png(png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(4_097)))),
        png(*[png_chunk(b"abCd", b"")] * 101),
        png()[:60],
    ],
)
def test_all_else_is_not(file: bytes) -> None:
    assert not is_ordinary(file)
