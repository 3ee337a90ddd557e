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
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, deadline: float | None = None) -> Iterator[None]:
        """Wait for a turn, and have it. Raises Overloaded if it has not come by then, on time.monotonic()'s clock."""
        self._wait(deadline)
        try:
            yield
        finally:
            with self._lock:
                self._pass_on()

    def _wait(self, deadline: float | None) -> None:
        mine = threading.Event()
        with self._lock:
            if self._free:
                self._free -= 1
                return
            self._waiting.append(mine)
        if mine.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
            return
        with self._lock:
            if mine.is_set():  # in this very moment
                self._pass_on()
            else:
                self._waiting.remove(mine)
        raise Overloaded(retry_after=_RETRY_SECONDS)

    def _pass_on(self) -> None:
        if self._waiting:
            self._waiting.popleft().set()
        else:
            self._free += 1
