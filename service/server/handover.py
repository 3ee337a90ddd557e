"""Handover: which of a master's workers load, serve, or are about to end, in memory that all of them share.

So a worker that loads its model takes no client from one that is ready, and after SIGHUP the master ends no worker
whose successor still loads.
"""

import mmap

FREE, LOADING, FAILED, READY, DRAIN_PENDING = range(5)
_WORKERS = 1024


class SharedCount:
    """A number for each worker, and their sum.

    Each writes its own alone, so that none is lost when another is killed; the master forgets that one's.
    """

    def __init__(self) -> None:
        self._each = memoryview(mmap.mmap(-1, 2 * _WORKERS)).cast("H")
        self._used = memoryview(mmap.mmap(-1, 2)).cast("H")
        self._index = 0

    def begin(self, index: int) -> None:
        """Count from 0 for the worker that is forked next."""
        self._index = index
        self.forget(index)
        self._used[0] = max(self._used[0], index)

    def forget(self, index: int) -> None:
        """Forget the number of a worker that has ended."""
        self._each[index] = 0

    @property
    def own(self) -> int:
        """This worker's number."""
        return self._each[self._index]

    @own.setter
    def own(self, number: int) -> None:
        self._each[self._index] = number

    @property
    def total(self) -> int:
        """The sum of all workers' numbers."""
        return sum(self._each[: self._used[0] + 1])


class Handover:
    """One byte for each worker: its state.

    taken: how many slots for requests each worker has taken
    """

    def __init__(self) -> None:
        self.taken = SharedCount()
        self._states = mmap.mmap(-1, _WORKERS)
        self._own = 0  # for a process without a master

    # --- in the master ---

    def register(self) -> int:
        """Return an index for the worker that is forked next."""
        self._own = self._states.find(bytes([FREE]), 1)
        self._states[self._own] = LOADING
        self.taken.begin(self._own)
        return self._own

    def unregister(self, index: int) -> bool:
        """Free the index of a worker that has ended, and return whether it had failed to load."""
        failed = self.state_of(index) == FAILED
        self._states[index] = FREE
        self.taken.forget(index)
        return failed

    def state_of(self, index: int) -> int:
        """Return a worker's state."""
        return self._states[index]

    # --- in a worker ---

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
