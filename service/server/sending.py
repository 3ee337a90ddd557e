"""gunicorn's threaded worker, in which no thread waits for a caller to take its answer: the event loop does."""

import selectors
import socket
import time
from collections import deque
from concurrent.futures import Future
from functools import partial
from typing import Any

import structlog
from gunicorn.workers.gthread import ThreadWorker

log = structlog.get_logger()

SEND_SECONDS = 30.0
"""How long a caller may take to receive an answer."""

_MAX_UNSENT = 64 * 1024**2
"""Bytes of all answers together of which a part is not sent."""

_AT_ONCE = int(socket.MSG_DONTWAIT) | int(socket.MSG_NOSIGNAL)


class AnswerSocket:
    """A caller's socket as gunicorn and the app have it: what the system does not take at once of an answer is kept.

    held:     bytes of what is kept, with those of it that are sent
    moved_at: when something was sent last, on time.monotonic()'s clock
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._unsent: deque[memoryview] = deque()
        self.held = 0
        self.moved_at = time.monotonic()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def sendall(self, data: bytes) -> None:
        """Send it, or keep what cannot be sent at once. Raises OSError where the caller is gone."""
        self._unsent.append(memoryview(data))
        if len(self._unsent) == 1:
            self.send_more()
        if self._unsent:
            self.held += len(data)

    def send(self, data: bytes, _flags: int = 0) -> int:
        """Send it as sendall() does."""
        self.sendall(data)
        return len(data)

    def send_more(self) -> bool:
        """Send what can be, and return whether all is sent. Raises OSError where the caller is gone."""
        while self._unsent:
            try:
                sent = self._connection.send(self._unsent[0], _AT_ONCE)
            except (BlockingIOError, InterruptedError):
                return False
            self.moved_at = time.monotonic()
            rest = self._unsent.popleft()[sent:]
            if rest:
                self._unsent.appendleft(rest)
        return True

    @property
    def all_sent(self) -> bool:
        """Whether nothing is kept."""
        return not self._unsent


class SendingWorker(ThreadWorker):
    """Sends in the event loop what a caller did not take at once, under a deadline and a bound on bytes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sending: dict[Any, Future[Any]] = {}
        """Connections, and what their threads have returned."""
        self._unsent_bytes = 0

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Keep or close the connection of a request that was answered, once all of the answer is sent."""
        if conn.answer is None or conn.answer.all_sent:
            conn.answer = None
            super().finish_request(conn, fs)
            return
        self._sending[conn] = fs
        self._unsent_bytes += conn.answer.held
        conn.deadline = time.monotonic() + SEND_SECONDS
        conn.never_wait()
        self.poller.register(conn.sock, selectors.EVENT_WRITE, partial(self._on_writable, conn))
        while self._unsent_bytes > _MAX_UNSENT:
            self._give_up(self._slowest())

    def _on_writable(self, conn: Any, _: Any) -> None:
        if conn not in self._sending:  # the loop may hold an event of a connection that is closed
            return
        try:
            if not conn.answer.send_more():
                return
        except OSError:
            self._give_up(conn)
            return
        self.finish_request(conn, self._forget_answer(conn))

    def _expire_answers(self, now: float) -> None:
        for conn in [conn for conn in self._sending if conn.deadline <= now]:
            self._give_up(conn)

    def _slowest(self) -> Any:
        """Return the connection on which nothing has moved for longest."""
        return min(self._sending, key=lambda conn: conn.answer.moved_at)

    def _give_up(self, conn: Any) -> None:
        log.info("the caller did not take its answer", client=self._client_of(conn))
        self._forget_answer(conn)
        self.nr_conns -= 1
        conn.close()

    def _client_of(self, conn: Any) -> str | None:
        """Return the address that asks."""
        raise NotImplementedError

    def _forget_answer(self, conn: Any) -> "Future[Any]":
        self._unsent_bytes -= conn.answer.held
        self.poller.unregister(conn.sock)
        return self._sending.pop(conn)
