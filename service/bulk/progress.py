"""Progress: one SQLite file beside the output that holds a job's settings, its items and their outcomes.

What is written survives a kill at any moment; after a power failure the last seconds may be missing, and are repeated.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from filelock import FileLock, Timeout

from service.bulk.items import Answer, Failure, Item, NumberedItem, NumberedOutcome, Outcome
from service.errors import JobError

_FORMAT = 2
"""Version of this file's format."""

_PAGE = 1_000
_COMPLETE = "complete"
_TABLES = """
CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE item (
    number INTEGER PRIMARY KEY,
    object_number TEXT NOT NULL,
    kind TEXT NOT NULL,
    place BLOB NOT NULL,
    canvas TEXT,
    manifest TEXT,
    known_code TEXT,
    known_detail TEXT,
    UNIQUE (place, object_number)
);
CREATE TABLE outcome (
    number INTEGER PRIMARY KEY,
    sha256 BLOB,
    format TEXT,
    width INTEGER,
    height INTEGER,
    rankings BLOB,
    code TEXT,
    detail TEXT,
    decoded_width INTEGER,
    decoded_height INTEGER,
    warnings TEXT
);
"""
_COLUMNS = "object_number, kind, place, canvas, manifest, known_code, known_detail"
_OUTCOME = "sha256, format, width, height, rankings, code, detail, decoded_width, decoded_height, warnings"


@dataclass(frozen=True)
class Counts:
    """Numbers of items: all, with an outcome, failed, decoded at a smaller size, answered with a warning."""

    items: int
    done: int
    failed: int
    decoded_smaller: int
    warned: int


class Progress:
    """The progress file of a job, held by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Open or create the file. Raises JobError if it is in use, not accessible, or of another kind."""
        self.path = path
        self._lock = FileLock(f"{path}.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise _in_use(path) from None
        except OSError as error:
            raise JobError(f"{path} cannot be written ({error.strerror}).") from None
        try:
            self._database = self._open()
        except BaseException:
            self._release()
            raise

    def _open(self) -> sqlite3.Connection:
        database = None
        _create_file(self.path)
        try:
            database = sqlite3.connect(self.path, isolation_level=None)
            # In this order: the write-ahead log of a single process needs no shared memory, which network file systems
            # do not have.
            database.execute("PRAGMA locking_mode = EXCLUSIVE")
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not tables:
                _create_tables(database)
            elif version != _FORMAT:
                raise sqlite3.DatabaseError
        except sqlite3.DatabaseError as error:
            if database:
                database.close()
            if isinstance(error, sqlite3.OperationalError):
                raise JobError(
                    f"{self.path} cannot be opened ({error}); another program may have it open, or the disk be full."
                ) from None
            raise JobError(
                f"{self.path} is no record of a job that this version of Gaze can read; --restart throws it away."
            ) from None
        return database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Close the file. Raises JobError if it could not be written, for example to a full disk."""
        self._database.close()
        self._release()
        if isinstance(error, sqlite3.Error):
            raise JobError(f"{self.path} cannot be written ({error}). The same command goes on.") from None

    def _release(self) -> None:
        # While it is held: a waiting process then checks that the lock file still exists.
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release()

    def fact(self, name: str) -> Any:
        """Return the value kept under a name, or None."""
        row = self._database.execute("SELECT value FROM fact WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def keep(self, facts: Mapping[str, Any]) -> None:
        """Keep JSON values under their names."""
        rows = [(name, json.dumps(value)) for name, value in facts.items()]
        self._database.executemany("INSERT OR REPLACE INTO fact VALUES (?, ?)", rows)

    def add(self, items: Iterable[Item], facts: Mapping[str, Any] = MappingProxyType({})) -> None:
        """Add all items of the collection, each once, in one transaction.

        facts: to keep, read after the last item
        """
        insert = f"INSERT OR IGNORE INTO item ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # of constants
        with self._transaction():
            self._database.executemany(insert, map(_row_of_item, items))
            self.keep({**facts, _COMPLETE: True})

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        try:
            yield
            self._database.execute("COMMIT")
        finally:
            if self._database.in_transaction:  # a full disk ends it
                self._database.execute("ROLLBACK")

    @property
    def is_complete(self) -> bool:
        """Whether all items of the collection were added."""
        return self.fact(_COMPLETE) is not None

    def counts(self) -> Counts:
        """Return how many items there are, by outcome."""
        query = (
            "SELECT (SELECT count(*) FROM item), count(*), count(code), count(decoded_width), count(warnings) "
            "FROM outcome"
        )
        return Counts(*self._database.execute(query).fetchone())

    def pending(self) -> Iterator[NumberedItem]:
        """Yield the items that have no outcome, in order; outcomes may be written meanwhile."""
        query = (
            f"SELECT item.number, {_COLUMNS} FROM item LEFT JOIN outcome USING (number) "  # noqa: S608  # of constants
            "WHERE item.number > ? AND outcome.number IS NULL ORDER BY item.number LIMIT ?"
        )
        last = -1
        while page := self._database.execute(query, (last, _PAGE)).fetchall():
            for row in page:
                yield _item(row)
            last = page[-1][0]

    def write(self, outcomes: Iterable[NumberedOutcome]) -> None:
        """Write outcomes in one transaction; an item's first outcome counts."""
        insert = "INSERT OR IGNORE INTO outcome VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        with self._transaction():
            self._database.executemany(insert, map(_row_of_outcome, outcomes))

    def forget_failures(self) -> None:
        """Delete all failures, so that these items are processed again."""
        self._database.execute("DELETE FROM outcome WHERE code IS NOT NULL")

    def broken(self) -> list[NumberedItem]:
        """Return the items whose source already found something wrong with them."""
        query = f"SELECT number, {_COLUMNS} FROM item WHERE known_code IS NOT NULL ORDER BY number"  # noqa: S608  # as above
        return [_item(row) for row in self._database.execute(query)]

    def replace(self, number: int, items: Iterable[Item]) -> None:
        """Replace an item by others, at the end; existing ones are unchanged."""
        insert = f"INSERT OR IGNORE INTO item ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # as above
        self._database.execute("BEGIN")
        self._database.execute("DELETE FROM outcome WHERE number = ?", (number,))
        self._database.execute("DELETE FROM item WHERE number = ?", (number,))
        self._database.executemany(insert, map(_row_of_item, items))
        self._database.execute("COMMIT")

    def outcomes(self) -> Iterator[tuple[Item, Outcome]]:
        """Yield each item that has an outcome, in order."""
        query = (
            f"SELECT item.number, {_COLUMNS}, {_OUTCOME} "  # noqa: S608  # as above
            "FROM item JOIN outcome USING (number) ORDER BY item.number"
        )
        for row in self._database.execute(query):
            yield _item(row[:8])[1], _outcome(row[8:])


def remove(path: Path) -> None:
    """Remove a job's file. Raises JobError if another run is using it."""
    lock = FileLock(f"{path}.lock")
    try:
        with lock.acquire(timeout=0):
            for ending in ("", "-wal", "-shm", "-journal"):
                Path(f"{path}{ending}").unlink(missing_ok=True)
            Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout:
        raise _in_use(path) from None


def _in_use(path: Path) -> JobError:
    # If no lock file can be made, acquiring it times out as well.
    if not Path(f"{path}.lock").exists():
        return JobError(f"{path} cannot be written.")
    return JobError(f"Another run is at work on {path}; wait until it has ended.")


def _create_file(path: Path) -> None:
    """Create the file if there is none. Raises JobError if it is a link, which SQLite would follow."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
    except OSError as error:
        if path.is_symlink():
            raise JobError(f"{path} is a link, which is not followed; remove it or name another --out.") from None
        raise JobError(f"{path} cannot be written ({error.strerror}).") from None


def _create_tables(database: sqlite3.Connection) -> None:
    for statement in ("BEGIN", *_TABLES.split(";"), f"PRAGMA user_version = {_FORMAT}", "COMMIT"):
        database.execute(statement)


def _row_of_item(item: Item) -> tuple[object, ...]:
    known = (item.failure.code, item.failure.detail) if item.failure else (None, None)
    return item.object_number, item.kind, os.fsencode(item.place), item.canvas, item.manifest, *known


def _item(row: tuple[Any, ...]) -> NumberedItem:
    number, object_number, kind, place, canvas, manifest, code, detail = row
    failure = Failure(code, detail) if code is not None else None
    return number, Item(object_number, kind, os.fsdecode(place), canvas, manifest, failure)


def _row_of_outcome(numbered: NumberedOutcome) -> tuple[object, ...]:
    number, outcome = numbered
    if isinstance(outcome, Failure):
        return number, None, None, None, None, None, outcome.code, outcome.detail, None, None, None
    facts = bytes.fromhex(outcome.sha256), outcome.format, outcome.width, outcome.height
    warnings = json.dumps(outcome.warnings) if outcome.warnings else None
    return number, *facts, outcome.rankings, None, None, *(outcome.decoded_at or (None, None)), warnings


def _outcome(row: tuple[Any, ...]) -> Outcome:
    sha256, image_format, width, height, rankings, code, detail, *decoded_at, warnings = row
    if code is not None:
        return Failure(code, detail)
    smaller = (decoded_at[0], decoded_at[1]) if decoded_at[0] else None
    told = tuple(json.loads(warnings)) if warnings else ()
    return Answer(sha256.hex(), image_format, width, height, rankings, smaller, told)
