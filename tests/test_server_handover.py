"""Crew: which workers take callers, and when one that was told to end may."""

import mmap
import os
from copy import copy

import pytest

from service.limits.admission import Admission
from service.server.handover import Crew


class Worker:
    """A worker's view of a crew: its own place, and the states that all share."""

    def __init__(self, crew: Crew) -> None:
        self.place = crew.enlist()
        self.view = object.__new__(Crew)
        self.view._states, self.view._own = crew._states, self.place
        self.taken = copy(crew.taken)  # as the fork does


def test_a_worker_that_loads_takes_callers_only_while_nobody_is_ready() -> None:
    crew = Crew()
    first, second = Worker(crew).view, Worker(crew).view
    assert first.may_accept
    assert second.may_accept
    first.be_ready()
    assert (first.may_accept, second.may_accept) == (True, False)
    second.be_ready()
    assert second.may_accept


@pytest.mark.parametrize("failed", [False, True], ids=["killed", "failed to load"])
def test_a_worker_that_ends_before_it_was_ready_is_loading_no_more(failed: bool) -> None:
    crew = Crew()
    old, new = Worker(crew), Worker(crew)
    assert not crew.serves
    old.view.be_ready()
    assert (crew.serves, crew.is_loading(old.place), crew.is_loading(new.place)) == (True, False, True)
    if failed:
        new.view.fail()
        assert new.view.others_serve
        assert not new.view.may_accept
    assert crew.dismiss(new.place) is failed
    assert not crew.is_loading(new.place)
    assert old.view.may_accept


def test_others_accept_when_the_last_ready_worker_has_left() -> None:
    crew = Crew()
    old, new = Worker(crew).view, Worker(crew).view
    old.be_ready()
    assert not new.may_accept
    old.leave()
    assert new.may_accept


def test_a_worker_that_never_was_ready_ends_when_told_and_does_not_become_ready() -> None:
    crew = Crew()
    worker = Worker(crew).view
    worker.leave()
    worker.be_ready()
    assert worker.leaves
    assert not worker.may_accept


def test_places_are_shared_with_forked_processes_and_used_again() -> None:
    crew = Crew()
    place = crew.enlist()
    if (child := os.fork()) == 0:
        crew.be_ready()
        os._exit(0)
    os.waitpid(child, 0)
    assert not Worker(crew).view.may_accept
    crew.dismiss(place)
    assert crew.enlist() == place


def test_the_last_worker_is_the_one_besides_whom_nobody_takes_callers_or_is_about_to() -> None:
    crew = Crew()
    first, other = Worker(crew), Worker(crew)
    assert not first.view.is_last
    other.view.be_ready()
    assert not first.view.is_last
    other.view.leave()
    assert first.view.is_last
    crew.dismiss(other.place)
    assert first.view.is_last


def test_all_workers_together_have_the_places_of_one() -> None:
    crew = Crew()
    first, second = Worker(crew), Worker(crew)
    one, other = Admission(3, 1, first.taken), Admission(3, 1, second.taken)
    assert (one.try_acquire(), other.try_acquire(), other.try_acquire()) == (True, True, True)
    assert (one.try_acquire(), other.try_acquire(), one.is_full, one.taken) == (False, False, True, 3)
    with other.fetching():
        assert (one.try_acquire(), one.is_full) == (True, True)
    assert other.taken == 4
    one.release()
    crew.dismiss(second.place)  # as when it was killed
    assert (one.taken, one.is_full) == (1, False)
    assert Worker(crew).taken.own == 0


def test_workers_that_take_places_at_once_never_have_one_too_many() -> None:
    crew, places = Crew(), 2
    holding = mmap.mmap(-1, 4)
    children = []
    for number in range(4):
        worker = Worker(crew)
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
    assert crew.taken.total == 0
