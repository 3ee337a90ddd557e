"""Pulse: whether the model still answers, judged by the passes that run and by those that have ended."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

LEAST_PATIENCE = 30.0
MOST_PATIENCE = 300.0
_TIMES_THE_LONGEST = 10


class Pulse:
    """When the passes that run began, and when one last gave features; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[object, float] = {}
        self._failing_since: float | None = None
        self._last_success = time.monotonic()
        self._longest = 0.0

    @contextmanager
    def beat(self) -> Iterator[None]:
        """Observe one pass: it succeeds if the block ends without an error."""
        began, key = time.monotonic(), object()
        with self._lock:
            self._running[key] = began
        try:
            yield
        except MemoryError:
            raise  # a matter of how much was asked for, and no sign that the model is gone
        except Exception:
            with self._lock:
                self._failing_since = self._failing_since or began
            raise
        else:
            with self._lock:
                self._failing_since = None
                self._last_success = time.monotonic()
                self._longest = max(self._longest, self._last_success - began)
        finally:
            with self._lock:
                del self._running[key]

    @property
    def patience(self) -> float:
        """Seconds after which a pass is given up: ten times the longest that has ended, and 30 to 300."""
        return min(max(LEAST_PATIENCE, _TIMES_THE_LONGEST * self._longest), MOST_PATIENCE)

    @property
    def seconds_since_success(self) -> float:
        """Seconds since a pass last gave features, or since the start."""
        return time.monotonic() - self._last_success

    @property
    def seconds_unanswered(self) -> float:
        """Seconds since a pass began that still runs, or since passes began to fail, one like the other; else 0."""
        with self._lock:
            begun = [*self._running.values(), *([self._failing_since] if self._failing_since else [])]
        return time.monotonic() - min(begun) if begun else 0.0

    @property
    def stuck(self) -> bool:
        """Whether the model has not answered for longer than any pass takes."""
        return self.seconds_unanswered > self.patience
