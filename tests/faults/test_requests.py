"""Requests that are broken, too large or too slow, as bytes on a socket."""

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any

import pytest

from service.limits.admission import FETCH_SLOTS, OTHER_SLOTS, SLOTS, STREAMED_SLOTS
from tests.conftest import CACHE
from tests.faults.answers import GOOD, IMAGE, PNG, POST, Seen, assert_answers, post
from tests.support.problem_shape import MARKER, checked_problem
from tests.support.running_service import Service, served
from tests.support.wire import Answer, connect, exchange, read_answer

THREADS = SLOTS + FETCH_SLOTS + STREAMED_SLOTS + OTHER_SLOTS


def refused(service: Service, answer: Answer, *expected: tuple[int, str]) -> str:
    """Check that an answer is one of these problems and that the next request is answered; return its status."""
    code = json.loads(answer.body)["code"]
    assert (answer.status, code) in expected
    checked_problem(answer.status, answer.headers, answer.body, code)
    assert_answers(service)
    return str(answer.status)


MALFORMED, INVALID = (400, "malformed_request"), (422, "invalid_request")


@pytest.mark.fault(1)
@pytest.mark.parametrize(
    "body",
    [
        b"{" + MARKER.encode(),
        b'{"image": "\xff\xfe"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"image": {"base64": "' + base64.b64encode(PNG) + b'"}, "lists": ["qualities"], "top_k": NaN}',
        b'{"image": {"base64": "'
        + base64.b64encode(PNG)
        + b'"}, "lists": ["qualities"], "top_k": '
        + b"9" * 5000
        + b"}",
        b"",
        b"\xef\xbb\xbf{}",
    ],
    ids=["cut", "bad UTF-8", "deep lists", "deep objects", "NaN", "5,000 digits", "empty", "byte order mark"],
)
def test_json_that_is_none(service: Service, seen: Seen, body: bytes) -> None:
    seen(refused(service, post(service, body), MALFORMED, INVALID))


@pytest.mark.fault(2)
@pytest.mark.parametrize(
    ("media_type", "headers"),
    [(None, ()), ("text/plain", ()), ("application/json", ("Content-Encoding: gzip",)), ("multipart/form-data", ())],
)
def test_media_types(service: Service, seen: Seen, media_type: str | None, headers: tuple[str, ...]) -> None:
    answer = post(service, json.dumps(GOOD).encode(), media_type, *headers)
    seen(refused(service, answer, (415, "unsupported_media_type")))


@pytest.mark.fault(3)
def test_content_length_over_the_limit(service: Service, seen: Seen) -> None:
    started = time.monotonic()
    with connect(service.address) as connection:
        connection.sendall(POST + b"Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n")
        answer = read_answer(connection)
    status = refused(service, answer, (413, "request_too_large"))
    seen(f"{status} after {(time.monotonic() - started) * 1000:.0f} ms, no byte of the body sent")


@pytest.mark.fault(4)
def test_chunks_over_the_limit(service: Service, seen: Seen) -> None:
    body = json.dumps(GOOD).encode()
    megabyte = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    head = POST + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    # Were it cut at the limit, it would be good JSON.
    answer = exchange(service.address, head, b"%x\r\n%s\r\n" % (len(body), body), *[megabyte] * 65, b"0\r\n\r\n")
    seen(refused(service, answer, (413, "request_too_large")))


@pytest.mark.fault(5)
@pytest.mark.parametrize("text", ["!!", "", " ", "data:image/png;base64,", "AA=A", "\u00e4\u00f6", MARKER])
def test_base64_that_is_none(service: Service, seen: Seen, text: str) -> None:
    body = json.dumps({"image": {"base64": text}, "lists": ["qualities"]}).encode()
    expected = (INVALID, (422, "undecodable_image"), (415, "unsupported_image_format"))
    seen(refused(service, post(service, body), *expected))


@pytest.mark.fault(5)
def test_base64_with_white_space_and_a_prefix(service: Service, seen: Seen) -> None:
    plain = base64.b64encode(PNG).decode()
    spaced = "\n ".join(plain[at : at + 60] for at in range(0, len(plain), 60))
    answers = [
        json.loads(post(service, json.dumps({**GOOD, "image": {"base64": text}}).encode()).body)["results"]
        for text in (plain, spaced, f"data:image/png;base64,{plain}", f"DATA:image/png;base64,{spaced}\r\n")
    ]
    assert all(answer == answers[0] for answer in answers)
    seen("white space and prefix: the same answer")


@pytest.mark.fault(6)
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, INVALID),
        ({"lists": []}, INVALID),
        ({"lists": [MARKER]}, (404, "unknown_list")),
        ({"lists": ["../etc"]}, (404, "unknown_list")),
        ({"phrases": {"a": [f"p{number}" for number in range(2001)]}}, INVALID),
        ({"phrases": {f"l{number}": ["a"] for number in range(33)}}, INVALID),
        ({"phrases": {"a": [""]}}, INVALID),
        ({"phrases": {"a": ["\0"]}}, INVALID),
        ({"phrases": {"a": ["\ud800"]}}, INVALID),
        ({"phrases": {"a": ["x" * 1_000_000]}}, INVALID),
        ({"phrases": {"a b": ["x"]}}, INVALID),
        ({"phrases": {"movements": ["x"]}}, INVALID),
    ],
)
def test_lists_and_phrases(service: Service, seen: Seen, asked: dict[str, Any], expected: tuple[int, str]) -> None:
    seen(refused(service, post(service, json.dumps({"image": IMAGE, **asked}).encode()), expected))


@pytest.mark.fault(7)
@pytest.mark.parametrize(
    "images",
    [
        {"image": {**IMAGE, "url": "http://gaze.example/a.jpg"}},
        {"image": IMAGE, "images": [IMAGE]},
        {},
        {"image": {}},
        {"images": []},
        {"images": [IMAGE] * 33},
    ],
)
def test_image_sources(service: Service, seen: Seen, images: dict[str, Any]) -> None:
    seen(refused(service, post(service, json.dumps({"lists": ["qualities"], **images}).encode()), INVALID))


def form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts) + b"--b--\r\n"


@pytest.mark.fault(8)
def test_many_parts(service: Service, seen: Seen) -> None:
    body = form(*[b'name="phrases"\r\n\r\na'] * 5_000)
    seen(refused(service, post(service, body, "multipart/form-data; boundary=b"), (413, "request_too_large")))


@pytest.mark.fault(8)
@pytest.mark.parametrize("name", [b"../../etc/passwd", b"..\\..\\a", b"/etc/passwd", b"a%0d%0aX: 1", b"a\\r\\n"])
def test_file_names_are_only_told_back(service: Service, seen: Seen, name: bytes) -> None:
    body = form(b'name="image"; filename="' + name + b'"\r\n\r\n' + PNG, b'name="lists"\r\n\r\nqualities')
    answer = post(service, body, "multipart/form-data; boundary=b")
    assert answer.status == 200
    told = json.loads(answer.body)["results"][0]["image"]["name"]
    assert not set(told) & set("/\\\r\n")
    seen("200, the name's last part alone is told back")


@pytest.mark.fault(9)
@pytest.mark.parametrize(
    "head",
    [
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        POST + b"Host: other\r\nContent-Length: 2\r\n\r\n{}",
        b"POST /v1/gaze HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ],
)
def test_requests_of_two_minds(service: Service, seen: Seen, head: bytes) -> None:
    with connect(service.address) as connection:
        connection.sendall(head)
        answer = read_answer(connection)
        assert connection.recv(1) == b""
    seen(f"{refused(service, answer, MALFORMED)}, closed")


class Probing:
    """Asks /livez, /readyz and /metrics, each on a connection of its own, and keeps how long that took."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.seconds: list[float] = []
        self.statuses: set[int] = set()

    def __enter__(self) -> "Probing":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(0.05):
            for path in (b"/livez", b"/readyz", b"/metrics"):
                started = time.monotonic()
                answer = exchange(self._service.address, b"GET " + path + b" HTTP/1.1\r\nHost: gaze\r\n\r\n")
                self.seconds.append(time.monotonic() - started)
                self.statuses.add(answer.status)

    def assert_answered(self) -> str:
        """Assert that health was answered all the time, and return how long that took at most."""
        assert self.statuses == {200}
        assert len(self.seconds) > 20
        assert max(self.seconds) < 1, max(self.seconds)
        return f"health at most {max(self.seconds) * 1000:.0f} ms"


def seconds_until_closed(connection: socket.socket, since: float) -> float:
    """Return when the server ended a connection; it may have said why."""
    connection.settimeout(60)
    while True:
        try:
            if not connection.recv(65536):
                return time.monotonic() - since
        except ConnectionError:
            return time.monotonic() - since


@pytest.mark.fault(10)
def test_slow_heads(service: Service, seen: Seen) -> None:
    heads = (b"", b"P", b"POST /v1/gaze HT", POST, POST + b"Content-Type: application/json\r\nX-A")
    started = time.monotonic()
    connections = [connect(service.address) for _ in range(2 * THREADS)]
    trickling = threading.Event()

    def trickle() -> None:
        while not trickling.wait(0.1):
            for connection in connections[len(connections) // 2 :]:
                try:
                    connection.sendall(b"a")
                except OSError:
                    continue

    trickler = threading.Thread(target=trickle)
    try:
        with Probing(service) as probing:
            for number, connection in enumerate(connections):
                connection.sendall(heads[number % len(heads)])
            trickler.start()
            assert_answers(service)
            with ThreadPoolExecutor(len(connections)) as readers:
                closed = list(readers.map(seconds_until_closed, connections, [started] * len(connections)))
            assert_answers(service)
    finally:
        trickling.set()
        trickler.join()
        for connection in connections:
            connection.close()
    assert max(closed) <= 10
    seen(f"{len(closed)} closed within {max(closed):.1f} s; {probing.assert_answered()}; uploads answered")


@pytest.mark.fault(64)
def test_callers_that_do_not_read_large_answers(service: Service, seen: Seen) -> None:
    phrases = [f"{number} {'%' * 900}" for number in range(1000)]
    asked = json.dumps({"images": [IMAGE] * 4, "phrases": {"own": phrases}, "top_k": None}).encode()
    request = POST + f"Content-Type: application/json\r\nContent-Length: {len(asked)}\r\n\r\n".encode() + asked
    size = len(exchange(service.address, request).body)
    assert size > 3 * 10**6
    alone = median(seconds_of(lambda: assert_answers(service)) for _ in range(10))
    before, callers = service.resident_bytes(), 56
    with contextlib.ExitStack() as held:
        connections = [held.enter_context(connect_with_little_room(service)) for _ in range(callers)]
        waiting = list(connections)
        until = time.monotonic() + 60
        while waiting and time.monotonic() < until:  # whoever finds no place asks again
            connection = waiting.pop(0)
            begun = b""
            with contextlib.suppress(ConnectionError):  # it is refused before all is sent
                connection.sendall(request)
                begun = connection.recv(12)
            if begun != b"HTTP/1.1 200":
                connection.close()
                connection = held.enter_context(connect_with_little_room(service))
                waiting.append(connection)
        assert not waiting
        with Probing(service) as probing:
            answered = [seconds_of(lambda: assert_answers(service)) for _ in range(20)]
            time.sleep(1)
        grown = (service.resident_bytes() - before) / 2**20
    health = probing.assert_answered()
    seen(
        f"{callers} answers of {size / 10**6:.1f} MB unread: a question takes {max(answered):.2f} s at most (alone "
        f"{alone:.2f} s), {health}, {grown:.0f} MB more"
    )
    assert max(answered) < 1
    assert grown < 150
    assert_answers(service)


def connect_with_little_room(service: Service) -> socket.socket:
    """Return a connection whose system takes only some kilobytes of an answer that nobody reads."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(("127.0.0.1", int(service.address.rpartition(":")[2])))
    return connection


def seconds_of(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service whose requests may take five seconds."""
    log = tmp_path_factory.mktemp("hurried") / "log"
    with served(CACHE, log, environment={"GAZE_REQUEST_TIMEOUT": "5"}) as service:
        yield service.wait()


@pytest.mark.fault(11)
@pytest.mark.parametrize("coding", [b"Content-Length: 100000", b"Transfer-Encoding: chunked"], ids=["length", "chunks"])
def test_slow_bodies(hurried: Service, seen: Seen, coding: bytes) -> None:
    head = POST + b"Content-Type: application/json\r\n" + coding + b"\r\n\r\n"
    beginning = b'{"a": "' if b"Length" in coding else b"2000\r\n{"
    started = time.monotonic()
    connections = [connect(hurried.address) for _ in range(2 * THREADS)]
    end = threading.Event()

    def trickle() -> None:
        while not end.wait(1):
            for connection in connections:
                try:
                    connection.sendall(b"x")
                except OSError:
                    continue

    trickler = threading.Thread(target=trickle)
    try:
        with Probing(hurried) as probing:
            for connection in connections:
                connection.sendall(head + beginning)
            trickler.start()
            assert_answers(hurried)
            with ThreadPoolExecutor(len(connections)) as readers:
                answers = list(readers.map(read_answer, connections))
            longest = time.monotonic() - started
            assert_answers(hurried)
    finally:
        end.set()
        trickler.join()
        for connection in connections:
            connection.close()
    for answer in answers:
        checked_problem(503, answer.headers, answer.body, "overloaded")
    assert longest < 8
    seen(f"{len(answers)} ended within {longest:.1f} s of 5; {probing.assert_answered()}; uploads answered")


@pytest.mark.fault(10)
@pytest.mark.parametrize(
    "beginning",
    [
        POST + b"Content-Type: application/json\r\nContent-Length: 0000000000000000000010\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: gaze\r\n" + b"X-A: aaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 10_000,
    ],
    ids=["length of many digits", "head without end"],
)
def test_odd_beginnings_hold_nobody_up(hurried: Service, seen: Seen, beginning: bytes) -> None:
    connections = [connect(hurried.address) for _ in range(2 * SLOTS)]
    try:
        for connection in connections:
            connection.settimeout(0.2)
            with contextlib.suppress(TimeoutError, ConnectionError):
                connection.sendall(beginning)
        with Probing(hurried) as probing:
            for _ in range(30):
                assert_answers(hurried)
                time.sleep(0.05)
        seen(f"{len(connections)} odd beginnings: {probing.assert_answered()}; uploads answered")
    finally:
        for connection in connections:
            connection.close()
