"""Hosts of images, which answer each path with the bytes that a test gives, well-formed or not."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import NamedTuple, Self

Answer = bytes | Callable[[socket.socket], None]
"""What is sent after a request was read: bytes, or whatever the function does with the connection."""

_MOST_SECONDS = 30.0
"""How long a connection may have nothing to say: longer than whoever is tested waits."""


class Place(NamedTuple):
    """What a connection goes to."""

    address: str
    port: int


class Hosts:
    """Listen while a `with` block lasts; know where they were connected to, and what they were asked.

    answers: by path, whatever the host
    listening: sockets that do, each with what proves its hosts' names where it speaks TLS
    """

    def __init__(self, answers: Mapping[str, Answer], listening: Mapping[socket.socket, ssl.SSLContext | None]) -> None:
        self.reached: list[Place] = []
        self.requests: list[str] = []
        self._answers = answers
        self._listening = listening
        self._over = threading.Event()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for listening, tls in self._listening.items():
            thread = threading.Thread(target=self._listen, args=(listening, tls))
            thread.start()
            self._open.callback(listening.close)
            self._open.callback(thread.join)
            self._open.callback(listening.shutdown, socket.SHUT_RDWR)  # which wakes who accepts; closing does not
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._open.close()

    def _listen(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        talks: list[threading.Thread] = []
        while not self._over.is_set():
            with suppress(OSError):  # which accept raises once it is over
                connection, _ = listening.accept()
                self.reached.append(Place(*connection.getsockname()[:2]))
                talks.append(threading.Thread(target=self._talk, args=(connection, tls)))
                talks[-1].start()
        for talk in talks:
            talk.join()

    def _talk(self, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        # Who asked may hang up at any time, and need not believe the certificate.
        with suppress(OSError), connection:
            connection.settimeout(_MOST_SECONDS)
            if not tls:
                self._answer(connection)
                return
            with tls.wrap_socket(connection, server_side=True) as encrypted:
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


class Origin(Hosts):
    """One host, on a port of loopback of its own."""

    def __init__(self, answers: Mapping[str, Answer], tls: ssl.SSLContext | None = None) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = listening.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        super().__init__(answers, {listening: tls})

    @property
    def connections(self) -> int:
        """How many there were."""
        return len(self.reached)


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


def until_hung_up(beginning: bytes = b"") -> Answer:
    """Send the beginning, and then nothing until the other side hangs up."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while connection.recv(65536):
            pass

    return answer


def reset(connection: socket.socket) -> None:
    """Close so that the other side gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
