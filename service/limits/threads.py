"""Threads: a pool that loses nothing where the system gives no more of them, and which threads go first."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

_NICE = 10


def lower_thread_priority() -> None:
    """Let this thread, and those that it starts, compute only when the process's others have nothing to do.

    These are the event loop and who answers for health: they need little, and their callers wait for nothing else.
    Systems on which a thread has no priority of its own (setpriority(2) of Linux) leave it as it is.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICE)


class Threads(ThreadPoolExecutor):
    """A pool that goes on with the threads that it has, where the system gives no more.

    The standard library's says then that it refuses the work, which stays in its queue and is done all the same.
    Raises RuntimeError where it is made and the system gives no thread at all.

    initializer: what each thread does first
    """

    def __init__(self, most: int, name: str, initializer: Callable[[], None] | None = None) -> None:
        super().__init__(most, name, initializer)
        self.submit(lambda: None).result()

    def _adjust_thread_count(self) -> None:
        # Where the standard library starts a thread; it has no public place for this.
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
