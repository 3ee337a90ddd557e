"""The document formats of answers, by name."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from service.documents.annotation_page import annotations, page_head
from service.documents.finding import Finding, Provenance
from service.documents.linked_art import linked_art
from service.documents.tables import COLLECTIONSPACE, COLLECTIVEACCESS, OMEKA_S, PLAIN, RESOURCESPACE, Table


@dataclass(frozen=True)
class Format:
    """A document format.

    render:     findings, their provenance and the document's IRI -> its text, to be encoded as UTF-8, in parts
    bytes_each: estimate for a prediction, besides its texts and the picture's IRI
    times:      how many times, or how many times as long, its texts appear at most
    table:      for formats that can be written finding by finding
    """

    media_type: str
    extension: str
    render: Callable[[Sequence[Finding], Provenance, str], Iterator[str]]
    bytes_each: int
    times: int
    table: Table | None = None


def _annotations(findings: Sequence[Finding], provenance: Provenance, document_id: str) -> Iterator[str]:
    yield f'{_json(page_head(findings, provenance, document_id))[:-1]}, "items": ['
    between = ""
    for number, finding in enumerate(findings, start=1):
        items = _json(list(annotations(finding, provenance, f"{document_id}#{number}")))[1:-1]
        if items:
            yield between + items
            between = ", "
    yield "]}"


def _linked_art(findings: Sequence[Finding], provenance: Provenance, _: str) -> Iterator[str]:
    # A Linked Art document has one record; any other number is an array.
    records = (_json(linked_art(finding, provenance)) for finding in findings)
    if len(findings) == 1:
        yield from records
        return
    yield "["
    for number, record in enumerate(records):
        yield f", {record}" if number else record
    yield "]"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _csv(table: Table, *, bytes_each: int, times: int) -> Format:
    def render(findings: Sequence[Finding], provenance: Provenance, _: str) -> Iterator[str]:
        yield table.header()
        yield from (table.rows(finding, provenance) for finding in findings)

    return Format("text/csv; charset=utf-8; header=present", "csv", render, bytes_each, times, table)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "annotations": Format(
            'application/ld+json; profile="http://iiif.io/api/presentation/3/context.json"',
            "json",
            _annotations,
            1_300,
            1,
        ),
        "linked-art": Format(
            'application/ld+json; profile="https://linked.art/ns/v1/linked-art.json"',
            "json",
            _linked_art,
            bytes_each=1_400,
            times=3,
        ),
        "csv": _csv(PLAIN, bytes_each=400, times=1),
        "csv-collectionspace": _csv(COLLECTIONSPACE, bytes_each=500, times=4),
        "csv-omeka-s": _csv(OMEKA_S, bytes_each=500, times=5),
        "csv-resourcespace": _csv(RESOURCESPACE, bytes_each=500, times=5),
        "csv-collectiveaccess": _csv(COLLECTIVEACCESS, bytes_each=500, times=5),
    }
)
