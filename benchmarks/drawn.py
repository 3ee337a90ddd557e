"""Drawn pictures of which it is known what they show, and where: to measure what the demo model's answers are worth."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.colours import NEUTRAL, shade
from training.phrases import EVALUATION_PHRASES, FAMILIES, SHOWN_BY, phrases_of, shape_phrase
from training.pictures import distorted, draw_subject, random_size
from training.shapes import shape_mask


@dataclass(frozen=True)
class TwoObjects:
    """A picture of two shapes side by side or above each other, with a phrase for each, and where each is: masks."""

    picture: Image.Image
    phrases: tuple[str, str]
    masks: tuple[Image.Image, Image.Image]


def two_objects(seed: int) -> TwoObjects:
    """Draw two shapes of different colours on white, black or grey."""
    rng = np.random.default_rng([seed, 2])
    pairs = FAMILIES["two shapes"]
    subject = pairs[rng.integers(len(pairs))]
    assert subject.other  # noqa: S101  # of this family all have one
    shapes = [(subject.motif, subject.colour), (subject.other.motif, subject.other.colour)]
    size = random_size(rng)
    ground = rng.choice([name for name in NEUTRAL if name not in (subject.colour, subject.other.colour)])
    picture = Image.new("RGB", size, shade(str(ground), rng))
    angle = np.radians(rng.choice([0.0, 90.0, 180.0, 270.0]) + rng.uniform(-30, 30))
    masks = []
    for side, (shape, colour) in zip((-1, 1), shapes, strict=True):
        away = side * min(size) * rng.uniform(0.24, 0.27) * np.array([np.cos(angle), np.sin(angle)])
        centre = (size[0] / 2 + float(away[0]), size[1] / 2 + float(away[1]))
        mask = shape_mask(shape, size, centre, min(size) * rng.uniform(0.17, 0.22), rng)
        picture.paste(shade(colour, rng), mask=mask)
        masks.append(mask)
    first, second = (shape_phrase(colour, shape) for shape, colour in shapes)
    return TwoObjects(picture, (first, second), (masks[0], masks[1]))


@dataclass(frozen=True)
class Asked:
    """A picture and a list of phrases, of which one is true of it, or none; `right` is the one, or None."""

    picture: Image.Image
    phrases: tuple[str, ...]
    right: str | None


def asked(seed: int, count: int, *, shown: bool) -> Asked:
    """Draw something that a list of so many phrases names, or something that none of them does."""
    rng = np.random.default_rng([seed, 3])
    phrase = EVALUATION_PHRASES[rng.integers(len(EVALUATION_PHRASES))]
    subject = SHOWN_BY[phrase][0]
    true, unclear = phrases_of(subject)
    others = [each for each in EVALUATION_PHRASES if each not in true and each not in unclear]
    phrases = [others[place] for place in rng.choice(len(others), count - shown, replace=False)]
    if shown:
        phrases.insert(int(rng.integers(count)), phrase)
    picture = draw_subject(subject, random_size(rng), rng)
    if rng.random() < 0.5:
        picture = distorted(picture, rng)
    return Asked(picture, tuple(phrases), phrase if shown else None)


def hull(mask: Image.Image) -> NDArray[np.bool_]:
    """Return what lies inside the outline of a mask, holes and bays with it: [height, width]."""
    inside = np.asarray(mask) > 127
    rows, columns = np.nonzero(inside)
    points = np.stack([columns, rows], axis=1).astype(np.float64)
    y, x = np.mgrid[0 : inside.shape[0], 0 : inside.shape[1]]
    within = np.ones(inside.shape, dtype=np.bool_)
    for angle in np.linspace(0, 2 * np.pi, 64, endpoint=False):
        normal = np.array([np.cos(angle), np.sin(angle)])
        within &= x * normal[0] + y * normal[1] <= (points @ normal).max() + 0.5
    return within
