"""Findings -> the rows that catalogue systems import, as CSV text.

Sources: ResourceSpace's knowledge base and plugin csv_upload; Omeka S, module CSV Import; CollectionSpace's CSV
importer and its templates for objects; CollectiveAccess' manual on import mappings. docs/recipes.md has the steps.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from service.documents.csv_text import csv_line, quoted
from service.documents.finding import Finding, Machine, RankedTerms, Term
from service.documents.kinds import Kind, kind_of
from service.documents.naming import escaped_iri, picture_name, utc
from service.documents.note import MARK, Value, item, note, values_of

BETWEEN_ITEMS = "|"
"""What parts the values of a repeated cell: CollectionSpace's own, and to be named to Omeka S and CollectiveAccess."""

COLLECTIONSPACE_TYPE = "machine suggestion"
OMEKA_PRIVATE = 0
RESOURCESPACE_PENDING_REVIEW = -1

Row = Sequence[Value]


@dataclass(frozen=True)
class Table:
    """A form of CSV: its columns, and how a finding becomes rows of them. A picture without predictions has no row."""

    columns: tuple[str, ...]
    rows_of: Callable[[Finding, Machine], Iterable[Row]]

    def header(self) -> str:
        """Return the first line of the file."""
        return csv_line(self.columns)

    def rows(self, finding: Finding, machine: Machine) -> str:
        """Return the lines of one finding, each with its line end."""
        return "".join(map(csv_line, self.rows_of(finding, machine)))


def _predictions(finding: Finding) -> list[tuple[RankedTerms, Term]]:
    return [(ranked, term) for ranked in finding.lists for term in ranked.terms]


def _notes(finding: Finding, machine: Machine) -> list[str]:
    return [note(ranked, term, machine) for ranked, term in _predictions(finding)]


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


def _plain(finding: Finding, machine: Machine) -> Iterator[Row]:
    """One row a prediction."""
    number = picture_name(finding.subject, machine)
    for ranked, term in _predictions(finding):
        values = values_of(ranked, term, machine)
        yield (number, *(values[column] for column in _PLAIN_COLUMNS[1:]))


def _collectionspace(finding: Finding, machine: Machine) -> Iterator[Row]:
    """One row an object. Its predictions repeat the group of annotations, all with one type and one date."""
    notes = _notes(finding, machine)
    if notes:
        kinds, dates = [COLLECTIONSPACE_TYPE] * len(notes), [utc(machine)[:10]] * len(notes)
        yield picture_name(finding.subject, machine), *map(BETWEEN_ITEMS.join, (kinds, dates, notes))


_OMEKA_PROPERTIES = {Kind.ARTIST: "contributor", Kind.MATERIAL: "medium", Kind.TECHNIQUE: "medium"}
_OMEKA_COLUMNS = tuple((name, has_uri) for name in ("subject", "medium", "contributor") for has_uri in (False, True))


def _omeka_s(finding: Finding, machine: Machine) -> Iterator[Row]:
    """One row an item. Each property has a column of texts, and one of terms with a URI, which are `URI label`."""
    cells: dict[tuple[str, bool], list[str]] = {column: [] for column in _OMEKA_COLUMNS}
    for ranked, term in _predictions(finding):
        name = _OMEKA_PROPERTIES.get(kind_of(ranked.list_name), "subject")
        text = term.label if term.uri is None else f"{escaped_iri(term.uri)} {term.label}"
        cells[name, term.uri is not None].append(item(text))
    notes = _notes(finding, machine)
    if notes:
        repeated = map(BETWEEN_ITEMS.join, (*cells.values(), notes))
        yield picture_name(finding.subject, machine), OMEKA_PRIVATE, *repeated


def _resourcespace(finding: Finding, machine: Machine) -> Iterator[Row]:
    """One row a resource. The keywords are CSV within a cell; each line of the notes is a prediction."""
    notes = _notes(finding, machine)
    if notes:
        labels = dict.fromkeys(item(term.label) for _, term in _predictions(finding))
        keywords = ",".join(map(quoted, labels))
        yield picture_name(finding.subject, machine), RESOURCESPACE_PENDING_REVIEW, keywords, "\n".join(notes)


def _collectiveaccess(finding: Finding, machine: Machine) -> Iterator[Row]:
    """One row a record, one column an element. Labels, URIs and notes repeat in step; no URI is an empty value."""
    predictions = _predictions(finding)
    if predictions:
        labels = [item(term.label) for _, term in predictions]
        uris = [item(escaped_iri(term.uri or "")) for _, term in predictions]
        repeated = map(BETWEEN_ITEMS.join, (labels, uris, _notes(finding, machine)))
        yield picture_name(finding.subject, machine), MARK, *repeated


PLAIN = Table(_PLAIN_COLUMNS, _plain)
COLLECTIONSPACE = Table(("objectNumber", "annotationType", "annotationDate", "annotationNote"), _collectionspace)
OMEKA_S = Table(
    ("dcterms:identifier", "is_public", *(f"dcterms:{name}" for name, _ in _OMEKA_COLUMNS), "dcterms:description"),
    _omeka_s,
)
RESOURCESPACE = Table(("Object number", "status", "Keywords", "Notes"), _resourcespace)
COLLECTIVEACCESS = Table(("idno", "review", "label", "uri", "note"), _collectiveaccess)
