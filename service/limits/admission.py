"""Slots: admission refuses at once what is too much, and a fair semaphore lets what may wait go in turn."""

import mmap
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Overloaded
from service.limits.threads import available_cores

SLOTS = max(12, 4 * available_cores())
"""How many rankings all workers together work on at a time: what comes last waits as long as all of them take."""

FETCH_SLOTS = 16  # how many requests may be fetching images at a time, besides
STREAMED_SLOTS = 8
"""How many requests may be read by a thread, because their bodies come in chunks or are too large, besides."""

STREAMED_SLOTS_EACH = 4  # how many of these one address may have
OTHER_SLOTS = 16  # how many other requests may be answered at a time, for lists, pages and mistakes
RETRY_SECONDS = 1
_STALL_SECONDS = 1.0  # how long no slot must come free until new callers count the semaphore as stalled


class SlotCount:
    """How many slots each process has taken, in memory that a master shares with the processes that it forks.

    Each writes its own number alone, so that none is lost when another is killed; the master resets that one's.
    """

    def __init__(self, processes: int = 1) -> None:
        self._each = memoryview(mmap.mmap(-1, 2 * processes)).cast("H")
        self._used = memoryview(mmap.mmap(-1, 2)).cast("H")
        self._index = 0

    def begin(self, index: int) -> None:
        """Count for a process, from 0, that is forked next."""
        self._index = index
        self._used[0] = max(self._used[0], index)
        self.reset(index)

    def reset(self, index: int) -> None:
        """Forget what a process has taken that has ended."""
        self._each[index] = 0

    @property
    def own(self) -> int:
        """How many are taken by this process."""
        return self._each[self._index]

    @own.setter
    def own(self, number: int) -> None:
        self._each[self._index] = number

    @property
    def total(self) -> int:
        """How many are taken by all."""
        return sum(self._each[: self._used[0] + 1])


class Admission:
    """Slots for requests that cost something: some for those that compute, others for those that fetch.

    gunicorn's worker takes a slot before a request costs a thread, and the app for what did not come by that way. A
    request that fetches an image releases its slot meanwhile, so that slow hosts do not block inference.
    """

    def __init__(self, slots: int, fetch_slots: int = 0, count: SlotCount | None = None) -> None:
        self._slots = slots
        self._fetch_slots = fetch_slots
        self._count = count or SlotCount()
        self._fetching = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How many slots are taken."""
        return self._count.total

    @property
    def is_full(self) -> bool:
        """Whether no slot is free."""
        return self._count.total >= self._slots

    def has_fair_share(self, processes: int) -> bool:
        """Return whether this process holds its part of the slots that so many share, while others are free.

        If it took more, its requests would wait for each other while the other processes have little to do.
        """
        return self._count.own * processes >= self._slots and not self.is_full

    def try_acquire(self) -> bool:
        """Take a slot if one is free, and return whether it was.

        It is taken before it is counted, so that processes which do so at once never have one too many; of two that
        want the last slot, both may be refused.
        """
        with self._lock:
            self._count.own += 1
            free = self._count.total <= self._slots
            self._count.own -= not free
            return free

    def release(self) -> None:
        """Release a slot that was taken."""
        with self._lock:
            self._count.own -= 1

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot. Raises Overloaded, at once, if none is free."""
        if not self.try_acquire():
            raise Overloaded(retry_after=RETRY_SECONDS)
        try:
            yield
        finally:
            self.release()

    @contextmanager
    def fetching(self) -> Iterator[None]:
        """Swap the slot that is held for a fetch slot, for a while. Raises Overloaded, at once, if none is free."""
        with self._lock:
            if self._fetching >= self._fetch_slots:
                raise Overloaded("The service fetches as many images as it can.", retry_after=RETRY_SECONDS)
            self._fetching += 1
            self._count.own -= 1
        try:
            yield
        finally:
            with self._lock:
                self._fetching -= 1
                self._count.own += 1  # what was fetched is computed, even if others have come meanwhile


class PerClientAdmission:
    """Slots of which one client has only some at a time, so that none can hold all of them.

    slots: how many there are; each: how many of them one client may have
    """

    def __init__(self, slots: int, each: int) -> None:
        self.all = Admission(slots)
        self.each = each
        self.taken: Counter[bytes] = Counter()

    def of(self, client: bytes) -> "ClientSlots":
        """Return the slots as one client has them."""
        return ClientSlots(self, client)


class ClientSlots:
    """One client's slots; for one thread alone, the event loop's."""

    def __init__(self, admission: PerClientAdmission, client: bytes) -> None:
        self._admission = admission
        self._client = client

    def try_acquire(self) -> bool:
        """Take a slot if one is free for this client, and return whether it was."""
        taken = self._admission.taken
        if taken[self._client] >= self._admission.each or not self._admission.all.try_acquire():
            return False
        taken[self._client] += 1
        return True

    def release(self) -> None:
        """Release a slot that was taken."""
        self._admission.all.release()
        self._admission.taken[self._client] -= 1
        if not self._admission.taken[self._client]:
            del self._admission.taken[self._client]


class FairSemaphore:
    """A semaphore that is first come, first served: threading's lets newcomers overtake waiters for seconds on end.

    slots:       how many there are
    max_waiting: how many may wait while no slot has come free for a second, or None for any number
    """

    def __init__(self, slots: int, max_waiting: int | None = None) -> None:
        self._free = slots
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[threading.Event, int]] = deque()
        self._lock = threading.Lock()
        self._changed = time.monotonic()

    @property
    def stalled_seconds(self) -> float:
        """For how long the same holders have had all slots; 0 where one is free."""
        changed, free = self._changed, self._free
        return 0.0 if free > 0 else time.monotonic() - changed

    @contextmanager
    def acquired(self, deadline: float | None = None, slots: int = 1) -> Iterator[None]:
        """Wait for so many slots at once, and hold them.

        deadline: on time.monotonic()'s clock
        Raises Overloaded if they did not come free by then.
        """
        self._acquire(deadline, slots)
        try:
            yield
        finally:
            with self._lock:
                self._release(slots)

    def _acquire(self, deadline: float | None, slots: int) -> None:
        granted = threading.Event()
        waiter = (granted, slots)
        with self._lock:
            if self._free >= slots and not self._waiting:
                self._take(slots)
                return
            self._waiting.append(waiter)
            until = self._until(waiter, deadline)
        while not granted.wait(None if until is None else max(0.0, until - time.monotonic())):
            with self._lock:
                if granted.is_set():  # in this very moment
                    return
                until = self._until(waiter, deadline)
                if until is not None and time.monotonic() >= until:
                    self._waiting.remove(waiter)
                    self._release(0)  # to waiters behind one that wanted more
                    raise Overloaded(retry_after=RETRY_SECONDS)

    def _until(self, waiter: tuple[threading.Event, int], deadline: float | None) -> float | None:
        """Return how long this waiter may wait if nothing changes meanwhile."""
        if self._max_waiting is None or self._waiting.index(waiter) < self._max_waiting:
            return deadline
        stalled = self._changed + _STALL_SECONDS
        return stalled if deadline is None else min(deadline, stalled)

    def _take(self, slots: int) -> None:
        self._free -= slots
        self._changed = time.monotonic()

    def _release(self, slots: int) -> None:
        self._free += slots
        if slots:
            self._changed = time.monotonic()
        while self._waiting and self._waiting[0][1] <= self._free:
            granted, wanted = self._waiting.popleft()
            self._take(wanted)
            granted.set()
