"""Crew: which workers take callers, and when one that was told to end may."""

import os

import pytest

from service.crew import Crew


class Worker:
    """A worker's view of a crew: its own place, and the states that all share."""

    def __init__(self, crew: Crew) -> None:
        self.place = crew.enlist()
        self.view = object.__new__(Crew)
        self.view._states, self.view._own = crew._states, self.place


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
