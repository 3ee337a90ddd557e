"""Turns are had by so many at a time, in the order in which they were asked for."""

import threading
import time

import pytest

from service.errors import Overloaded
from service.limits.fair_semaphore import Turns


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


def test_a_share_waits_until_there_is_enough_and_who_comes_later_waits_behind_it() -> None:
    turns = Turns(10)
    had: list[str] = []

    def take(name: str, share: int) -> None:
        with turns.turn(share=share):
            had.append(name)

    with turns.turn(share=4):
        with turns.turn(share=6):
            threads = [threading.Thread(target=take, args=each) for each in (("large", 8), ("small", 3))]
            threads[0].start()
            time.sleep(0.02)
        threads[1].start()
        time.sleep(0.02)
        assert had == []
    for thread in threads:
        thread.join(5)
    assert had == ["large", "small"]
    with turns.turn(time.monotonic(), share=10):
        pass


def test_who_waited_behind_a_share_that_was_given_up_goes_on() -> None:
    turns = Turns(10)
    had = threading.Event()

    def small() -> None:
        with turns.turn(share=3):
            had.set()

    with turns.turn(share=5):
        waiting = threading.Timer(0.02, small)
        waiting.start()
        with pytest.raises(Overloaded), turns.turn(time.monotonic() + 0.1, share=6):
            pass
        assert had.wait(5)
    waiting.join()


def test_few_wait_for_what_stands_still_and_the_others_leave_at_once() -> None:
    turns = Turns(1, most_waiting=2)
    had: list[int] = []

    def wait(number: int) -> None:
        with turns.turn(time.monotonic() + 20):
            had.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(2)]
    with turns.turn():
        for thread in threads:
            thread.start()
            time.sleep(0.02)
        begun = time.monotonic()
        for _ in range(2):  # the first waits to see whether something moves
            with pytest.raises(Overloaded), turns.turn(time.monotonic() + 20):
                pass
        assert 0.5 < time.monotonic() - begun < 1.5
        begun = time.monotonic()
        with pytest.raises(Overloaded), turns.turn(time.monotonic() + 20):
            pass
        assert time.monotonic() - begun < 0.3
    for thread in threads:
        thread.join(5)
    assert had == [0, 1]


def test_all_wait_for_what_moves() -> None:
    turns = Turns(1, most_waiting=1)
    had: list[float] = []

    def take() -> None:
        with turns.turn(time.monotonic() + 20):
            time.sleep(0.4)
            had.append(time.monotonic())

    threads = [threading.Thread(target=take) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(had) == 5


def test_who_has_all_turns_for_long_stands_still() -> None:
    turns = Turns(2)
    with turns.turn():
        assert turns.still_seconds == 0
        with turns.turn():
            time.sleep(0.1)
            assert 0.1 <= turns.still_seconds < 5
        assert turns.still_seconds == 0
        with turns.turn():
            assert turns.still_seconds < 0.1
