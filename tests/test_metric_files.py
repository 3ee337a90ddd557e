"""Workers that have ended: what they counted stays counted, once, and their files go."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from service.api.metric_files import forget, unchanged
from tests.conftest import REPOSITORY
from tests.support.exposition import Samples, of, parsed

COUNT = """
import os, sys
from service.api import metrics
metrics.REQUESTS.labels("/v1/gaze", "POST", 200, "").inc(int(sys.argv[1]))
metrics.REQUEST_SECONDS.labels("/v1/gaze").observe(0.03)
metrics.READY.set(1)
metrics.MODEL.labels("a", "b", "c", "d", "e").set(1)
print(os.getpid())
"""
READ = "import sys; from service.api.metrics import exposition; sys.stdout.buffer.write(exposition())"
REQUESTS = of("gaze_requests_total", route="/v1/gaze", method="POST", status="200", code="")


def start(folder: Path, program: str, *arguments: object) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)


def worker(folder: Path, requests: int) -> int:
    """Let a process count so many requests, and return its id."""
    with start(folder, COUNT, requests) as process:
        return int(process.communicate(timeout=60)[0])


def samples(folder: Path) -> Samples:
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return parsed(generate_latest(registry).decode())


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("*.db")}


def test_what_a_worker_has_counted_stays_when_it_has_ended(tmp_path: Path) -> None:
    ended = [worker(tmp_path, requests) for requests in (3, 4)]
    assert len(files(tmp_path)) == 8
    before = samples(tmp_path)
    assert (before[REQUESTS], before[of("gaze_ready")]) == (7, 2)
    for each in ended:
        forget(tmp_path, each, set())
        assert samples(tmp_path)[REQUESTS] == 7
    assert files(tmp_path) == {"counter_0.db", "histogram_0.db"}
    after = samples(tmp_path)
    gauges = ("gaze_ready", "gaze_model_info", "gaze_in_flight")
    assert after == {key: value for key, value in before.items() if key[0] not in gauges}
    assert after[of("gaze_request_seconds_bucket", route="/v1/gaze", le="0.05")] == 2


def test_files_stay_while_somebody_reads_them_and_go_with_the_next(tmp_path: Path) -> None:
    first, second = (worker(tmp_path, 1) for _ in range(2))
    ended: set[int] = set()
    with unchanged(tmp_path):
        forget(tmp_path, first, ended)
        assert (len(files(tmp_path)), ended) == (8, {first})
    forget(tmp_path, second, ended)
    assert (len(files(tmp_path)), ended) == (2, set())


def test_metrics_are_not_read_while_a_worker_is_forgotten(tmp_path: Path) -> None:
    worker(tmp_path, 5)
    with (tmp_path / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        reading = start(tmp_path, READ)
        with pytest.raises(subprocess.TimeoutExpired):
            reading.wait(8)
    with reading:
        assert parsed(reading.communicate(timeout=60)[0])[REQUESTS] == 5
