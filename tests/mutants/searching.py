"""Runs tests in a tree until one fails: those that know the place of a defect first."""

import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.planting import Tree

_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?\.py\S*(?:\[.*\])?)(?: - .*)?$", re.MULTILINE)
_SOME_FAILED, _INTERRUPTED, _NONE_COLLECTED = 1, 2, 5
ALL = "test-all"
"""What `make` calls the run of all tests."""

_TEST_SECONDS = 200
_MOST_UNSOUND = 5
"""Tests that fail without the defect, too, before a search is given up."""


@dataclass(frozen=True)
class Found:
    """The test that found a defect, None where none did, and the seconds that this took."""

    test: str | None
    seconds: float


class TestRuns:
    """Searches a defect with the tests of a tree, which does not have it yet when this is made.

    place: the file that will have the defect
    known: names of files of tests, without `test_` and `.py`, that are tried first
    quick: whether only those tests are run that `make test` runs
    """

    __test__ = False  # pytest takes it for tests

    def __init__(self, tree: Tree, place: Path, known: Sequence[str], *, quick: bool) -> None:
        self._tree = tree
        self._place = place
        self._sound = place.read_text(encoding="utf-8")
        self._known = known
        self._options = _options(tree.root, "test" if quick else ALL)
        self._unsound: list[str] = []

    def search(self, *, related_only: bool) -> Found:
        """Run tests until one fails that does not fail without the defect."""
        begun = time.monotonic()
        for files in self._steps(related_only=related_only):
            test = self._first_failing(files) if files else None
            if test:
                return Found(test, time.monotonic() - begun)
        return Found(None, time.monotonic() - begun)

    def _steps(self, *, related_only: bool) -> Iterator[list[Path]]:
        tests = self._tree.root / "tests"
        every = sorted(tests.glob("test_*.py"))
        stem = self._place.stem.strip("_")
        known = [path for path in every if path.stem.removeprefix("test_") in self._known]
        yield known
        names = (stem, f"{self._place.parent.name}_{stem}")
        named = [path for path in every if path not in known and path.stem.removeprefix("test_") in names]
        yield named
        dotted = ".".join(self._place.relative_to(self._tree.root).with_suffix("").parts)
        package, _, module = dotted.rpartition(".")
        imports = re.compile(rf"(from|import) {re.escape(dotted)}\b|from {re.escape(package)} import .*\b{module}\b")
        importing = [
            path for path in every if path not in (*known, *named) and imports.search(path.read_text(encoding="utf-8"))
        ]
        yield importing
        if not related_only:
            yield [path for path in every if path not in (*known, *named, *importing)]

    def _first_failing(self, files: list[Path]) -> str | None:
        others = set(self._tree.root.glob("tests/test_*.py")).difference(files)
        # What is named would be run even where it is left out of a quick run.
        ignored = [f"--ignore={path.relative_to(self._tree.root)}" for path in others]
        while True:
            deselected = [f"--deselect={test}" for test in self._unsound]
            code, printed = self._run(["-x", *deselected, *ignored])
            if code in (0, _NONE_COLLECTED):
                return None
            failed = _FAILED.search(printed)
            if code not in (_SOME_FAILED, _INTERRUPTED) or not failed:
                raise RuntimeError(f"pytest ended with {code}: {printed[-3000:]}")
            test = failed[1]
            if self._is_sound(test):
                return test
            self._unsound.append(test)
            if len(self._unsound) > _MOST_UNSOUND:
                raise RuntimeError(f"these tests fail without a defect: {self._unsound}")

    def _is_sound(self, test: str) -> bool:
        """Say whether a test passes where the defect is not."""
        defective = self._place.read_text(encoding="utf-8")
        self._place.write_text(self._sound, encoding="utf-8")
        try:
            return self._run([test])[0] == 0
        finally:
            self._place.write_text(defective, encoding="utf-8")

    def _run(self, arguments: list[str]) -> tuple[int, str]:
        """Return pytest's exit code, and what it printed."""
        command = [".venv/bin/python", "-m", "pytest", *self._options, "-q", "-p", "no:cacheprovider", "--tb=no"]
        ended = subprocess.run(
            [*command, "-o", f"timeout={_TEST_SECONDS}", *arguments],
            cwd=self._tree.root,
            env={**os.environ, "PYTHONPATH": str(self._tree.root), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        return ended.returncode, ended.stdout


def _options(root: Path, target: str) -> list[str]:
    """Return what a target of the Makefile gives pytest, but in one process: one file is soon done."""
    command = ["make", "--dry-run", target]
    printed = subprocess.run(command, cwd=root, capture_output=True, check=True, encoding="utf-8").stdout
    [given] = re.findall(r" -m pytest\b(.*)", printed)[-1:]
    return [*shlex.split(given), "-n0"]
