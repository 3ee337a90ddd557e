"""A backend that can be held in a pass, and callers that queue for it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.zero_shot.batching import DynamicBatcher
from service.zero_shot.preprocessing.preparation import ImageInputs

SECONDS = 20
"""After which a test fails that would else wait for ever."""


class SquareBackend:
    """A backend whose features are a number and its square; it may wait in each pass until it is let on."""

    text_batch = 3

    def __init__(self, max_concurrent_batches: int = 1, image_batch: int = 4, *, held: bool = False) -> None:
        self.max_concurrent_batches = max_concurrent_batches
        self.image_batch = image_batch
        self.passes: list[tuple[str, list[int]]] = []
        self.threads: list[threading.Thread] = []
        self.broken: dict[int, BaseException] = {}
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.held = held
        self.running = 0
        self.most_running = 0
        self._lock = threading.Lock()

    def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
        assert set(inputs) == {"value", "twice"}
        assert (inputs["twice"] == 2 * inputs["value"][:, None]).all()
        return self._pass("pictures", inputs["value"])

    def text_features(self, token_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._pass("phrases", token_ids[:, 0])

    def _pass(self, kind: str, values: NDArray[Any]) -> NDArray[np.float32]:
        with self._lock:
            self.passes.append((kind, values.tolist()))
            self.threads.append(threading.current_thread())
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        try:
            self.entered.release()
            if self.held:
                assert self.go_on.acquire(timeout=SECONDS)
            for value in values.tolist():
                if value in self.broken:
                    raise self.broken[value]
        finally:
            with self._lock:
                self.running -= 1
        return np.stack([values, values**2], axis=1).astype(np.float32)

    def wait_for_pass(self) -> None:
        assert self.entered.acquire(timeout=SECONDS)

    def let_on(self, passes: int = 1) -> None:
        """Let so many passes end."""
        for _ in range(passes):
            self.go_on.release()

    def let_all_on(self) -> None:
        """Let the passes that run end, and those that come after them."""
        self.held = False
        self.let_on(100)


def pictures(*values: int) -> list[ImageInputs]:
    return [{"value": np.array(value), "twice": np.array([2 * value])} for value in values]


def phrases(*values: int) -> NDArray[np.int64]:
    """Return a batch of phrases of two tokens each."""
    return np.array([[value, 0] for value in values])


def features(*values: int) -> list[list[float]]:
    return [[float(value), float(value**2)] for value in values]


class Caller:
    """A thread that asks for features, and what came of it."""

    def __init__(self, ask: Callable[[], NDArray[np.float32]]) -> None:
        self.features: list[list[float]] | None = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(ask,))
        self.thread.start()

    def _run(self, ask: Callable[[], NDArray[np.float32]]) -> None:
        try:
            self.features = ask().tolist()
        except BaseException as error:  # noqa: BLE001  # it is what the test asks for
            self.error = error

    def wait(self) -> "Caller":
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        return self


class Line:
    """Callers that come one after another, each once the one before it stands in its queue or has its pass."""

    def __init__(self, passes: DynamicBatcher) -> None:
        self.passes = passes
        self.callers: list[Caller] = []

    def pictures(self, *values: int) -> Caller:
        return self._queued(lambda: self.passes.image_features(pictures(*values)))

    def phrases(self, *values: int) -> Caller:
        return self._queued(lambda: self.passes.text_features(phrases(*values)))

    def _queued(self, ask: Callable[[], NDArray[np.float32]]) -> Caller:
        before = self._waiting()
        self.callers.append(Caller(ask))
        deadline = time.monotonic() + SECONDS
        while self._waiting() == before:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return self.callers[-1]

    def _waiting(self) -> int:
        # There is nothing that a caller could wait for instead: whoever stands in the queue only sleeps.
        return len(self.passes._pictures) + len(self.passes._phrases)


@contextmanager
def busy(backend: SquareBackend, first: str = "pictures", passes: DynamicBatcher | None = None) -> Iterator[Line]:
    """Give a line of callers behind a pass that runs in each slot, of the numbers 100, 101 and so on."""
    backend.held, backend.go_on, backend.entered = True, threading.Semaphore(0), threading.Semaphore(0)
    line = Line(passes or DynamicBatcher(backend))
    for slot in range(backend.max_concurrent_batches):
        number = 100 + slot
        if first == "pictures":
            ask = partial(line.passes.image_features, pictures(number))
        else:
            ask = partial(line.passes.text_features, phrases(number))
        line.callers.append(Caller(ask))
        backend.wait_for_pass()
    try:
        yield line
    finally:
        backend.let_all_on()
        for caller in line.callers:
            caller.wait()


class Stop(BaseException):
    """What ends a thread from outside, as SystemExit does."""
