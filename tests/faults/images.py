"""Pictures as the faults' callers send them."""

import base64
import json

from tests.support.problem_shape import checked_problem
from tests.support.running_service import Service
from tests.support.wire import Answer, exchange

PHRASES = {"colour": ["red", "blue", "a river"]}

DEADLINE_SECONDS = 10


def ask(service: Service, *files: bytes) -> Answer:
    """Ask about one picture, as `image`, or about several, as `images`."""
    sources = [{"base64": base64.b64encode(file).decode()} for file in files]
    question = {"image": sources[0]} if len(sources) == 1 else {"images": sources}
    body = json.dumps({**question, "phrases": PHRASES, "top_k": None}).encode()
    head = f"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return exchange(service.address, head.encode() + b"Connection: close\r\n\r\n" + body)


def result(service: Service, file: bytes) -> dict[str, object]:
    answer = ask(service, file)
    assert answer.status == 200, answer.body
    [found] = json.loads(answer.body)["results"]
    assert isinstance(found, dict)
    return found


def ranked(service: Service, file: bytes) -> object:
    """Return the answer's predictions, which are the same for the same pixels alone."""
    return result(service, file)["lists"]


def refused(service: Service, file: bytes, status: int, code: str) -> dict[str, object]:
    answer = ask(service, file)
    assert answer.status == status, answer.body
    return checked_problem(status, answer.headers, answer.body, code)
