"""Query batches that do not fit, on both endpoints: refused as a problem, and nothing of them is told back."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.api.reconcile.batch import MAX_BATCH_BYTES, queries_of
from tests.support.problem_shape import MARKER, checked_problem

STABLE = "/v1/reconcile/0.2"
MATCH = "/v1/reconcile/1.0-draft/match"
FORM = "application/x-www-form-urlencoded"
NESTED = "[" * 100_000
NO_LIMITS: list[Any] = [-1, 1.5, "three", "-1", " 3", True, [], {}]
NO_BATCHES: list[Any] = [[], MARKER, None, {}, {"queries": {}}, {MARKER: []}]


def post(client: FlaskClient, body: str | bytes, media_type: str = FORM, path: str = STABLE) -> TestResponse:
    return client.post(path, data=body, content_type=media_type)


def refused(response: TestResponse, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status
    return checked_problem(status, response.headers, response.data, code)


def condition(value: Any = "x", kind: Any = "name") -> dict[str, Any]:
    return {"matchType": kind, "propertyValue": value}


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        ([], "object of queries by name"),
        (MARKER, "object of queries by name"),
        (None, "object of queries by name"),
        ({f"{MARKER}{number}": {"query": MARKER} for number in range(33)}, "32 queries"),
    ],
)
def test_batch_that_does_not_fit_version_0_2(client: FlaskClient, batch: Any, found: str) -> None:
    text = json.dumps(batch)
    for response in (post(client, urlencode({"queries": text})), client.get(STABLE, query_string={"queries": text})):
        [error] = refused(response, 422, "invalid_request")["errors"]
        assert error["pointer"] == "/queries"
        assert found in error["detail"]


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        *((each, "`queries` is an array") for each in NO_BATCHES),
        ({"queries": [{"conditions": [condition()]}] * 33}, "32 queries"),
    ],
)
def test_batch_that_does_not_fit_version_1_0(client: FlaskClient, batch: Any, found: str) -> None:
    [error] = refused(post(client, json.dumps(batch), "application/json", MATCH), 422, "invalid_request")["errors"]
    assert error["pointer"] == "/queries"
    assert found in error["detail"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 422, "invalid_request"),
        (f"{MARKER}=1", 422, "invalid_request"),
        ("queries={}&queries={}", 422, "invalid_request"),
        ("queries=", 400, "malformed_request"),
        (f"queries={MARKER}", 400, "malformed_request"),
        ('queries={"q0":{"query":"x","limit":NaN}}', 400, "malformed_request"),
        (f"queries={NESTED}", 422, "invalid_request"),
        (b"queries=%ff", 400, "malformed_request"),
        (b"queries=\xff", 400, "malformed_request"),
        ("&" * 17, 400, "malformed_request"),
        ("queries=" + "%41" * (MAX_BATCH_BYTES // 3), 413, "request_too_large"),
    ],
)
def test_form_that_cannot_be_read(client: FlaskClient, body: str | bytes, status: int, code: str) -> None:
    refused(post(client, body), status, code)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "malformed_request"),
        (MARKER, 400, "malformed_request"),
        (b'"\xff"', 400, "malformed_request"),
        ('{"queries":[{"limit":Infinity}]}', 400, "malformed_request"),
        (NESTED, 422, "invalid_request"),
        ('{"queries":[' + " " * MAX_BATCH_BYTES + "]}", 413, "request_too_large"),
    ],
)
def test_json_that_cannot_be_read(client: FlaskClient, body: str | bytes, status: int, code: str) -> None:
    refused(post(client, body, "application/json", MATCH), status, code)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        *((STABLE, each) for each in ("application/json", "multipart/form-data; boundary=a", "text/plain", MARKER, "")),
        *((MATCH, each) for each in (FORM, "multipart/form-data; boundary=a", "application/ld+json", MARKER, "")),
    ],
)
def test_media_type_that_is_not_read(client: FlaskClient, path: str, media_type: str) -> None:
    problem = refused(post(client, "queries={}", media_type, path), 415, "unsupported_media_type")
    assert problem["detail"].startswith("Send application/")


@pytest.mark.parametrize(("path", "media_type"), [(STABLE, FORM), (MATCH, "application/json")])
def test_coded_body_is_not_read(client: FlaskClient, path: str, media_type: str) -> None:
    response = client.post(path, data="{}", content_type=media_type, headers={"Content-Encoding": "gzip"})
    refused(response, 415, "unsupported_media_type")


def test_limit_of_a_request_counts_here_too(make_client: Callable[..., FlaskClient]) -> None:
    body = "queries=" + quote(json.dumps({"q0": {"query": "x" * 2000}}))
    refused(post(make_client(max_request_bytes=1024), body), 413, "request_too_large")


@pytest.mark.parametrize("name", ["", "a b", "ü", "\ud800", '"', "\u2028", "q" * 10_000])
def test_names_of_queries_come_back_as_they_were(client: FlaskClient, name: str) -> None:
    response = post(client, urlencode({"queries": json.dumps({name: {"query": "no URL"}})}))
    assert (response.status_code, response.get_json()) == (200, {name: {"result": []}})


@pytest.mark.parametrize(
    "query",
    [
        *(
            {"query": text}
            for text in ("", " ", "impressionism", "\ud800", "http://[", "file:///etc/passwd", "data:,x")
        ),
        {"query": None},
        {"query": 5},
        {"query": {"id": "http://127.0.0.1/a.png"}},
        {"properties": [{"pid": "a", "v": "b"}]},
        {"query": "no URL", "type": None, "unknown": {"a": 1}, "type_strict": "all", "limit": 10**30},
        {"query": "no URL", "type": "no list"},
        {"query": "no URL", "type": ["no list", "movements"]},
    ],
)
def test_query_that_names_no_picture_has_no_candidates(client: FlaskClient, query: dict[str, Any]) -> None:
    response = post(client, urlencode({"queries": json.dumps({"q0": query})}))
    assert (response.status_code, response.get_json()) == (200, {"q0": {"result": []}})


SPELLED: list[Any] = [
    {"type": "movements"},
    {"type": {"id": "movements", "name": "Art movements"}},
    {"type": [{"id": "movements"}, {"id": "sites", "name": "Sites"}]},
    {"type": ["movements", {"id": "sites"}, "movements", ""]},
    {"type": None},
    {"limit": None},
    {"limit": "7"},
    {"limit": 7.0},
    {"limit": 0},
    {"limit": "1000"},
]


@pytest.mark.parametrize(
    "conditions",
    [
        [condition("impressionism")],
        [condition({"id": "300021503"})],
        [condition([])],
        [condition(None)],
        [condition("http://127.0.0.1/a.png", "property")],
        [condition("300021503", "id")],
    ],
)
def test_conditions_that_name_no_picture_have_no_candidates(client: FlaskClient, conditions: Any) -> None:
    response = client.post(MATCH, json={"queries": [{"conditions": conditions}]})
    assert (response.status_code, response.get_json()) == (200, {"results": [{"candidates": []}]})


def test_names_of_lists_and_limits_as_clients_send_them() -> None:
    batch = {str(number): {"query": "x", **each} for number, each in enumerate(SPELLED)}
    read = queries_of([json.dumps(batch)]).values()
    assert [(query.types, query.limit) for query in read] == [
        (("movements",), 5),
        (("movements",), 5),
        (("movements", "sites"), 5),
        (("movements", "sites"), 5),
        ((), 5),
        ((), 5),
        ((), 7),
        ((), 7),
        ((), 0),
        ((), 100),
    ]


def test_an_empty_batch_has_an_empty_answer(client: FlaskClient) -> None:
    assert post(client, "queries={}").get_json() == client.get(f"{STABLE}?queries={{}}").get_json() == {}
    assert client.post(MATCH, json={"queries": []}).get_json() == {"results": []}
