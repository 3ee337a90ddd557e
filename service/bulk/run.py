"""One run of a job, from its sources to its output, resuming where an earlier run stopped."""

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
from typing import Any

import click
from tqdm import tqdm

from service import __version__
from service.bulk.items import Engine, Failure, Item, NumberedOutcome, as_text
from service.bulk.output import Findings, Write, write_errors, write_output, write_warnings
from service.bulk.plan import MOST_DOCUMENTS, Plan
from service.bulk.progress import Counts, Progress, remove
from service.bulk.sources import items_of
from service.documents.finding import Provenance
from service.errors import GazeError, JobError
from service.zero_shot.backends.base import ModelDescription
from service.zero_shot.model_files import ModelFiles
from service.zero_shot.phrase_lists import PhraseList

_SECONDS_BETWEEN_REPORTS = 60.0
_SECONDS_BETWEEN_WRITES = 1.0
"""An outcome that was not written when the process is killed is computed again."""

_MAX_KINDS_LISTED = 20
_SETTINGS, _STARTED, _MODEL, _WRITTEN, _PASSED = "settings", "started", "machine", "written", "passed over"
"""Keys in the progress file."""

Lists = tuple[PhraseList, ...]
Start = Callable[[ModelFiles, Lists], tuple[Engine, ModelDescription]]
"""Starts an engine on a plan's model and lists, and describes the model."""

Report = Callable[[NumberedOutcome], None]


@dataclass(frozen=True)
class Output:
    """A job's output: its path, its format by name, and what writes it."""

    path: Path
    form: str
    write: Write

    @property
    def progress(self) -> Path:
        """The progress file."""
        return self.path.with_name(f"{self.path.name}.progress")

    @property
    def errors(self) -> Path:
        """The CSV of failures."""
        return self.path.with_name(f"{self.path.name}.errors.csv")

    @property
    def warnings(self) -> Path:
        """The CSV of warnings."""
        return self.path.with_name(f"{self.path.name}.warnings.csv")


@dataclass(frozen=True)
class Collection:
    """The input: sources as given, the most items to take of them, and their tables' encoding."""

    sources: tuple[str, ...]
    most: int | None
    encoding: str | None = None


@dataclass(frozen=True)
class RunOptions:
    """Options that the output does not depend on, except for the date of a job that begins now."""

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
            "sources": [_absolute(source) for source in collection.sources],
            "--limit-items": collection.most,
            "--encoding": collection.encoding,
            "--format": output.form,
        }
        _begin(progress, settings, options.date)
        if not progress.is_complete:
            passed: Counter[str] = Counter()
            progress.add(_items(plan, collection, passed, quiet=options.quiet), {_PASSED: passed})
        if options.retry_errors:
            progress.forget_failures()
            _read_again(plan, progress)
        counts = progress.counts()
        if counts.done < counts.items:
            engine, model = start(files, lists)
            _check_model(progress, _described(model))
            with _reports(counts, quiet=options.quiet) as report:
                _process(progress, engine, report)
        elif progress.fact(_WRITTEN) and output.path.exists():
            if not options.quiet:
                click.echo(
                    f"{output.path} is done: {counts.items} images, {counts.failed} failed. --restart begins anew.",
                    err=True,
                )
                _report_remarks(progress, output)
            return counts.failed
        _write(output, progress, lists)
        if not options.quiet:
            _report_remarks(progress, output)
        return progress.counts().failed


def _begin(progress: Progress, settings: Mapping[str, Any], date: datetime) -> None:
    """Begin a job, or go on with it. Raises JobError if the one that was begun is another.

    settings: all that the output depends on, by names that a person understands
    date:     of the answers, if it begins now
    """
    begun = progress.fact(_SETTINGS)
    if begun is None or not progress.is_complete:
        progress.keep({_SETTINGS: settings, _STARTED: date.astimezone(UTC).isoformat()})
    else:
        _check_same(progress, begun, settings)


def _check_model(progress: Progress, model: dict[str, Any]) -> None:
    """Keep which model answers. Raises JobError if another one has answered so far."""
    before = progress.fact(_MODEL)
    if before is None:
        progress.keep({_MODEL: model})
    else:
        _check_same(progress, before, model)


def _check_same(progress: Progress, begun: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    other = next((name for name in asked if begun.get(name) != asked[name]), None)
    if other:
        raise JobError(
            f"{progress.path} is of a job that differs in {other}. Give the same to go on with it, --restart to throw "
            "it away, or another --out."
        )


def _process(progress: Progress, engine: Engine, report: Report) -> None:
    """Process all items that have no outcome yet; `report` is called with each outcome."""
    progress.keep({_WRITTEN: False})
    unwritten: list[NumberedOutcome] = []
    written = -math.inf  # the first at once, so that progress shows even if the next take long
    try:
        for numbered in engine.outcomes(progress.pending()):
            unwritten.append(numbered)
            report(numbered)
            if time.monotonic() - written >= _SECONDS_BETWEEN_WRITES:
                progress.write(unwritten)
                unwritten, written = [], time.monotonic()
    finally:
        progress.write(unwritten)


@contextmanager
def _reports(counts: Counts, *, quiet: bool) -> Iterator[Report]:
    """Report how far a job is: a bar on a terminal, else a line a minute on standard error."""
    terminal = sys.stderr.isatty()
    total, done, failed = counts.items, counts.done, counts.failed
    began = reported = time.monotonic()
    with tqdm(total=total, initial=done, unit="image", disable=quiet or not terminal, smoothing=0.05) as bar:

        def report(numbered: NumberedOutcome) -> None:
            nonlocal done, failed, reported
            done += 1
            if isinstance(numbered[1], Failure):
                failed += 1
                bar.set_postfix_str(f"{failed} failed", refresh=False)
            bar.update()
            now = time.monotonic()
            if quiet or terminal or now - reported < _SECONDS_BETWEEN_REPORTS:
                return
            reported = now
            rate = (done - counts.done) / (now - began)
            left = (total - done) / rate / 60
            click.echo(
                f"{done} of {total} images, {rate:.1f} a second, {left:.0f} minutes left, {failed} failed", err=True
            )

        yield report


def _items(plan: Plan, collection: Collection, passed: "Counter[str]", *, quiet: bool) -> Iterator[Item]:
    """Yield the items of all sources. Raises JobError if there is none."""
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


def _report_remarks(progress: Progress, output: Output) -> None:
    """Report what a person should know of the job besides what failed."""
    counts = progress.counts()
    if counts.warned:
        click.echo(f"{counts.warned} images were answered with a warning; {output.warnings} has it.", err=True)
    if counts.decoded_smaller:
        click.echo(
            f"{counts.decoded_smaller} images were decoded at a smaller size than their own; JSON Lines have it.",
            err=True,
        )
    passed = Counter[str](progress.fact(_PASSED))
    if passed.total():
        click.echo(f"Passed over in the sources: {_counted(passed)}.", err=True)


def _counted(passed: "Counter[str]") -> str:
    """Return the counts as text, as in `12 .xmp, 1 hidden`; of many kinds, the most frequent and how many others."""
    listed = sorted(passed.most_common(_MAX_KINDS_LISTED), key=lambda each: (-each[1], each[0]))
    others = passed.total() - sum(count for _, count in listed)
    shown = [f"{count} {kind}" for kind, count in listed if count]
    return ", ".join([*shown, f"{others} others"] if others else shown)


def _read_again(plan: Plan, progress: Progress) -> None:
    """Read the folders and documents again that could not be read, and add what is in them."""
    iiif = plan.iiif()
    passed = Counter[str](progress.fact(_PASSED))
    for number, item in progress.broken():
        try:
            progress.replace(number, list(items_of(item.place, iiif.pictures, passed)))
        except (GazeError, JobError):  # unchanged
            continue
    progress.keep({_PASSED: passed})


def _write(output: Output, progress: Progress, lists: Lists) -> None:
    model, date = progress.fact(_MODEL), datetime.fromisoformat(progress.fact(_STARTED))
    provenance = Provenance(model["id"], model["revision"], __version__, address="", created=date)
    findings = Findings(progress.outcomes, lists, provenance, model)
    try:
        write_errors(output.errors, findings)
        write_warnings(output.warnings, findings)
        write_output(output.path, output.write, findings)
    except OSError as error:
        raise JobError(
            f"{output.path} cannot be written ({error.strerror}). All answers are kept; the same command writes them."
        ) from None
    progress.keep({_WRITTEN: True})


def _described(model: ModelDescription) -> dict[str, Any]:
    """Return the model as the service's answers describe it."""
    return {name: getattr(model, name) for name in ("id", "revision", "backend", "precision", "demo")}


def _absolute(source: str) -> str:
    """Return a source independent of the working directory."""
    if source.lower().startswith(("http://", "https://")):
        return source
    return as_text(os.path.abspath(source))  # noqa: PTH100  # which leaves links alone
