"""What a caller does not take at once of an answer: it is kept, sent in order, and given up in the end."""

import selectors
import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.server import sending
from service.server.sending import AnswerSocket, SendingWorker

LARGE = bytes(range(256)) * 40_000


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    caller, accepted = socket.socketpair()
    with caller, accepted:
        yield caller, accepted


def test_a_short_answer_is_sent_at_once(ends: tuple[socket.socket, socket.socket]) -> None:
    caller, accepted = ends
    answer = AnswerSocket(accepted)
    answer.sendall(b"head")
    answer.sendall(b"")
    assert answer.send(b"body") == 4
    assert (answer.all_sent, answer.held, answer.fileno()) == (True, 0, accepted.fileno())
    assert caller.recv(100) == b"headbody"


def test_a_long_answer_is_kept_and_sent_in_order(ends: tuple[socket.socket, socket.socket]) -> None:
    caller, accepted = ends
    answer = AnswerSocket(accepted)
    for piece in (b"head", LARGE, b"end"):
        answer.sendall(piece)
    assert (answer.all_sent, answer.held) == (False, len(LARGE) + 3)
    received = bytearray()
    while not answer.send_more():
        received += caller.recv(10**6)
    accepted.close()
    received += b"".join(iter(lambda: caller.recv(10**6), b""))
    assert received == b"head" + LARGE + b"end"


def test_a_caller_that_is_gone_is_an_error(ends: tuple[socket.socket, socket.socket]) -> None:
    caller, accepted = ends
    answer = AnswerSocket(accepted)
    answer.sendall(LARGE)
    caller.close()
    with pytest.raises(OSError, match="pipe"):
        answer.send_more()


class Connection:
    """As much of a connection as sending needs."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.answer: AnswerSocket | None = AnswerSocket(sock)
        self.deadline = 0.0
        self.closed = False

    def never_wait(self) -> None:
        self.sock.setblocking(False)

    def close(self, **_: bool) -> None:
        self.closed = True


class Worker(SendingWorker):
    """The worker, without all that gunicorn makes it of."""

    def __init__(self) -> None:
        self._sending: dict[Any, Future[Any]] = {}
        self._unsent_bytes = 0
        self.nr_conns = 0
        self.poller = selectors.DefaultSelector()

    def _client_of(self, _: Any) -> str | None:
        return "192.0.2.1"

    def begin(self, sock: socket.socket) -> Connection:
        """Answer on a connection, of which the caller takes only a part."""
        conn, answered = Connection(sock), Future[bool]()
        answered.set_result(False)
        assert conn.answer
        conn.answer.sendall(LARGE)
        self.nr_conns += 1
        self.finish_request(conn, answered)
        return conn

    def turn(self) -> None:
        for key, _ in self.poller.select(0):
            key.data(key.fileobj)


def test_the_loop_sends_the_rest_and_then_closes(ends: tuple[socket.socket, socket.socket]) -> None:
    caller, accepted = ends
    worker = Worker()
    conn = worker.begin(accepted)
    assert (conn.closed, worker._unsent_bytes) == (False, len(LARGE))
    received = 0
    while received < len(LARGE):
        received += len(caller.recv(10**6))
        worker.turn()
    assert conn.closed
    assert (worker.nr_conns, worker._unsent_bytes, worker._sending) == (0, 0, {})


@pytest.mark.parametrize("how", ["late", "gone"])
def test_a_caller_that_takes_nothing_is_given_up(ends: tuple[socket.socket, socket.socket], how: str) -> None:
    caller, accepted = ends
    worker = Worker()
    conn = worker.begin(accepted)
    with capture_logs() as logs:
        worker._expire_answers(time.monotonic())
        assert not conn.closed
        if how == "late":
            worker._expire_answers(time.monotonic() + sending.SEND_SECONDS)
        else:
            caller.close()
            worker.turn()
    assert (conn.closed, worker.nr_conns, worker._unsent_bytes) == (True, 0, 0)
    assert [line["client"] for line in logs] == ["192.0.2.1"]


def test_where_too_much_is_kept_the_slowest_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "_MAX_UNSENT", 2 * len(LARGE))
    worker = Worker()
    pairs = [socket.socketpair() for _ in range(3)]
    first, second = (worker.begin(accepted) for _, accepted in pairs[:2])
    pairs[0][0].recv(10**6)  # this one reads
    worker.turn()
    third = worker.begin(pairs[2][1])
    assert [each.closed for each in (first, second, third)] == [False, True, False]
    assert worker.nr_conns == 2
    for caller, accepted in pairs:
        caller.close()
        accepted.close()
