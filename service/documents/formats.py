"""The forms that answers can be had in, by name."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from service.documents.annotation_page import annotation_page
from service.documents.finding import Finding, Machine
from service.documents.linked_art import linked_art_records
from service.documents.tables import COLLECTIONSPACE, COLLECTIVEACCESS, OMEKA_S, PLAIN, RESOURCESPACE, Table


@dataclass(frozen=True)
class Format:
    """A form of document.

    render: findings, the machine, and the IRI that the document is to have -> its text, to be encoded as UTF-8
    table:  for forms that can be written finding by finding; None for documents that are whole or not at all
    """

    media_type: str
    extension: str
    render: Callable[[Sequence[Finding], Machine, str], str]
    table: Table | None = None


def _annotations(findings: Sequence[Finding], machine: Machine, document_id: str) -> str:
    return json.dumps(annotation_page(findings, machine, document_id), ensure_ascii=False)


def _linked_art(findings: Sequence[Finding], machine: Machine, _: str) -> str:
    return json.dumps(linked_art_records(findings, machine), ensure_ascii=False)


def _csv(table: Table) -> Format:
    def render(findings: Sequence[Finding], machine: Machine, _: str) -> str:
        return table.text(findings, machine)

    return Format("text/csv; charset=utf-8; header=present", "csv", render, table)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "annotations": Format(
            'application/ld+json; profile="http://iiif.io/api/presentation/3/context.json"', "json", _annotations
        ),
        "linked-art": Format(
            'application/ld+json; profile="https://linked.art/ns/v1/linked-art.json"', "json", _linked_art
        ),
        "csv": _csv(PLAIN),
        "csv-collectionspace": _csv(COLLECTIONSPACE),
        "csv-omeka-s": _csv(OMEKA_S),
        "csv-resourcespace": _csv(RESOURCESPACE),
        "csv-collectiveaccess": _csv(COLLECTIVEACCESS),
    }
)
