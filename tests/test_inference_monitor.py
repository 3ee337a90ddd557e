"""InferenceMonitor: what passes that run, end and fail say of the model."""

import contextlib
import threading
import time

import pytest

from service.zero_shot import batching
from service.zero_shot.batching import InferenceMonitor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only the test moves."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def fail(monitor: InferenceMonitor, error: BaseException) -> None:
    with pytest.raises(type(error)), monitor.track():
        raise error


def test_a_model_that_has_nothing_to_do_is_not_stuck(clock: list[float]) -> None:
    monitor = InferenceMonitor()
    clock[0] += 10_000
    assert not monitor.stalled
    assert monitor.seconds_unanswered == 0
    assert monitor.seconds_since_success == 10_000


def test_a_pass_that_runs_longer_than_any_is_stuck_until_it_ends(clock: list[float]) -> None:
    monitor = InferenceMonitor()
    with monitor.track():
        clock[0] += batching.MIN_STALL_TIMEOUT
        assert not monitor.stalled
        clock[0] += 1
        assert monitor.stalled
        with monitor.track():  # another slot that answers does not hide it
            pass
        assert monitor.stalled
    assert not monitor.stalled
    assert monitor.seconds_since_success == 0


@pytest.mark.parametrize(("longest", "stall_timeout"), [(0.025, 30), (3, 30), (8, 80), (100, 300)])
def test_stall_timeout_grows_with_the_longest_pass_that_ended(
    clock: list[float], longest: float, stall_timeout: float
) -> None:
    monitor = InferenceMonitor()
    for seconds in (longest, 0.01):
        with monitor.track():
            clock[0] += seconds
    assert monitor.stall_timeout == pytest.approx(stall_timeout)


def test_of_passes_that_run_side_by_side_the_one_that_began_first_counts(clock: list[float]) -> None:
    monitor = InferenceMonitor()
    with monitor.track():
        with monitor.track():  # in the same moment
            clock[0] += 20
        with monitor.track():
            clock[0] += 5
            assert monitor.seconds_unanswered == 25
        assert monitor.seconds_unanswered == 25
    assert monitor.seconds_unanswered == 0


def test_passes_that_all_fail_are_no_answer_and_one_that_succeeds_is(clock: list[float]) -> None:
    monitor = InferenceMonitor()
    for _ in range(4):
        fail(monitor, RuntimeError())
        clock[0] += 10
    assert monitor.seconds_unanswered == 40
    assert monitor.stalled
    with monitor.track():
        pass
    assert not monitor.stalled


def test_a_pass_that_fails_after_a_while_was_no_answer_from_its_beginning(clock: list[float]) -> None:
    monitor = InferenceMonitor()
    with contextlib.suppress(RuntimeError), monitor.track():
        clock[0] += 20
        raise RuntimeError
    assert monitor.seconds_unanswered == 20


@pytest.mark.parametrize("error", [MemoryError(), SystemExit()], ids=["too little memory", "a thread that is ended"])
def test_what_is_no_sign_that_the_model_is_gone(clock: list[float], error: BaseException) -> None:
    monitor = InferenceMonitor()
    fail(monitor, error)
    clock[0] += 1000
    assert monitor.seconds_unanswered == 0
    assert monitor.seconds_since_success == 1000


def test_a_pass_that_hangs_in_one_thread_is_told_from_those_of_others(hasty_threads: None) -> None:
    monitor = InferenceMonitor()
    hangs, let_on = threading.Event(), threading.Event()

    def hang() -> None:
        with monitor.track():
            hangs.set()
            assert let_on.wait(20)

    def work() -> None:
        for number in range(200):
            with contextlib.suppress(ValueError), monitor.track():
                if number % 2:
                    raise ValueError

    began = time.monotonic()
    threads = [threading.Thread(target=each) for each in (hang, *[work] * 4)]
    threads[0].start()
    assert hangs.wait(20)
    for thread in threads[1:]:
        thread.start()
    while any(thread.is_alive() for thread in threads[1:]):
        before = monitor.seconds_unanswered
        assert 0 < before <= monitor.seconds_unanswered <= time.monotonic() - began
    let_on.set()
    threads[0].join()
    with monitor.track():
        pass
    assert monitor.seconds_unanswered == 0
    assert monitor.stall_timeout == batching.MIN_STALL_TIMEOUT
