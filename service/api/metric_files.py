"""The files in which prometheus_client keeps each worker's numbers: those of workers that have ended become one."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import mark_process_dead

_SUMMED = ("counter", "histogram")
_ENDED = "0"
"""In place of a process id, which this never is."""

_LOCK = "lock"
_PATIENCE_SECONDS = 0.5


def forget(folder: Path, pid: int, ended: set[int]) -> None:
    """Add a worker's counts to those of all that have ended, and remove its files.

    Not while somebody reads them, who would count the same twice or not at all; then it is done with the next one.

    ended: workers of which that is still to be done
    """
    ended.add(pid)
    with (folder / _LOCK).open("a") as lock:
        if not _locked(lock, time.monotonic() + _PATIENCE_SECONDS):
            return
        while ended:
            each = ended.pop()
            mark_process_dead(each, str(folder))  # type: ignore[no-untyped-call]
            for kind in _SUMMED:
                _add(folder / f"{kind}_{each}.db", folder / f"{kind}_{_ENDED}.db")


@contextmanager
def unchanged(folder: Path) -> Iterator[None]:
    """Let nobody forget a worker meanwhile."""
    with (folder / _LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _locked(lock: IO[str], until: float) -> bool:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)
        else:
            return True


def _add(file: Path, to: Path) -> None:
    if not file.exists():
        return
    whole = MmapedDict(str(to))  # type: ignore[no-untyped-call]
    for key, value, _, _ in MmapedDict.read_all_values_from_file(str(file)):  # type: ignore[no-untyped-call]
        whole.write_value(key, whole.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
    whole.close()  # type: ignore[no-untyped-call]
    file.unlink()
