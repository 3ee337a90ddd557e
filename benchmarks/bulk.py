"""How near `gaze bulk` comes to the floor, what it holds in memory, and what ten kills do to its output.

    python -m benchmarks.bulk

draws pictures of which one in a hundred is broken, and looks at them with a CLIP of full size: at some, at all, and at
all of them once more while the process is killed at random moments. The floor is measured while the job is stopped for
it, again and again, because a machine's speed changes from one minute to the next. It takes twenty minutes on two
cores, which should have nothing else to do.
"""

import argparse
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import floor_steps
from benchmarks.processes import family, memory_of
from benchmarks.table import megabytes, rate, ratio, table
from benchmarks.workplace import Workplace
from service.bulk.command import SOME_FAILED
from service.limits.threads import available_cores
from training.pictures import distorted, draw_subject, random_size, random_subject

BROKEN_OF = 100
LIST = "artists_by_name"
_SAMPLE = 60
_TURN_SECONDS = 45.0
"""How long a job works until it is stopped for a measurement of the floor."""

DATE = "2026-01-31T00:00:00Z"


@dataclass(frozen=True)
class Ran:
    """Wall seconds of a run from start to output, and the most resident bytes of the process and its children.

    What it was stopped for does not count.
    """

    seconds: float
    peak: int


def main() -> None:
    """Measure, and print a table."""
    asked = _arguments()
    workplace = Workplace(asked.folder.resolve())
    workplace.make_model()
    pictures = draw(workplace.folder / "collection", asked.items)
    out = workplace.folder / "bulk"
    out.mkdir(exist_ok=True)
    look(workplace, pictures, out / "first.csv", ["--limit-items", "8"])  # fills the cache
    few = look(workplace, pictures, out / "few.csv", ["--limit-items", str(asked.few)])
    floors = [floor(workplace, pictures)]  # a short job ends before it is stopped for another one
    every = look(workplace, pictures, out / "all.csv", [], between=lambda: floors.append(floor(workplace, pictures)))
    per_second = (asked.items - asked.few) / (every.seconds - few.seconds)
    at_best = statistics.median(floors)
    print(
        f"{asked.items} JPEGs of {_mean_size(pictures)} on average, 1 in {BROKEN_OF} broken; {available_cores()} cores"
    )
    rows = [
        ["the floor: decode, resize, passes of eight", f"{rate(at_best)}, {len(floors)} times {_range(floors)}"],
        ["gaze bulk, start and output with it", rate(asked.items / every.seconds)],
        ["gaze bulk, once it is at work", rate(per_second)],
        ["÷ floor", ratio(per_second / at_best)],
        [f"resident, of {asked.few} pictures", megabytes(few.peak)],
        [f"resident, of {asked.items} pictures", megabytes(every.peak)],
    ]
    if asked.kills:
        kills = killed(workplace, pictures, out / "killed.csv", asked.kills, every.seconds)
        same = (out / "killed.csv").read_bytes() == (out / "all.csv").read_bytes()
        rows.append([f"killed {kills} times, the output is the same", "yes" if same else "NO"])
    print(table(["", ""], rows))


def draw(folder: Path, count: int) -> Path:
    """Draw so many pictures of training's kind, of which one in BROKEN_OF is cut short, if they are not there."""
    folder = folder / str(count)
    if (folder / "drawn").exists():
        return folder
    for number in range(count):
        rng = np.random.default_rng([number, 5])
        picture = distorted(draw_subject(random_subject(rng), random_size(rng), rng), rng)
        path = folder / f"{number // 1000:03}" / f"inv{number:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.convert("RGB").save(path, quality=90)
        if number % BROKEN_OF == BROKEN_OF - 1:
            path.write_bytes(path.read_bytes()[:300])
    (folder / "drawn").touch()
    return folder


def floor(workplace: Workplace, pictures: Path) -> float:
    """Return the pictures a second if all cores did nothing but decode, resize and passes of eight."""
    cores = available_cores()
    sample = [path for path in sorted(pictures.rglob("*.jpg")) if path.stat().st_size > 300]
    sample = sample[:: max(1, len(sample) // _SAMPLE)]
    of_picture = [
        statistics.median(floor_steps.decode(path, 1)) + statistics.median(floor_steps.resize(path, 1))
        for path in sample
    ]
    tower = max(workplace.cache.glob("converted/*/image_tower.xml"), key=lambda file: file.stat().st_mtime)
    of_pass = statistics.median(floor_steps.encoder_eight(tower, cores))
    good = 1 - 1 / BROKEN_OF
    # Broken ones are counted as done, and cost nothing at best.
    return cores / (good * (statistics.mean(of_picture) + cores * of_pass))


def killed(workplace: Workplace, pictures: Path, out: Path, times: int, seconds: float) -> int:
    """Begin a job and kill it so many times at random moments, then let it end; return how often it was killed."""
    chance = np.random.default_rng(1)
    _forget(out)
    kills = 0
    for _ in range(times):
        process = _started(workplace, pictures, out, [])
        try:
            process.wait(chance.uniform(1, 2 * seconds / times))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    _require_done(_started(workplace, pictures, out, []))
    return kills


def look(
    workplace: Workplace,
    pictures: Path,
    out: Path,
    options: Sequence[str],
    *,
    model: str | None = None,
    between: Callable[[], object] | None = None,
) -> Ran:
    """Let `gaze bulk` look at the pictures from the beginning, with the reference model or another one.

    between: is called again and again, while the job is stopped
    """
    _forget(out)
    started = time.perf_counter()
    process = _started(workplace, pictures, out, options, model)
    peak = [0]
    over = threading.Event()

    def sample() -> None:
        while not over.wait(0.5):
            peak[0] = max(peak[0], memory_of(family(process.pid)).rss)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        stopped = _stopped_for(between, process) if between else 0.0
        _require_done(process)
    finally:
        over.set()
        sampler.join()
    return Ran(time.perf_counter() - started - stopped, peak[0])


def _stopped_for(between: Callable[[], object], process: "subprocess.Popen[str]") -> float:
    """Stop a job every now and then, do this, and let it go on, until it ends; return for how many seconds in all."""
    stopped = 0.0
    while True:
        try:
            process.wait(_TURN_SECONDS)
        except subprocess.TimeoutExpired:
            begun = time.perf_counter()
            _signal(process, signal.SIGSTOP)
            between()
            _signal(process, signal.SIGCONT)
            stopped += time.perf_counter() - begun
        else:
            return stopped


def _signal(process: "subprocess.Popen[str]", sent: signal.Signals) -> None:
    for pid in family(process.pid):
        with suppress(ProcessLookupError):  # a decoder may have ended meanwhile
            os.kill(pid, sent)


def _started(
    workplace: Workplace, pictures: Path, out: Path, options: Sequence[str], model: str | None = None
) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "service.cli", "bulk", str(pictures), "--lists", LIST, "--out", str(out)]
    command += ["--date", DATE, "--quiet", *options]
    environment = workplace.environment(GAZE_MODEL=model or workplace.model, GAZE_CACHE_DIR=workplace.cache)
    return subprocess.Popen(command, env=dict(environment), stderr=subprocess.PIPE, text=True)  # noqa: S603  # ours


def _require_done(process: "subprocess.Popen[str]") -> None:
    _, said = process.communicate()
    if process.returncode not in (os.EX_OK, SOME_FAILED):
        raise RuntimeError(f"gaze bulk ended with {process.returncode}: {said.strip()[-500:]}")


def _forget(out: Path) -> None:
    for file in out.parent.glob(f"{out.name}*"):
        file.unlink()


def _range(rates: Sequence[float]) -> str:
    return f"from {rate(min(rates))} to {rate(max(rates))}"


def _mean_size(pictures: Path) -> str:
    sizes = [path.stat().st_size for path in pictures.rglob("*.jpg")]
    return f"{statistics.mean(sizes) / 1000:.0f} kB"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bulk", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="where everything is kept")
    parser.add_argument("--items", type=int, default=10_000, help="pictures (10,000)")
    parser.add_argument("--few", type=int, default=1_000, help="pictures of the run that is compared with all (1,000)")
    parser.add_argument("--kills", type=int, default=10, help="kills of the last run (10)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
