"""The processor: how many cores this process has, and threads that yield, or that the system may refuse."""

import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

_NICENESS = 10


def available_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the cores that this process may use: its affinity, or a container's quota (cgroup v1 or v2) where less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        if quota not in ("max", "-1"):
            cores = min(cores, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        pass  # no cgroup that limits this process
    return max(1, cores)


def lower_thread_priority() -> None:
    """Let this thread, and those that it starts, run only where the process's others leave a core idle.

    A server's others are the event loop and the threads that answer for health: they need little, and their callers
    wait for nothing else. A collection's others run the model on all cores, and wait for the slowest of them.
    Systems on which a thread has no priority of its own (setpriority(2) of Linux) leave it as it is.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)


class TolerantThreadPool(ThreadPoolExecutor):
    """A pool that goes on with the threads that it has, where the system gives no more.

    The standard library's raises instead, though the work stays in its queue and is done all the same.
    Raises RuntimeError where it is made and the system gives no thread at all.

    initializer: what each thread does first
    """

    def __init__(self, max_workers: int, name: str, initializer: Callable[[], None] | None = None) -> None:
        super().__init__(max_workers, name, initializer)
        self.submit(lambda: None).result()

    def _adjust_thread_count(self) -> None:
        # Where the standard library starts a thread; it has no public place for this.
        try:
            super()._adjust_thread_count()
        except RuntimeError:
            if not self._threads:
                raise
