"""The outcomes of a job -> one file, written atomically, and beside it one of failures and one of warnings."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

from service.bulk.items import Answer, Failure, Item, Outcome, as_text
from service.bulk.rankings import unpack
from service.documents.finding import Finding, Provenance, RankedTerms, Subject
from service.documents.formats import FORMATS
from service.documents.tables import PLAIN, Table, csv_line
from service.errors import JobError
from service.zero_shot.phrase_lists import PhraseList

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Found = Iterator[tuple[Item, Outcome]]

_ROWS = 65_536
"""Rows of a row group, which are in memory at the same time."""


@dataclass(frozen=True)
class Findings:
    """What to write.

    outcomes:   returns each item with its outcome, in order; may be called again
    lists:      that were ranked
    provenance: for documents; model, as the service's answers describe it
    """

    outcomes: Callable[[], Found]
    lists: Sequence[PhraseList]
    provenance: Provenance
    model: Mapping[str, Any]

    def answered(self) -> Iterator[Finding]:
        """Yield what was found for each item that did not fail."""
        for item, outcome in self.outcomes():
            if isinstance(outcome, Answer):
                yield _finding(item, outcome, unpack(outcome.rankings, self.lists))


Write = Callable[[IO[bytes], Findings], None]


def _table(table: Table) -> Write:
    def write(file: IO[bytes], findings: Findings) -> None:
        file.write(table.header().encode())
        for finding in findings.answered():
            file.write(table.rows(finding, findings.provenance).encode())

    return write


def _json_lines(file: IO[bytes], findings: Findings) -> None:
    for item, outcome in findings.outcomes():
        file.write(json.dumps(_line(item, outcome, findings), ensure_ascii=False).encode() + b"\n")


def _parquet(file: IO[bytes], findings: Findings) -> None:
    write_parquet(file, findings.answered(), findings.provenance)


FORMS: Mapping[str, Mapping[str, Write]] = {
    ".csv": {name: _table(form.table) for name, form in FORMATS.items() if form.table},
    ".jsonl": {"jsonl": _json_lines},
    ".parquet": {"parquet": _parquet},
}
"""By the output's extension, and by name; the first is the default."""


def write_output(path: Path, write: Write, findings: Findings) -> None:
    """Write the output, in the order of the items. Raises OSError."""
    with _whole(path) as file:
        write(file, findings)


def write_errors(path: Path, findings: Findings) -> None:
    """Write a CSV of the items that failed, or remove it if none did. Raises OSError."""
    failed = ((item, outcome) for item, outcome in findings.outcomes() if isinstance(outcome, Failure))
    _write_beside(path, ("code", "detail"), ((item, (failure.code, failure.detail)) for item, failure in failed))


def write_warnings(path: Path, findings: Findings) -> None:
    """Write a CSV of the warnings, or remove it if there are none. Raises OSError."""
    answered = ((item, outcome) for item, outcome in findings.outcomes() if isinstance(outcome, Answer))
    _write_beside(path, ("warning",), ((item, (each,)) for item, answer in answered for each in answer.warnings))


def _write_beside(path: Path, names: tuple[str, ...], rows: Iterator[tuple[Item, tuple[str, ...]]]) -> None:
    first = next(rows, None)
    if first is None:
        path.unlink(missing_ok=True)
        return
    with _whole(path) as file:
        file.write(csv_line(("object_number", "place", "canvas", *names)).encode())
        for item, cells in chain([first], rows):
            file.write(csv_line((item.object_number, as_text(item.place), item.canvas, *cells)).encode())


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a new file that gets its name once all of it is on disk."""
    unfinished = path.with_name(f"{path.name}.unfinished")
    # Left by a kill, or a link that somebody else has put there, which is removed and not followed.
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, _NEW, 0o666), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _finding(item: Item, answer: Answer, rankings: tuple[RankedTerms, ...]) -> Finding:
    url = None if item.kind == "file" else item.place
    return Finding(Subject(item.object_number, url, item.canvas, item.manifest, answer.sha256), rankings)


def _line(item: Item, outcome: Outcome, findings: Findings) -> dict[str, Any]:
    """Return the service's answer to this picture alone, without what is the same for all."""
    image = {"source": item.kind, "place": as_text(item.place), "canvas": item.canvas, "manifest": item.manifest}
    line: dict[str, Any] = {"object_number": item.object_number}
    if isinstance(outcome, Failure):
        return line | {"image": image, "error": asdict(outcome)}
    sent: dict[str, Any] = {"sha256": outcome.sha256, "format": outcome.format}
    sent |= {"width": outcome.width, "height": outcome.height}
    if outcome.decoded_at:
        sent["decoded_at"] = dict(zip(("width", "height"), outcome.decoded_at, strict=True))
    lists = {
        ranked.list_name: {
            "count": ranked.candidates,
            "hash": ranked.hash,
            "predictions": [asdict(term) for term in ranked.terms],
        }
        for ranked in unpack(outcome.rankings, findings.lists)
    }
    date = findings.provenance.created.strftime("%Y-%m-%dT%H:%M:%SZ")
    warnings = {"warnings": outcome.warnings} if outcome.warnings else {}
    return line | {"image": image | sent, "lists": lists, **warnings, "model": findings.model, "date": date}


def require_pyarrow() -> None:
    """Raise JobError if pyarrow, an extra of this package, is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401, PLC0415  # takes 100 MB, which CSV does without
    except ImportError:
        raise JobError(
            "Parquet needs pyarrow, which is not installed: pip install 'gaze[bulk]', or write .csv or .jsonl."
        ) from None


def write_parquet(file: IO[bytes], findings: Iterable[Finding], provenance: Provenance) -> None:
    """Write all predictions. Raises JobError as require_pyarrow() does."""
    require_pyarrow()
    import pyarrow as pa  # noqa: PLC0415  # as above
    import pyarrow.parquet as pq  # noqa: PLC0415

    texts = ("object_number", "list", "label", "phrase", "uri", "model", "revision", "list_hash")
    types = dict.fromkeys(texts, pa.string()) | {
        "rank": pa.int32(),
        "probability": pa.float64(),
        "similarity": pa.float32(),
        "date": pa.timestamp("ms", tz="UTC"),
        "candidates": pa.int32(),
    }
    schema = pa.schema([(name, types[name]) for name in PLAIN.columns])
    with pq.ParquetWriter(file, schema) as writer:
        rows: list[tuple[Any, ...]] = []

        def flush() -> None:
            columns = zip(*rows, strict=True) if rows else ([] for _ in PLAIN.columns)
            arrays = [pa.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)]
            writer.write_batch(pa.record_batch(arrays, schema=schema))
            rows.clear()

        for row in _rows(findings, provenance):
            rows.append(row)
            if len(rows) == _ROWS:
                flush()
        flush()


def _rows(findings: Iterable[Finding], provenance: Provenance) -> Iterator[tuple[Any, ...]]:
    for finding in findings:
        for ranked in finding.lists:
            of_list = provenance.model, provenance.revision, provenance.created, ranked.hash, ranked.candidates
            for term in ranked.terms:
                of_term = term.rank, term.label, term.phrase, term.uri, term.probability, term.similarity
                yield finding.subject.object_number, ranked.list_name, *of_term, *of_list
