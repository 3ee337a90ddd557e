"""What a foreign page makes a browser send, as bytes on a socket; in browsers: tests/test_browser_foreign_pages.py."""

import json
from urllib.parse import quote

import pytest

from tests.faults.answers import GOOD, Seen, assert_answers
from tests.support.problem_shape import checked_problem
from tests.support.running_service import Service
from tests.support.wire import exchange

BODY = json.dumps(GOOD).encode()
BATCH = "/v1/reconcile/0.2?queries=" + quote('{"a":{"query":"http://museum.example/a.png"}}')


def sent(service: Service, line: str, *headers: str, body: bytes = b"") -> tuple[int, str | None]:
    """Send a request, and return the status and the code of the answer."""
    head = "\r\n".join([line, *headers, f"Content-Length: {len(body)}", "Content-Type: application/json"])
    answer = exchange(service.address, head.encode() + b"\r\n\r\n", body)
    if answer.status == 200:
        return 200, None
    code = json.loads(answer.body)["code"]
    checked_problem(answer.status, answer.headers, answer.body, code)
    return answer.status, code


@pytest.mark.fault(63)
@pytest.mark.parametrize("host", ["evil.example", "EVIL.example.:80", "127.0.0.1.evil.example", "[::1].evil.example"])
def test_a_name_that_a_stranger_can_own(service: Service, seen: Seen, host: str) -> None:
    for line in ("GET /v1/lists HTTP/1.1", "POST /v1/gaze HTTP/1.1", "GET http://localhost/ HTTP/1.1"):
        body = BODY if line.startswith("POST") else b""
        forwarded = "X-Forwarded-Host: localhost"
        assert sent(service, line, f"Host: {host}", forwarded, body=body) == (421, "misdirected_request")
    assert sent(service, "GET /readyz HTTP/1.1", f"Host: {host}") == (200, None)
    assert_answers(service)
    seen("421")


@pytest.mark.fault(63)
@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: https://evil.example",),
        ("Origin: null",),
        ("Sec-Fetch-Site: cross-site",),
        ("Origin: https://evil.example", "Sec-Fetch-Site: same-origin"),
        ("Sec-Fetch-Site: same-site", "User-Agent: Mozilla/5.0"),
    ],
)
def test_work_for_a_foreign_page(service: Service, seen: Seen, headers: tuple[str, ...]) -> None:
    host = "Host: localhost"
    for line in ("POST /v1/gaze HTTP/1.1", "POST /v1/explain HTTP/1.1", "POST /v1/reconcile/0.2 HTTP/1.1"):
        assert sent(service, line, host, *headers, body=BODY) == (403, "foreign_origin")
    assert sent(service, f"GET {BATCH} HTTP/1.1", host, *headers) == (403, "foreign_origin")
    assert_answers(service)
    seen("403")


@pytest.mark.fault(63)
def test_everybody_else(service: Service, seen: Seen) -> None:
    assert sent(service, "POST /v1/gaze HTTP/1.1", "Host: localhost", body=BODY) == (200, None)
    assert sent(service, "POST /v1/gaze HTTP/1.0", body=BODY) == (200, None)
    assert sent(service, "POST http://gaze/v1/gaze HTTP/1.1", "Host: gaze", body=BODY) == (200, None)
    own = service.address.removeprefix("http://")
    assert sent(service, "POST /v1/gaze HTTP/1.1", f"Host: {own}", f"Origin: http://{own}", body=BODY) == (200, None)
    seen("programs and own pages: 200")
