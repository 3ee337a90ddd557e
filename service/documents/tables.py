"""Findings -> the rows that catalogue systems import, as CSV (RFC 4180), in UTF-8 without a byte order mark.

No mark, because ResourceSpace refuses it and others would read it as a part of the first header.
Sources: ResourceSpace's knowledge base and plugin csv_upload; Omeka S, module CSV Import; CollectionSpace's CSV
importer and its templates for objects; CollectiveAccess' manual on import mappings. docs/recipes.md has the steps.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from service.documents.finding import Finding, Kind, Provenance, RankedTerms, Term, kind_of
from service.documents.naming import MARK, Value, escaped_iri, item, note, picture_name, shown, utc, values_of

_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
_QUOTED = re.compile(r'[",\r\n]')

BETWEEN_ITEMS = "|"
"""Separates the values of a repeated cell: CollectionSpace's own; Omeka S and CollectiveAccess must be told it."""

COLLECTIONSPACE_TYPE = "machine suggestion"
OMEKA_PRIVATE = 0
RESOURCESPACE_PENDING_REVIEW = -1
Row = Sequence[Value]


def csv_line(cells: Iterable[Value]) -> str:
    """Return one line with its line end, in which spreadsheets see no formula.

    A text that begins like one, even after apostrophes, is prefixed with an apostrophe. Readers restore a text by
    removing one leading apostrophe. Numbers are unchanged.
    """
    return ",".join(quoted(_guarded(cell) if isinstance(cell, str) else shown(cell)) for cell in cells) + "\r\n"


def quoted(text: str) -> str:
    """Return a text in quotes where it needs them."""
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _guarded(text: str) -> str:
    return f"'{text}" if _FORMULA.match(text) else text


@dataclass(frozen=True)
class Table:
    """A CSV format: its columns, and how a finding becomes rows. A picture without predictions has no row."""

    columns: tuple[str, ...]
    rows_of: Callable[[Finding, Provenance], Iterable[Row]]

    def header(self) -> str:
        """Return the first line of the file."""
        return csv_line(self.columns)

    def rows(self, finding: Finding, provenance: Provenance) -> str:
        """Return the lines of one finding, each with its line end."""
        return "".join(map(csv_line, self.rows_of(finding, provenance)))


def _predictions(finding: Finding) -> list[tuple[RankedTerms, Term]]:
    return [(ranked, term) for ranked in finding.lists for term in ranked.terms]


def _notes(finding: Finding, provenance: Provenance) -> list[str]:
    return [note(ranked, term, provenance) for ranked, term in _predictions(finding)]


_PLAIN_COLUMNS = (
    "object_number",
    "list",
    "rank",
    "label",
    "phrase",
    "uri",
    "probability",
    "similarity",
    "model",
    "revision",
    "date",
    "list_hash",
    "candidates",
)


def _plain(finding: Finding, provenance: Provenance) -> Iterator[Row]:
    """One row a prediction."""
    number = picture_name(finding.subject, provenance)
    for ranked, term in _predictions(finding):
        values = values_of(ranked, term, provenance)
        yield (number, *(values[column] for column in _PLAIN_COLUMNS[1:]))


def _collectionspace(finding: Finding, provenance: Provenance) -> Iterator[Row]:
    """One row an object. Its predictions repeat the group of annotations, all with one type and one date."""
    notes = _notes(finding, provenance)
    if notes:
        kinds, dates = [COLLECTIONSPACE_TYPE] * len(notes), [utc(provenance)[:10]] * len(notes)
        yield picture_name(finding.subject, provenance), *map(BETWEEN_ITEMS.join, (kinds, dates, notes))


_OMEKA_PROPERTIES = {Kind.ARTIST: "contributor", Kind.MATERIAL: "medium", Kind.TECHNIQUE: "medium"}
_OMEKA_COLUMNS = tuple((name, has_uri) for name in ("subject", "medium", "contributor") for has_uri in (False, True))


def _omeka_s(finding: Finding, provenance: Provenance) -> Iterator[Row]:
    """One row an item. Each property has a column of texts, and one of terms with a URI, which are `URI label`."""
    cells: dict[tuple[str, bool], list[str]] = {column: [] for column in _OMEKA_COLUMNS}
    for ranked, term in _predictions(finding):
        name = _OMEKA_PROPERTIES.get(kind_of(ranked.list_name), "subject")
        text = term.label if term.uri is None else f"{escaped_iri(term.uri)} {term.label}"
        cells[name, term.uri is not None].append(item(text))
    notes = _notes(finding, provenance)
    if notes:
        repeated = map(BETWEEN_ITEMS.join, (*cells.values(), notes))
        yield picture_name(finding.subject, provenance), OMEKA_PRIVATE, *repeated


def _resourcespace(finding: Finding, provenance: Provenance) -> Iterator[Row]:
    """One row a resource. The keywords are CSV within a cell; each line of the notes is a prediction."""
    notes = _notes(finding, provenance)
    if notes:
        labels = dict.fromkeys(item(term.label) for _, term in _predictions(finding))
        keywords = ",".join(map(quoted, labels))
        yield picture_name(finding.subject, provenance), RESOURCESPACE_PENDING_REVIEW, keywords, "\n".join(notes)


def _collectiveaccess(finding: Finding, provenance: Provenance) -> Iterator[Row]:
    """One row a record, one column an element. Labels, URIs and notes repeat in step; no URI is an empty value."""
    predictions = _predictions(finding)
    if predictions:
        labels = [item(term.label) for _, term in predictions]
        uris = [item(escaped_iri(term.uri or "")) for _, term in predictions]
        repeated = map(BETWEEN_ITEMS.join, (labels, uris, _notes(finding, provenance)))
        yield picture_name(finding.subject, provenance), MARK, *repeated


PLAIN = Table(_PLAIN_COLUMNS, _plain)
COLLECTIONSPACE = Table(("objectNumber", "annotationType", "annotationDate", "annotationNote"), _collectionspace)
OMEKA_S = Table(
    ("dcterms:identifier", "is_public", *(f"dcterms:{name}" for name, _ in _OMEKA_COLUMNS), "dcterms:description"),
    _omeka_s,
)
RESOURCESPACE = Table(("Object number", "status", "Keywords", "Notes"), _resourcespace)
COLLECTIVEACCESS = Table(("idno", "review", "label", "uri", "note"), _collectiveaccess)
