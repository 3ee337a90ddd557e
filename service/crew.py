"""Crew: the workers of one gunicorn master, each of which knows whether another is ready or being loaded.

So that a worker that loads its model takes no caller from one that is ready, and one that is told to end while its
successor loads, as by SIGHUP, goes on until that is ready.
"""

import mmap

_FREE, _LOADING, _READY, _COVERING, _ENDING = range(5)
_PLACES = 1024


class Crew:
    """One byte for each worker, in memory that a master shares with the workers that it forks."""

    def __init__(self) -> None:
        self._states = mmap.mmap(-1, _PLACES)
        self._own = 0  # a place of its own for a process without a master

    # --- in the master ---

    def enlist(self) -> int:
        """Return a place for the worker that is forked next."""
        self._own = self._states.find(bytes([_FREE]), 1)
        self._states[self._own] = _LOADING
        return self._own

    def dismiss(self, place: int) -> None:
        """Free the place of a worker that has ended."""
        self._states[place] = _FREE

    # --- in a worker ---

    def be_ready(self) -> None:
        """Say that this worker can answer."""
        if self._states[self._own] != _ENDING:
            self._states[self._own] = _READY

    def tell_to_end(self) -> None:
        """Take the order to end, which gunicorn repeats each second: at once, if this worker has never been ready."""
        if self._states[self._own] != _COVERING:
            self._states[self._own] = _COVERING if self._states[self._own] == _READY else _ENDING

    def leave(self) -> None:
        """Say that this worker takes no new callers any more."""
        self._states[self._own] = _ENDING

    @property
    def settled(self) -> bool:
        """Whether the answers of the other properties change only when this worker itself does something."""
        return self._states[self._own] == _READY

    @property
    def may_accept(self) -> bool:
        """Whether this worker takes new callers: once it is ready, or while nobody is."""
        own = self._states[self._own]
        return own in (_READY, _COVERING) or (own != _ENDING and not self._others(_READY, _COVERING))

    @property
    def must_end(self) -> bool:
        """Whether this worker was told to end and no caller needs it: another one is ready, or none is to come."""
        own = self._states[self._own]
        return own == _ENDING or (own == _COVERING and (self._others(_READY) or not self._others(_LOADING)))

    @property
    def is_last(self) -> bool:
        """Whether no other worker takes callers, or is about to."""
        return not self._others(_READY, _COVERING, _LOADING)

    def _others(self, *states: int) -> bool:
        others = self._states[1 : self._own] + self._states[self._own + 1 :]
        return any(state in others for state in states)


crew = Crew()
"""Made in the master, where gunicorn's configuration imports it; so each worker has it."""
