"""Requests that are broken, too large or too slow, as bytes on a socket."""

from collections.abc import Callable

import pytest

from tests.problem_shape import checked_problem
from tests.running_service import Service
from tests.wire import exchange

HEAD = b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\n"


@pytest.mark.fault(3)
def test_content_length_over_the_limit(service: Service, seen: Callable[[str], None]) -> None:
    head = HEAD + b"Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    answer = exchange(service.address, head)
    checked_problem(413, answer.headers, answer.body, "request_too_large")
    assert answer.status == 413
    seen("413 with no byte of the body sent")
