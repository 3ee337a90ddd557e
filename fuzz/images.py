"""Send broken pictures of every format to a running service on this machine, and say how it took them.

    python -m fuzz.images ADDRESS [--per-format 10000] [--connections 2] [--seed 0]

Each is to be answered with 200, or with a problem whose status is 4xx, within ten seconds, by the workers that were
there at the beginning. Prints a line a format, and ends with 1 where something else happened.
"""

import argparse
import base64
import json
import queue
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Self
from urllib.parse import urlsplit

import numpy as np
import psutil

from fuzz.bombs import hand_made
from fuzz.mutation import mutated
from fuzz.seeds import VARIANTS, seeds

SECONDS = 10.0
_MEGABYTE = 1_000_000


@dataclass
class Outcome:
    """How the service took files: how many it answered how, the slowest, and what must not be."""

    answers: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    slowest_name: str = ""
    faults: list[str] = field(default_factory=list)

    def note(self, name: str, status: int, body: bytes, seconds: float) -> None:
        """Take down one answer."""
        code = "" if status == 200 else str(json.loads(body).get("code"))
        self.answers[f"{status} {code}".strip()] += 1
        if seconds > self.slowest:
            self.slowest, self.slowest_name = seconds, name
        if not (status == 200 or (400 <= status < 500 and code)) or seconds > SECONDS:
            self.faults.append(f"{name}: {status} {code} after {seconds:.1f} s")


def send(address: str, files: Iterable[tuple[str, bytes]], connections: int = 2) -> Outcome:
    """Ask about each of the files, by name, over so many connections; return how that went."""
    outcome, lock = Outcome(), threading.Lock()
    waiting: queue.Queue[tuple[str, bytes] | None] = queue.Queue(4 * connections)

    def caller() -> None:
        connection = _connect(address)
        while file := waiting.get():
            started = time.monotonic()
            try:
                status, body = _ask(connection, file[1])
            except OSError as error:
                connection.close()
                with lock:
                    outcome.faults.append(f"{file[0]}: {type(error).__name__}")
                continue
            with lock:
                outcome.note(file[0], status, body, time.monotonic() - started)
        connection.close()

    callers = [threading.Thread(target=caller) for _ in range(connections)]
    for thread in callers:
        thread.start()
    for file in files:
        waiting.put(file)
    for _ in callers:
        waiting.put(None)
    for thread in callers:
        thread.join()
    return outcome


def _connect(address: str) -> HTTPConnection:
    parts = urlsplit(address)
    return HTTPConnection(parts.hostname or "", parts.port, timeout=3 * SECONDS)


def _ask(connection: HTTPConnection, file: bytes) -> tuple[int, bytes]:
    question = {"image": {"base64": base64.b64encode(file or b"\0").decode()}, "phrases": {"a": ["a river", "a hill"]}}
    connection.request("POST", "/v1/gaze", json.dumps(question), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def mutations(file_format: str, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Yield so many mutated files of a format; the same ones for the same seed."""
    random = np.random.default_rng([seed, list(VARIANTS).index(file_format)])
    for number in range(count):
        yield f"{file_format} {seed}:{number}", mutated(file_format, seeds(file_format), random)


class Processes:
    """The service's master, its workers, and the peak of what all of its processes hold.

    Raises ProcessLookupError where no process of this machine listens at the address.
    """

    def __init__(self, address: str) -> None:
        port = urlsplit(address).port
        found = (
            psutil.Process(connection.pid)
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
            and connection.pid
            and isinstance(connection.laddr, tuple)
            and connection.laddr[1:2] == (port,)
        )
        if (listening := next(found, None)) is None:
            raise ProcessLookupError(f"No service of this machine listens at {address}; start one, as with `make run`.")
        # The workers have the socket from the master, and which of them is found is not said.
        parent = listening.parent()
        self._master = parent if parent and parent.cmdline() == listening.cmdline() else listening
        self.peak = 0
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._ended.set()
        self._watching.join()

    def workers(self) -> set[int]:
        """Return the numbers of the workers."""
        return {process.pid for process in self._master.children()}

    def resident_bytes(self) -> int:
        """Return what the workers and their decoders hold, shared pages counted once for each."""
        total = 0
        for process in self._master.children(recursive=True):
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self.peak = max(self.peak, self.resident_bytes())


def main() -> int:
    """Send everything, and print a line a format."""
    parser = argparse.ArgumentParser(description="Send broken pictures to a running service on this machine.")
    parser.add_argument("address", help="such as http://127.0.0.1:8000")
    parser.add_argument("--per-format", type=int, default=10_000)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        processes = Processes(options.address)
    except ProcessLookupError as error:
        parser.error(str(error))
    with processes:
        faults = _tell(options, processes)
    print("\n".join(faults) or "No fault.")
    return 1 if faults else 0


def _tell(options: argparse.Namespace, processes: Processes) -> list[str]:
    workers, before = processes.workers(), processes.resident_bytes()
    faults: list[str] = []
    print("files | number | seconds | slowest | peak above the start, MB | answers")
    corpora = {name: mutations(name, options.per_format, options.seed) for name in VARIANTS}
    for name, files in {"hand-made": hand_made(), **corpora}.items():
        processes.peak, started = 0, time.monotonic()
        outcome = send(options.address, files, options.connections)
        answers = ", ".join(f"{count} x {answer}" for answer, count in outcome.answers.most_common())
        print(
            f"{name} | {outcome.answers.total()} | {time.monotonic() - started:.0f} | {outcome.slowest:.2f} s "
            f"({outcome.slowest_name}) | {(processes.peak - before) / _MEGABYTE:.0f} | {answers}",
            flush=True,
        )
        faults += outcome.faults
        if processes.workers() != workers:
            faults.append(f"{name}: a worker died")
            workers = processes.workers()
    return faults


if __name__ == "__main__":
    sys.exit(main())
