"""Tables for import: read back as each system reads them, they say the same predictions."""

import csv
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.documents.finding import Finding, Provenance, RankedTerms, Subject, Term
from service.documents.formats import FORMATS
from service.documents.naming import picture_name
from service.documents.tables import csv_line
from tests.support import import_readers
from tests.support.import_readers import Record, fgetcsv, rfc_4180, unguarded
from tests.support.museum_findings import (
    FINDINGS,
    HOSTILE,
    HOSTILE_FINDING,
    NOTHING,
    ORDINARY,
    PAGE,
    PROVENANCE,
    UPLOAD,
    ranked,
    term,
)

READERS: dict[str, Callable[[str], list[Record]]] = {
    "csv-collectionspace": import_readers.collectionspace,
    "csv-omeka-s": import_readers.omeka_s,
    "csv-resourcespace": import_readers.resourcespace,
    "csv-collectiveaccess": import_readers.collectiveaccess,
}
WRITTEN_URIS = {'https://terms.example/a|"b': "https://terms.example/a%7C%22b"}


def prediction(of_list: RankedTerms, each: Term) -> dict[str, str]:
    values: dict[str, Any] = {
        "list": of_list.list_name,
        "rank": each.rank,
        "label": each.label,
        "phrase": each.phrase,
        "probability": each.probability,
        "similarity": each.similarity,
        "model": PROVENANCE.model,
        "revision": PROVENANCE.revision,
        "date": "2026-01-15T10:00:00Z",
        "list_hash": of_list.hash,
        "candidates": of_list.candidates,
    }
    if each.uri is not None:
        values["uri"] = WRITTEN_URIS.get(each.uri, each.uri)
    return {name: str(value) for name, value in values.items()}


def predictions(finding: Finding) -> list[dict[str, str]]:
    return [prediction(of_list, each) for of_list in finding.lists for each in of_list.terms]


def rendered(name: str, *findings: Finding) -> str:
    return "".join(FORMATS[name].render(findings, PROVENANCE, PAGE))


def records(name: str, *findings: Finding) -> list[Record]:
    return READERS[name](rendered(name, *findings))


def test_the_plain_form_has_the_columns_that_were_promised() -> None:
    assert rfc_4180(rendered("csv"))[0] == [
        *("object_number", "list", "rank", "label", "phrase", "uri", "probability", "similarity", "model", "revision"),
        *("date", "list_hash", "candidates"),
    ]


def test_the_plain_form_reads_back() -> None:
    assert import_readers.plain(rendered("csv", *FINDINGS)) == [
        (picture_name(finding.subject, PROVENANCE), each) for finding in FINDINGS for each in predictions(finding)
    ]


@pytest.mark.parametrize("name", READERS)
def test_a_systems_form_reads_back(name: str) -> None:
    read = records(name, *FINDINGS)
    assert [(record.identifier, record.predictions) for record in read] == [
        (picture_name(finding.subject, PROVENANCE), predictions(finding))
        for finding in (ORDINARY, UPLOAD, HOSTILE_FINDING)
    ]


@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith("csv")])
def test_numbers_read_back_exactly(name: str) -> None:
    numbers = [0.1 + 0.2, 5.056198005440168e-10, 1.8322263497794954e-18, 1.0, 1e-320]
    finding = Finding(Subject("1"), (ranked("l", *(term(1, "a", None, number, -number) for number in numbers)),))
    text = rendered(name, finding)
    read = [each for _, each in import_readers.plain(text)] if name == "csv" else READERS[name](text)[0].predictions
    assert [(float(each["probability"]), float(each["similarity"])) for each in read] == [(x, -x) for x in numbers]


@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith("csv")])
def test_rows_are_those_of_the_whole(name: str) -> None:
    table = FORMATS[name].table
    assert table is not None
    assert table.header() + "".join(table.rows(each, PROVENANCE) for each in FINDINGS) == rendered(name, *FINDINGS)
    assert table.rows(NOTHING, PROVENANCE) == ""
    assert table.header().count("\n") == 1


@pytest.mark.parametrize("name", FORMATS)
def test_every_form_tells_model_revision_list_candidates_and_date(name: str) -> None:
    text = rendered(name, ORDINARY)
    assert PROVENANCE.revision is not None
    for told in (PROVENANCE.model, PROVENANCE.revision, ORDINARY.lists[0].hash, "193", "2026-01-15T10:00:00Z"):
        assert told in text
    for uri in ("http://vocab.getty.edu/aat/300021503", "http://vocab.getty.edu/ulan/500019484"):
        assert uri in text
    text.encode()


@pytest.mark.parametrize("name", FORMATS)
def test_every_form_can_be_written_for_a_name_that_is_no_text(name: str) -> None:
    finding = Finding(Subject("latin\udce9"), ORDINARY.lists)
    assert b"latin?" in rendered(name, finding).encode() or b"latin%3F" in rendered(name, finding).encode()


def test_collectionspace_has_a_date_and_the_machines_type_for_each_note() -> None:
    [record] = records("csv-collectionspace", ORDINARY)
    count = len(predictions(ORDINARY))
    assert record.taken == {"type": ["machine suggestion"] * count, "date": ["2026-01-15"] * count}


def test_omeka_s_has_texts_and_uris_of_each_property_in_columns_of_their_own() -> None:
    [record] = records("csv-omeka-s", ORDINARY)
    assert record.taken == {
        "is_public": ["0"],
        "dcterms:subject": ["tonalism", "action painting", "impressionism", "airbrush"],
        "dcterms:subject URI": ["http://vocab.getty.edu/aat/300021503", "http://vocab.getty.edu/aat/300022706"],
        "dcterms:medium": ["oil paint", "woodcut"],
        "dcterms:medium URI": ["http://vocab.getty.edu/aat/300015050", "http://vocab.getty.edu/aat/300041405"],
        "dcterms:contributor": ["by nobody", "claude monet", "gerhard richter"],
        "dcterms:contributor URI": ["http://vocab.getty.edu/ulan/500019484", "http://www.wikidata.org/entity/Q164683"],
    }


def test_resourcespace_waits_for_review_and_has_each_label_once_as_keyword() -> None:
    doubled = Finding(Subject("1"), (ranked("a", term(1, "pen, ink"), term(2, "wash")), ranked("b", term(1, "wash"))))
    [record] = records("csv-resourcespace", doubled)
    assert record.taken == {"status": ["-1"], "keywords": ["pen, ink", "wash"]}


def test_collectiveaccess_keeps_labels_and_uris_in_step() -> None:
    [record] = records("csv-collectiveaccess", ORDINARY)
    assert record.taken["review"] == ["Machine suggestion, not reviewed"]
    assert list(zip(record.taken["labels"], record.taken["uris"], strict=True)) == [
        (each["label"], each.get("uri", "")) for each in predictions(ORDINARY)
    ]


@pytest.mark.parametrize("name", [name for name in FORMATS if name.startswith("csv")])
def test_no_cell_begins_like_a_formula(name: str) -> None:
    numbers = re.compile(r"-?\d+(\.\d+)?(e-?\d+)?")
    cells = [cell for row in rfc_4180(rendered(name, *FINDINGS)) for cell in row]
    assert "'=2+3" in cells
    assert not [cell for cell in cells if re.match(r"[=+\-@\t\r\n＝＋－＠]", cell) and not numbers.fullmatch(cell)]


@settings(deadline=None)
@given(
    st.lists(
        st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(codec="utf-8", exclude_characters="\0"))), min_size=2
    )
)
def test_any_text_reads_back_from_a_line(texts: list[str]) -> None:
    line = csv_line(texts)
    [row] = csv.reader(io.StringIO(line, newline=""), strict=True)
    assert [unguarded(cell) for cell in row] == texts


def test_phps_reader_is_played_with_its_backslash() -> None:
    assert fgetcsv('a,"b ""c"" d"\r\n"x\\",y",z\r\n') == [["a", 'b "c" d'], ['x\\",y', "z"]]


def test_forms_have_media_types_and_endings() -> None:
    assert {name: (each.extension, each.table is None) for name, each in FORMATS.items()} == {
        "annotations": ("json", True),
        "linked-art": ("json", True),
        "csv": ("csv", False),
        "csv-collectionspace": ("csv", False),
        "csv-omeka-s": ("csv", False),
        "csv-resourcespace": ("csv", False),
        "csv-collectiveaccess": ("csv", False),
    }
    assert all(re.fullmatch(r"(text/csv|application/ld\+json); .+", each.media_type) for each in FORMATS.values())


def test_a_model_without_a_revision_leaves_it_out() -> None:
    provenance = Provenance("demo", None, "1.2.3", PROVENANCE.address, PROVENANCE.created)
    [(_, read)] = import_readers.plain("".join(FORMATS["csv"].render([UPLOAD], provenance, PAGE)))
    assert "revision" not in read
    [record] = import_readers.omeka_s("".join(FORMATS["csv-omeka-s"].render([UPLOAD], provenance, PAGE)))
    assert "revision" not in record.predictions[0]
