"""HTTP as bytes on a socket, for requests that no HTTP client would send."""

import contextlib
import socket
from dataclasses import dataclass
from http.client import HTTPMessage, HTTPResponse
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: its status, headers and body."""

    status: int
    headers: HTTPMessage
    body: bytes


def connect(address: str) -> socket.socket:
    """Return a connection to a server's address."""
    parts = urlsplit(address)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def read_answer(connection: socket.socket) -> Answer:
    """Return the next answer on a connection."""
    with HTTPResponse(connection) as response:
        response.begin()
        return Answer(response.status, response.headers, response.read())


def exchange(address: str, *sent: bytes) -> Answer:
    """Send these bytes, and return the answer; it may come before all is sent."""
    with connect(address) as connection:
        with contextlib.suppress(ConnectionError):
            for block in sent:
                connection.sendall(block)
        return read_answer(connection)


def split(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers and the body of an answer that was read to its end."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    return int(line.split(" ")[1]), dict(field.split(": ", 1) for field in fields), body
