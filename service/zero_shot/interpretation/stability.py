"""Stability: how a list's ranking changes where the picture, or the question, is put differently."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

_Number = TypeVar("_Number", int, float)

TEMPLATES = ("a photo of {}", "a painting of {}", "a picture that shows {}")
"""In what other words a phrase is asked; it takes the place of {} as a whole."""

MAX_PHRASES = 50
"""Of so many phrases, the first of a ranking, the spread is told: each has to be encoded in every template."""


@dataclass(frozen=True)
class Range(Generic[_Number]):
    """The lowest and the highest of some numbers."""

    lowest: _Number
    highest: _Number


@dataclass(frozen=True)
class Spread:
    """The best and the worst rank that a phrase had, and its lowest and highest probability."""

    rank: Range[int]
    probability: Range[float]


@dataclass(frozen=True)
class PhraseStability:
    """How a phrase fares over all views of the picture, and over all templates of the list."""

    pictures: Spread
    templates: Spread


def spreads(probabilities: NDArray[np.float64], logits: NDArray[np.float64], phrases: NDArray[np.intp]) -> list[Spread]:
    """Return how each of some phrases, given by their places in a list, varies over several scorings of that list.

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
