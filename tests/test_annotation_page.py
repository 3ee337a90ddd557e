"""Annotation pages: the rules of the W3C model and of IIIF, JSON-LD expansion, and what a viewer's parser finds."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyld import jsonld  # type: ignore[import-untyped]

from service.documents.annotation_page import CONTEXT_PATH, PRESENTATION_CONTEXT, context
from service.documents.finding import Finding, Provenance, Subject
from service.documents.formats import FORMATS
from service.documents.naming import picture_iri
from tests.support.museum_findings import EVERY_TERM, FINDINGS, NOTHING, ORDINARY, PAGE, PROVENANCE, UPLOAD

IRI = re.compile(r'[a-z][a-z0-9+.-]*:(?:[^\x00-\x20<>"{}|\\^`%]|%[0-9A-Fa-f]{2})+')
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
LANGUAGE = re.compile(r"none|[a-z]{2,3}(-[A-Za-z0-9]+)*")
# Web Annotation Data Model, 3.3.5
MOTIVATIONS = {
    *("assessing", "bookmarking", "classifying", "commenting", "describing", "editing", "highlighting"),
    *("identifying", "linking", "moderating", "questioning", "replying", "tagging"),
}
AGENTS = {"Person", "Organization", "Software"}
ANNOTATION_KEYS = {"id", "type", "motivation", "created", "creator", "generator", "body", "target"}
OUR_KEYS = {"list", "listHash", "candidates", "rank", "phrase", "probability", "similarity", "model", "revision"}
VIEWER = Path(__file__).parent / "viewer"


def annotation_page(findings: Sequence[Finding], provenance: Provenance, page_id: str) -> Any:
    """Return the page as it is sent."""
    return json.loads("".join(FORMATS["annotations"].render(findings, provenance, page_id)))


def check_page(page: dict[str, Any]) -> None:
    """Check every MUST of the Web Annotation Data Model and of Presentation 3 that a page of ours can break."""
    assert page["@context"][-1] == PRESENTATION_CONTEXT
    assert all(IRI.fullmatch(each) for each in page["@context"])
    assert IRI.fullmatch(page["id"])
    assert page["type"] == "AnnotationPage"
    assert page["behavior"] == ["hidden"]
    for words in (page["label"], page["summary"], *page.get("requiredStatement", {}).values()):
        check_language_map(words)
    assert isinstance(page["items"], list)
    ids = [annotation["id"] for annotation in page["items"]]
    assert len(set(ids)) == len(ids)
    assert page["id"] not in ids
    for annotation in page["items"]:
        check_annotation(annotation)


def check_language_map(words: dict[str, list[str]]) -> None:
    assert words
    for language, texts in words.items():
        assert LANGUAGE.fullmatch(language)
        assert texts
        assert all(isinstance(text, str) for text in texts)


def check_annotation(annotation: dict[str, Any]) -> None:
    assert set(annotation) <= ANNOTATION_KEYS | {f"gaze:{key}" for key in OUR_KEYS}
    assert isinstance(annotation["id"], str)
    assert IRI.fullmatch(annotation["id"])
    assert annotation["type"] == "Annotation"
    assert isinstance(annotation["target"], str)
    assert IRI.fullmatch(annotation["target"])
    assert DATE.fullmatch(annotation["created"])
    assert annotation["motivation"]
    assert set(annotation["motivation"]) <= MOTIVATIONS
    for agent in (annotation["creator"], annotation["generator"]):
        assert IRI.fullmatch(agent["id"])
        assert agent["type"] in AGENTS
        assert isinstance(agent["name"], str)
    for body in annotation["body"]:
        check_body(body)


def check_body(body: dict[str, Any]) -> None:
    assert body["purpose"] in MOTIVATIONS
    if body["type"] == "SpecificResource":
        assert set(body) == {"type", "purpose", "source"}
        assert isinstance(body["source"], str)
        assert IRI.fullmatch(body["source"])
    else:
        assert set(body) == {"type", "purpose", "value", "format"}
        assert body["type"] == "TextualBody"
        assert isinstance(body["value"], str)
        assert body["format"] == "text/plain"


@pytest.mark.parametrize("findings", [FINDINGS, [ORDINARY], [UPLOAD], [NOTHING], []])
def test_a_page_keeps_the_rules(findings: list[Finding]) -> None:
    page = annotation_page(findings, PROVENANCE, PAGE)
    check_page(page)
    assert len(page["items"]) == sum(len(ranked.terms) for finding in findings for ranked in finding.lists)


def test_an_annotation_says_all_of_its_prediction() -> None:
    annotation = annotation_page([ORDINARY], PROVENANCE, PAGE)["items"][0]
    assert annotation == {
        "id": f"{PAGE}#1/movements/1",
        "type": "Annotation",
        "motivation": ["tagging", "classifying"],
        "created": "2026-01-15T10:00:00Z",
        "creator": {
            "id": f"{PROVENANCE.address}/v1/model#openai%2Fclip-vit-base-patch32@{PROVENANCE.revision}",
            "type": "Software",
            "name": f"openai/clip-vit-base-patch32@{PROVENANCE.revision}",
        },
        "generator": {"id": f"{PROVENANCE.address}/", "type": "Software", "name": "Gaze 1.2.3"},
        "body": [
            {
                "type": "SpecificResource",
                "purpose": "classifying",
                "source": "http://vocab.getty.edu/aat/300021503",
            },
            {"type": "TextualBody", "purpose": "tagging", "value": "impressionism", "format": "text/plain"},
        ],
        "gaze:list": "movements",
        "gaze:listHash": ORDINARY.lists[0].hash,
        "gaze:candidates": 193,
        "gaze:rank": 1,
        "gaze:phrase": "impressionism movement",
        "gaze:probability": 0.62,
        "gaze:similarity": 0.2710123956203461,
        "gaze:model": "openai/clip-vit-base-patch32",
        "gaze:revision": PROVENANCE.revision,
        "target": "https://museum.example/iiif/obj1/canvas/p1",
    }


def test_a_term_without_a_uri_is_text_alone() -> None:
    bodies = [annotation["body"] for annotation in annotation_page(FINDINGS, PROVENANCE, PAGE)["items"]]
    expected = [1 if term.uri is None else 2 for _, _, term in EVERY_TERM]
    assert [len(body) for body in bodies] == expected
    assert [body[-1]["value"] for body in bodies] == [term.label for _, _, term in EVERY_TERM]


def test_the_same_question_has_the_same_ids() -> None:
    assert annotation_page(FINDINGS, PROVENANCE, PAGE) == annotation_page(FINDINGS, PROVENANCE, PAGE)


def test_a_model_without_a_revision_names_none() -> None:
    provenance = Provenance("demo", None, "1.2.3", PROVENANCE.address, PROVENANCE.created)
    annotation = annotation_page([ORDINARY], provenance, PAGE)["items"][0]
    assert annotation["creator"] == {"id": f"{PROVENANCE.address}/v1/model#demo", "type": "Software", "name": "demo"}
    assert "gaze:revision" not in annotation


def test_the_getty_is_credited_where_its_terms_are_named() -> None:
    assert "Getty" in annotation_page([ORDINARY], PROVENANCE, PAGE)["requiredStatement"]["value"]["en"][0]
    assert "requiredStatement" not in annotation_page([NOTHING], PROVENANCE, PAGE)


@pytest.mark.parametrize(
    ("subject", "target"),
    [
        (Subject(canvas="https://m.example/canvas", url="https://m.example/a.jpg"), "https://m.example/canvas"),
        (
            Subject(url="https://m.example/a b<c>.jpg?q=100%&d=%20", sha256="ab" * 32),
            "https://m.example/a%20b%3Cc%3E.jpg?q=100%25&d=%20",
        ),
        (Subject(url="http://[::1]:8000/a[1].jpg#b#c[2]é"), "http://[::1]:8000/a%5B1%5D.jpg#b%23c%5B2%5Dé"),
        (Subject(canvas="../canvas/1", url="https://m.example/a.jpg"), "https://m.example/a.jpg"),
        (Subject(canvas="//m.example/canvas/1", sha256="00"), "ni:///sha-256;AA"),
        # RFC 6920, 8.1: the SHA-256 of "Hello World!"
        (
            Subject(sha256="7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069", object_number="1"),
            "ni:///sha-256;f4OxZX_x_FO5LcGBSKHWXfwtSx-j1ncoSt3SABJtkGk",
        ),
        (Subject(object_number="1937.1/84 é"), "https://gaze.museum.example/pictures/1937.1%2F84%20%C3%A9"),
        (Subject(object_number="latin\udce9"), "https://gaze.museum.example/pictures/latin%3F"),
        (Subject(canvas="https://m.example/\ud800"), "https://m.example/%3F"),
        (Subject(), "https://gaze.museum.example/pictures/unnamed"),
    ],
)
def test_a_picture_is_named_by_the_best_that_is_known(subject: Subject, target: str) -> None:
    assert picture_iri(subject, PROVENANCE) == target
    assert IRI.fullmatch(target)
    assert annotation_page([Finding(subject, ORDINARY.lists)], PROVENANCE, PAGE)["items"][0]["target"] == target


def test_every_key_of_ours_expands_to_an_absolute_iri() -> None:
    """With our own context as it is served, and a stand-in for the Presentation context that knows aliases alone."""
    contexts = {
        f"{PROVENANCE.address}{CONTEXT_PATH}": context(PROVENANCE.address),
        PRESENTATION_CONTEXT: {"@context": {"id": "@id", "type": "@type", "items": "urn:items"}},
    }

    def load(url: str, _: Any) -> dict[str, Any]:
        return {"contextUrl": None, "documentUrl": url, "document": contexts[url], "contentType": "application/ld+json"}

    [expanded] = jsonld.expand(annotation_page(FINDINGS, PROVENANCE, PAGE), {"documentLoader": load})
    annotations = expanded["urn:items"]
    assert len(annotations) == len(EVERY_TERM)
    doubles = {"probability", "similarity"}
    integers = {"rank", "candidates"}
    for annotation, (_, ranked, term) in zip(annotations, EVERY_TERM, strict=True):
        ours = {key.removeprefix(f"{PROVENANCE.address}/ns/gaze/1#"): value for key, value in annotation.items()}
        assert set(ours) == OUR_KEYS | {"@id", "@type"}
        assert {key: ours[key][0]["@value"] for key in ("list", "rank", "probability", "similarity")} == {
            "list": ranked.list_name,
            "rank": term.rank,
            "probability": term.probability,
            "similarity": term.similarity,
        }
        assert {key for key in OUR_KEYS if ours[key][0].get("@type", "").endswith("#double")} == doubles
        assert {key for key in OUR_KEYS if ours[key][0].get("@type", "").endswith("#integer")} == integers


def broken(page: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the page with one rule broken, in turn."""
    for change in (
        {"id": None},
        {"id": "no iri"},
        {"id": f"{PAGE}#1/movements/2"},
        {"type": ["Annotation", "Other"]},
        {"target": "a canvas"},
        {"created": "2026-01-15T10:00:00"},
        {"motivation": ["guessing"]},
        {"body": [{"type": "TextualBody", "value": "no purpose", "format": "text/plain"}]},
        {"creator": {"id": PAGE, "type": "Robot", "name": "x"}},
        {"probability": 0.5},
    ):
        yield {**page, "items": [{**page["items"][0], **change}, *page["items"][1:]]}


def test_the_checker_of_the_rules_finds_what_is_broken() -> None:
    for page in broken(annotation_page([ORDINARY], PROVENANCE, PAGE)):
        with pytest.raises((AssertionError, KeyError, TypeError)):
            check_page(page)


def viewer_reads(page: dict[str, Any]) -> list[dict[str, Any]]:
    if shutil.which("node") is None or not (VIEWER / "node_modules").is_dir():
        reason = "no Node.js, or no viewer's parser in tests/viewer: npm ci --prefix tests/viewer"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        ["node", "read.mjs"],
        cwd=VIEWER,
        input=json.dumps(page),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_viewers_parser_finds_every_tag() -> None:
    page = annotation_page(FINDINGS, PROVENANCE, PAGE)
    found = viewer_reads(page)
    assert [(each["label"], each["probability"]) for each in found] == [
        (term.label, term.probability) for _, _, term in EVERY_TERM
    ]
    assert [each["target"] for each in found] == [
        picture_iri(finding.subject, PROVENANCE) for finding, _, _ in EVERY_TERM
    ]
    assert [each["uri"] is None for each in found] == [term.uri is None for _, _, term in EVERY_TERM]
    assert found[0]["uri"] == "http://vocab.getty.edu/aat/300021503"
    assert [each["id"] for each in found] == [annotation["id"] for annotation in page["items"]]
    assert all(each["hidden"] and each["motivation"] == ["tagging", "classifying"] for each in found)
