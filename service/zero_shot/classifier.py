"""ZeroShotClassifier: image + lists -> ranked predictions, plain numpy.

The zero-shot classifier of CLIP (Radford et al. 2021, section 3.1): a list of phrases is a matrix of unit text
features; an image's features times that matrix, times the logit scale, are the logits of a softmax over the list.
"""

import difflib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import FieldError, InvalidRequest, Overloaded, UnknownList
from service.zero_shot.batching import LOOK_SECONDS
from service.zero_shot.features import (
    Encoder,
    ImageInputs,
    ModelDescription,
    Prepare,
    Progress,
    Require,
    TextFeatures,
    always,
)
from service.zero_shot.inference_monitor import Pulse
from service.zero_shot.interpretation.lift import Neutral
from service.zero_shot.interpretation.neutral import neutral_pictures
from service.zero_shot.phrase_lists import PhraseList
from service.zero_shot.preprocessing.framing import Framing

_RETRY_SECONDS = 5


@dataclass(frozen=True)
class EncodedList:
    """A list and the text features of its phrases."""

    phrase_list: PhraseList
    text_features: TextFeatures


@dataclass(frozen=True)
class Prediction:
    """One phrase of a ranking; `probability` is relative to its list, `similarity` is a cosine."""

    rank: int
    label: str
    phrase: str
    probability: float
    similarity: float
    uri: str | None


@dataclass(frozen=True)
class Scores:
    """How the phrases of one list fare for one image; all are [count], in the order of the list."""

    similarities: NDArray[np.float32]
    logits: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    @property
    def log_probabilities(self) -> NDArray[np.float64]:
        """The logarithms of the probabilities, also of those that are too small for a number."""
        below = self.logits - self.logits.max()
        return np.asarray(below - np.log(np.exp(below).sum()))


class ZeroShotClassifier:
    """Ranks the phrases of lists for an image; the served lists' text features are computed once, before it is made."""

    def __init__(self, encoder: Encoder, served: Mapping[str, EncodedList]) -> None:
        self._encoder = encoder
        self._served = served
        self._neutral: Neutral | None = None
        self._neutral_lock = threading.Lock()

    @property
    def model(self) -> ModelDescription:
        """The model that answers."""
        return self._encoder.model

    @property
    def pulse(self) -> Pulse:
        """Whether the model still answers."""
        return self._encoder.pulse

    def lists_named(self, names: Collection[str]) -> tuple[EncodedList, ...]:
        """Return the served lists of these names, each once. Raises UnknownList, which says which is unknown."""
        for index, name in enumerate(names):
            require_list(self._served, name, f"/lists/{index}")
        return tuple(self._served[name] for name in dict.fromkeys(names))

    def encode_lists(
        self, own_lists: Sequence[PhraseList], progress: Progress | None = None, *, require: Require = always
    ) -> tuple[EncodedList, ...]:
        """Return lists that are not served, with their text features.

        What `require` raises, before a pass, or `progress`, after it, ends the encoding. Raises Overloaded.
        """
        with _too_little_memory():
            return tuple(
                EncodedList(own, self._encoder.encode_text(own.phrases, progress, require=require, remember=True))
                for own in own_lists
            )

    @property
    def prepare(self) -> Prepare:
        """What makes of one upright RGB image what the model takes, so that the image itself need not be kept."""
        return self._encoder.prepare

    def encode_images(self, prepared: Sequence[ImageInputs], require: Require = always) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of n prepared pictures.

        What `require` raises, before a pass, ends the encoding. Raises Overloaded.
        """
        with _too_little_memory():
            return self._encoder.encode_images(prepared, require)

    def require_framing(self, pointer: str) -> Framing:
        """Return how pictures come to the model's size.

        Raises InvalidRequest where the model has a way of its own; `pointer` is to what in the request needs it.
        """
        framing = self._encoder.framing
        if framing is None:
            found = "This model brings pictures to its size in a way of its own, so that this cannot be had."
            raise InvalidRequest(errors=(FieldError(pointer, found),))
        return framing

    def encode_views(self, views: Sequence[Image.Image], require: Require = always) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of n RGB pictures at the model's size; raises as encode_images."""
        return self.encode_images([self._encoder.normalised(view) for view in views], require)

    def neutral(self, require: Require = always) -> Neutral:
        """Return what the model makes of neutral pictures, which is computed once; raises as encode_images does."""
        while not self._neutral_lock.acquire(timeout=LOOK_SECONDS):
            require()
        try:
            if self._neutral is None:
                pictures = [self.prepare(picture) for picture in neutral_pictures().values()]
                features = self.encode_images(pictures, require)
                of_all = [encoded.text_features.features @ features.T for encoded in self._served.values()]
                numbers = np.concatenate([each.ravel() for each in of_all]) if of_all else np.array([0.0, 1.0])
                self._neutral = Neutral(features, float(numbers.mean()), float(numbers.std()))
            return self._neutral
        finally:
            self._neutral_lock.release()

    def encode_image(self, image: Image.Image) -> NDArray[np.float32]:
        """Return the unit features [feature_size] of one upright RGB image."""
        features: NDArray[np.float32] = self.encode_images([self.prepare(image)])[0]
        return features

    def rank(
        self, image_features: NDArray[np.float32], encoded: EncodedList, top_k: int | None
    ) -> tuple[Prediction, ...]:
        """Return the most probable phrases, best first, equal ones in list order; all of them if `top_k` is None.

        The softmax is over all phrases of the list, before it is cut to `top_k`.
        """
        scores = self.scores(image_features, encoded)
        # Of the logits, not of the probabilities: those may be equal only because they are tiny.
        return predictions(scores, encoded, highest_first(scores.logits, top_k))

    def scores(self, image_features: NDArray[np.float32], encoded: EncodedList) -> Scores:
        """Return how the phrases of a list fare for an image with these unit features [feature_size]."""
        similarities = encoded.text_features.similarities(image_features)
        logits = self.model.logit_scale * similarities.astype(np.float64) + self.model.logit_bias
        return Scores(similarities, logits, _softmax(logits))


def predictions(scores: Scores, encoded: EncodedList, order: NDArray[np.intp]) -> tuple[Prediction, ...]:
    """Return the phrases of a list at these places, which is their ranking."""
    phrase_list = encoded.phrase_list
    return tuple(
        Prediction(
            rank=rank,
            label=phrase_list.labels[index],
            phrase=phrase_list.phrases[index],
            probability=float(scores.probabilities[index]),
            similarity=float(scores.similarities[index]),
            uri=phrase_list.uris[index],
        )
        for rank, index in enumerate(order, start=1)
    )


def highest_first(values: NDArray[np.float64], top_k: int | None) -> NDArray[np.intp]:
    """Return the indices of the highest values, equal ones in list order, without sorting all of a long list."""
    if top_k is None or top_k >= values.size:  # so it is of none, too
        return np.argsort(-values, kind="stable")
    lowest = np.partition(values, values.size - top_k)[values.size - top_k]
    candidates = np.flatnonzero(values >= lowest)  # more than top_k where some are equal to the lowest
    return candidates[np.argsort(-values[candidates], kind="stable")][:top_k]


@contextmanager
def _too_little_memory() -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise Overloaded(
            "The device has too little free memory for this now. Try again after the time that Retry-After gives.",
            retry_after=_RETRY_SECONDS,
        ) from None


def require_list(served: Mapping[str, object], name: str, pointer: str | None = None) -> None:
    """Raise UnknownList if no list of this name is served, with a suggestion where one is near.

    pointer: where in a request the name stands, as a JSON pointer.
    """
    if name in served:
        return
    near = difflib.get_close_matches(name[:100], served, n=1)
    unknown = UnknownList(f"Unknown list. Did you mean '{near[0]}'?" if near else None)
    if pointer:
        unknown.errors = (FieldError(pointer, unknown.detail),)
    raise unknown


def encode_served(
    phrase_lists: Mapping[str, PhraseList],
    features_of: Callable[[PhraseList, Progress], TextFeatures],
    progress: Progress,
) -> dict[str, EncodedList]:
    """Return the lists with the text features that `features_of` has; `progress` hears of phrases, over all lists."""
    total = sum(len(phrase_list.labels) for phrase_list in phrase_lists.values())
    served: dict[str, EncodedList] = {}
    before = 0
    for name, phrase_list in phrase_lists.items():

        def report(done: int, _of: int, before: int = before) -> None:
            progress(before + done, total)

        served[name] = EncodedList(phrase_list, features_of(phrase_list, report))
        before += len(phrase_list.labels)
        progress(before, total)
    return served


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    exponentials = np.exp(logits - logits.max())
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum()
    return probabilities
