"""Stability: how a list's ranking changes where the picture, or the question, is put differently."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.zero_shot.classifier import Scores

TEMPLATES = ("a photo of {}", "a painting of {}", "a picture that shows {}")
"""In what other words a phrase is asked; it takes the place of {} as a whole."""

MAX_PHRASES = 50
"""Of so many phrases, the first of a ranking, the spread is told: each has to be encoded in every template."""


@dataclass(frozen=True)
class Spread:
    """The best and the worst rank that a phrase had, and its lowest and highest probability."""

    ranks: tuple[int, int]
    probabilities: tuple[float, float]


def spreads(scores: Sequence[Scores], phrases: NDArray[np.intp]) -> list[Spread]:
    """Return for each of some phrases, given by their places in a list, how it varies over the scores of that list."""
    probabilities = np.array([each.probabilities[phrases] for each in scores])  # [views, phrases]
    ranks = np.array([_ranks(each.logits)[phrases] for each in scores])
    return [
        Spread((int(rank.min()), int(rank.max())), (float(share.min()), float(share.max())))
        for rank, share in zip(ranks.T, probabilities.T, strict=True)
    ]


def _ranks(logits: NDArray[np.float64]) -> NDArray[np.intp]:
    ranks = np.empty(logits.size, dtype=np.intp)
    ranks[np.argsort(-logits, kind="stable")] = np.arange(1, logits.size + 1)
    return ranks
