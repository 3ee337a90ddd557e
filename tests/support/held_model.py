"""A classifier whose model answers, hangs or fails as a test says, with a stall_timeout that a test can wait for."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from service.zero_shot import batching
from service.zero_shot.backends.base import LoadedModel
from service.zero_shot.batching import InferenceMonitor
from service.zero_shot.classifier import LoadingClassifier, ZeroShotClassifier
from service.zero_shot.encoder import ClipEncoder
from service.zero_shot.preprocessing.preparation import ImageInputs
from service.zero_shot.preprocessing.tokenizer import PhraseTokenizer
from tests.support.hash_encoder import SIZE, HashEncoder

SECONDS = 20
"""After which a test fails that would else wait for ever."""


class HeldModel:
    """Runs passes while nothing holds it; knows how many have begun."""

    max_concurrent_batches = 2
    image_batch = text_batch = 1

    def __init__(self) -> None:
        self.passes = 0
        self.error: Exception | None = None
        self._go_on = threading.Event()
        self._go_on.set()
        self._hanging: list[threading.Event] = []
        self._callers: list[threading.Thread] = []
        described = HashEncoder()
        tokenizer = PhraseTokenizer(lambda phrases, _limit: [[0] for _ in phrases], SIZE, None)
        encoder = ClipEncoder(LoadedModel(described.model, self, described.preprocess, tokenizer))
        self.classifier = ZeroShotClassifier(encoder, {})

    @property
    def loading(self) -> LoadingClassifier:
        """What a service is made of, with this model in it."""
        return LoadingClassifier(lambda _report: self.classifier).start().wait()

    @property
    def monitor(self) -> InferenceMonitor:
        return self.classifier.monitor

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        """Return features once the model is to go on, or raise its error."""
        self.passes += 1
        assert self._go_on.wait(SECONDS)
        if self.error:
            raise self.error
        return np.ones((len(inputs["mean"]), SIZE), np.float32)

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        raise NotImplementedError

    def hang(self) -> None:
        """Let the passes that begin from now on hang."""
        self._go_on = threading.Event()
        self._hanging.append(self._go_on)

    def answer_others(self) -> None:
        """Let the passes that begin from now on answer, while those that hang do so."""
        self._go_on = threading.Event()
        self._go_on.set()

    def hang_with_a_caller(self) -> None:
        """Hang, with a pass under way."""
        before = self.passes
        self.hang()
        self._callers.append(threading.Thread(target=self.answer, daemon=True))
        self._callers[-1].start()
        wait_until(lambda: self.passes > before)

    def go_on(self) -> None:
        """Answer, those that hang too, and return once their callers have their answers."""
        self.answer_others()
        for hanging in self._hanging:
            hanging.set()
        for caller in self._callers:
            caller.join(SECONDS)
            assert not caller.is_alive()
        self._callers.clear()

    def answer(self) -> None:
        """Encode a picture."""
        self.classifier.encode_image(Image.new("RGB", (4, 4)))


def with_stall_timeout(monkeypatch: pytest.MonkeyPatch, stall_timeout: float) -> HeldModel:
    """Return a model that answers, and that is given up after so many seconds, however long its passes took before."""
    monkeypatch.setattr(batching, "MIN_STALL_TIMEOUT", stall_timeout)
    monkeypatch.setattr(batching, "MAX_STALL_TIMEOUT", stall_timeout)
    return HeldModel()


def wait_until(what: Callable[[], bool]) -> None:
    """Return once something is true."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.005)
