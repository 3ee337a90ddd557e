"""Pulse: what passes that run, end and fail say of the model."""

import time

import pytest

from service.zero_shot import pulse as pulses
from service.zero_shot.pulse import Pulse


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only the test moves."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def fail(pulse: Pulse, error: Exception) -> None:
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


def test_too_little_memory_is_no_sign_that_the_model_is_gone(clock: list[float]) -> None:
    pulse = Pulse()
    fail(pulse, MemoryError())
    clock[0] += 1000
    assert not pulse.stuck
