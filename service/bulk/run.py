"""One run of a job, from its sources to its output, wherever an earlier run of it was stopped."""

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import click
from tqdm import tqdm

from service import __version__
from service.bulk.items import Engine, Failure, Item, NumberedOutcome
from service.bulk.output import Findings, Write, write_errors, write_output, write_warnings
from service.bulk.plan import MOST_DOCUMENTS, Plan
from service.bulk.progress import Progress, remove
from service.bulk.sources import items_of
from service.documents.finding import Provenance
from service.errors import GazeError, JobError
from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.model_files import ModelFiles
from service.zero_shot.phrase_lists import PhraseList

_SECONDS_BETWEEN = 60.0


class Report(Protocol):
    """Hears of outcomes."""

    def __call__(self, numbered: NumberedOutcome) -> object:
        """Count one."""


@contextmanager
def reported(total: int, done: int, failed: int, *, quiet: bool) -> Iterator[Report]:
    """Give what hears of the outcomes of a job that has had some of them already."""
    terminal = sys.stderr.isatty()
    with tqdm(total=total, initial=done, unit="image", disable=quiet or not terminal, smoothing=0.05) as bar:
        lines = None if quiet or terminal else _Lines(total, done)

        def report(numbered: NumberedOutcome) -> None:
            nonlocal failed
            if isinstance(numbered[1], Failure):
                failed += 1
                bar.set_postfix_str(f"{failed} failed", refresh=False)
            bar.update()
            if lines:
                lines.count(failed)

        yield report


class _Lines:
    """Writes a line a minute to standard error."""

    def __init__(self, total: int, done: int) -> None:
        self._total, self._done, self._before = total, done, done
        self._began = self._told = time.monotonic()

    def count(self, failed: int) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._told < _SECONDS_BETWEEN:
            return
        self._told = now
        rate = (self._done - self._before) / (now - self._began)
        left = (self._total - self._done) / rate / 60
        click.echo(
            f"{self._done} of {self._total} images, {rate:.1f} a second, {left:.0f} minutes left, {failed} failed",
            err=True,
        )


_SECONDS_UNWRITTEN = 1.0
"""How long an outcome may wait to be written; what was not is done again after a kill."""

_SETTINGS, _STARTED, _MACHINE, _WRITTEN = "settings", "started", "machine", "written"


class Job:
    """A job, on what it has kept of its progress."""

    def __init__(self, progress: Progress, settings: Mapping[str, Any], date: datetime) -> None:
        """Begin it, or go on. Raises JobError where what was begun is another job.

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
        """Keep which model answers. Raises JobError where it is not the one that has answered so far."""
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
        raise JobError(
            f"{progress.path} is of a job that differs in {other}. Give the same to go on with it, --restart to throw "
            "it away, or another --out."
        )


_PASSED = "passed over"
_KINDS_TOLD = 20

Lists = tuple[PhraseList, ...]
Start = Callable[[ModelFiles, Lists], tuple[Engine, ModelDescription]]
"""Makes an engine for a plan's model and lists, and says what runs it."""


@dataclass(frozen=True)
class Output:
    """Where a job's output goes, and in which form, by its name."""

    path: Path
    form: str
    write: Write

    @property
    def progress(self) -> Path:
        """The file that knows how far the job is."""
        return self.path.with_name(f"{self.path.name}.progress")

    @property
    def errors(self) -> Path:
        """The file of what failed."""
        return self.path.with_name(f"{self.path.name}.errors.csv")

    @property
    def warnings(self) -> Path:
        """The file of what a person should know of pictures that were answered."""
        return self.path.with_name(f"{self.path.name}.warnings.csv")


@dataclass(frozen=True)
class Collection:
    """What is looked at: sources as they were given, how many items of them at most, and their tables' encoding."""

    sources: tuple[str, ...]
    most: int | None
    encoding: str | None = None


@dataclass(frozen=True)
class RunOptions:
    """How a run is to go about it; the output does not depend on it, but for the date where the job begins now."""

    date: datetime
    restart: bool
    retry_errors: bool
    quiet: bool


def run(plan: Plan, collection: Collection, output: Output, options: RunOptions, start: Start) -> int:
    """Begin a job or go on with it, write its output, and return how many of its items failed.

    Raises GazeError and StartError.
    """
    lists, files = plan.lists(), plan.model_files()
    if options.restart:
        remove(output.progress)
    with Progress(output.progress) as progress:
        settings = plan.facts(lists, files) | {
            "sources": [_whole(source) for source in collection.sources],
            "--limit-items": collection.most,
            "--encoding": collection.encoding,
            "--format": output.form,
        }
        job = Job(progress, settings, options.date)
        if not progress.is_complete:
            passed: Counter[str] = Counter()
            progress.add(_items(plan, collection, passed, quiet=options.quiet), {_PASSED: passed})
        if options.retry_errors:
            progress.forget_failures()
            _read_again(plan, progress)
        total, done, failed = progress.count(), progress.done(), progress.failed()
        if done < total:
            engine, model = start(files, lists)
            job.require_machine(_told(model))
            with reported(total, done, failed, quiet=options.quiet) as report:
                job.look(engine, report)
        elif job.is_written and output.path.exists():
            if not options.quiet:
                click.echo(f"{output.path} is done: {total} images, {failed} failed. --restart begins anew.", err=True)
                _tell_besides(progress, output)
            return failed
        _write(output, progress, job, lists)
        if not options.quiet:
            _tell_besides(progress, output)
        return progress.failed()


def _items(plan: Plan, collection: Collection, passed: "Counter[str]", *, quiet: bool) -> Iterator[Item]:
    """Yield the items of all sources. Raises JobError where there is none."""
    iiif = plan.iiif(MOST_DOCUMENTS)
    every = (
        item for source in collection.sources for item in items_of(source, iiif.pictures, passed, collection.encoding)
    )
    nothing = True
    for item in tqdm(
        islice(every, collection.most), desc="Finding images", unit="image", disable=True if quiet else None
    ):
        nothing = False
        yield item
    if nothing:
        besides = f" Passed over: {_counted(passed)}." if passed.total() else ""
        raise JobError(f"There is no picture in the sources.{besides}")


def _tell_besides(progress: Progress, output: Output) -> None:
    """Say what a person should know of the job besides what failed."""
    if warned := progress.warned():
        click.echo(f"{warned} images were answered with a warning; {output.warnings} has it.", err=True)
    if smaller := progress.decoded_smaller():
        click.echo(f"{smaller} images were decoded at a smaller size than their own; JSON Lines have it.", err=True)
    passed = Counter[str](progress.fact(_PASSED))
    if passed.total():
        click.echo(f"Passed over in the sources: {_counted(passed)}.", err=True)


def _counted(passed: "Counter[str]") -> str:
    """Return so many of each kind, as in `12 .xmp, 1 hidden`; of many kinds, the most frequent and how many others."""
    told = sorted(passed.most_common(_KINDS_TOLD), key=lambda each: (-each[1], each[0]))
    others = passed.total() - sum(count for _, count in told)
    shown = [f"{count} {kind}" for kind, count in told if count]
    return ", ".join([*shown, f"{others} others"] if others else shown)


def _read_again(plan: Plan, progress: Progress) -> None:
    """Read once more the folders and documents that could not be read, and add what is in them."""
    iiif = plan.iiif()
    passed = Counter[str](progress.fact(_PASSED))
    for number, item in progress.broken():
        try:
            progress.replace(number, list(items_of(item.place, iiif.pictures, passed)))
        except (GazeError, JobError):  # it is as it was
            continue
    progress.keep({_PASSED: passed})


def _write(output: Output, progress: Progress, job: Job, lists: Lists) -> None:
    model = job.machine or {}
    provenance = Provenance(model["id"], model["revision"], __version__, address="", created=job.date)
    findings = Findings(progress.outcomes, lists, provenance, model)
    try:
        write_errors(output.errors, findings)
        write_warnings(output.warnings, findings)
        write_output(output.path, output.write, findings)
    except OSError as error:
        raise JobError(
            f"{output.path} cannot be written ({error.strerror}). All answers are kept; the same command writes them."
        ) from None
    job.written()


def _told(model: ModelDescription) -> dict[str, Any]:
    """Return what the service's answers say of a model."""
    return {name: getattr(model, name) for name in ("id", "revision", "backend", "precision", "demo")}


def _whole(source: str) -> str:
    """Return a source so that it says the same wherever the command is given."""
    if source.lower().startswith(("http://", "https://")):
        return source
    return os.fsencode(os.path.abspath(source)).decode("utf-8", "replace")  # noqa: PTH100  # which leaves links alone
