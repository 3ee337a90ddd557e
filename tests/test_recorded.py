"""What of an answer is no part of a recording: ids, moments, durations, ports."""

from tests.recorded.requests import asked_requests
from tests.recorded.serving import masked

_ANSWER = (
    b"HTTP/1.1 200 OK\r\nDate: Tue, 01 Dec 2026 10:00:00 GMT\r\nX-Request-ID: abc123\r\nAllow: POST, GET\r\n"
    b"Server-Timing: decode;dur=3.1\r\n\r\n"
    b'{"id":"abc123","date":"2026-12-01T10:00:00Z","image":"http://127.0.0.1:9001/a","probability":0.25}'
)


def test_chance_is_masked_and_all_else_kept() -> None:
    answer = masked(_ANSWER, server=9000, origin=9001, names_only=False, is_file=False)
    headers = [["Date", "…"], ["X-Request-ID", "…"], ["Allow", "GET, POST"], ["Server-Timing", "decode;dur=…"]]
    body = '{"id":"REQUEST-ID","date":"MOMENT","image":"http://ORIGIN/a","probability":0.25}'
    assert answer == {"status": "HTTP/1.1 200 OK", "headers": headers, "body": body}


def test_of_metrics_the_names_are_kept() -> None:
    answer = b"HTTP/1.1 200 OK\r\n\r\n# HELP b b.\n# TYPE b counter\nb 3\n# TYPE a gauge\na 1\n"
    assert masked(answer, server=1, origin=2, names_only=True, is_file=False)["body"] == '["a", "b"]'


def test_requests_are_many_and_the_same_each_time() -> None:
    first, second = (list(asked_requests({"open": 1, "keys": 2, "own": 3}, 4)) for _ in range(2))
    assert len({asked.name for asked in first}) == len(first) > 500
    assert first == second
