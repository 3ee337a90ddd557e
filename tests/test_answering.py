"""What a caller learns from the thread that answers, before the event loop comes to its connection."""

import socket
import time
from collections.abc import Iterator

import pytest
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from service.server.connection import Connection
from service.server.request_threads import AnsweringWorker

REQUEST = b"POST / HTTP/1.1\r\nHost: gaze\r\nContent-Length: 4\r\n\r\n"


@pytest.fixture
def worker() -> AnsweringWorker:
    return object.__new__(AnsweringWorker)  # what gunicorn makes it of, of which nothing is needed here


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    caller, accepted = socket.socketpair()
    with caller, accepted:
        caller.setblocking(False)
        yield caller, accepted


def connection(accepted: socket.socket, request: bytes) -> Connection:
    """Return a connection whose request has been parsed to the end of its head, as it is after the answer."""
    made = Connection(Config(), accepted, ("127.0.0.1", 1), ("127.0.0.1", 2), lambda _: None)
    made.init()
    made.received.begin([request], time.monotonic() - 1)  # nothing more is waited for
    assert isinstance(made.parser, RequestParser)
    next(made.parser)
    return made


@pytest.mark.parametrize("body", [b"body", b"bo"], ids=["read", "not whole"])
def test_whose_connection_is_not_kept_learns_so_at_once(
    worker: AnsweringWorker, ends: tuple[socket.socket, socket.socket], body: bytes
) -> None:
    caller, accepted = ends
    assert not worker._keepalive_after(connection(accepted, REQUEST + body), keepalive=False)
    assert caller.recv(1) == b""
    caller.send(b"what it still sends can be read, so that it reads the answer")
    assert accepted.recv(4) == b"what"


def test_connection_is_kept_for_the_next_request(
    worker: AnsweringWorker, ends: tuple[socket.socket, socket.socket]
) -> None:
    caller, accepted = ends
    assert worker._keepalive_after(connection(accepted, REQUEST + b"body"), keepalive=True)
    with pytest.raises(BlockingIOError):
        caller.recv(1)


def test_caller_that_has_gone_is_no_failure(worker: AnsweringWorker, ends: tuple[socket.socket, socket.socket]) -> None:
    caller, accepted = ends
    caller.close()
    assert not worker._keepalive_after(connection(accepted, REQUEST + b"body"), keepalive=False)
