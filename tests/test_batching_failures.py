"""Passes that fail, that hang or that nobody waits for any more: who has to do with it hears of it, and nobody else."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from service.zero_shot.batching import DynamicBatcher
from service.zero_shot.preprocessing.preparation import ImageInputs
from tests.support.square_backend import SECONDS, Caller, Line, SquareBackend, Stop, busy, features, phrases, pictures


@pytest.mark.parametrize("error", [MemoryError("of one pass"), RuntimeError("of one pass")], ids=["memory", "other"])
def test_an_error_reaches_whose_picture_it_was_and_nobody_else(error: Exception) -> None:
    backend = SquareBackend(image_batch=2)
    backend.broken = {2: error, 50: ValueError("of one batch")}
    with busy(backend) as line:
        first, second, third = line.pictures(1), line.pictures(2), line.pictures(3)
        wrong, right = line.phrases(50, 51), line.phrases(52)
        backend.let_all_on()
        assert first.wait().features == features(1)
        assert second.wait().error is error
        assert second.features is None
        assert isinstance(wrong.wait().error, ValueError)
        assert third.wait().features == features(3)
        assert right.wait().features == features(52)
    assert line.callers[0].features == features(100)
    assert line.passes.image_features(pictures(1)).tolist() == features(1)
    with pytest.raises(type(error), match="of one pass"):
        line.passes.image_features(pictures(2))


def test_an_error_in_the_middle_of_a_long_request_is_that_requests() -> None:
    backend = SquareBackend()
    backend.broken = {5: MemoryError()}
    passes = DynamicBatcher(backend)
    with pytest.raises(MemoryError):
        passes.image_features(pictures(*range(32)))
    assert [values for _, values in backend.passes] == [[0, 1, 2, 3], [4, 5, 6, 7], [4], [5]]
    assert passes.image_features(pictures(6)).tolist() == features(6)


def test_a_pass_that_lacks_memory_is_split_once() -> None:
    class SmallBackend(SquareBackend):
        def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
            found = super().image_features(inputs)
            if len(found) > 1:
                raise MemoryError
            return found

    backend = SmallBackend()
    assert DynamicBatcher(backend).image_features(pictures(1, 2, 3, 4, 5)).tolist() == features(1, 2, 3, 4, 5)
    assert [values for _, values in backend.passes] == [[1, 2, 3, 4], [1], [2], [3], [4], [5]]


def test_who_is_stopped_in_a_pass_leaves_nobody_waiting() -> None:
    backend = SquareBackend(image_batch=2)
    backend.broken = {1: Stop()}
    with busy(backend) as line:
        callers = [line.pictures(1), line.pictures(2), line.pictures(3)]
        backend.let_all_on()
        assert isinstance(callers[0].wait().error, Stop)
        assert isinstance(callers[1].wait().error, RuntimeError)
        assert callers[2].wait().features == features(3)


def test_pictures_that_do_not_fit_together_are_an_error_and_no_end() -> None:
    passes = DynamicBatcher(SquareBackend())
    odd: list[ImageInputs] = [*pictures(1), {"value": np.array(2), "twice": np.array([4, 4])}]
    with pytest.raises(ValueError, match="same shape"):
        passes.image_features(odd)
    assert passes.image_features(pictures(3)).tolist() == features(3)


class Unwanted(Exception):
    """What a caller is told whose features nobody wants any more."""


def test_what_is_no_longer_wanted_when_its_pass_is_formed_is_never_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.zero_shot.batching.POLL_SECONDS", 2 * SECONDS)  # who is left out hears of it at once
    backend = SquareBackend()
    unwanted: set[int] = set()

    def require(number: int) -> None:
        if number in unwanted:
            raise Unwanted

    with busy(backend) as line:
        ask = line.passes
        callers = [
            line._queued(partial(ask.image_features, pictures(number), partial(require, number))) for number in range(6)
        ]
        callers += [
            line._queued(partial(ask.text_features, phrases(number), partial(require, number))) for number in (7, 8)
        ]
        unwanted |= {0, 3, 7}
        backend.let_all_on()
        for caller, number in zip(callers, [*range(6), 7, 8], strict=True):
            caller.wait()
            if number in unwanted:
                assert isinstance(caller.error, Unwanted)
            else:
                assert caller.features == features(number)
    # The places of those that are left out are taken by others.
    assert sorted(backend.passes[1:]) == [("phrases", [8]), ("pictures", [1, 2, 4, 5])]


def test_who_waits_for_a_pass_that_hangs_gives_up_and_leaves_its_slot_to_others() -> None:
    backend = SquareBackend(image_batch=1)
    too_late = threading.Event()

    def require() -> None:
        if too_late.is_set():
            raise Unwanted

    with busy(backend) as line:
        callers = [line._queued(partial(line.passes.image_features, pictures(1), require)), line.pictures(2)]
        too_late.set()
        assert isinstance(callers[0].wait().error, Unwanted)
        assert line._waiting() == 1
        assert callers[1].thread.is_alive()
        backend.let_all_on()
        assert callers[1].wait().features == features(2)
    assert backend.passes == [("pictures", [100]), ("pictures", [2])]
    assert line.passes.image_features(pictures(3)).tolist() == features(3)


def test_who_gives_up_as_its_turn_comes_leaves_the_pass_to_the_others_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.zero_shot.batching.POLL_SECONDS", 0.001)
    backend = SquareBackend(image_batch=2)
    backend.let_all_on()
    passes = DynamicBatcher(backend)
    looks = iter(range(10**9))

    def fickle() -> None:
        if next(looks) % 3 == 0:
            raise Unwanted

    def ask(number: int, require: Callable[[], None]) -> NDArray[np.float32]:
        for _ in range(200):
            try:
                assert passes.image_features(pictures(number), require).tolist() == features(number)
            except Unwanted:
                assert require is fickle
        return np.zeros((0, 2), np.float32)

    callers = [Caller(partial(ask, number, fickle if number % 2 else lambda: None)) for number in range(6)]
    for caller in callers:
        assert caller.wait().error is None
    assert passes.image_features(pictures(3)).tolist() == features(3)
    assert passes._free_slots == 1


class Leaving:
    """Whether a caller's features are wanted: not any more, once the pass is put together that it is to run or share.

    Who has stopped looking and not yet left its queue is put into a pass at that moment, by whoever ran the one before.
    """

    def __init__(self, backend: SquareBackend, line: Line, error: BaseException) -> None:
        self._backend = backend
        self._line = line
        self._error = error
        self.may_leave = threading.Event()

    def __call__(self) -> None:
        # Another thread asks too, as it puts the pass together, and is told that they are wanted.
        if self.may_leave.is_set() and threading.current_thread() is self._line.callers[1].thread:
            self._backend.let_on()
            deadline = time.monotonic() + SECONDS
            while True:
                with self._line.passes._lock:
                    if not self._line.passes._pictures:
                        break
                assert time.monotonic() < deadline
                time.sleep(0.001)
            raise self._error


@pytest.mark.parametrize("error", [Unwanted(), Stop()], ids=["unwanted", "stopped"])
@pytest.mark.parametrize("others", ["in the same pass", "in the next pass", "none"])
def test_who_leaves_as_its_turn_comes_leaves_the_slot_to_others(
    monkeypatch: pytest.MonkeyPatch, others: str, error: BaseException
) -> None:
    monkeypatch.setattr("service.zero_shot.batching.POLL_SECONDS", 0.01)
    backend = SquareBackend(image_batch=2)
    with busy(backend, "phrases") as line:  # so that pictures are next
        leaving = Leaving(backend, line, error)
        leaver = line._queued(partial(line.passes.image_features, pictures(1), leaving))
        waiting = {"in the same pass": [line.pictures], "in the next pass": [line.phrases], "none": []}[others]
        callers = [come(2) for come in waiting]
        leaving.may_leave.set()
        assert leaver.wait().error is error
        backend.let_all_on()
        assert [caller.wait().features for caller in callers] == [features(2)] * len(callers)
    assert [values for _, values in backend.passes] == [[100], *[[2]] * len(callers)]
    assert line.passes._free_slots == 1


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let nothing be freed but what nobody refers to, as it is for the seconds until the collector comes."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_pictures_are_in_memory_no_longer_than_their_pass(no_collector: None) -> None:
    passes = DynamicBatcher(SquareBackend())
    sent = pictures(1, 2)
    kept = weakref.ref(sent[0]["twice"])
    passes.image_features(sent)
    del sent
    assert kept() is None


@pytest.mark.parametrize("requests", [1, 2])
def test_what_a_pass_took_that_lacked_memory_is_free_before_its_parts_run(no_collector: None, requests: int) -> None:
    class FullBackend(SquareBackend):
        taken: "weakref.ref[object] | None" = None

        def image_features(self, inputs: ImageInputs) -> NDArray[np.float32]:
            found = super().image_features(inputs)
            if len(found) > 1:
                taken = np.zeros(1000)
                self.taken = weakref.ref(taken)
                raise MemoryError
            assert self.taken is None or self.taken() is None
            return found

    backend = FullBackend()
    with busy(backend) as line:
        callers = [line.pictures(1), line.pictures(2)] if requests == 2 else [line.pictures(1, 2)]
        backend.let_all_on()
        expected = [features(1), features(2)] if requests == 2 else [features(1, 2)]
        assert [caller.wait().features for caller in callers] == expected
    assert backend.taken is not None
