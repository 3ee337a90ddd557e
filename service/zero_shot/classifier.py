"""The zero-shot classifier: images and lists of phrases -> unit features of one space; how it is loaded and watched."""

import difflib
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray
from PIL import Image

from service.errors import NotReady, Overloaded, UnknownList
from service.zero_shot.batching import POLL_SECONDS, CancelCheck, never_cancelled
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.interpretation.lift import Neutral, neutral_pictures
from service.zero_shot.phrase_lists import PhraseList
from service.zero_shot.preprocessing.preparation import ImageInputs
from service.zero_shot.text_features import Progress, TextFeatures

log = structlog.get_logger()

Report = Callable[[str, int, int], None]
"""Called with the stage of the start-up, how much of it is done and how much there is."""

RETRY_SECONDS = 5
WATCHDOG_SECONDS = 1.0
"""Between two polls of the monitor."""

_OUT_OF_MEMORY = "The device has too little free memory for this now. Try again after the time that Retry-After gives."


@dataclass(frozen=True)
class EncodedList:
    """A list and the text features of its phrases."""

    phrase_list: PhraseList
    text_features: TextFeatures


class ZeroShotClassifier:
    """Encodes images and lists; the served lists' text features are computed once, before it is made.

    model:      describes the model that answers
    monitor:    tracks its passes
    preprocess: turns one upright RGB image into the model's input, so that the image itself need not be kept
    framing:    how pictures come to the model's size; None where that is not one size for all
    """

    def __init__(self, encoder: ClipEncoder, served: Mapping[str, EncodedList]) -> None:
        self.model = encoder.model
        self.monitor = encoder.monitor
        self.preprocess = encoder.preprocess
        self.framing = encoder.preprocess.framing
        self._encoder = encoder
        self._served = served
        self._neutral: Neutral | None = None
        self._neutral_lock = threading.Lock()

    def lists_named(self, names: Collection[str]) -> tuple[EncodedList, ...]:
        """Return the served lists of these names, each once. Raises UnknownList."""
        for name in names:
            require_list(self._served, name)
        return tuple(self._served[name] for name in dict.fromkeys(names))

    def encode_lists(
        self,
        own_lists: Sequence[PhraseList],
        progress: Progress | None = None,
        *,
        check: CancelCheck = never_cancelled,
    ) -> tuple[EncodedList, ...]:
        """Return lists that are not served, with their text features.

        Raises what `check` raises, before each pass, what `progress` raises, after it, and Overloaded.
        """
        try:
            return tuple(
                EncodedList(own, self._encoder.encode_text(own.phrases, progress, check=check, remember=True))
                for own in own_lists
            )
        except MemoryError:
            raise Overloaded(_OUT_OF_MEMORY, retry_after=RETRY_SECONDS) from None

    def encode_images(
        self, prepared: Sequence[ImageInputs], check: CancelCheck = never_cancelled
    ) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of n prepared pictures.

        Raises what `check` raises, before each pass, and Overloaded.
        """
        try:
            return self._encoder.encode_images(prepared, check)
        except MemoryError:
            raise Overloaded(_OUT_OF_MEMORY, retry_after=RETRY_SECONDS) from None

    def encode_views(self, views: Sequence[Image.Image], check: CancelCheck = never_cancelled) -> NDArray[np.float32]:
        """Return the unit features [n, feature_size] of n RGB pictures at the model's size; raises as encode_images."""
        return self.encode_images([self.preprocess.normalised(view) for view in views], check)

    def neutral(self, check: CancelCheck = never_cancelled) -> Neutral:
        """Return what the model makes of neutral pictures, which is computed once; raises as encode_images does."""
        while not self._neutral_lock.acquire(timeout=POLL_SECONDS):
            check()
        try:
            if self._neutral is None:
                pictures = [self.preprocess(picture) for picture in neutral_pictures().values()]
                features = self.encode_images(pictures, check)
                of_all = [encoded.text_features.features @ features.T for encoded in self._served.values()]
                numbers = np.concatenate([each.ravel() for each in of_all]) if of_all else np.array([0.0, 1.0])
                self._neutral = Neutral(features, float(numbers.mean()), float(numbers.std()))
            return self._neutral
        finally:
            self._neutral_lock.release()

    def encode_image(self, image: Image.Image) -> NDArray[np.float32]:
        """Return the unit features [feature_size] of one upright RGB image."""
        features: NDArray[np.float32] = self.encode_images([self.preprocess(image)])[0]
        return features


def require_list(served: Mapping[str, object], name: str) -> None:
    """Raise UnknownList, with a similar name if there is one, unless a list of this name is served."""
    if name not in served:
        similar = difflib.get_close_matches(name[:100], served, n=1)
        raise UnknownList(f"Unknown list. Did you mean '{similar[0]}'?" if similar else None)


def encode_served(
    phrase_lists: Mapping[str, PhraseList],
    features_of: Callable[[PhraseList, Progress], TextFeatures],
    progress: Progress,
) -> dict[str, EncodedList]:
    """Return the lists with what `features_of` returns for each; `progress` counts the phrases of all lists."""
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


class LoadingClassifier:
    """Loads a classifier in a thread, so that meanwhile the process can answer that it is not ready.

    classifier: None until it is loaded; then `on_ready` is called
    """

    def __init__(
        self,
        build: Callable[[Report], ZeroShotClassifier],
        on_ready: Callable[[ZeroShotClassifier], None] = lambda _: None,
        on_failure: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._build = build
        self._on_ready = on_ready
        self._on_failure = on_failure
        self.classifier: ZeroShotClassifier | None = None
        self._progress: dict[str, Any] = {}
        self._report("starting", 0, 1)
        self._thread = threading.Thread(target=self._run, name="loading", daemon=True)

    def start(self) -> "LoadingClassifier":
        """Begin to load, and return at once."""
        self._thread.start()
        return self

    def wait(self) -> "LoadingClassifier":
        """Return once loading has ended, well or not."""
        self._thread.join()
        return self

    def require(self) -> ZeroShotClassifier:
        """Return the classifier. Raises NotReady, which says how far the start is, while there is none."""
        classifier = self.classifier
        if classifier is None:
            progress = self._progress
            stage = progress["stage"]
            raise NotReady(
                f"The service is still starting ({stage}). Try again after the time that Retry-After gives.",
                retry_after=RETRY_SECONDS,
                progress=progress,
            )
        return classifier

    def _run(self) -> None:
        try:
            self.classifier = self._build(self._report)
            self._on_ready(self.classifier)
        except Exception as error:  # noqa: BLE001  # whatever it is, this process will never be ready
            self.classifier = None
            self._report("failed", 0, 1)
            self._on_failure(error)

    def _report(self, stage: str, done: int, total: int) -> None:
        self._progress = {"stage": stage, "done": done, "total": total}


class Watchdog:
    """Ends the process if inference has stalled, so that its supervisor starts another.

    It polls the monitor in a thread, and calls `end` after the model has been stalled for another stall timeout: until
    then /livez fails, and a supervisor may act itself. Polls are counted rather than seconds, because a process that
    was suspended as a whole finds its pass stalled when it resumes, and is well a moment later.
    """

    def __init__(self, loading: LoadingClassifier, end: Callable[[], object]) -> None:
        self._loading = loading
        self._end = end
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> "Watchdog":
        """Begin to poll, and return at once."""
        self._thread.start()
        return self

    def _run(self) -> None:
        polls = 0
        while True:
            time.sleep(WATCHDOG_SECONDS)
            classifier = self._loading.classifier
            if classifier is None or not classifier.monitor.stalled:
                polls = 0
                continue
            polls += 1
            seconds = round(classifier.monitor.seconds_unanswered)
            if polls == 1:
                log.error("the model does not answer", seconds=seconds)
            if polls * WATCHDOG_SECONDS >= classifier.monitor.stall_timeout:
                log.error("the process ends, because its model does not answer", seconds=seconds)
                self._end()
                return
