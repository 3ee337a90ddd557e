"""Findings -> Parquet: one prediction a row, with the columns of the plain CSV in types of their own."""

from collections.abc import Iterable, Iterator
from typing import IO, Any

from service.documents.finding import Finding, Machine
from service.documents.tables import PLAIN
from service.errors import InvalidRequest

_ROWS = 65_536
"""Of a row group; so many are in memory at a time."""


def require_pyarrow() -> None:
    """Raise InvalidRequest where pyarrow, an extra of this package, is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401, PLC0415  # takes 100 MB, which CSV does without
    except ImportError:
        raise InvalidRequest(
            "Parquet needs pyarrow, which is not installed: pip install 'gaze[bulk]', or write .csv or .jsonl."
        ) from None


def write_parquet(file: IO[bytes], findings: Iterable[Finding], machine: Machine) -> None:
    """Write all predictions. Raises InvalidRequest as require_pyarrow() does."""
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

        for row in _rows(findings, machine):
            rows.append(row)
            if len(rows) == _ROWS:
                flush()
        flush()


def _rows(findings: Iterable[Finding], machine: Machine) -> Iterator[tuple[Any, ...]]:
    for finding in findings:
        for ranked in finding.lists:
            of_list = machine.model, machine.revision, machine.created, ranked.hash, ranked.candidates
            for term in ranked.terms:
                of_term = term.rank, term.label, term.phrase, term.uri, term.probability, term.similarity
                yield finding.subject.object_number, ranked.list_name, *of_term, *of_list
