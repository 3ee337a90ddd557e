"""The door, with callers on real connections: who is refused there, and how much of what they sent is read."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.api.access.browsers import CorsPolicy
from service.api.access.callers import Access, parse_networks
from service.server.connection import BLOCK
from service.server.load_shedding import Door
from tests.support.problem_shape import checked_problem
from tests.support.wire import split

HEAD = b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\n"
MAX_BODY = 1_000_000


@pytest.fixture
def door() -> Door:
    access = Access((), (), parse_networks("192.0.2.1"))
    return Door(30_000, MAX_BODY, CorsPolicy.parse("https://museum.example"), access)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection: the caller's end, and the one that the worker has accepted."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), timeout=10) as caller,
        listener.accept()[0] as accepted,
    ):
        yield caller, accepted


def sent(ends: tuple[socket.socket, socket.socket], request: bytes) -> socket.socket:
    """Send a request, and return the other end once all of it is there."""
    caller, accepted = ends
    caller.sendall(request)
    until = time.monotonic() + 10
    while len(accepted.recv(len(request), socket.MSG_PEEK)) < len(request):
        assert time.monotonic() < until
    return accepted


def unread(accepted: socket.socket) -> bytes:
    try:
        return accepted.recv(BLOCK, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return b""


def answer(ends: tuple[socket.socket, socket.socket]) -> bytes:
    """Return what the caller reads when the other end is closed."""
    caller, accepted = ends
    accepted.close()
    return b"".join(iter(lambda: caller.recv(BLOCK), b""))


@pytest.mark.parametrize(
    ("request_bytes", "at_end"),
    [
        (HEAD + b"Content-Length: 3\r\n\r\nabc", True),
        (HEAD + b"Content-Length: 20000\r\n\r\n" + bytes(20_000), True),
        (HEAD + b"\r\n", True),
        (HEAD.replace(b"/v1/gaze", b"/v1/explain?a=b") + b"Content-Length: 3\r\n\r\nabc", True),
        (HEAD + b"Content-Length: 20000\r\n\r\n" + bytes(10_000), False),
        (HEAD + b"Expect: 100-continue\r\nContent-Length: 20000\r\n\r\n", False),
    ],
)
def test_who_asks_for_a_place_is_refused(
    door: Door, ends: tuple[socket.socket, socket.socket], request_bytes: bytes, at_end: bool
) -> None:
    accepted = sent(ends, request_bytes)
    assert door.refuse(accepted, "192.0.2.1") is at_end
    assert unread(accepted) == b""
    status, headers, body = split(answer(ends))
    checked_problem(status, headers, body, "overloaded")
    assert (status, headers["Retry-After"], headers["Connection"]) == (503, "1", "close")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /livez HTTP/1.1\r\nHost: gaze\r\n\r\n",
        b"GET /v1/gaze HTTP/1.1\r\nHost: gaze\r\n\r\n",
        HEAD.replace(b"gaze ", b"gazes ") + b"Content-Length: 3\r\n\r\nabc",
        HEAD,
        HEAD + b"X-A: " + b"a" * 5000 + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        HEAD + b"Content-Length: %d\r\n\r\nabc" % (MAX_BODY + 1),
        b"\x16\x03\x01\x02\x00\x01 POST /v1/gaze HTTP/1.1\r\n\r\n",
    ],
)
def test_others_pass_with_nothing_read(
    door: Door,
    ends: tuple[socket.socket, socket.socket],
    prepared_lines: Callable[[], list[dict[str, Any]]],
    request_bytes: bytes,
) -> None:
    accepted = sent(ends, request_bytes)
    with capture_logs() as logs:
        assert door.refuse(accepted, "192.0.2.1") is None
        door.record()
    assert unread(accepted) == request_bytes
    assert logs == prepared_lines() == []


def test_who_has_sent_nothing_passes(door: Door, ends: tuple[socket.socket, socket.socket]) -> None:
    caller, accepted = ends
    assert door.refuse(accepted, None) is None
    caller.close()
    assert door.refuse(accepted, None) is None


def test_refusal_names_the_request_and_lets_other_origins_read_it(
    door: Door,
    ends: tuple[socket.socket, socket.socket],
    prepared_lines: Callable[[], list[dict[str, Any]]],
) -> None:
    own = b"X-Request-ID: mine\r\nX-Forwarded-For: 198.51.100.7\r\nOrigin: https://museum.example\r\n"
    assert door.refuse(sent(ends, HEAD + own + b"Content-Length: 3\r\n\r\nabc"), "192.0.2.1")
    _, headers, body = split(answer(ends))
    assert headers["X-Request-ID"] == json.loads(body)["request_id"] == "mine"
    assert headers["Access-Control-Allow-Origin"] == "https://museum.example"
    assert prepared_lines() == []
    for _ in range(2):  # each is recorded once
        door.record()
        [line] = prepared_lines()
    assert (line["request_id"], line["route"], line["client"]) == ("mine", "/v1/gaze", "198.51.100.7")


def test_more_than_is_read_at_a_time_is_not_the_end(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.server.load_shedding.BLOCK", 5000)
    door = Door(30_000, MAX_BODY, CorsPolicy(), Access((), (), ()))
    accepted = sent(ends, HEAD + b"Content-Length: 3\r\n\r\nabc" + bytes(5000))
    assert door.refuse(accepted, None) is False
    assert unread(accepted)
