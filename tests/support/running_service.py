"""`gaze serve` as a process of its own on loopback, with its log, its workers and what they hold."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import REPOSITORY, free_port, wait_until_ready
from tests.support.gaze_command import environment_of

SERVE = (sys.executable, "-m", "service.cli", "serve")


class Service:
    """`gaze serve` on the demo model, and what it has logged so far."""

    def __init__(self, cache: Path, log: Path, command: Sequence[str], environment: dict[str, str]) -> None:
        self.cache = cache
        self.address = f"http://127.0.0.1:{free_port()}"
        self._log = log
        port = self.address.rpartition(":")[2]
        settings = {"GAZE_MODEL": "demo", "GAZE_URL_FETCH": "off", "GAZE_PORT": port, "GAZE_CACHE_DIR": str(cache)}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command, env=environment_of(**{**settings, **environment}), cwd=REPOSITORY, stdout=file
            )

    def wait(self) -> "Service":
        """Return once it is ready and has logged that, which it does a moment after it answers so."""
        wait_until_ready(self.address, self.process)
        deadline = time.monotonic() + 30
        while not self.lines("ready"):
            assert time.monotonic() < deadline, "the service is ready and has not logged it"
            time.sleep(0.01)
        return self

    def lines(self, *events: str) -> list[dict[str, Any]]:
        """Return what was logged of these events, or of all."""
        whole = self._log.read_text(encoding="utf-8").rpartition("\n")[0]
        lines = [json.loads(line) for line in whole.splitlines()]
        return [line for line in lines if not events or line["event"] in events]

    def lines_of(self, request_id: str) -> list[dict[str, Any]]:
        """Return what was logged of a request: once there is something, and a moment later."""
        deadline = time.monotonic() + 10
        while not any(line.get("request_id") == request_id for line in self.lines()):
            assert time.monotonic() < deadline, "the request was not logged"
            time.sleep(0.05)
        time.sleep(0.1)
        return [line for line in self.lines() if line.get("request_id") == request_id]

    def lists(self, event: str) -> list[str]:
        """Return the names of the lists of which an event was logged, in the order of the alphabet."""
        return sorted(line["list"] for line in self.lines(event))

    def warnings(self) -> set[str]:
        return {line["event"] for line in self.lines() if line["level"] != "info"}

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text(encoding="utf-8")
        return [int(pid) for pid in children.split()]

    def resident_bytes(self) -> int:
        """Return the resident memory of the workers together."""
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1]) for pid in self.workers())
        return pages * os.sysconf("SC_PAGE_SIZE")

    def stage(self) -> str | None:
        """Return what /readyz says the start is at; None if it cannot be asked yet, or if it is ready."""
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=10):
                return None
        except urllib.error.HTTPError as error:
            with error:
                stage: str = json.load(error)["progress"]["stage"]
                return stage
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None


@contextmanager
def served(
    cache: Path, log: Path, *, command: Sequence[str] = SERVE, environment: dict[str, str] | None = None
) -> Iterator[Service]:
    """Start a service, which need not be ready yet, and end it."""
    service = Service(cache, log, command, environment or {})
    try:
        yield service
    finally:
        service.process.terminate()
        service.process.wait(30)
