"""Reads tables as the systems' importers do, from their documentation: CSV text -> predictions by object.

Not their code: only what their manuals say of a file, and what PHP's manual says of fgetcsv.
"""

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field

from tests.support.notes import prediction_in

Prediction = dict[str, str]
_GUARDED = re.compile(r"'+[=+\-@\t\r\n＝＋－＠]")


@dataclass
class Record:
    """What became of one record: the predictions that its notes tell, and what else the system took from the row."""

    identifier: str
    predictions: list[Prediction]
    taken: dict[str, list[str]] = field(default_factory=dict)


def unguarded(cell: str) -> str:
    """Return a cell without the apostrophe that keeps spreadsheets from taking it for a formula."""
    return cell[1:] if _GUARDED.match(cell) else cell


def rfc_4180(text: str) -> list[list[str]]:
    """Return the cells of a file whose lines all end with CR LF and have as many cells as the first."""
    assert text.endswith("\r\n")
    rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert all(len(row) == len(rows[0]) for row in rows)
    return rows


def fgetcsv(text: str) -> list[list[str]]:
    """Return the cells as PHP reads them: in quotes, a backslash keeps the quote after it from ending the cell."""
    rows: list[list[str]] = []
    row, cell, within, at = [], "", False, 0
    while at < len(text):
        two = text[at : at + 2]
        if within and two[0] == "\\":
            cell += two
            at += 2
            continue
        if within and two == '""':
            cell += '"'
            at += 1
        elif two[0] == '"':
            within = not within
        elif within:
            cell += two[0]
        elif two[0] == ",":
            row.append(cell)
            cell = ""
        elif two == "\r\n":
            rows.append([*row, cell])
            row, cell = [], ""
            at += 1
        else:
            cell += two[0]
        at += 1
    assert not within
    assert all(len(each) == len(rows[0]) for each in rows)
    return rows


def plain(text: str) -> list[tuple[str, Prediction]]:
    """Return object number and prediction of each row; an empty cell is a value that is not known."""
    header, *rows = rfc_4180(text)
    assert header[0] == "object_number"
    read = []
    for row in rows:
        number, *values = map(unguarded, row)
        read.append((number, {name: value for name, value in zip(header[1:], values, strict=True) if value}))
    return read


def collectionspace(text: str) -> list[Record]:
    """One row is a record; `|` parts the values of a repeatable field, and the fields of a group run in step."""
    header, *rows = rfc_4180(text)
    assert header == ["objectNumber", "annotationType", "annotationDate", "annotationNote"]
    records = []
    for row in rows:
        number, *group = map(unguarded, row)
        assert number
        kinds, dates, notes = (cell.split("|") for cell in group)
        assert len(kinds) == len(dates) == len(notes)
        assert "💣" not in kinds + dates + notes  # it would empty the field
        assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for date in dates)
        records.append(Record(number, list(map(prediction_in, notes)), {"type": kinds, "date": dates}))
    return records


def omeka_s(text: str) -> list[Record]:
    """Headers are `prefix:term`, the second column of a term is imported as URIs; `|` is the multivalue separator."""
    header, *rows = fgetcsv(text)
    seen: Counter[str] = Counter()
    columns = []
    for name in header:
        seen[name] += 1
        columns.append((name, seen[name] == 2))
    assert all(name == "is_public" or re.fullmatch(r"dcterms:[a-z]+", name) for name in header)
    records = []
    for row in rows:
        taken: dict[str, list[str]] = {}
        for (name, of_uris), cell in zip(columns, row, strict=True):
            repeated = name not in ("dcterms:identifier", "is_public")
            values = unguarded(cell).split("|") if repeated else [unguarded(cell)]
            for value in filter(None, (value.strip() for value in values)):
                if of_uris:
                    uri, _, label = value.partition(" ")
                    assert re.match(r"https?://|urn:", uri)
                    taken.setdefault(f"{name} URI", []).append(uri)
                    value = label  # noqa: PLW2901
                taken.setdefault(name, []).append(value)
        [identifier] = taken.pop("dcterms:identifier")
        notes = taken.pop("dcterms:description")
        records.append(Record(identifier, list(map(prediction_in, notes)), taken))
    return records


def resourcespace(text: str) -> list[Record]:
    """Cells are trimmed and backslashes become slashes; the keywords of a cell are CSV; headers are unique."""
    assert not text.startswith("\ufeff")
    header, *rows = fgetcsv(text)
    assert header == ["Object number", "status", "Keywords", "Notes"]
    records = []
    for row in rows:
        number, status, keywords, notes = (unguarded(cell).strip().replace("\\", "/") for cell in row)
        assert int(status) in (-2, -1, 0, 1, 2)
        [words] = fgetcsv(f"{keywords}\r\n")
        taken = {"status": [status], "keywords": [word.strip() for word in words]}
        records.append(Record(number, list(map(prediction_in, notes.split("\n"))), taken))
    return records


def collectiveaccess(text: str) -> list[Record]:
    """Columns are numbered from 1; with `|` as delimiter and in one group, values run in step, and blanks count."""
    _, *rows = fgetcsv(text)
    records = []
    for row in rows:
        column = dict(enumerate(map(unguarded, row), start=1))
        labels, uris, notes = (column[number].split("|") for number in (3, 4, 5))
        assert len(labels) == len(uris) == len(notes)
        records.append(
            Record(column[1], list(map(prediction_in, notes)), {"review": [column[2]], "labels": labels, "uris": uris})
        )
    return records
