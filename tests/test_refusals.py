"""Answers that the worker gives without the app: what is sent, counted and logged."""

import json

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from service import errors
from service.api.metrics import REQUESTS
from service.refusals import refused
from tests.problem_shape import checked_problem


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    return int(line.split(" ")[1]), dict(field.split(": ", 1) for field in fields), body


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
def test_refusal_is_told_counted_and_logged(asked: tuple[str, str], route: str, method: str) -> None:
    assert REQUESTS
    before = counted(route, method, 503, "overloaded")
    with capture_logs() as logs:
        answer = refused(errors.Overloaded(retry_after=7), "192.0.2.1", asked, "an-id", {"Vary": "Origin"})
    status, headers, body = split(answer)
    checked_problem(status, headers, body, "overloaded")
    assert headers["Connection"] == "close"
    assert headers["Retry-After"] == "7"
    assert headers["Vary"] == "Origin"
    assert headers["X-Request-ID"] == json.loads(body)["request_id"] == "an-id"
    assert int(headers["Content-Length"]) == len(body)
    assert counted(route, method, 503, "overloaded") == before + 1
    [line] = logs
    assert (line["route"], line["method"], line["status"], line["client"]) == (route, method, 503, "192.0.2.1")
    assert "secret" not in str(line)


def test_refusal_has_an_id_of_its_own_where_none_came() -> None:
    first, second = (split(refused(errors.Overloaded(), None))[1]["X-Request-ID"] for _ in range(2))
    assert len(first) == 32
    assert first != second


def test_refusal_of_a_head_request_has_no_body() -> None:
    _, headers, body = split(refused(errors.Overloaded(), None, ("HEAD", "/v1/gaze")))
    assert body == b""
    assert int(headers["Content-Length"]) > 0
