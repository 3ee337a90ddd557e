"""Turns: so many at a time, first come, first served."""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import Overloaded

_RETRY_SECONDS = 1


class Turns:
    """A semaphore that is fair: threading's lets one who has just come go before those who wait, for seconds on end."""

    def __init__(self, at_a_time: int) -> None:
        self._free = at_a_time
        self._waiting: deque[tuple[threading.Event, int]] = deque()
        self._lock = threading.Lock()

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
        with self._lock:
            if self._free >= share and not self._waiting:
                self._free -= share
                return
            self._waiting.append((mine, share))
        if mine.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
            return
        with self._lock:
            if mine.is_set():  # in this very moment
                self._pass_on(share)
            else:
                self._waiting.remove((mine, share))
                self._pass_on(0)  # who waits behind one that wanted more
        raise Overloaded(retry_after=_RETRY_SECONDS)

    def _pass_on(self, share: int) -> None:
        self._free += share
        while self._waiting and self._waiting[0][1] <= self._free:
            mine, wanted = self._waiting.popleft()
            self._free -= wanted
            mine.set()
