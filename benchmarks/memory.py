"""What one worker of Gaze holds in memory under load, and what a second one adds."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.callers import Load, call
from benchmarks.processes import Memory
from benchmarks.questions import gaze_upload
from benchmarks.services import GAZE_PORT, gaze
from benchmarks.throughput import CALLERS, WARM_UP
from benchmarks.workplace import Workplace

WORKERS = (1, 2)


@dataclass(frozen=True)
class WorkersMemory:
    """The most memory of the whole service under load, and its requests a second, by the number of workers."""

    peak: dict[int, Memory]
    per_second: dict[int, float]


def measure(workplace: Workplace, picture: Path, seconds: float = 10.0) -> WorkersMemory:
    """Run Gaze with one worker, then with two, each under the load of eight callers."""
    peak: dict[int, Memory] = {}
    per_second: dict[int, float] = {}
    question = gaze_upload(GAZE_PORT, picture.read_bytes(), "artists_by_name")
    for workers in WORKERS:
        with gaze(workplace, f"gaze-workers-{workers}", workers=str(workers)) as process:
            # /readyz speaks for the worker that happens to answer; each worker logs that it is ready.
            process.wait_for_log('"event": "ready"', workers, 600)
            with process.peak_memory() as most:
                per_second[workers] = call(Load(question, CALLERS, WARM_UP, seconds)).per_second
        peak[workers] = most[0]
    return WorkersMemory(peak, per_second)
