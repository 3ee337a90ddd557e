"""Turns are had by so many at a time, in the order in which they were asked for."""

import threading
import time

import pytest

from service.errors import Overloaded
from service.images.turns import Turns


def test_only_so_many_have_a_turn() -> None:
    turns = Turns(2)
    with turns.turn(), turns.turn():
        with pytest.raises(Overloaded) as refused, turns.turn(time.monotonic() + 0.05):
            pass
        assert refused.value.retry_after == 1
    with turns.turn(time.monotonic()), turns.turn(time.monotonic()):
        pass


def test_turn_is_passed_on_where_what_was_done_in_it_failed() -> None:
    turns = Turns(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), turns.turn(time.monotonic()):
            raise ValueError("broken")


def test_first_come_first_served_and_who_comes_now_waits_behind_them() -> None:
    turns = Turns(1)
    order: list[int] = []

    def wait(number: int) -> None:
        with turns.turn():
            order.append(number)
            time.sleep(0.01)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(20)]
    with turns.turn():
        for thread in threads:
            thread.start()
            time.sleep(0.01)
    with turns.turn():
        order.append(99)
    for thread in threads:
        thread.join()
    assert order == [*range(20), 99]


def test_who_has_given_up_is_passed_over() -> None:
    turns = Turns(1)
    had: list[str] = []

    def patient() -> None:
        with turns.turn():
            had.append("patient")

    with turns.turn():
        with pytest.raises(Overloaded), turns.turn(time.monotonic() + 0.02):
            pass
        waiting = threading.Thread(target=patient)
        waiting.start()
        time.sleep(0.05)
        assert had == []
    waiting.join(10)
    assert had == ["patient"]


def test_no_turn_is_lost_among_many_that_give_up(hasty_threads: None) -> None:
    turns = Turns(3)
    at_once = most = 0
    counting = threading.Lock()

    def come(seed: int) -> None:
        nonlocal at_once, most
        for number in range(200):
            try:
                with turns.turn(time.monotonic() + 0.0001 * ((seed + number) % 5)):
                    with counting:
                        at_once += 1
                        most = max(most, at_once)
                    with counting:
                        at_once -= 1
            except Overloaded:
                continue

    threads = [threading.Thread(target=come, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 3
    with turns.turn(time.monotonic()), turns.turn(time.monotonic()), turns.turn(time.monotonic()):
        pass
