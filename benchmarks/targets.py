"""What Gaze is meant to reach, and whether it did in this run."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from benchmarks.compared import GAZE as GAZE_CALL
from benchmarks.compared import Compared
from benchmarks.floor import EXACT_PASSES, SINGLE_PASSES, Floor
from benchmarks.growth import LONG_LIST, SHORT_LIST, Growth
from benchmarks.memory import WorkersMemory
from benchmarks.results import Results
from benchmarks.start import Start
from benchmarks.table import NOTHING, table
from benchmarks.throughput import GAZE, GAZE_BFLOAT16, INFINITY, Throughput


@dataclass(frozen=True)
class Target:
    """A figure that should be at least or at most so much; `measured` is None where it was not measured."""

    what: str
    relation: Literal["≥", "≤"]
    bound: float
    measured: float | None
    unit: str = "×"

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None if it was not measured."""
        if self.measured is None:
            return None
        return self.measured >= self.bound if self.relation == "≥" else self.measured <= self.bound

    def cells(self) -> list[str]:
        """Return the target's line of the table."""
        measured = NOTHING if self.measured is None else self._number(self.measured)
        verdict = {True: "yes", False: "no", None: "not measured"}[self.met]
        return [self.what, f"{self.relation} {self._number(self.bound)}", measured, verdict]

    def _number(self, value: float) -> str:
        shown = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".removesuffix(".00")
        return f"{shown} {self.unit}".strip()


def targets_table(results: Results) -> str:
    """Return all targets as a markdown table."""
    return table(["Target", "wanted", "measured", "met"], [target.cells() for target in targets(results)])


def targets(results: Results) -> list[Target]:
    """Return all targets, with what this run measured."""
    return [
        *_compared(results.compared if isinstance(results.compared, Compared) else None),
        *_throughput(results.throughput if isinstance(results.throughput, Throughput) else None),
        *_floor(results.floor if isinstance(results.floor, Floor) else None, list(results.pictures)),
        *_growth(results.growth if isinstance(results.growth, Growth) else None),
        *_start(results.start if isinstance(results.start, Start) else None),
        *_memory(results.memory if isinstance(results.memory, WorkersMemory) else None),
    ]


def _compared(compared: Compared | None) -> Iterator[Target]:
    for name, what, bound in (("artists_by_name", "5,854 artists", 500.0), ("surfaces", "19 surfaces", 2.2)):
        times = compared.times[name] if compared else {}
        measured = times["clip_gaze"].median / times[GAZE_CALL].median if "clip_gaze" in times else None
        yield Target(f"one picture × {what}: clip-gaze's time ÷ Gaze's", "≥", bound, measured)


def _throughput(throughput: Throughput | None) -> Iterator[Target]:
    served = throughput.served if throughput else {}
    infinity = served.get(INFINITY)
    for name, what, bound in ((GAZE, "float32", 2.0), (GAZE_BFLOAT16, "bfloat16", 3.0)):
        measured = served[name].mean_per_second / infinity.mean_per_second if infinity and name in served else None
        yield Target(f"8 callers: Gaze's requests per second ({what}) ÷ infinity's", "≥", bound, measured)
    measured = served[GAZE].peak.rss / infinity.peak.rss if infinity and GAZE in served else None
    yield Target("8 callers: Gaze's resident memory ÷ infinity's", "≤", 0.55, measured)


def _floor(floor: Floor | None, pictures: list[str]) -> Iterator[Target]:
    for picture in pictures:
        measured = floor.latency[picture].median / floor.latency_floor(picture) if floor else None
        yield Target(f"one caller, {picture}: a request ÷ (decode + resize + encoder)", "≤", 1.15, measured)
    for picture in pictures:
        for passes, what in ((SINGLE_PASSES, "one picture"), (EXACT_PASSES, "eight")):
            measured = floor.mean_per_second(picture) / floor.throughput_floor(picture, passes) if floor else None
            yield Target(
                f"8 callers, {picture}: requests per second ÷ the floor's, passes of {what}", "≥", 0.9, measured
            )


def _growth(growth: Growth | None) -> Iterator[Target]:
    long = growth.phrases[LONG_LIST] if growth else 100_000
    for what, bound, times in (
        (f"a served list of {long:,} phrases ÷ one of 7", 1.4, growth.served if growth else {}),
        ("2,000 own phrases, from the second request on ÷ 7", 1.25, growth.own if growth else {}),
    ):
        measured = times[LONG_LIST].median / times[SHORT_LIST].median if times else None
        yield Target(what, "≤", bound, measured)


def _start(start: Start | None) -> Iterator[Target]:
    yield Target("process start to ready, everything cached", "≤", 8, start.cached.median if start else None, "s")
    yield Target("encoding all served phrases, nothing cached", "≤", 30, start.encoding if start else None, "s")
    # Where neither says that it encoded anything, the log was not understood.
    second = float(min(start.encoded_phrases)) if start and any(start.encoded_phrases) else None
    yield Target("phrases that the second of two processes encodes", "≤", 0, second, "")


def _memory(memory: WorkersMemory | None) -> Iterator[Target]:
    measured = memory.peak[1].rss / 1e6 if memory else None
    yield Target("resident memory of one worker", "≤", 1000, measured, "MB")
