"""The eleven basic colour names, each as a range of shades that people call by that name."""

import colorsys
from typing import NamedTuple

import numpy as np

RGB = tuple[int, int, int]


class Range(NamedTuple):
    """A box of hues (degrees, may be negative), saturations (0 to 1) and values (0 to 1)."""

    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]


# The ranges leave gaps between each other: a shade in a gap has no certain name, so it is never drawn.
RANGES: dict[str, tuple[Range, ...]] = {
    "red": (Range((-9, 6), (0.85, 1.0), (0.7, 1.0)),),
    "green": (Range((90, 152), (0.5, 1.0), (0.33, 1.0)), Range((105, 135), (0.38, 0.5), (0.6, 0.95))),
    "blue": (Range((206, 244), (0.65, 1.0), (0.5, 1.0)), Range((225, 242), (0.8, 1.0), (0.42, 0.6))),
    "yellow": (Range((50, 62), (0.65, 1.0), (0.9, 1.0)),),
    "orange": (Range((23, 40), (0.85, 1.0), (0.9, 1.0)),),
    "purple": (Range((268, 302), (0.55, 1.0), (0.42, 0.72)), Range((268, 285), (0.6, 0.95), (0.65, 0.88))),
    "pink": (Range((325, 352), (0.24, 0.62), (0.93, 1.0)), Range((324, 334), (0.55, 0.9), (0.95, 1.0))),
    "brown": (Range((15, 31), (0.55, 0.9), (0.3, 0.6)), Range((14, 24), (0.6, 0.75), (0.5, 0.65))),
    "black": (Range((0, 360), (0.0, 0.3), (0.0, 0.1)),),
    "white": (Range((0, 360), (0.0, 0.03), (0.95, 1.0)),),
    "grey": (Range((0, 360), (0.0, 0.05), (0.4, 0.7)),),
}

# Well-known shades, which people draw with more often than with any other.
KNOWN: dict[str, tuple[RGB, ...]] = {
    "red": ((255, 0, 0), (220, 20, 60), (200, 16, 16)),
    "green": ((0, 128, 0), (0, 255, 0), (34, 139, 34), (0, 100, 0)),
    "blue": ((0, 0, 255), (30, 144, 255), (65, 105, 225), (0, 0, 139)),
    "yellow": ((255, 255, 0), (255, 221, 0), (250, 218, 60)),
    "orange": ((255, 165, 0), (255, 140, 0), (255, 127, 0)),
    "purple": ((128, 0, 128), (148, 0, 211), (102, 51, 153), (75, 0, 130)),
    "pink": ((255, 192, 203), (255, 105, 180), (255, 182, 193), (255, 20, 147)),
    "brown": ((165, 42, 42), (139, 69, 19), (160, 82, 45), (101, 67, 33)),
    "black": ((0, 0, 0), (10, 10, 10)),
    "white": ((255, 255, 255), (250, 250, 250)),
    "grey": ((128, 128, 128), (105, 105, 105), (169, 169, 169)),
}

COLOURS: tuple[str, ...] = tuple(RANGES)
NEUTRAL: tuple[str, ...] = ("black", "white", "grey")
CHROMATIC: tuple[str, ...] = tuple(colour for colour in COLOURS if colour not in NEUTRAL)


def from_hsv(hue: float, saturation: float, value: float) -> RGB:
    """Return the RGB triple (0 to 255) of a hue in degrees and a saturation and value from 0 to 1."""
    red, green, blue = colorsys.hsv_to_rgb((hue % 360) / 360, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def shade(colour: str, rng: np.random.Generator) -> RGB:
    """Return a random RGB triple (0 to 255) that people call by the colour's name.

    Raises KeyError for a name outside COLOURS.
    """
    if rng.random() < 0.4:
        known = KNOWN[colour]
        return known[rng.integers(len(known))]
    ranges = RANGES[colour]
    hue, saturation, value = ranges[rng.integers(len(ranges))]
    return from_hsv(rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value))


def any_shade(rng: np.random.Generator) -> RGB:
    """Return a random RGB triple (0 to 255): a lively one, a muted one, or any at all."""
    pick = rng.random()
    if pick < 0.4:
        return from_hsv(rng.uniform(0, 360), rng.uniform(0.6, 1.0), rng.uniform(0.6, 1.0))
    if pick < 0.7:
        return from_hsv(rng.uniform(0, 360), rng.uniform(0.2, 0.7), rng.uniform(0.3, 1.0))
    red, green, blue = rng.integers(0, 256, 3)
    return int(red), int(green), int(blue)
