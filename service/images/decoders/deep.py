"""Pictures whose samples have more than 8 bits and use few of them: cameras and scanners put 12 in 16 as they are."""

from PIL import Image

_DIM = 0.26
"""Of the range of samples: who uses no more has most likely scanned fewer bits than the file has."""

_BYTE = 8
_BANDS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3}
"""Of modes that are light: how many say how much."""

_WIDE, _WIDE_WHITE = "I;16", 65_535
_BYTE_VALUES = 256
_LEAST = 0.5


def warnings(image: Image.Image, depth: int) -> tuple[str, ...]:
    """Return what to warn of in a loaded picture whose file has samples of so many bits."""
    return () if depth <= _BYTE else range_warnings(_used(image))


def range_warnings(used: float) -> tuple[str, ...]:
    """Return what to warn of where samples of more than 8 bits use such a part of their range, from 0 to 1."""
    if not 0 < used <= _DIM:
        return ()
    percent = max(1, round(100 * used))
    return (
        f"The picture uses {percent} % of the range that its samples have, and the file does not say that they have "
        "fewer bits: it was taken as it is, and may look almost of one tone.",
    )


def _used(image: Image.Image) -> float:
    """Return the brightest sample as a part of white; 0 where a picture is not of light."""
    if image.mode == _WIDE:
        _, brightest = image.getextrema()
        return float(brightest) / _WIDE_WHITE  # type: ignore[arg-type]  # one band has two numbers
    bands = _BANDS.get(image.mode, 0)
    counts = image.histogram()[: _BYTE_VALUES * bands]
    seen = [place % _BYTE_VALUES for place, count in enumerate(counts) if count]
    # What seems black may be numbers that 8 bits are too few for.
    return max(_LEAST, *seen) / (_BYTE_VALUES - 1) if bands else 0.0
