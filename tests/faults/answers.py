"""What the faults' callers send and must get."""

import base64
import json
from collections.abc import Callable
from typing import Any

from tests.conftest import encoded, noise
from tests.support.running_service import Service
from tests.support.wire import Answer, exchange

PNG = encoded(noise(60, 40))

IMAGE = {"base64": base64.b64encode(PNG).decode()}

GOOD: dict[str, Any] = {"image": IMAGE, "lists": ["qualities"]}

POST = b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\n"

Seen = Callable[[str], None]


def post(service: Service, body: bytes, media_type: str | None = "application/json", *headers: str) -> Answer:
    """Send a body, and return the answer to it."""
    lines = [*([f"Content-Type: {media_type}"] if media_type else []), f"Content-Length: {len(body)}", *headers]
    return exchange(service.address, POST + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n", body)


def assert_answers(service: Service) -> None:
    """Assert that the next valid request is answered as if nothing had happened."""
    answer = post(service, json.dumps(GOOD).encode())
    assert answer.status == 200
    assert "qualities" in json.loads(answer.body)["results"][0]["lists"]
