"""Errors that no route raises itself: unknown paths, methods that are not taken, defects; and the request's id."""

import re
import threading

import pytest
from flask import Flask
from flask.testing import FlaskClient

from service.api.problems import problem
from service.app import create_app
from service.errors import FieldError, GazeError
from service.settings import Settings
from service.zero_shot.classifier import LoadingClassifier, Report, ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from tests.support.problem_shape import MARKER, checked_problem

GET_PATHS = [
    "/",
    "/docs",
    "/livez",
    "/metrics",
    "/openapi.json",
    "/readyz",
    "/static/gaze.css",
    "/v1/lists",
    "/v1/lists/movements",
    "/v1/model",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", MARKER.upper()]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    "path",
    [
        f"/{MARKER}",
        f"/v1/{MARKER}",
        f"/static/{MARKER}",
        f"/v1/lists/movements/{MARKER}",
        "/v1",
        "/v1/",
        "/v1/gaze/",
        "/v1/lists/",
        "/v1/lists/movements/",
        "/livez/",
        "//v1//lists",
        "/v1//lists",
        "/v1/./lists",
        "/static/",
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/\0",
        "/favicon.ico",
        "/robots.txt",
        "/" + MARKER * 1000,
        "/%3Cscript%3E",
        "*",
        "",
    ],
)
def test_unknown_path(client: FlaskClient, method: str, path: str) -> None:
    # As gunicorn gives it to the app, and not as a client would mend it.
    response = client.open("/", method=method, environ_overrides={"PATH_INFO": path})
    if path in (f"/static/{MARKER}", "/static/../app.py", "/static/\0", "/static/..%2fapp.py"):
        expected = {"POST": 405, "DELETE": 405, "OPTIONS": 200}.get(method, 404)
    else:
        expected = 404
    assert response.status_code == expected
    if method != "HEAD" and expected == 404:
        checked_problem(404, response.headers, response.data, "not_found")
    assert MARKER not in response.text
    assert response.content_type in ("application/problem+json", None)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("path", "allowed"), [*((path, {"GET", "HEAD"}) for path in GET_PATHS), ("/v1/gaze", {"POST"})]
)
def test_method_that_is_not_taken(client: FlaskClient, method: str, path: str, allowed: set[str]) -> None:
    response = client.open(path, method=method, buffered=True)
    if method in allowed:
        assert response.status_code != 405
        return
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == allowed | {"OPTIONS"}
    if method != "HEAD":
        checked_problem(405, response.headers, response.data, "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "allowed"), [*((path, {"GET", "HEAD"}) for path in GET_PATHS), ("/v1/gaze", {"POST"})]
)
def test_options_names_the_methods(client: FlaskClient, path: str, allowed: set[str]) -> None:
    response = client.options(path)
    assert (response.status_code, response.data) == (200, b"")
    assert set(response.headers["Allow"].split(", ")) == allowed | {"OPTIONS"}
    assert "Content-Type" not in response.headers


@pytest.mark.parametrize("path", [*GET_PATHS, "/unknown", "/v1/lists/unknown", "/v1/lists/movements?limit=0"])
def test_head_answers_as_get_does_without_a_body(client: FlaskClient, path: str) -> None:
    got, asked = client.get(path, buffered=True), client.head(path, buffered=True)
    assert (asked.status_code, asked.data) == (got.status_code, b"")
    assert asked.content_type == got.content_type
    if path != "/metrics":
        assert asked.content_length == got.content_length


@pytest.mark.parametrize("request_id", ["a", "A-Z.0_9-", "x" * 128])
def test_request_id_is_taken_over(client: FlaskClient, request_id: str) -> None:
    for path in ("/livez", "/unknown"):
        assert client.get(path, headers={"X-Request-ID": request_id}).headers["X-Request-ID"] == request_id


@pytest.mark.parametrize(
    "request_id", ["", "x" * 129, "x" * 10_000, "a b", "a\tb", "ü", "a/b", f"{MARKER}!", "\xff", "a,b"]
)
def test_request_id_that_is_none_is_replaced(client: FlaskClient, request_id: str) -> None:
    response = client.get("/unknown", headers={"X-Request-ID": request_id})
    checked_problem(404, response.headers, response.data, "not_found")
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_request_id_with_a_line_feed_is_replaced(client: FlaskClient) -> None:
    response = client.get("/livez", environ_overrides={"HTTP_X_REQUEST_ID": "a\nb: c"})
    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])


def test_every_answer_has_its_own_id(client: FlaskClient) -> None:
    ids = [client.get(path, buffered=True).headers["X-Request-ID"] for path in (*GET_PATHS, "/unknown", "/livez")]
    assert len(set(ids)) == len(ids)


@pytest.fixture
def broken() -> Flask:
    """A service with a route that has a defect, and says something secret in it."""

    def build(_report: Report) -> ZeroShotClassifier:
        raise AssertionError("a model was loaded")

    lists = {"ours": PhraseList("ours", ("good",), (None,))}
    app = create_app(Settings(), lists, LoadingClassifier(build), threading.Event())

    @app.get("/broken")
    def fail() -> str:
        raise RuntimeError(MARKER)

    return app


def test_defect_is_told_without_its_message(broken: Flask) -> None:
    response = broken.test_client().get("/broken")
    assert response.status_code == 500
    checked_problem(500, response.headers, response.data, "internal_error")


@pytest.mark.parametrize("kind", GazeError.__subclasses__(), ids=lambda kind: kind.code)
def test_every_error_has_the_shape_of_the_contract(kind: type[GazeError]) -> None:
    error = kind(errors=(FieldError("/lists/0", "Wrong."),), retry_after=1)
    headers = {"Content-Type": "application/problem+json", "X-Request-ID": "id", "Retry-After": "1"}
    body = problem(error, "id").model_dump_json().encode()
    assert checked_problem(kind.status, headers, body, kind.code)["detail"] == kind.default_detail


def test_codes_are_those_of_the_contract() -> None:
    assert {(kind.status, kind.code) for kind in GazeError.__subclasses__()} == {
        (400, "malformed_request"),
        (401, "unauthorized"),
        (403, "foreign_origin"),
        (404, "unknown_list"),
        (404, "not_found"),
        (405, "method_not_allowed"),
        (413, "request_too_large"),
        (413, "image_too_large"),
        (415, "unsupported_media_type"),
        (429, "rate_limited"),
        (499, "caller_gone"),  # nobody is told; it stands in the log
        (415, "unsupported_image_format"),
        (421, "misdirected_request"),
        (422, "invalid_request"),
        (422, "undecodable_image"),
        (422, "image_dimensions"),
        (422, "url_not_allowed"),
        (500, "internal_error"),
        (502, "image_fetch_failed"),
        (503, "overloaded"),
        (503, "not_ready"),
        (503, "shutting_down"),
        (504, "image_fetch_timeout"),
    }
