"""What is asked over HTTP, ready to be sent: Gaze's requests and infinity's, with the picture in the body."""

import base64
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, Self

_BOUNDARY = "a-boundary-that-no-picture-holds"


class WrongAnswer(Exception):
    """A service answered something else than 200; the message says what."""


@dataclass(frozen=True)
class Question:
    """One POST request."""

    port: int
    path: str
    content_type: str
    body: bytes

    def send(self, connection: HTTPConnection) -> bytes:
        """Ask on a connection that is kept open, and return the answer's body. Raises WrongAnswer."""
        connection.request("POST", self.path, self.body, {"Content-Type": self.content_type})
        response = connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise WrongAnswer(f"{self.path} answered {response.status}: {answer[:500].decode(errors='replace')}")
        return answer


class Caller:
    """Asks one question after the other on a connection that it keeps, and times each."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=600)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, question: Question) -> Any:
        """Return the answer, which must be JSON. Raises WrongAnswer."""
        return json.loads(question.send(self._connection))

    def time(self, question: Question) -> float:
        """Return the seconds from sending the question to having read the answer. Raises WrongAnswer."""
        started = time.perf_counter()
        question.send(self._connection)
        return time.perf_counter() - started


def gaze_upload(port: int, picture: bytes, list_name: str) -> Question:
    """Ask Gaze to rank a served list for an uploaded picture."""
    parts = [
        ('name="image"; filename="picture.jpg"\r\nContent-Type: image/jpeg', picture),
        ('name="lists"', list_name.encode()),
    ]
    body = b"".join(
        f"--{_BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    )
    return Question(
        port, "/v1/gaze", f"multipart/form-data; boundary={_BOUNDARY}", body + f"--{_BOUNDARY}--\r\n".encode()
    )


def gaze_phrases(port: int, picture: bytes, phrases: Sequence[str]) -> Question:
    """Ask Gaze to rank phrases of the caller's own; JSON, with the picture in base64."""
    return _json(
        port, "/v1/gaze", {"image": {"base64": base64.b64encode(picture).decode()}, "phrases": {"own": list(phrases)}}
    )


def infinity_embedding(port: int, picture: bytes) -> Question:
    """Ask infinity for the picture's embedding, the picture in a data URI: it fetches nothing from loopback."""
    uri = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
    return _json(
        port, "/embeddings", {"model": "clip", "input": [uri], "modality": "image", "encoding_format": "base64"}
    )


def _json(port: int, path: str, fields: Mapping[str, Any]) -> Question:
    return Question(port, path, "application/json", json.dumps(fields).encode())
