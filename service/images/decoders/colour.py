"""What a file says of its colours in numbers -> an ICC profile, where they are other than sRGB's."""

import struct

import numpy as np
from numpy.typing import NDArray

Points = tuple[float, ...]
"""x and y of white, red, green and blue."""

SRGB: Points = (0.3127, 0.3290, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
_PRIMARIES: dict[int, Points] = {
    9: (0.3127, 0.3290, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # DCI-P3
    12: (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),  # Display P3
}
_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0}
_HDR = (16, 18)  # PQ and HLG
UNSAID = 2
"""The code point of primaries, or of a transfer, that are said elsewhere or not at all."""

_SAME = 0.005
_SRGB_EXPONENT = 2.2
"""What programs write of sRGB, whose curve is near it; a file that says so means sRGB."""

_SRGB_CURVE = struct.pack(">4sIHH5i", b"para", 0, 3, 0, *(round(each * 65536) for each in (
    2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045,
)))  # fmt: skip
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])

HDR_WARNING = "The picture says that its brightness is HDR's; it was read as if it were not, and may look flat."


def of_code_points(primaries: int, transfer: int) -> tuple[Points, float] | None:
    """Return points and exponent of colours that are said by number, None where they are sRGB's or not known.

    Source: ITU-T H.273, tables 2 and 3.
    """
    points, exponent = _PRIMARIES.get(primaries, SRGB), _EXPONENTS.get(transfer, _SRGB_EXPONENT)
    return None if points is SRGB and exponent == _SRGB_EXPONENT else (points, exponent)


def is_hdr(transfer: int) -> bool:
    """Say whether this transfer is one that needs more than 8 bits' range of brightness."""
    return transfer in _HDR


def profile(points: Points, exponent: float, *, grey: bool) -> bytes | None:
    """Return an ICC profile of these colours, None where they are sRGB's or impossible.

    exponent: that samples between 0 and 1 are raised to
    grey:     whether it is for pictures of one channel, which have no primaries
    Source: ICC.1:2001-04, 6.3.1.2 and 6.3.3.
    """
    like_srgb = abs(exponent - _SRGB_EXPONENT) < 0.05
    if like_srgb and (grey or max(abs(a - b) for a, b in zip(points, SRGB, strict=True)) < _SAME):
        return None
    curve = _SRGB_CURVE if like_srgb else struct.pack(">4sIIHxx", b"curv", 0, 1, round(exponent * 256))
    tags = {b"wtpt": _xyz(_D50)}
    if grey:
        tags[b"kTRC"] = curve
    else:
        matrix = _matrix(points)
        if matrix is None:
            return None
        for channel, column in zip((b"r", b"g", b"b"), matrix.T, strict=True):
            tags[channel + b"XYZ"], tags[channel + b"TRC"] = _xyz(column), curve
    name = b"Made of what the file says\0"
    described = struct.pack(">4sII", b"desc", 0, len(name)) + name + bytes(78)
    tags[b"desc"] = described + bytes(-len(described) % 4)
    return _packed(b"GRAY" if grey else b"RGB ", tags)


def _matrix(points: Points) -> NDArray[np.float64] | None:
    """Return what makes XYZ under D50 of linear RGB, [3, 3], or None where no colours are so."""
    if min(points[1::2]) <= 0:
        return None
    white, *colours = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in zip(points[::2], points[1::2], strict=True))
    columns = np.stack(colours, axis=1)
    if abs(np.linalg.det(columns)) < 1e-6 or (_BRADFORD @ white).min() <= 0:
        return None
    linear = columns * np.linalg.solve(columns, white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white)) @ _BRADFORD @ linear
    return adapted if np.abs(adapted).max() < 4 else None


def _xyz(values: NDArray[np.float64]) -> bytes:
    return struct.pack(">4sI3i", b"XYZ ", 0, *(round(float(value) * 65536) for value in values))


def _packed(device: bytes, tags: dict[bytes, bytes]) -> bytes:
    table, data, offset = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for tag, contents in tags.items():
        table += struct.pack(">4sII", tag, offset + len(data), len(contents))
        data += contents
    size = 128 + len(table) + len(data)
    header = struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02400000, b"mntr", device, b"XYZ ")
    header = header.ljust(36, b"\0") + b"acsp"
    illuminant = struct.pack(">3i", *(round(float(value) * 65536) for value in _D50))
    return header.ljust(68, b"\0") + illuminant + bytes(128 - 80) + table + data
