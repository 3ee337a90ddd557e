"""Rankings as a job stores them: the indices of each list's first phrases, with their exact numbers.

A phrase takes 16 bytes, so that half a million pictures with five phrases of each of ten lists take 0.4 GB.
"""

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.documents.finding import RankedTerms, Term
from service.zero_shot.classifier import EncodedList, ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from service.zero_shot.ranking import Ranker, RankOptions

_RANKED = np.dtype([("place", "<u4"), ("probability", "<f8"), ("similarity", "<f4")])
_COUNT = struct.Struct("<I")


class RankingPacker:
    """Ranks a job's lists for pictures, as POST /v1/gaze does by default."""

    def __init__(
        self, classifier: ZeroShotClassifier, lists: Sequence[EncodedList], top_k: int | None, min_probability: float
    ) -> None:
        self._ranker = Ranker(classifier, RankOptions(top_k, min_probability))
        self._lists = lists

    def pack(self, image_features: NDArray[np.float32]) -> bytes:
        """Return the rankings of all lists for the unit features [feature_size] of a picture."""
        return b"".join(self._pack(image_features, encoded) for encoded in self._lists)

    def _pack(self, image_features: NDArray[np.float32], encoded: EncodedList) -> bytes:
        scores = self._ranker.scores(image_features, encoded)
        order = self._ranker.order(scores)
        ranked = np.empty(order.size, _RANKED)
        ranked["place"] = order
        ranked["probability"] = scores.probabilities[order]
        ranked["similarity"] = scores.similarities[order]
        return _COUNT.pack(order.size) + ranked.tobytes()


def unpack(packed: bytes, lists: Sequence[PhraseList]) -> tuple[RankedTerms, ...]:
    """Return the rankings that RankingPacker.pack() made of these lists."""
    found: list[RankedTerms] = []
    start = 0
    for phrase_list in lists:
        (count,) = _COUNT.unpack_from(packed, start)
        ranked = np.frombuffer(packed, _RANKED, count, start + _COUNT.size)
        start += _COUNT.size + ranked.nbytes
        terms = tuple(
            Term(
                rank=rank,
                label=phrase_list.labels[place],
                phrase=phrase_list.phrases[place],
                uri=phrase_list.uris[place],
                probability=probability,
                similarity=similarity,
            )
            for rank, (place, probability, similarity) in enumerate(ranked.tolist(), start=1)
        )
        title = phrase_list.title
        found.append(RankedTerms(phrase_list.name, title, phrase_list.hash, len(phrase_list.labels), terms))
    return tuple(found)
