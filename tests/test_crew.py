"""Crew: which workers take callers, and when one that was told to end may."""

import os

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


def test_a_worker_told_to_end_goes_on_until_its_successor_is_ready() -> None:
    crew = Crew()
    old = Worker(crew).view
    old.be_ready()
    new = Worker(crew).view
    old.tell_to_end()
    assert (old.may_accept, old.must_end, new.may_accept) == (True, False, False)
    new.be_ready()
    assert (old.must_end, new.may_accept) == (True, True)


def test_a_worker_ends_at_once_where_no_successor_is_to_come() -> None:
    crew = Crew()
    workers = [Worker(crew).view for _ in range(2)]
    for worker in workers:
        worker.be_ready()
    for worker in workers:
        worker.tell_to_end()
    assert all(worker.must_end for worker in workers)


def test_a_successor_that_is_gone_ends_it_and_a_second_order_does_not() -> None:
    crew = Crew()
    old, new = Worker(crew), Worker(crew)
    old.view.be_ready()
    old.view.tell_to_end()
    assert not old.view.must_end
    crew.dismiss(new.place)
    assert old.view.must_end
    Worker(crew)
    assert not old.view.must_end
    old.view.tell_to_end()
    assert not old.view.must_end
    assert old.view.may_accept
    old.view.leave()
    assert old.view.must_end
    assert not old.view.may_accept


def test_others_accept_when_the_last_ready_worker_has_left() -> None:
    crew = Crew()
    old, new = Worker(crew).view, Worker(crew).view
    old.be_ready()
    assert not new.may_accept
    old.tell_to_end()
    assert not new.may_accept
    old.leave()
    assert new.may_accept


def test_a_worker_that_never_was_ready_ends_when_told_and_does_not_become_ready() -> None:
    crew = Crew()
    worker = Worker(crew).view
    worker.tell_to_end()
    worker.be_ready()
    assert worker.must_end
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
    other.view.tell_to_end()
    assert not first.view.is_last
    other.view.leave()
    assert first.view.is_last
    crew.dismiss(other.place)
    assert first.view.is_last
