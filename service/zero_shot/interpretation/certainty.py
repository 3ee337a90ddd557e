"""Certainty of a ranking: the entropy of its probabilities, and which phrases are near ties."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEAR_TIE_SIMILARITY = 0.004
"""Neighbours in a ranking whose similarities differ by less are near ties: their order means nothing.

On the demo model the difference of two neighbours changes by 0.003 in the median when a picture is saved again as JPEG
of quality 90 or loses a row and a column of pixels (python -m benchmarks.near_ties). At a logit scale of 100 the first
of two that are 0.004 apart is 1.5 times as probable as the second.
"""


@dataclass(frozen=True)
class Certainty:
    """How certain a list's ranking is, from the probabilities of all its phrases.

    entropy:         in bits; 0 if one phrase has all the probability, log2(count) if all have the same
    effective_count: 2 ** entropy, the number of equally probable phrases that would be as uncertain
    margin:          probability of the first phrase minus that of the second; 1 if there is no second
    group_of:        [count], the number of each phrase's group of near ties, 1 the group of the most similar phrase
    """

    entropy: float
    effective_count: float
    margin: float
    group_of: NDArray[np.intp]
    near_tie_similarity: float = NEAR_TIE_SIMILARITY


def certainty(similarities: NDArray[np.float32], probabilities: NDArray[np.float64]) -> Certainty:
    """Return the certainty of a list's ranking from its phrases' similarities [count] and probabilities [count]."""
    likely = probabilities[probabilities > 0]
    entropy = max(0.0, float(-(likely * np.log2(likely)).sum()))
    two = np.partition(probabilities, -2)[-2:] if probabilities.size > 1 else np.array([0.0, 1.0])
    return Certainty(entropy, 2.0**entropy, float(two[1] - two[0]), near_ties(similarities))


def near_ties(similarities: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the number of each phrase's group, 1 for the most similar: [count].

    A group ends before a phrase whose similarity is lower by NEAR_TIE_SIMILARITY or more.
    """
    order = np.argsort(-similarities, kind="stable")
    steps = -np.diff(similarities[order].astype(np.float64)) >= NEAR_TIE_SIMILARITY
    groups = np.empty(similarities.size, dtype=np.intp)
    groups[order] = 1 + np.concatenate([[0], np.cumsum(steps)])
    return groups
