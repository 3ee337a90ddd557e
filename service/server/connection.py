"""A client's connection, and the request that arrives on it."""

import asyncio
import re
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

BLOCK = 256 * 1024  # bytes that are read at a time
NOWHERE = bytearray(BLOCK)  # where bytes are read that nobody needs

_LINE_BYTES = 256  # of a request line; the routes of this service are shorter
_END_OF_HEAD = b"\r\n\r\n"
_FIELD = re.compile(rb"\r\n([^\s:]+)[ \t]*:[ \t]*([^\r\n]*)")
_DIGITS = re.compile(r"[0-9]{1,18}")
_EXPECT = re.compile(rb"\r\nexpect[ \t]*:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# Of numbers, once: members of an enum are combined by Python code, each time.
_DISCARD = int(socket.MSG_TRUNC) | int(socket.MSG_DONTWAIT)
_WITH_FIN = int(socket.MSG_MORE) | int(socket.MSG_DONTWAIT)
_PEEK = int(socket.MSG_PEEK) | int(socket.MSG_DONTWAIT)


class RequestBuffer:
    """The bytes of one request so far.

    It understands only as much of HTTP as tells how many bytes to wait for. An odd length is left to gunicorn's parser,
    which rejects it, and so is the end of a chunked body.

    max_head: bytes in which a head must end
    max_body: bytes that a body may have; a larger one is not waited for, because it will be rejected
    """

    def __init__(self, max_head: int, max_body: int) -> None:
        self._max_head = max_head
        self._max_body = max_body
        self._beginning = bytearray()  # all bytes until the head is complete
        self._body: list[bytes] = []
        self._missing: int | None = None  # bytes; None where only the parser can find the end
        self._is_too_large = False
        self._fields: dict[str, list[str]] = {}  # by their names in small letters
        self.head = b""
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Add bytes that have arrived."""
        self.size += len(piece)
        if self.head:
            self._body.append(piece)
            self.skip(len(piece))
            return
        searched = max(0, len(self._beginning) - len(_END_OF_HEAD) + 1)
        self._beginning += piece
        end = self._beginning.find(_END_OF_HEAD, searched) + len(_END_OF_HEAD)
        if end >= len(_END_OF_HEAD):
            self.head, rest = bytes(self._beginning[:end]), bytes(self._beginning[end:])
            self._beginning.clear()
            self._read_head()
            if rest:
                self.size -= len(rest)
                self.add(rest)

    def skip(self, size: int) -> None:
        """Count bytes of the body that have arrived and are not kept."""
        if self._missing is not None:
            self._missing -= size

    @property
    def is_complete(self) -> bool:
        """Whether the whole request is here."""
        return self._missing is not None and self._missing <= 0

    @property
    def is_ready(self) -> bool:
        """Whether there is nothing to wait for: it is complete, or too large, or a thread has to read the rest."""
        if not self.head:
            return len(self._beginning) >= self._max_head
        return self._missing is None or self._missing <= 0 or self._is_too_large

    @property
    def is_chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return "transfer-encoding" in self._fields

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for a 100 before it sends the body."""
        is_http_1_0 = b" HTTP/1.0\r\n" in self.head[:_LINE_BYTES]
        return not self._body and not is_http_1_0 and _EXPECT.search(self.head) is not None

    @property
    def method_and_path(self) -> tuple[str, str]:
        """The method, and the path without the query; empty where the head does not begin so."""
        words = (self.head or bytes(self._beginning))[:_LINE_BYTES].split(b"\r\n", 1)[0].split(b" ")
        if len(words) != 3:
            return "", ""
        return words[0].decode("latin-1"), words[1].partition(b"?")[0].decode("latin-1")

    @property
    def request_id(self) -> str | None:
        """The first X-Request-ID that came and is usable."""
        return next(filter(_REQUEST_ID.fullmatch, self.fields("X-Request-ID")), None)

    def fields(self, name: str) -> list[str]:
        """Return the values of a header, one for each time that it came."""
        return self._fields.get(name.lower(), [])

    def header(self, name: str) -> str | None:
        """Return a header as the app gets it, or None."""
        return ",".join(self.fields(name)) if self.fields(name) else None

    def take(self) -> tuple[list[bytes], bytes]:
        """Return the request's bytes, in order, and those after its end, which begin the next; keep none of the body.

        The expectation of a 100 is left out where the event loop has answered it, or need not.
        """
        head = self.head if self.is_chunked else _EXPECT.sub(b"", self.head)
        pieces, self._body = [head, *self._body], []
        end = len(pieces[-1]) + min(0, self._missing or 0)
        early, pieces[-1] = pieces[-1][end:], pieces[-1][:end]
        return [piece for piece in pieces if piece], early

    def _read_head(self) -> None:
        for name, value in _FIELD.findall(self.head):
            self._fields.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").rstrip(" \t"))
        lengths = self.fields("Content-Length")
        if not self.is_chunked and (not lengths or (len(lengths) == 1 and _DIGITS.fullmatch(lengths[0]))):
            self._missing = int(lengths[0]) if lengths else 0
            self._is_too_large = self._missing > self._max_body


class State(IntEnum):
    """What happens on a connection; the lower, the sooner it is closed where there are too many."""

    IDLE = 0  # kept alive, between two requests
    LINGERING = 1  # answered for the last time; what the client still sends is discarded
    RECEIVING = 2
    SENDING = 3
    ANSWERING = 4  # a thread has it


@dataclass(eq=False)
class Connection:
    """A connection, and the request on it."""

    sock: socket.socket
    address: Any  # the client's; empty on a Unix socket
    server: Any  # the address that it was accepted on
    buffer: RequestBuffer
    state: State = State.RECEIVING
    timer: asyncio.Timeout | None = None  # which ends what happens on it
    started: float = field(default_factory=time.monotonic)  # the request, with its first byte, or the connection
    moved: float = 0.0  # when something was last sent
    counted: bool = False  # whether the client's quota has been charged with the request
    keep_alive: bool = False  # whether another request may follow
    size: int = 0  # bytes of the answer
    early: bytes = b""  # that came before their request's turn
    is_evicted: bool = False

    def __post_init__(self) -> None:
        self.sock.setblocking(False)

    @property
    def peer(self) -> str | None:
        """The address of who has connected; None on a Unix socket."""
        return str(self.address[0]) if self.address else None

    def worth(self) -> tuple[float, ...]:
        """Return what the least useful connection has least of."""
        state = State.ANSWERING if self.is_evicted else self.state
        received = self.buffer.size if state == State.RECEIVING else 0
        return state, received, self.moved if state == State.SENDING else self.started

    def evict(self) -> None:
        """End what happens on it at once, unless a thread has it."""
        if self.timer and self.state != State.ANSWERING:
            self.expire(0.0)
            self.is_evicted = True

    def expire(self, seconds: float) -> None:
        """End what happens on it after so many seconds from now."""
        if self.timer and not self.is_evicted:
            self.timer.reschedule(time.monotonic() + seconds)

    def request(self, deadline: float) -> Iterator[bytes]:
        """Return the request's bytes: those that are here, and then, blocking, those that come before the deadline."""
        pieces, self.early = self.buffer.take()
        pieces.reverse()
        while pieces:  # each is freed once it is read
            yield pieces.pop()
        while not self.buffer.is_complete and (seconds := deadline - time.monotonic()) > 0:
            try:
                self.sock.settimeout(seconds)
                piece = self.sock.recv(BLOCK)
            except OSError:  # too late, or the client is gone
                return
            if not piece:
                return
            yield piece

    def send_last(self, answer: bytes) -> None:
        """Send an answer that fits into an empty buffer, together with the end of the connection."""
        with suppress(OSError):  # nothing has come, or the client is gone
            if not self.buffer.is_complete:  # what is here is often all that there is
                self.buffer.skip(self.sock.recv_into(NOWHERE, 0, _DISCARD))
        with suppress(OSError):
            self.sock.send(answer, _WITH_FIN)

    def is_drained(self) -> bool:
        """Return whether all that has come was read: closing a socket with unread bytes resets the connection."""
        try:
            return self.buffer.is_complete and not self.early and not self.sock.recv(1, _PEEK)
        except OSError:  # nothing is there, or nobody
            return True


def http_head(first_line: str, headers: Iterable[tuple[str, object]]) -> bytes:
    """Return the head of an HTTP message."""
    lines = [first_line, *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode("latin-1")
