"""BMP: whole files of kinds that are not read are told from broken ones."""

import struct

import pytest

from service.errors import UndecodableImage
from service.images.decode import ImageLimits, decode

LIMITS = ImageLimits(max_bytes=32 * 1024**2, max_pixels=1_000_000)


def bitmap(bits: int, compression: int = 0, header: int = 40, masks: tuple[int, ...] = ()) -> bytes:
    """Return a black bitmap of 8 x 8 pixels."""
    said = struct.pack("<IiiHHIIiiII", header, 8, 8, 1, bits, compression, 256, 0, 0, 0, 0)
    said = (said + struct.pack(f"<{len(masks)}I", *masks)).ljust(header, b"\0")
    start = 14 + len(said)
    return b"BM" + struct.pack("<IHHI", start + 256, 0, 0, start) + said + bytes(256)


@pytest.mark.parametrize(
    "file",
    [
        bitmap(2),
        bitmap(24, header=16),
        bitmap(0, compression=5, header=124),
        bitmap(32, compression=3, masks=(0x3FF, 0xFFC00, 0x3FF00000)),
        bitmap(16, compression=3, masks=(0xF00, 0xF0, 0xF)),
    ],
    ids=("2 bits", "OS/2's short header", "a PNG within", "10 bits of 32", "4 bits of 16"),
)
def test_a_kind_that_is_not_read_is_named(file: bytes) -> None:
    with pytest.raises(UndecodableImage, match="a BMP of a kind that is not read"):
        decode(file, LIMITS)


def test_a_broken_one_is_not_said_to_be_of_another_kind() -> None:
    with pytest.raises(UndecodableImage, match="broken or cut short"):
        decode(bitmap(24)[:200], LIMITS)
    assert decode(bitmap(24), LIMITS).rgb.size == (8, 8)
    assert decode(bitmap(16, compression=3, masks=(0xF800, 0x7E0, 0x1F)), LIMITS).rgb.size == (8, 8)
