"""Pictures whose colours or direction are not plain, with what they look like."""

import struct

from PIL import Image


def tag(kind: bytes, contents: bytes) -> bytes:
    """Return the data of an ICC tag, padded as the format wants it."""
    data = kind + bytes(4) + contents
    return data + bytes(-len(data) % 4)


def fixed(*numbers: float) -> bytes:
    """Return numbers in ICC's s15Fixed16."""
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def gamma(exponent: float) -> bytes:
    """Return an ICC curve."""
    return tag(b"curv", struct.pack(">IH", 1, round(exponent * 256)))


def icc_profile(device: bytes, colours: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Return an ICC profile of version 2.4."""
    name = b"Made for a test\0"
    described = tag(b"desc", struct.pack(">I", len(name)) + name + bytes(78))
    tags = {b"desc": described, b"wtpt": tag(b"XYZ ", fixed(0.9642, 1.0, 0.8249)), **tags}
    offset = 132 + 12 * len(tags)
    table, data = struct.pack(">I", len(tags)), b""
    for name, contents in tags.items():
        table += name + struct.pack(">II", offset + len(data), len(contents))
        data += contents
    header = struct.pack(">I", offset + len(data)) + bytes(4) + b"\x02\x40\0\0" + device + colours + connection
    header += struct.pack(">6H", 2020, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + table + data


# Adobe RGB (1998), whose green is outside sRGB.
WIDE_RGB = icc_profile(
    b"mntr",
    b"RGB ",
    b"XYZ ",
    {
        b"rXYZ": tag(b"XYZ ", fixed(0.60974, 0.31111, 0.01947)),
        b"gXYZ": tag(b"XYZ ", fixed(0.20528, 0.62567, 0.06087)),
        b"bXYZ": tag(b"XYZ ", fixed(0.14919, 0.06322, 0.74457)),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(2.2)),
    },
)

LINEAR_GREY = icc_profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": gamma(1.0)})

RAMP = bytes(range(256))

# A table of the 16 corners, of which Lab's lightness is 70 % for no ink and falls with each: paper that is grey.
GREY_PAPER = icc_profile(
    b"prtr",
    b"CMYK",
    b"Lab ",
    {
        b"A2B0": tag(
            b"mft1",
            bytes([4, 3, 2, 0])
            + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
            + RAMP * 4
            + b"".join(bytes([178 - 40 * corner.bit_count(), 128, 128]) for corner in range(16))
            + RAMP * 3,
        )
    },
)

# The upright picture has red at its top left and blue at its top right.
UPRIGHT = Image.new("RGB", (96, 48), "white")

UPRIGHT.paste("red", (0, 0, 16, 16))

UPRIGHT.paste("blue", (80, 0, 96, 16))

# How a camera held in each of EXIF's eight ways stores it.
STORED = {
    1: UPRIGHT,
    2: UPRIGHT.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    3: UPRIGHT.transpose(Image.Transpose.ROTATE_180),
    4: UPRIGHT.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
    5: UPRIGHT.transpose(Image.Transpose.TRANSPOSE),
    6: UPRIGHT.transpose(Image.Transpose.ROTATE_90),
    7: UPRIGHT.transpose(Image.Transpose.TRANSVERSE),
    8: UPRIGHT.transpose(Image.Transpose.ROTATE_270),
}
