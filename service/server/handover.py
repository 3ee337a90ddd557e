"""Crew: the workers of one gunicorn master, each of which knows whether another is ready or being loaded.

So that a worker that loads its model takes no caller from one that is ready, and so that the master ends nobody whose
successor loads, as after SIGHUP.
"""

import mmap

_FREE, _LOADING, _FAILED, _READY, _ENDING = range(5)
_PLACES = 1024


class Counts:
    """A number for each worker, and their sum, in memory that a master shares with the workers that it forks.

    Each writes its own alone, so that none is lost when another is killed; the master forgets that one's.
    """

    def __init__(self) -> None:
        self._each = memoryview(mmap.mmap(-1, 2 * _PLACES)).cast("H")
        self._used = memoryview(mmap.mmap(-1, 2)).cast("H")
        self._used[0] = 1
        self._place = 0

    def enlist(self, place: int) -> None:
        """Begin to count for the worker that is forked next."""
        self._place = place
        self._each[place] = 0
        self._used[0] = max(self._used[0], place + 1)

    def dismiss(self, place: int) -> None:
        """Forget the number of a worker that has ended."""
        self._each[place] = 0

    @property
    def own(self) -> int:
        """This worker's number."""
        return self._each[self._place]

    @own.setter
    def own(self, number: int) -> None:
        self._each[self._place] = number

    @property
    def total(self) -> int:
        """The sum of all workers' numbers."""
        return sum(self._each[: self._used[0]])


class Crew:
    """One byte for each worker, in memory that a master shares with the workers that it forks.

    taken: how many places for requests each worker has taken
    """

    def __init__(self) -> None:
        self.taken = Counts()
        self._states = mmap.mmap(-1, _PLACES)
        self._own = 0  # a place of its own for a process without a master

    # --- in the master ---

    def enlist(self) -> int:
        """Return a place for the worker that is forked next."""
        self._own = self._states.find(bytes([_FREE]), 1)
        self._states[self._own] = _LOADING
        self.taken.enlist(self._own)
        return self._own

    def dismiss(self, place: int) -> bool:
        """Free the place of a worker that has ended, and return whether it has failed to load."""
        failed = self._states[place] == _FAILED
        self._states[place] = _FREE
        self.taken.dismiss(place)
        return failed

    def is_loading(self, place: int) -> bool:
        """Return whether a worker is on its way to be ready."""
        return self._states[place] == _LOADING

    def has_failed(self, place: int) -> bool:
        """Return whether a worker could not load what it needs, and is about to end."""
        return self._states[place] == _FAILED

    @property
    def serves(self) -> bool:
        """Whether some worker is ready."""
        return _READY in self._states[1:]

    # --- in a worker ---

    def be_ready(self) -> None:
        """Say that this worker can answer."""
        if self._states[self._own] != _ENDING:
            self._states[self._own] = _READY

    def fail(self) -> None:
        """Say that this worker could not load what it needs, and ends."""
        self._states[self._own] = _FAILED

    def leave(self) -> None:
        """Say that this worker takes no new callers any more."""
        self._states[self._own] = _ENDING

    @property
    def leaves(self) -> bool:
        """Whether this worker has said so."""
        return self._states[self._own] == _ENDING

    @property
    def settled(self) -> bool:
        """Whether the answers of the other properties change only when this worker itself does something."""
        return self._states[self._own] == _READY

    @property
    def may_accept(self) -> bool:
        """Whether this worker takes new callers: once it is ready, or while nobody is."""
        own = self._states[self._own]
        return own == _READY or (own not in (_FAILED, _ENDING) and not self.others_serve)

    @property
    def ready(self) -> int:
        """How many workers are ready."""
        return self._states[1:].count(_READY)

    @property
    def others_serve(self) -> bool:
        """Whether another worker answers callers, so that the service goes on without this one."""
        return self._others(_READY)

    @property
    def is_last(self) -> bool:
        """Whether no other worker takes callers, or is about to."""
        return not self._others(_READY, _LOADING)

    def _others(self, *states: int) -> bool:
        others = self._states[1 : self._own] + self._states[self._own + 1 :]
        return any(state in others for state in states)


crew = Crew()
"""Made in the master, where gunicorn's configuration imports it; so each worker has it."""
