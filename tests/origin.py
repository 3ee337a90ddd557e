"""An image's host on loopback, which answers each path with the bytes that a test gives, well-formed or not."""

import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from types import TracebackType
from typing import Self

Answer = bytes | Callable[[socket.socket], None]
"""What is sent after a request was read: bytes, or whatever the function does with the connection."""


class Origin:
    """Listens on a port of its own while a `with` block lasts; knows what it was asked."""

    def __init__(self, answers: Mapping[str, Answer], tls: ssl.SSLContext | None = None) -> None:
        self._answers = answers
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.connections = 0
        self.requests: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing a socket does not wake who waits for a connection to it; a connection does.
        self._over.set()
        with closing(socket.create_connection(("127.0.0.1", self.port))):
            pass
        self._thread.join()
        self._listening.close()

    def _listen(self) -> None:
        talks: list[threading.Thread] = []
        while True:
            connection, _ = self._listening.accept()
            if self._over.is_set():
                connection.close()
                break
            self.connections += 1
            talks.append(threading.Thread(target=self._talk, args=(connection,)))
            talks[-1].start()
        for talk in talks:
            talk.join()

    def _talk(self, connection: socket.socket) -> None:
        # Who asked may hang up at any time.
        with suppress(OSError), connection:
            connection.settimeout(5)
            if not self._tls:
                self._answer(connection)
                return
            with self._tls.wrap_socket(connection, server_side=True) as encrypted:
                self._answer(encrypted)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            received = connection.recv(65536)
            if not received:
                return
            request += received
        self.requests.append(request.decode("latin-1"))
        answer = self._answers[self.requests[-1].split(" ")[1].partition("?")[0]]
        if isinstance(answer, bytes):
            connection.sendall(answer)
        else:
            answer(connection)


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Return an answer of HTTP/1.1 with this body and its length."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


def moved(location: str, status: int = 302) -> bytes:
    """Return a redirect."""
    return http(b"over there", f"Location: {location}", status=f"{status} Moved")


def slowly(beginning: bytes, piece: bytes, seconds: float = 0.1) -> Answer:
    """Send the beginning at once, and then a piece every so many seconds, until the other side hangs up."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(beginning)
        connection.settimeout(seconds)
        while True:
            try:
                if not connection.recv(1):
                    return
            except TimeoutError:
                connection.sendall(piece)

    return answer


def endlessly(beginning: bytes, piece: bytes) -> Answer:
    """Send the beginning, and then a piece again and again, until the other side hangs up."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while True:
            connection.sendall(piece)

    return answer
