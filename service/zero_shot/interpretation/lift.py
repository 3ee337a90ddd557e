"""Lift: how much a picture raises a phrase over what the same list says of pictures that show nothing.

Some phrases win on any picture, because they are common or stand near everything in the model's space. What a list says
of neutral pictures shows which. A neutral picture is nothing special to a model, though: it knows a grey ground for
what it is. So a picture that is itself nearly one of them is compared with that one, and all others with all of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LIFT_BOUND = 1.05
"""On the neutral pictures themselves every phrase's lift lies between 1 / LIFT_BOUND and LIFT_BOUND, on the demo model.

That is because each of them is told by itself. A canvas or a noise of the same kind that was drawn anew can be as far
from all of them as a picture of something: to the demo model one canvas is not like another.
"""

NONE_OF_THESE_BELOW = 2.0
"""With less evidence than this a picture shows nothing of a list. Measured on the demo model alone, where it is
right of 95 % of 600 drawn pictures; how often it is for models that were trained on photographs is not known."""

_NEARNESS = 300.0
_FAR = 1e-4
"""A neutral picture counts exp(_NEARNESS * (cosine - 1)), and all of them share _FAR. A cosine of 0.97 is about as
much as all together."""


@dataclass(frozen=True)
class Neutral:
    """The unit features [n, feature_size] of n neutral pictures, and how a model's similarities lie for them.

    mean, deviation: of their similarities with all served phrases
    """

    features: NDArray[np.float32]
    mean: float
    deviation: float

    def lifts(
        self, image_features: NDArray[np.float32], log_probabilities: NDArray[np.float64], neutral: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the lift of each phrase of a list: [count].

        image_features:    [feature_size], of the picture, of unit length
        log_probabilities: [count], of the list's phrases for the picture
        neutral:           [n, count], the same for each neutral picture
        """
        weights = _FAR / len(self.features) + np.exp(_NEARNESS * (self.features @ image_features - 1.0))
        weights /= weights.sum()
        return np.asarray(np.exp(np.clip(log_probabilities - weights @ neutral, -700.0, 700.0)))

    def evidence(self, similarities: NDArray[np.float32], neutral: NDArray[np.float32]) -> float:
        """Return how far the phrase that fits best stands above neutral pictures, in their standard deviations.

        The mean of two: above what neutral pictures have with any phrase, and above what they have with this one.

        similarities: [count], of the picture; neutral: [n, count], of each neutral picture
        """
        best = int(similarities.argmax())
        of_best = float(similarities[best])
        above_any, above_this = of_best - self.mean, of_best - float(neutral[:, best].mean())
        return (above_any + above_this) / (2 * self.deviation)
