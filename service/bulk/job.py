"""Job: a collection that is looked at in one go or in several, and written down at the end."""

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from service.bulk.engine import Engine
from service.bulk.items import NumberedOutcome
from service.bulk.progress import Progress
from service.errors import InvalidRequest

_SECONDS_UNWRITTEN = 1.0
"""How long an outcome may wait to be written; what was not is done again after a kill."""

_SETTINGS, _STARTED, _MACHINE, _WRITTEN = "settings", "started", "machine", "written"


class Job:
    """A job, on what it has kept of its progress."""

    def __init__(self, progress: Progress, settings: Mapping[str, Any], date: datetime) -> None:
        """Begin it, or go on. Raises InvalidRequest where what was begun is another job.

        settings: all that the output depends on, by names that a person understands
        date:     of the answers, if it begins now
        """
        self._progress = progress
        begun = progress.fact(_SETTINGS)
        if begun is None or not progress.is_complete:
            progress.keep({_SETTINGS: settings, _STARTED: date.astimezone(UTC).isoformat()})
        else:
            _require_same(progress, begun, settings)

    @property
    def date(self) -> datetime:
        """When it was first begun, which is the date of all its answers."""
        return datetime.fromisoformat(self._progress.fact(_STARTED))

    @property
    def machine(self) -> dict[str, Any] | None:
        """The model that answers, as the service describes it, once it is known."""
        machine: dict[str, Any] | None = self._progress.fact(_MACHINE)
        return machine

    def require_machine(self, machine: dict[str, Any]) -> None:
        """Keep which model answers. Raises InvalidRequest where it is not the one that has answered so far."""
        if self.machine is None:
            self._progress.keep({_MACHINE: machine})
        elif self.machine != machine:
            _require_same(self._progress, self.machine, machine)

    @property
    def is_written(self) -> bool:
        """Whether the output has all that was found."""
        return bool(self._progress.fact(_WRITTEN))

    def written(self) -> None:
        """Keep that the output has all that was found."""
        self._progress.keep({_WRITTEN: True})

    def look(self, engine: Engine, report: Callable[[NumberedOutcome], object]) -> None:
        """Look at all items that have no outcome yet; `report` hears of each outcome."""
        self._progress.keep({_WRITTEN: False})
        unwritten: list[NumberedOutcome] = []
        written = -math.inf  # the first at once: where others then take long, it is seen that the job goes on
        try:
            for numbered in engine.outcomes(self._progress.pending()):
                unwritten.append(numbered)
                report(numbered)
                if time.monotonic() - written >= _SECONDS_UNWRITTEN:
                    self._progress.write(unwritten)
                    unwritten, written = [], time.monotonic()
        finally:
            self._progress.write(unwritten)


def _require_same(progress: Progress, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    other = next((name for name in asked if begun.get(name) != asked[name]), None)
    if other:
        raise InvalidRequest(
            f"{progress.path} is of a job that differs in {other}. Give the same to go on with it, --restart to throw "
            "it away, or another --out."
        )
