"""Draws a picture for a phrase."""

from functools import partial

import numpy as np
from PIL import Image

from training.colours import NEUTRAL, RGB, shade
from training.distort import distorted
from training.patterns import PATTERNS
from training.phrases import FAMILIES, SHOWN_BY, Subject
from training.shapes import SHAPES, one_shape, two_shapes
from training.styles import STYLES
from training.textures import TEXTURES, mixed_shades

__all__ = ["FAMILY_SHARES", "distorted", "draw", "draw_subject", "random_size", "random_subject"]

# How often training draws each family of subjects.
FAMILY_SHARES: dict[str, float] = {
    "one shape": 0.56,
    "two shapes": 0.07,
    "pattern": 0.15,
    "black and white": 0.05,
    "plain": 0.02,
    "texture": 0.05,
    "coloured texture": 0.03,
    "style": 0.07,
}


def random_size(rng: np.random.Generator) -> tuple[int, int]:
    """Return a random (width, height) in pixels: short edge 200 to 900, aspect ratio between 1:2 and 2:1."""
    pick = rng.random()
    short = rng.uniform(200, 340) if pick < 0.8 else rng.uniform(340, 600) if pick < 0.97 else rng.uniform(600, 900)
    long = short * (1.0 if rng.random() < 0.3 else rng.uniform(1.0, 1.5) if rng.random() < 0.8 else rng.uniform(1.5, 2))
    size = round(short), round(long)
    return size if rng.random() < 0.35 else size[::-1]


def random_subject(rng: np.random.Generator) -> Subject:
    """Return a subject of a family drawn by FAMILY_SHARES."""
    names = list(FAMILY_SHARES)
    family = FAMILIES[names[rng.choice(len(names), p=list(FAMILY_SHARES.values()))]]
    return family[rng.integers(len(family))]


def _neutral_shade(unlike: tuple[str, ...], rng: np.random.Generator) -> RGB:
    """Return a shade of white, black or grey, whichever is not among the given names; white most often."""
    names = [name for name in NEUTRAL if name not in unlike]
    if "white" in names and rng.random() < 0.5:
        return shade("white", rng)
    return shade(str(rng.choice(names)), rng)


def draw_subject(subject: Subject, size: tuple[int, int], rng: np.random.Generator, spread: float = 1.0) -> Image.Image:
    """Return a clean RGB picture of the subject.

    size is (width, height) in pixels; spread is the share (0 to 1) of the usual variety of a single shape's sizes,
    places and turns.
    """
    motif, colour, other = subject.motif, subject.colour, subject.other
    if other is not None:
        ground = _neutral_shade((colour, other.colour), rng)
        return two_shapes((motif, shade(colour, rng)), (other.motif, shade(other.colour, rng)), ground, size, rng)
    if motif in SHAPES:
        return one_shape(motif, shade(colour, rng), shade(subject.ground, rng), size, rng, spread=spread)
    if motif in PATTERNS:
        return PATTERNS[motif](shade(colour, rng), shade(subject.ground, rng), size, rng)
    if motif == "plain":
        return Image.new("RGB", size, shade(colour, rng))
    if motif in TEXTURES:
        shades = partial(shade, colour, rng) if colour else mixed_shades(rng)
        # Washes need light paper; of the other textures some lie on a ground of a random mark's colour.
        light = motif == "watercolour washes"
        ground = shade("white", rng) if light else _neutral_shade((colour,), rng)
        if not light and not colour and rng.random() < 0.3:
            ground = shades()
        return TEXTURES[motif](shades, ground, size, rng)
    return STYLES[motif](size, rng)


def draw(phrase: str, rng: np.random.Generator, size: tuple[int, int] | None = None) -> Image.Image:
    """Return a clean RGB picture that shows the phrase.

    size is (width, height) in pixels, a random one if it is not given.
    Raises ValueError for a phrase that cannot be drawn.
    """
    subjects = SHOWN_BY.get(phrase)
    if subjects is None:
        raise ValueError(f"cannot draw {phrase!r}")
    subject = subjects[rng.integers(len(subjects))]
    return draw_subject(subject, size or random_size(rng), rng)
