"""Requests that never reach the app: which, and what is sent, counted and logged."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Response
from prometheus_client import REGISTRY

from service import errors
from service.api.access.callers import Access, parse_networks
from service.api.metrics import REQUESTS
from service.limits.admission import Admission
from service.server import rejection
from service.server.connection import Connection, RequestBuffer
from service.server.rejection import PreparedRejection, Rejector
from service.settings import read_settings
from tests.support.problem_shape import checked_problem
from tests.support.wire import split


def counted(route: str, method: str, status: int, code: str) -> float:
    labels = {"route": route, "method": method, "status": str(status), "code": code}
    return REGISTRY.get_sample_value("gaze_requests_total", labels) or 0.0


HEAD = b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\n"
MAX_BODY = 1_000_000


@pytest.fixture
def rejector(monkeypatch: pytest.MonkeyPatch) -> Rejector:
    monkeypatch.setenv("GAZE_CORS_ORIGINS", "https://museum.example")
    monkeypatch.setattr(rejection, "access", lambda: Access((), (), parse_networks("192.0.2.1")))
    return Rejector(read_settings())


@pytest.fixture
def conn() -> Iterator[Connection]:
    client, accepted = socket.socketpair()
    with client, accepted:
        yield Connection(accepted, ("192.0.2.1", 1), ("127.0.0.1", 2), RequestBuffer(30_000, MAX_BODY))


@pytest.mark.parametrize(
    ("line", "labels"),
    [
        (b"POST /v1/gaze HTTP/1.1", ("/v1/gaze", "POST")),
        (b"GET /v1/gaze HTTP/1.1", ("none", "other")),
        (b"BREW /secret HTTP/1.1", ("none", "other")),
        (b"", ("none", "other")),
    ],
)
def test_rejection_is_told_counted_and_logged(
    rejector: Rejector,
    conn: Connection,
    prepared_lines: Callable[[], list[dict[str, Any]]],
    line: bytes,
    labels: tuple[str, str],
) -> None:
    assert REQUESTS
    route, method = labels
    before = counted(route, method, 503, "overloaded")
    conn.buffer.add(line + b"\r\nX-Request-ID: an-id\r\n\r\n")
    status, headers, body = split(rejector.answer(conn, errors.Overloaded(retry_after=7)))
    checked_problem(status, headers, body, "overloaded")
    assert headers["Connection"] == "close"
    assert headers["Retry-After"] == "7"
    assert headers["Vary"] == "Origin"
    assert headers["X-Request-ID"] == json.loads(body)["request_id"] == "an-id"
    assert int(headers["Content-Length"]) == len(body)
    assert counted(route, method, 503, "overloaded") == before + 1
    [logged] = prepared_lines()
    assert logged.pop("timestamp").endswith("Z")
    assert logged == {
        "request_id": "an-id",
        "method": method,
        "route": route,
        "status": 503,
        "code": "overloaded",
        "client": "192.0.2.1",
        "event": "request",
        "level": "info",
    }


def test_rejections_in_a_row_are_counted_and_logged_each(prepared_lines: Callable[[], list[dict[str, Any]]]) -> None:
    before = counted("/v1/gaze", "POST", 503, "overloaded")
    prepared = PreparedRejection(errors.Overloaded(), "POST", "/v1/gaze")
    prepared.record("first", "192.0.2.1")
    prepared.record("second", None)
    assert [(line["request_id"], line["client"]) for line in prepared_lines()] == [
        ("first", "192.0.2.1"),
        ("second", None),
    ]
    assert counted("/v1/gaze", "POST", 503, "overloaded") == before + 2


def test_rejections_of_the_same_kind_differ_by_what_they_say(
    rejector: Rejector, conn: Connection, prepared_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    told = [
        split(rejector.answer(conn, error))
        for error in (errors.Overloaded(retry_after=1), errors.Overloaded(retry_after=2), errors.Overloaded("Busy."))
    ]
    assert [headers.get("Retry-After") for _, headers, _ in told] == ["1", "2", None]
    assert [json.loads(body)["detail"] for _, _, body in told][2] == "Busy."
    assert len(prepared_lines()) == 3


@pytest.mark.parametrize("error", [errors.Unauthorized("No."), errors.RequestTooLarge("No."), errors.Overloaded()])
def test_rejection_has_the_status_line_of_an_answer_by_the_app(
    rejector: Rejector, conn: Connection, error: errors.GazeError
) -> None:
    line = rejector.answer(conn, error).partition(b"\r\n")[0].decode()
    assert line == f"HTTP/1.1 {Response(status=error.status).status}"


def test_rejection_has_an_id_of_its_own_where_none_came(rejector: Rejector, conn: Connection) -> None:
    first, second = (split(rejector.answer(conn, errors.Overloaded()))[1]["X-Request-ID"] for _ in range(2))
    assert len(first) == 32
    assert first != second


def test_rejection_of_a_head_request_has_no_body(rejector: Rejector, conn: Connection) -> None:
    conn.buffer.add(HEAD.replace(b"POST", b"HEAD") + b"\r\n")
    _, headers, body = split(rejector.answer(conn, errors.Overloaded()))
    assert body == b""
    assert int(headers["Content-Length"]) > 0


@pytest.mark.parametrize(
    ("head", "is_rejected"),
    [
        (HEAD + b"Content-Length: 3\r\n\r\n", True),
        (HEAD.replace(b"/v1/gaze", b"/v1/explain?a=b") + b"Content-Length: 3\r\n\r\n", True),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 20000\r\n\r\n", True),
        (HEAD.replace(b"POST", b"PUT") + b"Content-Length: 3\r\n\r\n", False),
        (HEAD.replace(b"gaze ", b"gazes ") + b"Content-Length: 3\r\n\r\n", False),
        # These get another answer.
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", False),
        (HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", False),
        (HEAD + b"Content-Length: %d\r\n\r\nabc" % (MAX_BODY + 1), False),
    ],
)
def test_without_a_free_slot_bodies_are_not_waited_for(
    rejector: Rejector, conn: Connection, monkeypatch: pytest.MonkeyPatch, head: bytes, is_rejected: bool
) -> None:
    conn.buffer.add(head)
    monkeypatch.setattr(rejection, "admission", Admission(1))
    assert rejector.try_reject(conn) is None
    monkeypatch.setattr(rejection, "admission", Admission(0))
    assert isinstance(rejector.try_reject(conn), errors.Overloaded) is is_rejected


def test_answer_names_the_request_and_lets_other_origins_read_it(
    rejector: Rejector, conn: Connection, prepared_lines: Callable[[], list[dict[str, Any]]]
) -> None:
    own = b"X-Request-ID: mine\r\nX-Forwarded-For: 198.51.100.7\r\nOrigin: https://museum.example\r\n"
    conn.buffer.add(HEAD + own + b"Content-Length: 3\r\n\r\n")
    status, headers, body = split(rejector.answer(conn, errors.Overloaded(retry_after=1)))
    checked_problem(status, headers, body, "overloaded")
    assert (status, headers["Retry-After"], headers["Connection"]) == (503, "1", "close")
    assert headers["X-Request-ID"] == json.loads(body)["request_id"] == "mine"
    assert headers["Access-Control-Allow-Origin"] == "https://museum.example"
    [line] = prepared_lines()
    assert (line["request_id"], line["route"], line["client"]) == ("mine", "/v1/gaze", "198.51.100.7")
