"""How much may be under way at a time; what is more is refused at once."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from service.api.metrics import IN_FLIGHT
from service.errors import Overloaded

_RETRY_SECONDS = 1


class Admission:
    """Slots for requests that cost something, and the seconds that each may take."""

    def __init__(self, slots: int, seconds: float) -> None:
        self._slots = slots
        self._taken = 0
        self._lock = threading.Lock()
        self._seconds = seconds

    @property
    def taken(self) -> int:
        """How many slots are held."""
        return self._taken

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot. Raises Overloaded, at once, if none is free."""
        with self._lock:
            if self._taken >= self._slots:
                raise Overloaded(retry_after=_RETRY_SECONDS)
            self._taken += 1
        try:
            with IN_FLIGHT.track_inprogress():
                yield
        finally:
            with self._lock:
                self._taken -= 1

    def deadline(self, started: float) -> float:
        """Return when a request that started then must be answered; both on time.monotonic()'s clock."""
        return started + self._seconds

    def require_time(self, started: float) -> None:
        """Raise Overloaded if a request that started then can no longer be answered in time."""
        if time.monotonic() > self.deadline(started):
            raise Overloaded("The request was not answered in time and has been dropped.", retry_after=_RETRY_SECONDS)
