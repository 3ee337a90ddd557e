"""Answers that the worker gives without the app: what is sent, counted and logged."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Response
from prometheus_client import REGISTRY

from service import errors
from service.api.metrics import REQUESTS
from service.server.rejection import Refusal, refused
from tests.support.problem_shape import checked_problem
from tests.support.wire import split


def counted(route: str, method: str, status: int, code: str) -> float:
    labels = {"route": route, "method": method, "status": str(status), "code": code}
    return REGISTRY.get_sample_value("gaze_requests_total", labels) or 0.0


@pytest.mark.parametrize(
    ("asked", "route", "method"),
    [
        (("POST", "/v1/gaze"), "/v1/gaze", "POST"),
        (("GET", "/v1/gaze"), "none", "other"),
        (("BREW", "/secret"), "none", "other"),
        (("", ""), "none", "other"),
    ],
)
def test_refusal_is_told_counted_and_logged(
    prepared_lines: Callable[[], list[dict[str, Any]]], asked: tuple[str, str], route: str, method: str
) -> None:
    assert REQUESTS
    before = counted(route, method, 503, "overloaded")
    answer = refused(errors.Overloaded(retry_after=7), "192.0.2.1", asked, "an-id", {"Vary": "Origin"})
    status, headers, body = split(answer)
    checked_problem(status, headers, body, "overloaded")
    assert headers["Connection"] == "close"
    assert headers["Retry-After"] == "7"
    assert headers["Vary"] == "Origin"
    assert headers["X-Request-ID"] == json.loads(body)["request_id"] == "an-id"
    assert int(headers["Content-Length"]) == len(body)
    assert counted(route, method, 503, "overloaded") == before + 1
    [line] = prepared_lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "request_id": "an-id",
        "method": method,
        "route": route,
        "status": 503,
        "code": "overloaded",
        "client": "192.0.2.1",
        "event": "request",
        "level": "info",
    }


def test_refusals_in_a_row_are_counted_and_logged_each(prepared_lines: Callable[[], list[dict[str, Any]]]) -> None:
    before = counted("/v1/gaze", "POST", 503, "overloaded")
    Refusal(errors.Overloaded(), ("POST", "/v1/gaze")).record([("first", "192.0.2.1"), ("second", None)])
    assert [(line["request_id"], line["client"]) for line in prepared_lines()] == [
        ("first", "192.0.2.1"),
        ("second", None),
    ]
    assert counted("/v1/gaze", "POST", 503, "overloaded") == before + 2


def test_refusals_of_the_same_kind_differ_by_what_they_say(
    prepared_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    told = [
        split(refused(error, None))
        for error in (errors.Overloaded(retry_after=1), errors.Overloaded(retry_after=2), errors.Overloaded("Busy."))
    ]
    assert [headers.get("Retry-After") for _, headers, _ in told] == ["1", "2", None]
    assert [json.loads(body)["detail"] for _, _, body in told][2] == "Busy."
    assert len(prepared_lines()) == 3


@pytest.mark.parametrize("error", [errors.Unauthorized("No."), errors.RequestTooLarge("No."), errors.Overloaded()])
def test_refusal_has_the_status_line_of_an_answer_by_the_app(error: errors.GazeError) -> None:
    line = refused(error, None, ("POST", "/v1/gaze"), "an-id", {}).partition(b"\r\n")[0].decode()
    assert line == f"HTTP/1.1 {Response(status=error.status).status}"


def test_refusal_has_an_id_of_its_own_where_none_came() -> None:
    first, second = (split(refused(errors.Overloaded(), None))[1]["X-Request-ID"] for _ in range(2))
    assert len(first) == 32
    assert first != second


def test_refusal_of_a_head_request_has_no_body() -> None:
    _, headers, body = split(refused(errors.Overloaded(), None, ("HEAD", "/v1/gaze")))
    assert body == b""
    assert int(headers["Content-Length"]) > 0
