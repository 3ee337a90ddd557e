"""Bodies that would grow when they are parsed: what they cost, and how health answers meanwhile."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.faults.answers import Seen, assert_answers
from tests.faults.callers import answer_to
from tests.support.problem_shape import checked_problem
from tests.support.running_service import Service
from tests.support.wire import exchange

MIB = 1024**2
MOST = 63 * MIB
JSON, MULTIPART = "application/json", "multipart/form-data; boundary=b"
PICTURE = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
END = b"\r\n--b--\r\n"


def filled(before: bytes, repeated: bytes, after: bytes = b"") -> bytes:
    """Return as much of something between two others as a request may have."""
    return before + repeated * ((MOST - len(before) - len(after)) // len(repeated)) + after


def field(name: str, headers: bytes = b"") -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="' + name.encode() + b'"\r\n' + headers + b"\r\n"


BODIES: dict[str, tuple[str, Callable[[], bytes]]] = {
    # What is right, only too large: what a body costs by itself.
    "a picture in base64": (JSON, lambda: filled(b'{"image":{"base64":"', b"QUJD", b'"},"lists":["qualities"]}')),
    "a picture in a form": (MULTIPART, lambda: filled(PICTURE, b"\xff\xd8\xff\xe0", END)),
    "400 brackets again and again": (JSON, lambda: filled(b'{"image":[', b"[" * 400 + b"]" * 400 + b",", b"0]}")),
    "small arrays": (JSON, lambda: filled(b'{"image":[', b"[],", b"0]}")),
    "small objects": (JSON, lambda: filled(b'{"image":[', b"{},", b"0]}")),
    "small numbers": (JSON, lambda: filled(b"[", b"0.5,", b"0]")),
    "keys": (JSON, lambda: filled(b"{", b'"":"",', b'"a":0}')),
    "opened and never closed": (JSON, lambda: filled(b"", b"[")),
    "an emoji in a long text": (JSON, lambda: filled(b'{"template":"\xf0\x9f\x98\x80","a":"', b"QUJD", b'"}')),
    "a number without an end": (JSON, lambda: filled(b'{"top_k":', b"9", b"}")),
    "a fraction without an end": (JSON, lambda: filled(b'{"top_k":0.', b"1", b"}")),
    "backslashes": (JSON, lambda: filled(b'{"template":"', b"\\\\", b'"}')),
    "escapes": (JSON, lambda: filled(b'{"template":"', b"\\u00e4", b'"}')),
    "header lines": (MULTIPART, lambda: filled(b"--b\r\n", b"a:\r\n", b"\r\n" + END)),
    "headers of 16 KiB": (MULTIPART, lambda: (field("phrases", b"a:\r\n" * 4_000) + b"a\r\n") * 1_000 + END),
    "before the form": (MULTIPART, lambda: filled(b"", b"\r\n--", PICTURE + END)),
    "after the form": (MULTIPART, lambda: filled(PICTURE + END, b"\r\n--b")),
    "boundaries that are none": (MULTIPART, lambda: filled(PICTURE, b"\r\n--bx", END)),
    "a phrase": (MULTIPART, lambda: filled(field("phrases") + b"\xf0\x9f\x98\x80", b"a", END)),
    "names of lists": (MULTIPART, lambda: (field("lists") + b"," * 65_000 + b"\r\n") * 990 + END),
    "queries": ("application/x-www-form-urlencoded", lambda: b"queries=" + b"[[]," * 260_000),
    "escaped queries": ("application/x-www-form-urlencoded", lambda: b"queries=" + quote("[[],").encode() * 100_000),
    "fields": ("application/x-www-form-urlencoded", lambda: b"a=b&" * 262_000),
}


class Health:
    """Asks /livez again and again, and remembers the longest that an answer took."""

    def __init__(self, service: Service) -> None:
        self.longest = 0.0
        self._service = service
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> "Health":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(60)

    def _ask(self) -> None:
        while not self._over.wait(0.05):
            began = time.monotonic()
            assert answer_to(self._service, "/livez")[0] == 200
            self.longest = max(self.longest, time.monotonic() - began)


def peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


@pytest.fixture(scope="module")
def ordinary(sound: Callable[..., Service]) -> Iterator[Service]:
    """A service that has answered an ordinary request: what it makes once for all is made."""
    service = sound()
    assert_answers(service)
    yield service
    assert_answers(service)


@pytest.mark.fault(62)
@pytest.mark.parametrize("kind", BODIES)
def test_bodies_that_grow(ordinary: Service, seen: Seen, kind: str) -> None:
    media_type, make = BODIES[kind]
    body = make()
    [worker] = ordinary.workers()
    Path(f"/proc/{worker}/clear_refs").write_text("5", encoding="utf-8")  # the peak begins anew
    before = peak_bytes(worker)
    path = "/v1/reconcile/0.2" if "urlencoded" in media_type else "/v1/gaze"
    head = f"POST {path} HTTP/1.1\r\nHost: gaze\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n\r\n"
    with Health(ordinary) as health:
        began = time.monotonic()
        answer = exchange(ordinary.address, head.encode(), body)
        seconds = time.monotonic() - began
    assert 400 <= answer.status < 500
    checked_problem(answer.status, answer.headers, answer.body, json.loads(answer.body)["code"])
    more = peak_bytes(worker) - before
    seen(f"{kind}: {answer.status} in {seconds:.1f} s, + {more / 1e6:.0f} MB, health {health.longest * 1000:.0f} ms")
    assert health.longest < 1
    assert more < 2 * len(body) + 100e6  # a body is put together of its pieces
