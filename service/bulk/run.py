"""One run of a job, from its sources to its output, wherever an earlier run of it was stopped."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from service import __version__
from service.bulk.engine import Engine
from service.bulk.items import Item
from service.bulk.job import Job
from service.bulk.output import Findings, Write, write_errors, write_output, write_warnings
from service.bulk.plan import MOST_DOCUMENTS, Plan
from service.bulk.progress import Progress, remove
from service.bulk.report import reported
from service.bulk.sources import items_of
from service.documents.finding import Machine
from service.errors import GazeError, InvalidRequest
from service.zero_shot.features import ModelDescription
from service.zero_shot.model_files import ModelFiles
from service.zero_shot.phrase_lists import PhraseList

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
class Wishes:
    """How a run is to go about it; the output does not depend on it, but for the date where the job begins now."""

    date: datetime
    restart: bool
    retry_errors: bool
    quiet: bool


def run(plan: Plan, collection: Collection, output: Output, wishes: Wishes, start: Start) -> int:
    """Begin a job or go on with it, write its output, and return how many of its items failed.

    Raises GazeError and StartError.
    """
    lists, files = plan.lists(), plan.model_files()
    if wishes.restart:
        remove(output.progress)
    with Progress(output.progress) as progress:
        settings = plan.facts(lists, files) | {
            "sources": [_whole(source) for source in collection.sources],
            "--limit-items": collection.most,
            "--encoding": collection.encoding,
            "--format": output.form,
        }
        job = Job(progress, settings, wishes.date)
        if not progress.is_complete:
            passed: Counter[str] = Counter()
            progress.add(_items(plan, collection, passed, quiet=wishes.quiet), {_PASSED: passed})
        if wishes.retry_errors:
            progress.forget_failures()
            _read_again(plan, progress)
        total, done, failed = progress.count(), progress.done(), progress.failed()
        if done < total:
            engine, model = start(files, lists)
            job.require_machine(_told(model))
            with reported(total, done, failed, quiet=wishes.quiet) as report:
                job.look(engine, report)
        elif job.is_written and output.path.exists():
            if not wishes.quiet:
                click.echo(f"{output.path} is done: {total} images, {failed} failed. --restart begins anew.", err=True)
                _tell_besides(progress, output)
            return failed
        _write(output, progress, job, lists)
        if not wishes.quiet:
            _tell_besides(progress, output)
        return progress.failed()


def _items(plan: Plan, collection: Collection, passed: "Counter[str]", *, quiet: bool) -> Iterator[Item]:
    """Yield the items of all sources. Raises InvalidRequest where there is none."""
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
        raise InvalidRequest(f"There is no picture in the sources.{besides}")


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
        except GazeError:  # it is still as it was
            continue
    progress.keep({_PASSED: passed})


def _write(output: Output, progress: Progress, job: Job, lists: Lists) -> None:
    model = job.machine or {}
    machine = Machine(model=model["id"], revision=model["revision"], version=__version__, address="", created=job.date)
    findings = Findings(progress.outcomes, lists, machine, model)
    try:
        write_errors(output.errors, findings)
        write_warnings(output.warnings, findings)
        write_output(output.path, output.write, findings)
    except OSError as error:
        raise InvalidRequest(
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
