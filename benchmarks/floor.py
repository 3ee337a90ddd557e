"""The floor: what each step of a request costs alone, and how far above their sum Gaze over HTTP is."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.callers import Load, call
from benchmarks.questions import Caller, gaze_upload
from benchmarks.services import GAZE_PORT, gaze
from benchmarks.throughput import CALLERS, WARM_UP
from benchmarks.timing import Times
from benchmarks.workplace import Workplace
from service.limits.threads import available_cores

PICTURE_STEPS = ("decode", "resize")
OTHER_STEPS = ("normalise", "product")
LATENCY = "encoder_one"
SINGLE_PASSES = (LATENCY, "encoder_streams")
EXACT_PASSES = (*SINGLE_PASSES, "encoder_eight")
LIST = "artists_by_name"


class NotConverted(Exception):
    """Gaze has left no converted model in its cache, so there is nothing to run OpenVINO's passes with."""


@dataclass(frozen=True)
class Floor:
    """Steps and requests, measured in turns.

    cores:      that the encoder's passes use; all other steps use one
    steps:      wall seconds per picture, by step; decode and resize by "step, picture"
    latency:    of one caller's requests, by picture
    per_second: requests a second with eight callers in each round, by picture
    """

    cores: int
    steps: dict[str, Times]
    latency: dict[str, Times]
    per_second: dict[str, list[float]]

    def core_seconds(self, step: str) -> float:
        """Return the processor seconds per picture of a step, if its cores do nothing else meanwhile."""
        return self.steps[step].median * (self.cores if step.startswith("encoder") else 1)

    def latency_floor(self, picture: str) -> float:
        """Return the seconds of decode, resize and one picture's encoder pass, one after the other."""
        return sum(self.steps[step].median for step in (*_of(picture), LATENCY))

    def throughput_floor(self, picture: str, passes: Sequence[str]) -> float:
        """Return the requests a second if all cores did nothing but decode, resize and the cheapest of these passes."""
        cheapest = min(passes, key=self.core_seconds)
        return self.cores / sum(self.core_seconds(step) for step in (*_of(picture), cheapest))

    def mean_per_second(self, picture: str) -> float:
        """Return the requests a second with eight callers, over all rounds."""
        return sum(self.per_second[picture]) / len(self.per_second[picture])


def measure(
    workplace: Workplace, pictures: Mapping[str, Path], rounds: int = 3, requests: int = 60, seconds: float = 10.0
) -> Floor:
    """Time each step alone, then Gaze alone, and so again `rounds` times. Raises NotConverted."""
    cores = available_cores()
    steps: dict[str, list[float]] = {}
    latency: dict[str, list[float]] = {name: [] for name in pictures}
    per_second: dict[str, list[float]] = {name: [] for name in pictures}
    with gaze(workplace, "gaze-floor"):
        image_tower = _image_tower(workplace)
        for _ in range(rounds):
            for name, picture in pictures.items():
                for step in PICTURE_STEPS:
                    steps.setdefault(f"{step}, {name}", []).extend(_alone(workplace, step, picture, cores))
            for step in (*OTHER_STEPS, *EXACT_PASSES):
                steps.setdefault(step, []).extend(_alone(workplace, step, image_tower, cores))
            steps.setdefault("encoder_torch", []).extend(_alone(workplace, "encoder_torch", workplace.model, cores))
            for name, picture in pictures.items():
                question = gaze_upload(GAZE_PORT, picture.read_bytes(), LIST)
                with Caller(GAZE_PORT) as caller:
                    taken = [caller.time(question) for _ in range(requests + 3)]
                latency[name] += taken[3:]
                per_second[name].append(call(Load(question, CALLERS, WARM_UP, seconds)).per_second)
    return Floor(
        cores=cores,
        steps={step: Times.of(taken) for step, taken in steps.items()},
        latency={name: Times.of(taken) for name, taken in latency.items()},
        per_second=per_second,
    )


def _of(picture: str) -> Sequence[str]:
    return [f"{step}, {picture}" for step in PICTURE_STEPS]


def _image_tower(workplace: Workplace) -> Path:
    found = sorted(workplace.cache.glob("converted/*/image_tower.xml"), key=lambda file: file.stat().st_mtime)
    if not found:
        raise NotConverted(f"there is no converted model in {workplace.cache.name}/")
    return found[-1]


def _alone(workplace: Workplace, step: str, file: Path, cores: int) -> list[float]:
    """Return the wall seconds per picture of a step, run in a process of its own."""
    finished = subprocess.run(  # noqa: S603  # a module of this package
        [sys.executable, "-m", "benchmarks.floor_steps", step, str(file), str(cores)],
        env=dict(workplace.environment(PYTHONPATH=Path(__file__).parent.parent, OPENBLAS_NUM_THREADS="1")),
        capture_output=True,
        text=True,
        check=False,
    )
    if finished.returncode:
        raise RuntimeError(f"The step {step} failed: {finished.stderr.strip()[-1000:]}")
    seconds: list[float] = json.loads(finished.stdout.splitlines()[-1])
    return seconds
