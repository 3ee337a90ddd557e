"""ZeroShotClassifier: images and lists of phrases -> unit features of one space, by the model that is served."""

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
    Progress,
    Require,
    TextFeatures,
    always,
)
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


class ZeroShotClassifier:
    """Encodes images and lists; the served lists' text features are computed once, before it is made.

    model:   the model that answers
    pulse:   whether it still answers
    prepare: makes of one upright RGB image what the model takes, so that the image itself need not be kept
    """

    def __init__(self, encoder: Encoder, served: Mapping[str, EncodedList]) -> None:
        self.model = encoder.model
        self.pulse = encoder.pulse
        self.prepare = encoder.prepare
        self._encoder = encoder
        self._served = served
        self._neutral: Neutral | None = None
        self._neutral_lock = threading.Lock()

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
