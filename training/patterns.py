"""Regular patterns in two colours: stripes, dots, checks, rings, grids, waves and gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.colours import RGB

Field = NDArray[np.floating[Any]]
Pattern = Callable[[RGB, RGB, tuple[int, int], np.random.Generator], Image.Image]


def _coordinates(size: tuple[int, int], degrees: float = 0.0) -> tuple[Field, Field]:
    """Return turned x and y of every pixel, each (height, width), from the centre in units of the short edge."""
    width, height = size
    x = ((np.arange(width, dtype=np.float32) + 0.5) - width / 2)[None, :] / min(size)
    y = ((np.arange(height, dtype=np.float32) + 0.5) - height / 2)[:, None] / min(size)
    angle = np.radians(degrees)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cos + y * sin, y * cos - x * sin


def _blend(share: NDArray[np.generic], colour: RGB, ground: RGB) -> Image.Image:
    """Return a picture that shows colour where share is 1 and ground where it is 0: share is (height, width)."""
    if share.dtype == np.bool_:
        table = np.array([ground, colour], dtype=np.uint8)
        return Image.fromarray(table[share.astype(np.uint8)])
    start, end = np.array(ground, dtype=np.float32), np.array(colour, dtype=np.float32)
    mixed = start + np.asarray(share, dtype=np.float32)[..., None] * (end - start)
    return Image.fromarray(mixed.round().astype(np.uint8))


def _tilt(rng: np.random.Generator) -> float:
    """Return an angle in degrees: mostly none, else a few degrees either way."""
    return 0.0 if rng.random() < 0.6 else float(rng.uniform(-8, 8))


def _stripes(degrees: float, colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return parallel stripes that run at an angle in degrees from the horizontal."""
    _, across = _coordinates(size, degrees)
    period = 1 / rng.uniform(2.5, 16)
    return _blend((across / period + rng.random()) % 1 < rng.uniform(0.35, 0.65), colour, ground)


def horizontal_stripes(colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return stripes that run from side to side."""
    return _stripes(_tilt(rng), colour, ground, size, rng)


def vertical_stripes(colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return stripes that run from top to bottom."""
    return _stripes(90 + _tilt(rng), colour, ground, size, rng)


def diagonal_stripes(colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return stripes that run from corner to corner, either way."""
    return _stripes(float(rng.choice([45.0, -45.0])) + rng.uniform(-13, 13), colour, ground, size, rng)


def polka_dots(colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return equal discs on a square or a staggered grid."""
    x, y = _coordinates(size, _tilt(rng))
    period = 1 / rng.uniform(3, 12)
    row = np.floor(y / period)
    stagger = 0.5 * (row % 2) if rng.random() < 0.5 else 0.0
    across = (x / period + stagger + 1000) % 1 - 0.5
    down = (y / period) % 1 - 0.5
    return _blend(across**2 + down**2 < rng.uniform(0.2, 0.4) ** 2, colour, ground)


def checkerboard(colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a board of equal squares in alternating colours."""
    x, y = _coordinates(size, _tilt(rng))
    period = 1 / rng.uniform(3, 14)
    return _blend((np.floor(x / period + rng.random()) + np.floor(y / period + rng.random())) % 2 == 0, colour, ground)


def gradient(colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return a smooth passage from one colour to the other, along a line or outwards from a point."""
    x, y = _coordinates(size)
    if rng.random() < 0.75:
        angle = rng.choice([0.0, 90.0, 180.0, 270.0]) if rng.random() < 0.6 else rng.uniform(0, 360)
        share = x * np.cos(np.radians(angle)) + y * np.sin(np.radians(angle))
    else:
        share = np.hypot(x - rng.uniform(-0.2, 0.2), y - rng.uniform(-0.2, 0.2))
    # The picture may be cropped to its middle square, which must still show the whole passage.
    inner = share[np.ix_(np.abs(y[:, 0]) <= 0.5, np.abs(x[0]) <= 0.5)]
    return _blend(np.clip((share - inner.min()) / (inner.max() - inner.min()), 0, 1), colour, ground)


def concentric_rings(colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return rings around one centre, filling the picture or ending at an outermost ring."""
    x, y = _coordinates(size)
    middle = rng.uniform(-0.15, 0.15, 2) * (rng.random() < 0.5)
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    distance = np.hypot((x - middle[0]) * stretch, (y - middle[1]) / stretch)
    rings = rng.uniform(3, 18)
    share = (distance * 2 * rings + rng.choice([0.0, 0.5, rng.random()])) % 1 < rng.uniform(0.15, 0.75)
    if rng.random() < 0.4:
        share &= distance < rng.uniform(0.3, 0.6)
    return _blend(share, colour, ground)


def grid(colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return lines that cross at right angles at equal distances."""
    x, y = _coordinates(size, _tilt(rng))
    period = 1 / rng.uniform(3, 12)
    width = rng.uniform(0.08, 0.25)
    share = ((x / period + rng.random()) % 1 < width) | ((y / period + rng.random()) % 1 < width)
    return _blend(share, colour, ground)


def _wavy(zigzag: bool, colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return parallel lines that swing to and fro, in straight runs (a zigzag) or round ones."""
    x, y = _coordinates(size, _tilt(rng) + float(rng.choice([0.0, 0.0, 90.0])))
    wave = x * rng.uniform(2, 6) + rng.random()
    swing = np.abs(2 * (wave % 1) - 1) if zigzag else 0.5 + 0.5 * np.sin(2 * np.pi * wave)
    period = 1 / rng.uniform(3.5, 9)
    share = ((y + rng.uniform(0.6, 1.2) * period * swing) / period + rng.random()) % 1 < rng.uniform(0.25, 0.55)
    return _blend(share, colour, ground)


def zigzag_lines(colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return parallel lines that swing to and fro with sharp turns."""
    return _wavy(True, colour, ground, size, rng)


def wavy_lines(colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """Return parallel lines that swing to and fro with round turns."""
    return _wavy(False, colour, ground, size, rng)


PATTERNS: dict[str, Pattern] = {
    "horizontal stripes": horizontal_stripes,
    "vertical stripes": vertical_stripes,
    "diagonal stripes": diagonal_stripes,
    "polka dots": polka_dots,
    "checkerboard": checkerboard,
    "gradient": gradient,
    "concentric rings": concentric_rings,
    "grid": grid,
    "zigzag lines": zigzag_lines,
    "wavy lines": wavy_lines,
}
