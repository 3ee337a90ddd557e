"""Handover: which of a master's workers load, serve, or are about to end, in memory that all of them share.

So a worker that loads its model takes no client from one that is ready, and after SIGHUP the master ends no worker
whose successor still loads.
"""

import mmap

from service.limits.admission import SlotCount

FREE, LOADING, FAILED, READY, DRAIN_PENDING = range(5)
_MAX_WORKERS = 1024


class Handover:
    """One byte for each worker: its state.

    taken: how many slots for requests each worker has taken
    """

    def __init__(self) -> None:
        self.taken = SlotCount(_MAX_WORKERS)
        self._states = mmap.mmap(-1, _MAX_WORKERS)
        self._own = 0  # for a process without a master

    def register(self) -> int:
        """Return an index for the worker that the master forks next."""
        self._own = self._states.find(bytes([FREE]), 1)
        self._states[self._own] = LOADING
        self.taken.begin(self._own)
        return self._own

    def unregister(self, index: int) -> bool:
        """Free the index of a worker that has ended, and return whether it had failed to load."""
        failed = self.state_of(index) == FAILED
        self._states[index] = FREE
        self.taken.reset(index)
        return failed

    def state_of(self, index: int) -> int:
        """Return a worker's state."""
        return self._states[index]

    def be_ready(self) -> None:
        """Say that this worker can answer."""
        if self.state != DRAIN_PENDING:
            self._states[self._own] = READY

    def fail(self) -> None:
        """Say that this worker could not load what it needs, and ends."""
        self._states[self._own] = FAILED

    def request_stop(self) -> None:
        """Say that this worker takes no new clients any more, and ends."""
        self._states[self._own] = DRAIN_PENDING

    @property
    def state(self) -> int:
        """This worker's state."""
        return self._states[self._own]

    @property
    def may_accept(self) -> bool:
        """Whether this worker takes new clients: once it is ready, or while none is."""
        return self.state == READY or (self.state == LOADING and not self.ready)

    @property
    def ready(self) -> int:
        """How many workers are ready."""
        return self._states[1:].count(READY)


handover = Handover()
"""Made in the master, where gunicorn's configuration imports it; so each worker has it."""
