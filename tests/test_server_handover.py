"""Which workers take new clients, and what they count together."""

import mmap
import os
from copy import copy

import pytest

from service.limits.admission import Admission
from service.server.handover import DRAIN_PENDING, FREE, LOADING, READY, Handover


class Worker:
    """A worker's view of a handover: its own index, and the states that all share."""

    def __init__(self, handover: Handover) -> None:
        self.index = handover.register()
        self.view = object.__new__(Handover)
        self.view._states, self.view._own = handover._states, self.index
        self.taken = copy(handover.taken)  # as the fork does


def test_a_loading_worker_accepts_only_while_none_is_ready() -> None:
    handover = Handover()
    first, second = Worker(handover).view, Worker(handover).view
    assert first.may_accept
    assert second.may_accept
    first.be_ready()
    assert (first.may_accept, second.may_accept) == (True, False)
    second.be_ready()
    assert second.may_accept


@pytest.mark.parametrize("failed", [False, True], ids=["killed", "failed to load"])
def test_a_worker_that_ended_loads_no_more(failed: bool) -> None:
    handover = Handover()
    old, new = Worker(handover), Worker(handover)
    assert not handover.ready
    old.view.be_ready()
    assert (handover.ready, handover.state_of(old.index), handover.state_of(new.index)) == (1, READY, LOADING)
    if failed:
        new.view.fail()
        assert new.view.ready
        assert not new.view.may_accept
    assert handover.unregister(new.index) is failed
    assert handover.state_of(new.index) == FREE
    assert old.view.may_accept


def test_loading_workers_accept_once_the_last_ready_one_stops() -> None:
    handover = Handover()
    old, new = Worker(handover).view, Worker(handover).view
    old.be_ready()
    assert not new.may_accept
    old.request_stop()
    assert new.may_accept


def test_a_worker_asked_to_stop_does_not_become_ready() -> None:
    handover = Handover()
    worker = Worker(handover).view
    worker.request_stop()
    worker.be_ready()
    assert worker.state == DRAIN_PENDING
    assert not worker.may_accept


def test_states_are_shared_with_forks_and_indexes_reused() -> None:
    handover = Handover()
    index = handover.register()
    if (child := os.fork()) == 0:
        handover.be_ready()
        os._exit(0)
    os.waitpid(child, 0)
    assert not Worker(handover).view.may_accept
    handover.unregister(index)
    assert handover.register() == index


def test_all_workers_together_have_the_slots_of_one() -> None:
    handover = Handover()
    first, second = Worker(handover), Worker(handover)
    one, other = Admission(3, 1, first.taken), Admission(3, 1, second.taken)
    assert (one.try_acquire(), other.try_acquire(), other.try_acquire()) == (True, True, True)
    assert (one.try_acquire(), other.try_acquire(), one.is_full, one.taken) == (False, False, True, 3)
    with other.fetching():
        assert (one.try_acquire(), one.is_full) == (True, True)
    assert other.taken == 4
    one.release()
    handover.unregister(second.index)  # as when it was killed
    assert (one.taken, one.is_full) == (1, False)
    assert Worker(handover).taken.own == 0


def test_workers_never_take_one_slot_too_many() -> None:
    handover, places = Handover(), 2
    holding = mmap.mmap(-1, 4)
    children = []
    for number in range(4):
        worker = Worker(handover)
        if (child := os.fork()) == 0:
            admission, most = Admission(places, 0, worker.taken), 0
            for _ in range(3_000):
                if admission.try_acquire():
                    holding[number] = 1
                    most = max(most, sum(holding[:]))
                    holding[number] = 0
                    admission.release()
            os._exit(most)
        children.append(child)
    held = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert all(1 <= each <= places for each in held), held
    assert handover.taken.total == 0
