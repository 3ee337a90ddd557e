"""Requests a second with eight callers, and resident memory meanwhile: Gaze against infinity, in turns."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.callers import Answered, Load, call
from benchmarks.environments import NotInstalled, install
from benchmarks.processes import MeasuredProcess, Memory, ProcessFailed
from benchmarks.questions import Caller, Question, gaze_upload, infinity_embedding
from benchmarks.services import (
    GAZE_PORT,
    INFINITY_PORT,
    SECOND_GAZE_PORT,
    THIRD_GAZE_PORT,
    NoSuchSetting,
    gaze,
    infinity,
)
from benchmarks.timing import Times
from benchmarks.workplace import Workplace

CALLERS = 8
WARM_UP = 3.0
GAZE, GAZE_BFLOAT16, GAZE_FAST, INFINITY = "gaze", "gaze_bfloat16", "gaze_fast", "infinity"


@dataclass(frozen=True)
class Served:
    """What one service did under load.

    per_second:        of each round
    peak:              the most memory that was seen in any round
    idle_cpu_seconds:  processor seconds that it used while the others were asked, and
    idle_seconds:      how long that was
    """

    per_second: list[float]
    latency: Times
    peak: Memory
    callers_cpu_seconds: float
    idle_cpu_seconds: float
    idle_seconds: float
    says: dict[str, str] = field(default_factory=dict)

    @property
    def mean_per_second(self) -> float:
        """Requests a second over all rounds, which are of the same length."""
        return sum(self.per_second) / len(self.per_second)


@dataclass(frozen=True)
class Throughput:
    """What each service did, by its name, and why one was not measured."""

    callers: int
    seconds: float
    served: dict[str, Served]
    not_measured: dict[str, str]


def measure(workplace: Workplace, picture: Path, rounds: int = 3, seconds: float = 10.0) -> Throughput:
    """Ask each service with eight callers for `seconds` a round, one service at a time; the others stand idle."""
    image = picture.read_bytes()
    starts: dict[str, tuple[Callable[[], AbstractContextManager[MeasuredProcess]], Question]] = {
        GAZE: (
            lambda: gaze(workplace, "gaze-throughput", GAZE_PORT),
            gaze_upload(GAZE_PORT, image, "artists_by_name"),
        ),
        GAZE_BFLOAT16: (
            lambda: gaze(workplace, "gaze-bfloat16", SECOND_GAZE_PORT, precision="bfloat16"),
            gaze_upload(SECOND_GAZE_PORT, image, "artists_by_name"),
        ),
        GAZE_FAST: (
            lambda: gaze(workplace, "gaze-fast", THIRD_GAZE_PORT, precision="bfloat16", decode="fast"),
            gaze_upload(THIRD_GAZE_PORT, image, "artists_by_name"),
        ),
        INFINITY: (
            lambda: infinity(workplace, install("infinity", workplace.folder / "environments")),
            infinity_embedding(INFINITY_PORT, image),
        ),
    }
    watched: dict[str, _Watched] = {}
    not_measured: dict[str, str] = {}
    with ExitStack() as running:
        for name, (start, question) in starts.items():
            try:
                watched[name] = _Watched(running.enter_context(start()), question)
            except (NotInstalled, NoSuchSetting, ProcessFailed) as error:
                not_measured[name] = str(error)
        for _ in range(rounds):
            for service in watched.values():
                service.ask(seconds)
        served = {name: service.served() for name, service in watched.items()}
    return Throughput(CALLERS, rounds * seconds, served, not_measured)


class _Watched:
    """A running service, with what was measured of it so far."""

    def __init__(self, process: MeasuredProcess, question: Question) -> None:
        self._process = process
        self._question = question
        self._answered: list[Answered] = []
        self._peak = Memory(0, 0)
        self._idle_since: tuple[float, float] | None = None
        self._idle_cpu, self._idle = 0.0, 0.0
        with Caller(question.port) as caller:
            answer = caller.ask(question)
        model = answer.get("model")
        self._says = {name: str(model[name]) for name in ("backend", "precision")} if isinstance(model, dict) else {}

    def ask(self, seconds: float) -> None:
        """Put the service under load for so long."""
        self._end_idling()
        with self._process.peak_memory() as peak:
            self._answered.append(call(Load(self._question, CALLERS, WARM_UP, seconds)))
        self._peak = self._peak.most(peak[0])
        self._idle_since = self._process.uptime(), self._process.cpu_seconds()

    def served(self) -> Served:
        """Return what all rounds came to."""
        self._end_idling()
        return Served(
            per_second=[answered.per_second for answered in self._answered],
            latency=Times.of([seconds for answered in self._answered for seconds in answered.latencies]),
            peak=self._peak,
            callers_cpu_seconds=sum(answered.callers_cpu_seconds for answered in self._answered),
            idle_cpu_seconds=self._idle_cpu,
            idle_seconds=self._idle,
            says=self._says,
        )

    def _end_idling(self) -> None:
        if self._idle_since:
            since, used = self._idle_since
            self._idle += self._process.uptime() - since
            self._idle_cpu += self._process.cpu_seconds() - used
            self._idle_since = None
