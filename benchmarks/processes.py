"""Processes that are measured: started, waited for, asked what they take of the machine, and ended."""

import http.client
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
_LAST_CHARACTERS = 500


class ProcessFailed(Exception):
    """A process ended or did not get ready; the message says which, and ends with the last of its log."""


@dataclass(frozen=True)
class Memory:
    """Bytes of a process and all its descendants.

    rss: resident, where a page that two processes share counts twice
    pss: proportional, where it counts half for each
    """

    rss: int
    pss: int

    def most(self, other: "Memory") -> "Memory":
        """Return the larger of each."""
        return Memory(max(self.rss, other.rss), max(self.pss, other.pss))


class MeasuredProcess:
    """A process with a log of its own, whose descendants are measured and ended with it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.log = log
        self.started = time.perf_counter()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            # A session of its own, so that a signal reaches all of it and nothing else.
            self._process = subprocess.Popen(  # noqa: S603  # commands are made in this package
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        exit_code = self._process.poll()
        self.stop()
        if exit_code is not None and isinstance(error, Exception) and not isinstance(error, ProcessFailed):
            # Whatever went wrong, it did because nobody answered any more.
            raise ProcessFailed(f"{self.log.stem} ended with exit code {exit_code}: {self.last_of_log()}") from error

    @property
    def pids(self) -> list[int]:
        """The process and all its descendants."""
        return family(self._process.pid)

    def wait_until_ready(self, port: int, path: str, seconds: float) -> float:
        """Wait until GET `path` answers 200, and return the seconds since the process was started.

        Raises ProcessFailed if the process ends or is not ready in time.
        """
        while not _answers(port, path):
            self.require_running(seconds)
            time.sleep(0.02)
        return self.uptime()

    def wait_for_log(self, text: str, times: int, seconds: float) -> None:
        """Wait until the process has written a text so many times. Raises ProcessFailed."""
        while self.log.read_text(errors="replace").count(text) < times:
            self.require_running(seconds)
            time.sleep(0.1)

    def require_running(self, seconds: float) -> None:
        """Raise ProcessFailed if the process has ended, or was started longer ago than that."""
        if self._process.poll() is not None:
            raise ProcessFailed(f"ended with exit code {self._process.returncode}: {self.last_of_log()}")
        if self.uptime() > seconds:
            raise ProcessFailed(f"was not ready within {seconds:.0f} s: {self.last_of_log()}")

    def last_of_log(self) -> str:
        """Return the end of what the process wrote, in one line."""
        return " ".join(self.log.read_text(errors="replace").split())[-_LAST_CHARACTERS:]

    def memory(self) -> Memory:
        """Return what the process and its descendants hold now."""
        return memory_of(self.pids)

    def uptime(self) -> float:
        """Return the seconds since the process was started."""
        return time.perf_counter() - self.started

    def cpu_seconds(self) -> float:
        """Return the processor seconds that the living processes of the family have used so far."""
        return sum(_cpu_seconds(pid) for pid in self.pids)

    @contextmanager
    def peak_memory(self, seconds_between: float = 0.5) -> Iterator[list[Memory]]:
        """Sample the family's memory while the block runs; the list's one entry is the most of each so far."""
        peak = [self.memory()]
        over = threading.Event()

        def sample() -> None:
            while not over.wait(seconds_between):
                peak[0] = peak[0].most(self.memory())

        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        try:
            yield peak
        finally:
            over.set()
            sampler.join()

    def stop(self, seconds: float = 30) -> None:
        """End the process as a supervisor would, and whatever it leaves behind by force."""
        members = self.pids
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        left = [pid for pid in members if _session(pid) == self._process.pid]
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any(_session(pid) == self._process.pid for pid in left):
            time.sleep(0.01)  # until the kernel has taken its memory back


def require_free(port: int) -> None:
    """Raise ProcessFailed if something listens on a port: it would be measured in the place of what is started."""
    with socket.socket() as caller:
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            raise ProcessFailed(f"cannot start: something else listens on port {port}")


def family(pid: int) -> list[int]:
    """Return a process and all its descendants, the process first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for member in found:  # grows while it is walked through
        found += children.get(member, [])
    return found


def memory_of(pids: Sequence[int]) -> Memory:
    """Return what these processes hold together; one that has ended holds nothing."""
    totals = {"Rss": 0, "Pss": 0}
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        for line in lines[1:]:
            name, _, rest = line.partition(":")
            if name in totals:
                totals[name] += int(rest.split()[0]) * 1024
    return Memory(rss=totals["Rss"], pss=totals["Pss"])


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _stat(pid: int) -> list[str]:
    """Return /proc/PID/stat after the command's name (state, parent, ...), or nothing for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS if fields else 0.0


def _session(pid: int) -> int | None:
    fields = _stat(pid)
    return int(fields[3]) if fields and fields[0] != "Z" else None
