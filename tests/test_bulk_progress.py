"""Progress: what a job's file keeps, whatever happens to the process that writes it."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.bulk.items import Answer, Failure, Item, Outcome
from service.bulk.plan import Plan
from service.bulk.progress import Progress, remove
from service.errors import JobError
from service.images.decode import ImageLimits
from service.settings import Settings
from service.zero_shot.model_files import ModelFiles
from tests.conftest import REPOSITORY

ANSWER = Answer("ab" * 32, "JPEG", 640, 480, b"\0\1\2")
FAILURE = Failure("undecodable_image", "It is broken.")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.csv.progress"


def items(count: int) -> Iterator[Item]:
    return (Item(f"inv{number}", "file", f"/scans/{number}.jpg") for number in range(count))


def test_items_and_outcomes_come_back_as_they_were(path: Path) -> None:
    odd = [
        Item("1\N{SNOWMAN}", "file", os.fsdecode(b"/caf\xe9.jpg")),
        Item("c", "service", "http://a/x", "http://a/c", "http://a/m"),
        Item("d", "url", "http://a/d", failure=FAILURE),
    ]
    with Progress(path) as progress:
        progress.add(odd)
        pending = list(progress.pending())
        odd_answer = replace(ANSWER, decoded_at=(320, 240), warnings=("It is dark.", "It is \N{SNOWMAN}."))
        outcomes: list[Outcome] = [odd_answer, FAILURE, ANSWER]
        progress.write((number, outcome) for (number, _), outcome in zip(pending, outcomes, strict=True))
    with Progress(path) as progress:
        assert [item for _, item in pending] == odd
        assert list(progress.outcomes()) == list(zip(odd, outcomes, strict=True))
        assert (progress.counts().items, progress.counts().done, progress.counts().failed) == (3, 3, 1)
        assert (progress.counts().warned, progress.counts().decoded_smaller) == (1, 1)
        assert list(progress.pending()) == []
        assert progress.is_complete


def test_item_that_two_sources_name_is_one_item(path: Path) -> None:
    with Progress(path) as progress:
        progress.add([*items(3), *items(5), Item("other number", "file", "/scans/0.jpg")])
        assert progress.counts().items == 6


def test_pending_items_are_read_while_outcomes_are_written(path: Path) -> None:
    with Progress(path) as progress:
        progress.add(items(2_500))
        seen = []
        for number, item in progress.pending():
            seen.append(item.object_number)
            progress.write([(number, ANSWER)])
        assert seen == [item.object_number for item in items(2_500)]
        assert list(progress.pending()) == []


def test_first_outcome_of_an_item_counts(path: Path) -> None:
    with Progress(path) as progress:
        progress.add(items(1))
        [(number, _)] = progress.pending()
        progress.write([(number, ANSWER), (number, FAILURE)])
        assert [outcome for _, outcome in progress.outcomes()] == [ANSWER]


def test_failures_are_looked_at_once_more(path: Path) -> None:
    with Progress(path) as progress:
        progress.add(items(3))
        numbers = [number for number, _ in progress.pending()]
        progress.write(zip(numbers, [ANSWER, FAILURE, ANSWER], strict=True))
        progress.forget_failures()
        assert [number for number, _ in progress.pending()] == [numbers[1]]


def test_collection_is_added_as_a_whole_or_not_at_all(path: Path) -> None:
    def broken() -> Iterator[Item]:
        yield from items(5)
        raise JobError("the sixth is broken")

    with Progress(path) as progress:
        with pytest.raises(JobError, match="sixth"):
            progress.add(broken())
        assert (progress.counts().items, progress.is_complete) == (0, False)
        progress.add(items(2))
        assert (progress.counts().items, progress.is_complete) == (2, True)


def test_two_at_once_are_one_too_many(path: Path) -> None:
    with Progress(path):
        with pytest.raises(JobError, match="Another run is at work"):
            Progress(path)
        with pytest.raises(JobError, match="Another run is at work"):
            remove(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [b"object_number,list\n" * 100, b"SQLite format 3\0" + b"x" * 200])
def test_file_that_is_no_progress(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JobError, match="no record of a job that this version"):
        Progress(path)
    assert path.read_bytes() == content
    remove(path)
    with Progress(path) as progress:
        assert progress.counts().items == 0


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken.progress").mkdir()
    with pytest.raises(JobError):
        Progress(tmp_path / "taken.progress")
    with pytest.raises(JobError, match="cannot be written"):
        Progress(Path("/proc/results.progress"))


@pytest.mark.parametrize("content", [None, b""], ids=["leads nowhere", "leads to an empty file"])
def test_link_in_its_place_is_not_followed(path: Path, content: bytes | None) -> None:
    others = path.with_name("another's")
    if content is not None:
        others.write_bytes(content)
    path.symlink_to(others)
    with pytest.raises(JobError, match="is a link"):
        Progress(path)
    assert (others.read_bytes() if others.exists() else None) == content
    remove(path)
    with Progress(path) as progress:
        progress.add(items(1))
    assert (others.read_bytes() if others.exists() else None) == content


def test_links_in_the_place_of_its_log_and_lock_are_not_followed(path: Path) -> None:
    others = path.with_name("another's")
    for ending in ("-wal", "-journal", ".lock"):
        path.with_name(f"{path.name}{ending}").symlink_to(others)
        with contextlib.suppress(JobError), Progress(path) as progress:
            progress.add(items(1))
        assert not others.exists(), ending
        path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)


def test_full_disk_is_one_sentence(path: Path) -> None:
    def fill() -> None:
        with Progress(path) as progress:
            progress._database.execute("PRAGMA max_page_count = 20")
            progress.add(items(100_000))

    with pytest.raises(JobError, match=r"cannot be written \(database or disk is full\)"):
        fill()
    with Progress(path) as progress:
        assert progress.counts().items == 0


_WRITER = """
import sys
from pathlib import Path
from service.bulk.progress import Progress
from tests.test_bulk_progress import ANSWER, items
with Progress(Path(sys.argv[1])) as progress:
    progress.add(items(100_000))
    for number, _ in progress.pending():
        progress.write([(number, ANSWER)])
        print(number, flush=True)
"""


def test_what_was_written_is_there_after_a_kill(path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", _WRITER, path], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    last = [int(process.stdout.readline()) for _ in range(50)][-1]
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    with Progress(path) as progress:
        assert progress.counts().items == 100_000
        assert progress.counts().done >= 50
        assert next(progress.pending())[0] > last


def test_file_that_another_program_has_open_is_not_to_be_thrown_away(path: Path) -> None:
    with Progress(path) as progress:
        progress.add(items(1))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(JobError, match="cannot be opened") as raised:
        Progress(path)
    assert "--restart" not in str(raised.value)
    other.close()
    with Progress(path) as progress:
        assert progress.counts().items == 1


def test_what_was_broken_gives_way_to_what_is_in_it(path: Path) -> None:
    broken = Item("m", "url", "http://a/m", failure=FAILURE)
    with Progress(path) as progress:
        progress.add([*items(2), broken])
        [(number, found)] = progress.broken()
        assert found == broken
        progress.write((each, ANSWER) for each in (1, 2, number))
        progress.replace(number, [*items(1), Item("c", "url", "http://a/c")])
        assert progress.broken() == []
        assert [item.object_number for _, item in progress.pending()] == ["c"]
        assert (progress.counts().items, progress.counts().done) == (3, 2)


@pytest.mark.parametrize(
    "other",
    [
        {"limits": ImageLimits(1, 3)},
        {"limits": ImageLimits(2, 2)},
        {"top_k": 4},
        {"min_probability": 0.5},
        {"settings": Settings(decode="fast")},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_job_that_would_answer_otherwise_is_another(other: dict[str, Any]) -> None:
    plan = Plan(Settings(), (), ("a river",), 3, 0.0, ImageLimits(1, 2))
    files = ModelFiles(Path("model"), "a model", None)
    assert replace(plan, **other).facts((), files) != plan.facts((), files)
