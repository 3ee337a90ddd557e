"""Outlines of the named shapes, and pictures of one or two of them."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.colours import RGB

Points = NDArray[np.float64]

SHAPES: tuple[str, ...] = (
    "circle",
    "square",
    "triangle",
    "star",
    "cross",
    "ring",
    "crescent",
    "heart",
    "diamond",
    "hexagon",
)

# A square on its corner is a diamond and a heart upside down is hardly a heart: degrees each may be turned by.
TURN: dict[str, float] = {"square": 14, "diamond": 10, "heart": 25}


def _regular(corners: int, radius: float = 1.0) -> Points:
    """Return the corners of a regular polygon around the origin, the first at the top: (corners, 2)."""
    angles = 2 * np.pi * np.arange(corners) / corners - np.pi / 2
    return radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _heart(rng: np.random.Generator) -> list[Points]:
    """Return polygons that together are a heart: one smooth curve, or two discs on a triangle."""
    if rng.random() < 0.7:
        t = np.linspace(0, 2 * np.pi, 90, endpoint=False)
        x = 16 * np.sin(t) ** 3
        y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
        return [np.stack([x, -y * rng.uniform(0.88, 1.05)], axis=1) / 16.5]
    lobe = rng.uniform(0.47, 0.53)
    # The tangents from the tip touch the discs at about these corners.
    triangle = np.array([(-0.93, -0.12), (0, -0.35), (0.93, -0.12), (0, 0.95)])
    return [_regular(60, lobe) - np.array([0.47, 0.35]), _regular(60, lobe) + np.array([0.47, -0.35]), triangle]


def outlines(shape: str, rng: np.random.Generator) -> list[tuple[Points, bool]]:
    """Return the shape's polygons in drawing order, each with whether it is filled (True) or cut out (False).

    Points are (n, 2), x to the right and y down, and lie in about the unit circle around the origin.
    Raises ValueError for a shape outside SHAPES.
    """
    polygons: list[tuple[Points, bool]]
    match shape:
        case "circle":
            polygons = [(_regular(90), True)]
        case "square":
            polygons = [(np.sqrt(2) * 0.8 * _regular(4) @ _turn(45), True)]
        case "diamond":
            polygons = [(_regular(4) * (rng.uniform(0.52, 1.0), 1.0), True)]
        case "hexagon":
            polygons = [(_regular(6), True)]
        case "triangle":
            lean = np.array([(rng.uniform(0.75, 1.15), 0), (rng.uniform(-0.3, 0.3), 1)])
            polygons = [(_regular(3) @ lean, True)]
        case "star":
            points = 5 if rng.random() < 0.85 else 6
            star = _regular(2 * points)
            star[1::2] *= rng.uniform(0.36, 0.5)
            polygons = [(star, True)]
        case "cross":
            arm = rng.uniform(0.18, 0.38)
            bar = np.array([(-1, -arm), (1, -arm), (1, arm), (-1, arm)])
            polygons = [(bar, True), (bar[:, ::-1], True)]
        case "ring":
            polygons = [(_regular(90), True), (_regular(90, rng.uniform(0.45, 0.82)), False)]
        case "crescent":
            bite = _regular(90, rng.uniform(0.75, 0.95)) + np.array([rng.uniform(0.4, 0.6), 0])
            polygons = [(_regular(90), True), (bite, False)]
        case "heart":
            polygons = [(part, True) for part in _heart(rng)]
        case _:
            raise ValueError(f"no such shape: {shape}")
    return polygons


def _turn(degrees: float) -> Points:
    """Return the (2, 2) matrix that turns row vectors by an angle in degrees."""
    angle = np.radians(degrees)
    return np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])


def shape_mask(
    shape: str,
    size: tuple[int, int],
    centre: tuple[float, float],
    radius: float,
    rng: np.random.Generator,
    *,
    spread: float = 1.0,
) -> Image.Image:
    """Return a mask ("L", 255 inside) of a randomly turned and slightly stretched shape.

    size is (width, height); centre and radius are in pixels. spread is the share (0 to 1) of the usual turning.
    """
    # Half of the masks have soft edges, as a drawing program makes them; the others are hard-edged.
    finer = 2 if rng.random() < 0.5 and max(size) < 700 else 1
    limit = TURN.get(shape, 180) * spread
    turn = _turn(rng.uniform(-limit, limit) if rng.random() < 0.7 else 0)
    stretch = np.exp(rng.uniform(-0.1, 0.1, 2))
    mask = Image.new("L", (size[0] * finer, size[1] * finer), 0)
    pen = ImageDraw.Draw(mask)
    for points, filled in outlines(shape, rng):
        placed = (points @ turn * stretch * radius + centre) * finer
        pen.polygon([(x, y) for x, y in placed.tolist()], fill=255 if filled else 0)
    return mask if finer == 1 else mask.resize(size, Image.Resampling.BOX)


def one_shape(
    shape: str, colour: RGB, ground: RGB, size: tuple[int, int], rng: np.random.Generator, *, spread: float = 1.0
) -> Image.Image:
    """Return a picture of one shape, somewhere in the middle square so that a centre crop keeps it.

    spread is the share (0 to 1) of the usual variety of sizes, places and turns: at 0 the shape is large, in the
    middle and upright.
    """
    short = min(size)
    radius = short * rng.uniform(0.44 - 0.25 * spread, 0.46)
    room = max(0.0, short / 2 - 0.95 * radius) * (rng.random() < 0.75) * spread
    centre = (size[0] / 2 + rng.uniform(-room, room), size[1] / 2 + rng.uniform(-room, room))
    picture = Image.new("RGB", size, ground)
    picture.paste(colour, mask=shape_mask(shape, size, centre, radius, rng, spread=spread))
    return picture


def two_shapes(
    first: tuple[str, RGB], second: tuple[str, RGB], ground: RGB, size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Return a picture of two (shape, colour) pairs beside or above each other, in random order."""
    short = min(size)
    picture = Image.new("RGB", size, ground)
    angle = rng.choice([0.0, 90.0, 180.0, 270.0]) + rng.uniform(-30, 30)
    away = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    for side, (shape, colour) in ((-1, first), (1, second)):
        radius = short * rng.uniform(0.17, 0.22)
        offset = side * short * rng.uniform(0.24, 0.27) * away
        centre = (size[0] / 2 + float(offset[0]), size[1] / 2 + float(offset[1]))
        picture.paste(colour, mask=shape_mask(shape, size, centre, radius, rng))
    return picture
