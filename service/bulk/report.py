"""How far a job is: a bar on a terminal, else a line a minute."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import click
from tqdm import tqdm

from service.bulk.items import Failure, NumberedOutcome

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
