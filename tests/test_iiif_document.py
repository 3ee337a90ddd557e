"""JSON documents of museums, well-formed or not: read within bounds, or told."""

import json
import tracemalloc

import pytest

from service.errors import ImageFetchFailed
from service.iiif.document import Document, http_uri, kind, label, objects, parsed, texts, uri


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        b"[1]",
        b'"a"',
        b"null",
        b'{"a": 1',
        b'{"a": \xff}',
        b"{" + b'"a":{' * 100_000,
        b"[" * 900_000,
        b'{"a":' + b"[" * 900_000 + b"]" * 900_000 + b"}",
        b'{"a":' + b"9" * 1_000_000 + b"}",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_object_is_told(body: bytes) -> None:
    with pytest.raises(ImageFetchFailed, match="no JSON"):
        parsed(body)


@pytest.mark.parametrize("value", [b"{}", b"[]", b"0.5", b'"ab"', b'{"a":[]}'])
def test_many_small_values_take_little_memory(value: bytes) -> None:
    body = b'{"a":[' + b",".join([value] * (16_000_000 // (len(value) + 1))) + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(ImageFetchFailed, match="more values"):
            parsed(body)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_encoding_that_json_may_have(encoding: str) -> None:
    assert parsed(json.dumps({"label": "é"}).encode(encoding)) == {"label": "é"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("https://a.example/b", "https://a.example/b"),
        ("HTTP://a.example/b%2Fc?d=e#xywh=1,2", "HTTP://a.example/b%2Fc?d=e#xywh=1,2"),
        ("https://a.example/é b", "https://a.example/%C3%A9%20b"),
        ("https://a.example/\r\nX: y", "https://a.example/%0D%0AX:%20y"),
        ("https://münchen.example/é", "https://münchen.example/%C3%A9"),
        ("https://a b.example/", "https://a%20b.example/"),
        ("https://a.example/\ud800", None),
        ("https://a.example/" + "b" * 3000, None),
        ("https://a.example/" + "é" * 1000, None),
        ("javascript:alert(1)", None),
        ("data:image/png;base64,AAAA", None),
        ("file:///etc/passwd", None),
        ("//a.example/b", None),
        ("b.json", None),
        ("urn:uuid:1", None),
        ("", None),
        (None, None),
        (7, None),
        (["https://a.example/b"], None),
    ],
)
def test_only_absolute_uris_of_http_count(value: object, expected: str | None) -> None:
    assert http_uri(value) == expected
    assert uri({"id": value}) == expected
    assert uri({"@id": value}) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "a"),
        (["a", "b"], "a"),
        ({"en": ["a", "b"], "de": ["c"]}, "a"),
        ({"none": "a"}, "a"),
        ({"@value": "a", "@language": "en"}, "a"),
        ([{"@value": "a"}, {"@value": "b"}], "a"),
        ("a\r\n\tb\x00c\u202ed\ud800", "a b c d"),
        ("a" * 1000, "a" * 500),
        ("", None),
        (" \n", None),
        (None, None),
        (7, None),
        ([], None),
        ({}, None),
        ({"en": []}, None),
        ({"en": 7}, None),
        ([[]], None),
        ({"@value": 7}, None),
    ],
)
def test_labels_of_both_versions(value: object, expected: str | None) -> None:
    assert label({"label": value}) == expected


def test_what_versions_name_differently() -> None:
    assert kind({"type": "Manifest"}) == kind({"@type": "sc:Manifest"}) == "Manifest"
    without: list[Document] = [{}, {"type": 7}, {"type": []}, {"@type": None}]
    assert [kind(entry) for entry in without] == [""] * 4


def test_one_or_several() -> None:
    one: Document = {"a": 1}
    assert list(objects(one)) == list(objects([one, "b", None, [one]])) == [one]
    assert list(texts("a")) == list(texts(["a", 1, {}])) == ["a"]
    assert not [*objects(None), *texts(None)]
