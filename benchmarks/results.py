"""All that one run found out, and what it could not."""

import json
from dataclasses import asdict, dataclass

from benchmarks.compared import Compared
from benchmarks.floor import Floor
from benchmarks.growth import Growth
from benchmarks.machine import Machine
from benchmarks.memory import WorkersMemory
from benchmarks.start import Start
from benchmarks.throughput import Throughput

PARTS = ("compared", "throughput", "floor", "growth", "start", "memory")


@dataclass(frozen=True)
class NotMeasured:
    """Stands for a part that was not measured, with the reason."""

    reason: str


@dataclass(frozen=True)
class Results:
    """One run on one machine.

    pictures: bytes of each JPEG, by width x height; the first is the one that is meant where none is named
    """

    date: str
    machine: Machine
    pictures: dict[str, int]
    compared: Compared | NotMeasured
    throughput: Throughput | NotMeasured
    floor: Floor | NotMeasured
    growth: Growth | NotMeasured
    start: Start | NotMeasured
    memory: WorkersMemory | NotMeasured

    def to_json(self) -> str:
        """Return everything as JSON."""
        return json.dumps(asdict(self), indent=2)
