"""A connection of gunicorn's, whose requests arrive in the event loop."""

import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import Unreader
from gunicorn.workers.gthread import TConn

from service.server.request_buffer import Arrival
from service.server.sending import AnswerSocket

BLOCK = 256 * 1024
"""Bytes that are read at a time."""


class Received(Unreader):
    """Gives gunicorn's parser what the event loop has read, and then what still comes, until a deadline."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__()
        self._connection = connection
        self._pieces: deque[bytes] = deque()
        self._deadline = 0.0

    def begin(self, pieces: Iterable[bytes], deadline: float) -> None:
        """Take what has come of a request, and by when the rest must have."""
        self._pieces.extend(piece for piece in pieces if piece)
        self._deadline = deadline

    def chunk(self, size_hint: int | None = None) -> bytes:  # noqa: ARG002  # gunicorn's signature
        """Return the next bytes; none at the end, which the deadline is too."""
        if self._pieces:
            return self._pieces.popleft()
        seconds = self._deadline - time.monotonic()
        if seconds <= 0:
            return b""
        self._connection.settimeout(seconds)
        try:
            return self._connection.recv(BLOCK)
        except TimeoutError:
            return b""
        finally:
            self._connection.settimeout(None)

    def take_all(self) -> bytes:
        """Return what has come and was not read: it belongs to the next request."""
        rest = self.take_buffered() + b"".join(self._pieces)
        self._pieces.clear()
        return bytes(rest)


class Connection(TConn):
    """A connection, and the request that is arriving on it.

    received:  what the parser reads from
    started:   when the first byte of the request came, or the connection, on time.monotonic()'s clock
    deadline:  when the event loop loses its patience
    watched:   whether the event loop hears when something comes
    discarded: bytes that were read and forgotten after the last answer; 0 before that
    counted:   whether the caller's quota has been charged with the request
    answer:    what the answer is sent by, as long as the event loop need not end it
    """

    arrival: Arrival
    started: float
    deadline: float
    watched: bool
    discarded: int
    counted: bool
    answer: AnswerSocket | None

    def __init__(
        self, cfg: Any, client: socket.socket, address: Any, server: Any, linger: Callable[["Connection"], None]
    ) -> None:
        super().__init__(cfg, client, address, server)
        self.received = Received(client)
        self.data_ready = True  # a thread is given only to a request that is there
        self.address = str(address[0]) if address else None
        self._linger = linger
        self.watched = False
        self.discarded = 0
        self.counted = False
        self.answer = None

    def init(self) -> None:
        """Make the parser, in the thread that needs it: who is refused needs none."""
        super().init()
        assert isinstance(self.parser, RequestParser)  # noqa: S101  # HTTP/2 and uWSGI are not switched on
        self.parser.unreader = self.received

    def never_wait(self) -> None:
        """Let reading and writing return at once, as the event loop needs it; a system call only where it is one."""
        if self.sock.gettimeout() != 0:
            self.sock.setblocking(False)

    def close(self, graceful: bool = False) -> None:
        """Close the connection; gracefully: a caller that is still sending has time to read the answer first."""
        if graceful and not (self.arrival.whole and self._all_is_read()):
            self._linger(self)
        else:
            super().close()

    def _all_is_read(self) -> bool:
        """Whether nothing more has come: what is unread when a connection is closed takes the answer with it."""
        try:
            self.never_wait()
            return not self.sock.recv(1, socket.MSG_PEEK)
        except OSError:  # nothing is there, or nobody
            return True
