"""Linked Art records: its JSON schemas, also where they look no deeper, and what each kind of list becomes."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]
from referencing import Registry, Resource

from service.documents.finding import Finding, Kind, Subject, kind_of
from service.documents.formats import FORMATS
from service.documents.linked_art import linked_art
from service.zero_shot.phrase_lists import built_in_folder, read_lists
from tests.support.museum_findings import EVERY_TERM, FINDINGS, HOSTILE_FINDING, NOTHING, ORDINARY, PROVENANCE, UPLOAD
from tests.support.notes import prediction_in

SCHEMAS = "https://linked.art/api/1.0/schema/"
REGISTRY: Registry[Any] = Registry().with_resources(
    (f"{SCHEMAS}{file.name}", Resource.from_contents(json.loads(file.read_text())))
    for file in (Path(__file__).parent / "schemas" / "la").glob("*.json")
)
AI_GENERATED = "http://vocab.getty.edu/aat/300456841"
AI = "http://vocab.getty.edu/aat/300456842"
POSSIBLY_BY = "http://vocab.getty.edu/aat/300404272"


def errors(value: Any, schema: str) -> list[str]:
    validator = Draft202012Validator({"$ref": f"{SCHEMAS}{schema}"}, registry=REGISTRY, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def assignments(record: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = record.get("attributed_by", []) + record.get("produced_by", {}).get(
        "attributed_by", []
    )
    return found


def assigned_by_label(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["_label"].removeprefix("Machine suggestion, not reviewed: "): each for each in assignments(record)}


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_record_validates(finding: Finding) -> None:
    record = linked_art(finding, PROVENANCE)
    assert errors(record, "object.json") == []
    # The schema of a production leaves its assignments, and that of an assignment what it assigns, unchecked.
    for assignment in assignments(record):
        assert errors(assignment, "core.json#/$defs/AttributeAssignment") == []
        [assigned] = assignment["assigned"]
        schema = {
            "Type": "core.json#/$defs/Concept",
            "Material": "core.json#/$defs/MaterialRef",
            "Production": "object.json#/$defs/Production",
        }[assigned["type"]]
        assert errors(assigned, schema) == []


def test_the_validator_looks_into_core_and_at_formats() -> None:
    record = linked_art(ORDINARY, PROVENANCE)
    record["attributed_by"][0]["technique"][0]["id"] = "not a uri"
    record["attributed_by"][1]["timespan"]["begin_of_the_begin"] = "yesterday"
    record["referred_to_by"][0]["probability"] = 0.5
    assert len(errors(record, "object.json")) == 3


def test_every_prediction_stands_in_the_record_once() -> None:
    """As an assignment where it has a URI, and as a statement of the object where it has none."""
    for finding in FINDINGS:
        record = linked_art(finding, PROVENANCE)
        expected = [(ranked, term) for of_finding, ranked, term in EVERY_TERM if of_finding is finding]
        assigned = [assignment["referred_to_by"][0]["content"] for assignment in assignments(record)]
        stated = [statement["content"] for statement in record.get("referred_to_by", [])]
        assert len(assigned) == sum(term.uri is not None for _, term in expected)
        assert len(stated) == sum(term.uri is None for _, term in expected)
        notes = [prediction_in(content) for content in assigned + stated]
        assert {
            (each["list"], each["rank"], each["label"], each["probability"], each["list_hash"]) for each in notes
        } == {
            (ranked.list_name, str(term.rank), term.label, repr(term.probability), ranked.hash)
            for ranked, term in expected
        }


def test_an_artist_is_a_possible_maker_of_a_part_of_the_production() -> None:
    assignment = assigned_by_label(linked_art(ORDINARY, PROVENANCE))["claude monet"]
    assert assignment in linked_art(ORDINARY, PROVENANCE)["produced_by"]["attributed_by"]
    assert [each["id"] for each in assignment["classified_as"]] == [POSSIBLY_BY, AI_GENERATED]
    assert assignment["assigned_property"] == "part"
    assert assignment["assigned"] == [
        {
            "type": "Production",
            "carried_out_by": [
                {"id": "http://vocab.getty.edu/ulan/500019484", "type": "Person", "_label": "claude monet"}
            ],
        }
    ]


@pytest.mark.parametrize(
    ("label", "of", "assigned_property", "kind"),
    [
        ("impressionism", "object", "classified_as", "Type"),
        ("oil paint", "object", "made_of", "Material"),
        ("woodcut", "production", "technique", "Type"),
        ("airbrush", "object", None, "Type"),
        ("canvas", "object", "made_of", "Material"),
    ],
)
def test_a_list_becomes_the_property_that_it_is_of(
    label: str, of: str, assigned_property: str | None, kind: str
) -> None:
    record = linked_art(Finding(Subject("1"), ORDINARY.lists + UPLOAD.lists), PROVENANCE)
    assignment = assigned_by_label(record)[label]
    assert assignment in (record if of == "object" else record["produced_by"])["attributed_by"]
    assert assignment.get("assigned_property") == assigned_property
    assert [each["id"] for each in assignment["classified_as"]] == [AI_GENERATED]
    [assigned] = assignment["assigned"]
    assert (assigned["type"], assigned["_label"]) == (kind, label)


def test_what_each_built_in_list_is_of_has_been_thought_of() -> None:
    others = {"qualities", "sites", "tools"}
    assert {name for name in read_lists(built_in_folder()) if kind_of(name) is Kind.OTHER} == others


def test_each_assignment_says_that_a_machine_made_it_which_and_when() -> None:
    for finding in FINDINGS:
        for assignment in assignments(linked_art(finding, PROVENANCE)):
            assert AI_GENERATED in [each["id"] for each in assignment["classified_as"]]
            assert [each["id"] for each in assignment["technique"]] == [AI]
            [model] = assignment["influenced_by"]
            assert model["_label"] == f"{PROVENANCE.model}@{PROVENANCE.revision}"
            assert assignment["timespan"]["begin_of_the_begin"] == "2026-01-15T10:00:00Z"


def test_nothing_is_asserted_of_the_object_itself() -> None:
    for finding in FINDINGS:
        record = linked_art(finding, PROVENANCE)
        assert not {"made_of", "classified_as", "shows"} & set(record)
        assert set(record.get("produced_by", {})) <= {"type", "attributed_by"}
        for statement in record.get("referred_to_by", []):
            assert AI_GENERATED in [each["id"] for each in statement["classified_as"]]


def test_the_object_is_another_thing_than_its_picture() -> None:
    record = linked_art(ORDINARY, PROVENANCE)
    assert record["id"] == "https://museum.example/iiif/obj1/canvas/p1#object"
    assert record["identified_by"] == [{"type": "Identifier", "content": "1937.1.84"}]
    shown = record["representation"][0]["digitally_shown_by"][0]["access_point"]
    assert shown == [{"id": "https://museum.example/images/a%20b.jpg", "type": "DigitalObject"}]
    manifest = record["subject_of"][0]["digitally_carried_by"][0]["access_point"]
    assert manifest == [{"id": "https://museum.example/iiif/obj1/manifest", "type": "DigitalObject"}]
    assert (
        linked_art(Finding(Subject(canvas="https://m.example/m#c1"), ()), PROVENANCE)["id"]
        == "https://m.example/m#c1/object"
    )


def test_one_picture_is_a_record_and_several_are_an_array() -> None:
    def sent(*findings: Finding) -> Any:
        return json.loads("".join(FORMATS["linked-art"].render(findings, PROVENANCE, "")))

    assert sent(ORDINARY) == linked_art(ORDINARY, PROVENANCE)
    assert sent(ORDINARY, UPLOAD) == [linked_art(ORDINARY, PROVENANCE), linked_art(UPLOAD, PROVENANCE)]
    assert sent() == []


def test_a_picture_without_predictions_has_a_plain_record() -> None:
    assert set(linked_art(NOTHING, PROVENANCE)) == {"@context", "id", "type", "_label", "identified_by"}
    assert linked_art(HOSTILE_FINDING, PROVENANCE)["_label"] == "=2+3"
