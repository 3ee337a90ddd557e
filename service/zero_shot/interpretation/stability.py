"""Stability: how a ranking changes where the picture, or the question, is put differently."""

import math
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot.preprocessing.preparation import CORNER, CroppableImage, Fit, Framing

_Number = TypeVar("_Number", int, float)

TEMPLATES = ("a photo of {}", "a painting of {}", "a picture that shows {}")
"""The templates in which a list's stability is measured; {} is the whole phrase."""

MAX_PHRASES = 50
"""The spread is given for the first so many phrases: each has to be encoded in every template."""


@dataclass(frozen=True)
class Range(Generic[_Number]):
    """The lowest and the highest of some numbers."""

    lowest: _Number
    highest: _Number


@dataclass(frozen=True)
class Spread:
    """The range of a phrase's rank and of its probability."""

    rank: Range[int]
    probability: Range[float]


@dataclass(frozen=True)
class PhraseStability:
    """A phrase's spread over all views of the picture, and over all templates of the list."""

    pictures: Spread
    templates: Spread


def spreads(probabilities: NDArray[np.float64], logits: NDArray[np.float64], phrases: NDArray[np.intp]) -> list[Spread]:
    """Return the spread of some phrases, given by index, over several scorings of their list.

    probabilities, logits: [scorings, count]
    """
    ranks = np.array([_ranks(each)[phrases] for each in logits])  # [scorings, phrases]
    return [
        Spread(Range(int(rank.min()), int(rank.max())), Range(float(share.min()), float(share.max())))
        for rank, share in zip(ranks.T, probabilities[:, phrases].T, strict=True)
    ]


def _ranks(logits: NDArray[np.float64]) -> NDArray[np.intp]:
    ranks = np.empty(logits.size, dtype=np.intp)
    ranks[np.argsort(-logits, kind="stable")] = np.arange(1, logits.size + 1)
    return ranks


@dataclass(frozen=True)
class Views:
    """Makes the views of a picture; picklable.

    framing: how pictures come to the model's size
    fit:     how this one is framed
    several: whether to make the other views as well
    """

    framing: Framing
    fit: Fit
    several: bool = False

    def min_short_side(self, of_one: int) -> int:
        """Return the least short side for all views, if `of_one` is enough for a view of the whole picture."""
        return math.ceil(of_one / CORNER) if self.several else of_one

    def __call__(self, image: Image.Image | CroppableImage, cores: int = 1) -> dict[str, NDArray[np.uint8]]:
        """Return the views of an upright RGB image by name, the requested one first: [height, width, 3] each.

        The others are the middle square and all of the picture on bars, its corners, and the first one mirrored,
        without its colours, and with half as many pixels a side.
        """
        first = self.framing(image, self.fit, cores)
        views: dict[str, Image.Image] = {self.fit: first}
        if self.several:
            views |= {fit: self.framing(image, fit, cores) for fit in ("crop", "pad") if fit != self.fit}
            views |= self.framing.corners(image, cores)
            half = max(1, first.width // 2), max(1, first.height // 2)
            views |= {
                "mirrored": first.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
                "grey": first.convert("L").convert("RGB"),
                "smaller": first.resize(half, Image.Resampling.BOX).resize(first.size, Image.Resampling.BICUBIC),
            }
        return {name: np.asarray(view) for name, view in views.items()}
