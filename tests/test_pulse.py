"""Pulse: what passes that run, end and fail say of the model."""

import contextlib
import threading
import time

import pytest

from service.zero_shot import inference_monitor as pulses
from service.zero_shot.inference_monitor import Pulse


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only the test moves."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def fail(pulse: Pulse, error: BaseException) -> None:
    with pytest.raises(type(error)), pulse.beat():
        raise error


def test_a_model_that_has_nothing_to_do_is_not_stuck(clock: list[float]) -> None:
    pulse = Pulse()
    clock[0] += 10_000
    assert not pulse.stuck
    assert pulse.seconds_unanswered == 0
    assert pulse.seconds_since_success == 10_000


def test_a_pass_that_runs_longer_than_any_is_stuck_until_it_ends(clock: list[float]) -> None:
    pulse = Pulse()
    with pulse.beat():
        clock[0] += pulses.LEAST_PATIENCE
        assert not pulse.stuck
        clock[0] += 1
        assert pulse.stuck
        with pulse.beat():  # another lane that answers does not hide it
            pass
        assert pulse.stuck
    assert not pulse.stuck
    assert pulse.seconds_since_success == 0


@pytest.mark.parametrize(("longest", "patience"), [(0.025, 30), (3, 30), (8, 80), (100, 300)])
def test_patience_grows_with_the_longest_pass_that_ended(clock: list[float], longest: float, patience: float) -> None:
    pulse = Pulse()
    for seconds in (longest, 0.01):
        with pulse.beat():
            clock[0] += seconds
    assert pulse.patience == pytest.approx(patience)


def test_of_passes_that_run_side_by_side_the_one_that_began_first_counts(clock: list[float]) -> None:
    pulse = Pulse()
    with pulse.beat():
        with pulse.beat():  # in the same moment
            clock[0] += 20
        with pulse.beat():
            clock[0] += 5
            assert pulse.seconds_unanswered == 25
        assert pulse.seconds_unanswered == 25
    assert pulse.seconds_unanswered == 0


def test_passes_that_all_fail_are_no_answer_and_one_that_succeeds_is(clock: list[float]) -> None:
    pulse = Pulse()
    for _ in range(4):
        fail(pulse, RuntimeError())
        clock[0] += 10
    assert pulse.seconds_unanswered == 40
    assert pulse.stuck
    with pulse.beat():
        pass
    assert not pulse.stuck


def test_a_pass_that_fails_after_a_while_was_no_answer_from_its_beginning(clock: list[float]) -> None:
    pulse = Pulse()
    with contextlib.suppress(RuntimeError), pulse.beat():
        clock[0] += 20
        raise RuntimeError
    assert pulse.seconds_unanswered == 20


@pytest.mark.parametrize("error", [MemoryError(), SystemExit()], ids=["too little memory", "a thread that is ended"])
def test_what_is_no_sign_that_the_model_is_gone(clock: list[float], error: BaseException) -> None:
    pulse = Pulse()
    fail(pulse, error)
    clock[0] += 1000
    assert pulse.seconds_unanswered == 0
    assert pulse.seconds_since_success == 1000


def test_a_pass_that_hangs_in_one_thread_is_told_from_those_of_others(hasty_threads: None) -> None:
    pulse = Pulse()
    hangs, let_on = threading.Event(), threading.Event()

    def hang() -> None:
        with pulse.beat():
            hangs.set()
            assert let_on.wait(20)

    def work() -> None:
        for number in range(200):
            with contextlib.suppress(ValueError), pulse.beat():
                if number % 2:
                    raise ValueError

    began = time.monotonic()
    threads = [threading.Thread(target=each) for each in (hang, *[work] * 4)]
    threads[0].start()
    assert hangs.wait(20)
    for thread in threads[1:]:
        thread.start()
    while any(thread.is_alive() for thread in threads[1:]):
        before = pulse.seconds_unanswered
        assert 0 < before <= pulse.seconds_unanswered <= time.monotonic() - began
    let_on.set()
    threads[0].join()
    with pulse.beat():
        pass
    assert pulse.seconds_unanswered == 0
    assert pulse.patience == pulses.LEAST_PATIENCE
