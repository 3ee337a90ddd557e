"""Rankings as tests ask for them."""

import numpy as np
from numpy.typing import NDArray

from service.zero_shot.classifier import EncodedList, ZeroShotClassifier
from service.zero_shot.preprocessing.preparation import Framing
from service.zero_shot.ranking import Prediction, Ranker, RankOptions, Scores


def rank_list(
    classifier: ZeroShotClassifier, image_features: NDArray[np.float32], encoded: EncodedList, top_k: int | None = None
) -> tuple[Prediction, ...]:
    """Return the most probable phrases of a list, best first."""
    return Ranker(classifier, RankOptions(top_k)).rank(image_features, encoded).predictions


def scored(classifier: ZeroShotClassifier, image_features: NDArray[np.float32], encoded: EncodedList) -> Scores:
    """Return how the phrases of a list fare for an image."""
    return Ranker(classifier).scores(image_features, encoded)


def framing_of(classifier: ZeroShotClassifier) -> Framing:
    """Return how pictures come to the size of a model that has one size for all."""
    assert classifier.framing
    return classifier.framing
