"""Turns: so many at a time, first come, first served."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Overloaded

_RETRY_SECONDS = 1
_STILL_SECONDS = 1.0
"""How long it takes until it counts as standing still for those who come."""


class Turns:
    """A semaphore that is fair: threading's lets one who has just come go before those who wait, for seconds on end.

    most_waiting: how many may wait where no turn has ended for a second, or None for any number
    """

    def __init__(self, at_a_time: int, most_waiting: int | None = None) -> None:
        self._free = at_a_time
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[threading.Event, int]] = deque()
        self._lock = threading.Lock()
        self._moved = time.monotonic()

    @property
    def still_seconds(self) -> float:
        """For how long all turns have been had by the same; 0 where one is free."""
        moved, free = self._moved, self._free
        return 0.0 if free > 0 else time.monotonic() - moved

    @contextmanager
    def turn(self, deadline: float | None = None, share: int = 1) -> Iterator[None]:
        """Wait for a turn, and have it. Raises Overloaded if it has not come by then, on time.monotonic()'s clock.

        share: how much it takes of what there is at a time
        """
        self._wait(deadline, share)
        try:
            yield
        finally:
            with self._lock:
                self._pass_on(share)

    def _wait(self, deadline: float | None, share: int) -> None:
        mine = threading.Event()
        place = (mine, share)
        with self._lock:
            if self._free >= share and not self._waiting:
                self._take(share)
                return
            self._waiting.append(place)
            until = self._until(place, deadline)
        while not mine.wait(None if until is None else max(0.0, until - time.monotonic())):
            with self._lock:
                if mine.is_set():  # in this very moment
                    return
                until = self._until(place, deadline)
                if until is not None and time.monotonic() >= until:
                    self._waiting.remove(place)
                    self._pass_on(0)  # who waits behind one that wanted more
                    raise Overloaded(retry_after=_RETRY_SECONDS)

    def _until(self, place: tuple[threading.Event, int], deadline: float | None) -> float | None:
        """Return how long it may be waited for a turn from this place, if nothing moves meanwhile."""
        if self._most_waiting is None or self._waiting.index(place) < self._most_waiting:
            return deadline
        still = self._moved + _STILL_SECONDS
        return still if deadline is None else min(deadline, still)

    def _take(self, share: int) -> None:
        self._free -= share
        self._moved = time.monotonic()

    def _pass_on(self, share: int) -> None:
        self._free += share
        if share:
            self._moved = time.monotonic()
        while self._waiting and self._waiting[0][1] <= self._free:
            mine, wanted = self._waiting.popleft()
            self._take(wanted)
            mine.set()
