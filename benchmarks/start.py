"""How long a start takes: with a cache, without one, and of two processes that share an empty one."""

import http.client
import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.processes import MeasuredProcess
from benchmarks.services import GAZE_PORT, READY_PATH, SECOND_GAZE_PORT, start_gaze
from benchmarks.timing import Times
from benchmarks.workplace import Workplace

_ENCODING = "encoding the lists"
_ENCODED = "text features encoded"
_SECONDS = 600


@dataclass(frozen=True)
class Start:
    """Seconds from a process's start, and who encoded how much.

    cached:          to ready, with everything in the cache
    uncached:        to ready, with an empty cache
    encoding:        of these, from the first phrase to ready; None if Gaze did not say when that was
    encoded_phrases: by each of two processes that were started together on an empty cache
    together:        until both of them were ready
    """

    cached: Times
    uncached: float
    encoding: float | None
    encoded_phrases: list[int]
    together: float


def measure(workplace: Workplace, times: int = 3) -> Start:
    """Start Gaze several times, and end it as soon as it is ready. Raises NoSuchSetting or ProcessFailed."""
    empty = workplace.folder / "empty-cache"
    shutil.rmtree(empty, ignore_errors=True)
    with start_gaze(workplace, "gaze-uncached", cache_dir=empty) as process:
        uncached, encoding = _watch(process)
    cached: list[float] = []
    for _ in range(times):
        with start_gaze(workplace, "gaze-cached", cache_dir=empty) as process:
            cached.append(process.wait_until_ready(GAZE_PORT, READY_PATH, _SECONDS))
    shutil.rmtree(empty)
    with (
        start_gaze(workplace, "gaze-first-of-two", GAZE_PORT, cache_dir=empty) as first,
        start_gaze(workplace, "gaze-second-of-two", SECOND_GAZE_PORT, cache_dir=empty) as second,
    ):
        first.wait_until_ready(GAZE_PORT, READY_PATH, _SECONDS)
        second.wait_until_ready(SECOND_GAZE_PORT, READY_PATH, _SECONDS)
        together = second.uptime()
    shutil.rmtree(empty)
    return Start(
        cached=Times.of(cached),
        uncached=uncached,
        encoding=encoding,
        encoded_phrases=[_encoded(process.log) for process in (first, second)],
        together=together,
    )


def _watch(process: MeasuredProcess) -> tuple[float, float | None]:
    """Return the seconds until Gaze is ready, and from its first phrase until then; None if it named no such stage.

    Raises ProcessFailed if it ends or is not ready in time.
    """
    encoding_begun = None
    while True:
        process.require_running(_SECONDS)
        status, stage = _stage()
        if stage == _ENCODING and encoding_begun is None:
            encoding_begun = process.uptime()
        if status == 200:
            ready = process.uptime()
            return ready, None if encoding_begun is None else ready - encoding_begun
        time.sleep(0.02)


def _stage() -> tuple[int, str | None]:
    """Return the status of /readyz, and the stage that it names; 0 while nothing answers."""
    connection = http.client.HTTPConnection("127.0.0.1", GAZE_PORT, timeout=5)
    try:
        connection.request("GET", READY_PATH)
        response = connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        return response.status, answer.get("progress", {}).get("stage")
    except (OSError, http.client.HTTPException, ValueError):
        return 0, None
    finally:
        connection.close()


def _encoded(log: Path) -> int:
    """Return how many phrases a process says, in its log, to have encoded itself."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("{")]
    return sum(entry["phrases"] for line in lines if (entry := json.loads(line)).get("event") == _ENCODED)
