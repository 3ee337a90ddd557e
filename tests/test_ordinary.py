"""What may be decoded in the process that answers, and what may not."""

import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import ImageCms

from fuzz.bombs import jpeg_with_profile, png, png_chunk, profile, profile_of_stages, scan_bomb
from fuzz.seeds import VARIANTS, seeds
from service.images.decode import is_ordinary
from tests.conftest import encoded, noise

JPEG = seeds("JPEG")[0]
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CURVE = b"curv\0\0\0\0" + struct.pack(">I", 4_096) + bytes(8_192)
MATRIX = {name: b"XYZ \0\0\0\0" + bytes(12) for name in (b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt")}
PLAIN = {**MATRIX, b"desc": b"desc\0\0\0\0" + bytes(80), b"rTRC": CURVE, b"gTRC": CURVE, b"bTRC": CURVE}


def png_with_profile(icc: bytes) -> bytes:
    return png(png_chunk(b"iCCP", b"a\0\0" + zlib.compress(icc)))


def coded(jpeg: bytes, width: int, height: int, factors: tuple[int, ...]) -> bytes:
    """Return a JPEG whose header says another size and other sampling factors."""
    frame = next(place for place in (jpeg.find(b"\xff" + bytes([kind])) for kind in (0xC0, 0xC2)) if place > 0)
    changed = bytearray(jpeg)
    struct.pack_into(">HH", changed, frame + 5, height, width)
    for number, factor in enumerate(factors):
        changed[frame + 11 + 3 * number] = factor
    return bytes(changed)


def between_scans(jpeg: bytes, inserted: bytes) -> bytes:
    """Return a JPEG with something between its first two scans."""
    second = jpeg.index(b"\xff\xda", jpeg.index(b"\xff\xda") + 2)
    return jpeg[:second] + inserted + jpeg[second:]


@pytest.mark.parametrize(
    "file",
    [
        *seeds("JPEG"),
        *seeds("PNG")[: len(VARIANTS["PNG"])],
        encoded(noise(2175, 1713), "JPEG"),
        encoded(noise(2175, 1713), "JPEG", progressive=True),
        JPEG[:2] + b"\xff\xfe\0\2" * 50 + JPEG[2:],
        between_scans(encoded(noise(90, 60), "JPEG", progressive=True), b"\xff\xfe\0\4\xff\xd9"),
        JPEG + b"\xff\xda" * 1_000,
        JPEG[:2] + b"\xff\xe2\x10\1" + bytes(4095) + JPEG[2:],  # no profile
        *(
            make(icc)
            for icc in (SRGB, profile(PLAIN), profile({b"kTRC": CURVE}, space=b"GRAY"))
            for make in (jpeg_with_profile, png_with_profile)
        ),
        coded(encoded(noise(90, 60), "JPEG", progressive=True), 2_800, 2_800, (0x22, 0x11, 0x11)),
        encoded(noise(90, 60).convert("CMYK"), "JPEG", icc_profile=SRGB),
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
        # All coefficients of a picture of several scans are in memory.
        coded(encoded(noise(90, 60), "JPEG", progressive=True), 2_800, 2_800, (0x11, 0x11, 0x11)),
        coded(JPEG, 2_800, 2_800, (0, 0, 0)),
        JPEG[:2] + (b"\xff\xe1\xff\xff" + bytes(65_533)) * 2 + JPEG[2:],
        encoded(noise(3_000, 2_700), "JPEG"),
        png(width=3_000, height=2_700),
        # Of samples that are twice as many bytes, half as many pixels.
        png(width=2_600, height=2_600).replace(b"\x08\0\0\0\0", b"\x10\6\0\0\0", 1),
        *seeds("PNG")[len(VARIANTS["PNG"]) :],
        png(png_chunk(b"zTXt", bytes(16_385))),
        png(png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"0" * 1_000_000))),
        png_with_profile(bytes(4_097)),
        png(*[png_chunk(b"abCd", b"")] * 101),
        png()[:60],
    ],
)
def test_all_else_is_not(file: bytes) -> None:
    assert not is_ordinary(file)


CHAIN = profile_of_stages(300)


@pytest.mark.parametrize(
    "icc",
    [
        CHAIN,
        CHAIN[:1_000],
        SRGB[:100],
        profile_of_stages(8, kind=b"A2B0"),
        profile_of_stages(8, kind=b"rTRC"),
        profile({**PLAIN, b"gTRC": b"curv\0\0\0\0" + struct.pack(">I", 4_097) + bytes(8_194)}),
        profile({**PLAIN, b"desc": b"desc\0\0\0\0" + bytes(30_000)}),
        profile(PLAIN, kind=b"link"),
        profile(PLAIN, space=b"CMYK"),
        profile(PLAIN).replace(b"XYZ ", b"Lab ", 1),
        profile({**PLAIN, **{b"x%03d" % number: b"" for number in range(9)}}),
    ],
    # Not by the bytes: a profile says when it was made, and two processes that test make one each.
    ids=("stages", "cut", "head", "A2B0", "rTRC", "long curve", "long name", "link", "CMYK", "Lab", "unknown tags"),
)
@pytest.mark.parametrize("make", [jpeg_with_profile, png_with_profile])
def test_a_profile_of_more_than_matrix_and_curves_is_not(make: Callable[[bytes], bytes], icc: bytes) -> None:
    assert not is_ordinary(make(icc))


def test_nor_are_two_that_are_plain() -> None:
    icc = profile(PLAIN)
    one = jpeg_with_profile(icc)
    segment = one[2 : 2 + 4 + len(b"ICC_PROFILE\0") + 2 + len(icc)]
    assert is_ordinary(one)
    assert not is_ordinary(one[:2] + segment + one[2:])


@pytest.mark.parametrize("segment", [40, 4_000])
def test_nor_is_one_in_parts(segment: int) -> None:
    assert not is_ordinary(jpeg_with_profile(profile(PLAIN), segment))
    assert not is_ordinary(jpeg_with_profile(CHAIN, segment))
