"""The real server: requests that never reach the app, bodies in chunks, and its end."""

import asyncio
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from itertools import repeat
from typing import Any

import pytest
from gunicorn.config import Config
from structlog.testing import capture_logs

from service.limits.admission import Admission
from service.server import rejection, worker
from service.server.handover import Handover
from tests.conftest import CACHE, REPOSITORY, free_port, serving, wait_until_ready
from tests.support.problem_shape import MARKER, checked_problem
from tests.support.wire import Answer, connect, exchange, read_answer
from tests.test_query import GOOD

HEAD = "GET /livez HTTP/1.1\r\nHost: gaze\r\nConnection: close\r\n"
POST = "POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nConnection: close\r\nContent-Type: application/json\r\n"
BODY = json.dumps(GOOD).encode()


def test_file_has_one_date(server: str) -> None:
    connection = http.client.HTTPConnection(server.removeprefix("http://"))
    connection.request("GET", "/static/page.js")
    response = connection.getresponse()
    assert response.status == 200
    assert len(response.headers.get_all("Date", [])) == 1
    connection.close()


def checked(answer: Answer, status: int, code: str) -> Answer:
    assert answer.status == status
    checked_problem(status, answer.headers, answer.body, code)
    return answer


@pytest.mark.parametrize(
    "request_text",
    [
        f"{MARKER}\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01" + MARKER + "\r\n\r\n",
        f"GET /{MARKER}\r\n\r\n",
        f"GET /{MARKER} HTTP/3.0\r\n\r\n",
        f"GET /{MARKER} HTTP/1.1 {MARKER}\r\n\r\n",
        f"get{MARKER} /livez HTTP/1.1\r\nHost: gaze\r\n\r\n",
        f"GET {MARKER} HTTP/1.1\r\nHost: gaze\r\n\r\n",
        f"GET /\xff{MARKER} HTTP/1.1\r\nHost: gaze\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        f"{HEAD}{MARKER}\r\n\r\n",
        f"{HEAD}X {MARKER}: 1\r\n\r\n",
        f"{HEAD}X-A: 1\r\n {MARKER}\r\n\r\n",
        f"{HEAD}X-A: \0{MARKER}\r\n\r\n",
        f"{HEAD}Host: {MARKER}\r\n\r\n",
        f"{POST}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        f"{POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}",
        f"{POST}Content-Length: -2\r\n\r\n",
        f"{POST}Content-Length: {MARKER}\r\n\r\n",
        f"{POST}Transfer-Encoding: {MARKER}\r\n\r\n",
        f"{POST}Expect: {MARKER}\r\n\r\n",
    ],
)
def test_request_that_is_no_http(server: str, request_text: str) -> None:
    answer = checked(exchange(server, request_text.encode("latin-1")), 400, "malformed_request")
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    "request_text",
    [
        f"GET /{MARKER * 1000} HTTP/1.1\r\nHost: gaze\r\n\r\n",
        f"{HEAD}X-A: {MARKER * 2000}\r\n\r\n",
        HEAD + "".join(f"X-{number}: {MARKER}\r\n" for number in range(101)) + "\r\n",
    ],
)
def test_line_or_headers_that_are_too_long(server: str, request_text: str) -> None:
    answer = checked(exchange(server, request_text.encode()), 413, "request_too_large")
    assert answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    "sent",
    [
        f"{HEAD}Host: again\r\n\r\n",
        f"GET /{'a' * 10_000} HTTP/1.1\r\nHost: gaze\r\n\r\n",
        HEAD + "X-A: a\r\n" * 60_000,
        f"{POST}Content-Length: {2**26 + 1}\r\n\r\n",
    ],
    ids=["400", "413 of a line", "413 of a head without end", "413 of a body"],
)
def test_answers_have_the_same_headers_wherever_they_are_made(server: str, sent: str) -> None:
    usual = exchange(server, f"{HEAD.replace('livez', 'nothing')}\r\n".encode())
    assert usual.status == 404
    answer = exchange(server, sent.encode())
    assert answer.status in (400, 413)
    assert sorted(answer.headers.keys()) == sorted(usual.headers.keys())
    for name in ("Server", "Connection", "X-Content-Type-Options"):
        assert answer.headers[name] == usual.headers[name]
    assert abs(parsedate_to_datetime(answer.headers["Date"]) - datetime.now(UTC)) < timedelta(seconds=10)


@pytest.mark.parametrize(
    "chunks",
    [
        f"{MARKER}\r\n",
        "2\r\n{}xx\r\n0\r\n\r\n",
        f"2;\r{MARKER}\r\n{{}}\r\n",
        f"2\r\n{{}}\r\n0\r\n{MARKER}\r\n\r\n",
        "-1\r\n",
    ],
)
def test_chunks_that_are_broken(server: str, chunks: str) -> None:
    sent = f"{POST}Transfer-Encoding: chunked\r\n\r\n{chunks}".encode()
    checked(exchange(server, sent), 400, "malformed_request")


def test_chunks_are_read_as_one_body(server: str) -> None:
    chunks = [
        f"{len(BODY[at : at + 50]):x}\r\n".encode() + BODY[at : at + 50] + b"\r\n" for at in range(0, len(BODY), 50)
    ]
    answer = exchange(server, f"{POST}Transfer-Encoding: chunked\r\n\r\n".encode(), *chunks, b"0\r\n\r\n")
    assert answer.status == 200
    assert "qualities" in json.loads(answer.body)["results"][0]["lists"]


def test_chunks_over_the_limit_are_refused_and_not_cut_short(server: str) -> None:
    megabyte = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    # JSON, were it read to the limit and no further.
    start = f"{len(BODY):x}\r\n".encode() + BODY + b"\r\n"
    sent = f"{POST}Transfer-Encoding: chunked\r\n\r\n".encode()
    checked(exchange(server, sent, start, *[megabyte] * 65, b"0\r\n\r\n"), 413, "request_too_large")


@pytest.mark.parametrize("expect", ["", "Expect: 100-continue\r\n"])
def test_content_length_over_the_limit_is_refused_without_the_body(server: str, expect: str) -> None:
    with connect(server) as connection:
        connection.sendall(f"{POST}{expect}Content-Length: {2**26 + 1}\r\n\r\n".encode())
        checked(read_answer(connection), 413, "request_too_large")


@pytest.mark.parametrize("target", ["http://gaze", "http://gaze?a=b", "//v1//lists", "/v1//lists", "/v1/lists/"])
def test_odd_targets_are_not_redirected(server: str, target: str) -> None:
    sent = f"GET {target} HTTP/1.1\r\nHost: gaze\r\nConnection: close\r\n\r\n"
    checked(exchange(server, sent.encode()), 404, "not_found")


def test_connection_serves_several_requests(server: str) -> None:
    with connect(server) as connection:
        for request_id in ("first", "second"):
            sent = f"{POST}X-Request-ID: {request_id}\r\nContent-Length: 2\r\n\r\n{{}}".replace("close", "keep-alive")
            connection.sendall(sent.encode())
            answer = read_answer(connection)
            assert (answer.status, answer.headers["X-Request-ID"]) == (422, request_id)


def test_connection_is_kept_after_a_body_that_was_not_read(server: str) -> None:
    body = b"x" * 300_000
    head = f"{POST}Content-Length: {len(body)}\r\n\r\n".replace("close", "keep-alive").replace("json", "yaml")
    with connect(server) as connection:
        for _ in range(5):
            connection.sendall(head.encode() + body)
            answer = checked(read_answer(connection), 415, "unsupported_media_type")
            assert answer.headers["Connection"] == "keep-alive"


@pytest.mark.parametrize("head", [HEAD, HEAD.replace("livez", "nothing"), f"{HEAD}Host: again\r\n"])
def test_answer_reaches_who_has_sent_more_than_the_request(server: str, head: str) -> None:
    with connect(server) as connection:
        connection.sendall(head.encode() + b"\r\n" + b"x" * 200_000)
        time.sleep(0.2)
        answer = read_answer(connection)
    assert answer.status in (200, 404, 400)
    assert len(answer.body) == int(answer.headers["Content-Length"])


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 60000000",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue\r\nContent-Length: 60000000",
        "Transfer-Encoding: chunked\r\nExpect: 100-continue",
    ],
)
@pytest.mark.parametrize(
    ("page", "status", "code"),
    [
        ("Host: evil.example", 421, "misdirected_request"),
        ("Host: gaze\r\noRIGIN: https://evil.example ", 403, "foreign_origin"),
        ("Host: gaze\r\nOrigin: http://gaze\r\nOrigin: https://evil.example", 403, "foreign_origin"),
        ("Host: gaze\r\nSec-Fetch-Site: cross-site", 403, "foreign_origin"),
    ],
)
def test_a_foreign_page_is_refused_by_the_head(server: str, page: str, status: int, code: str, framing: str) -> None:
    head = f"POST /v1/gaze HTTP/1.1\r\n{page}\r\n{framing}\r\n\r\n"
    answer = checked(exchange(server, head.encode()), status, code)
    assert answer.headers["Connection"] == "close"


def test_what_was_held_of_requests_that_are_answered_is_held_no_more() -> None:
    most = 100_000  # eight times as much may be half here at a time
    head = f"{POST}Content-Length: {most - 1}\r\n\r\n".replace("json", "yaml")
    with serving(GAZE_MODEL="demo", GAZE_URL_FETCH="off", GAZE_MAX_REQUEST_BYTES=str(most)) as address:
        for _ in range(20):
            with connect(address) as connection:
                connection.sendall(head.encode() + b"x" * 60_000)
                time.sleep(0.02)
                connection.sendall(b"x" * (most - 1 - 60_000))
                checked(read_answer(connection), 415, "unsupported_media_type")


def test_a_head_that_comes_too_slowly_gets_no_answer_and_a_body_has_more_time(server: str) -> None:
    with ExitStack() as held:
        with_body = held.enter_context(connect(server))
        with_body.sendall(f"{POST}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:100])
        connections = [held.enter_context(connect(server)) for _ in range(3)]
        for connection, beginning in zip(connections, (b"", b"GET / HT", HEAD.encode()), strict=True):
            connection.sendall(beginning)
        began = time.monotonic()
        assert [connection.recv(1) for connection in connections] == [b""] * 3
        assert 5 < time.monotonic() - began < 15
        with_body.sendall(BODY[100:])
        assert read_answer(with_body).status == 200


def test_who_never_stops_sending_after_the_answer_is_cut_off(server: str) -> None:
    with connect(server) as connection:
        connection.sendall(f"{POST}Content-Length: {10**12}\r\n\r\n".encode())
        with pytest.raises(ConnectionError):
            list(map(connection.sendall, repeat(bytes(1024**2), 600)))


@pytest.mark.parametrize(("version", "coding"), [("1.1", "length"), ("1.1", "chunks"), ("1.0", "length")])
def test_who_sends_no_more_after_the_request_is_answered(server: str, version: str, coding: str) -> None:
    framed = f"Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    if coding == "chunks":
        framed = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
    with connect(server) as connection:
        connection.sendall(POST.replace("1.1", version).encode() + framed)
        connection.shutdown(socket.SHUT_WR)
        answer = read_answer(connection)
    assert answer.status == 200
    assert "qualities" in json.loads(answer.body)["results"][0]["lists"]


@pytest.fixture
def own_server() -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GAZE_")}
    environment |= {"GAZE_MODEL": "demo", "GAZE_URL_FETCH": "off", "GAZE_PORT": str(port), "GAZE_CACHE_DIR": str(CACHE)}
    command = [sys.executable, "-m", "service.cli", "serve"]
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY, stdout=subprocess.DEVNULL) as process:
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.kill()


def readiness(kept: socket.socket) -> Answer:
    """Ask on a connection that is kept: once the server ends, it takes no new one."""
    kept.sendall(b"GET /readyz HTTP/1.1\r\nHost: gaze\r\n\r\n")
    return read_answer(kept)


def test_termination_finishes_what_is_under_way(own_server: tuple[str, "subprocess.Popen[bytes]"]) -> None:
    address, process = own_server
    with connect(address) as connection, connect(address) as kept:
        assert readiness(kept).status == 200
        connection.sendall(f"{POST}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY[:100])
        process.send_signal(signal.SIGTERM)
        while (answer := readiness(kept)).status == 200:
            time.sleep(0.01)
        checked(answer, 503, "shutting_down")
        connection.sendall(BODY[100:])
        answer = read_answer(connection)
        assert answer.status == 200
        assert "qualities" in json.loads(answer.body)["results"][0]["lists"]
    assert process.wait(25) == 0


@pytest.mark.parametrize(
    ("path", "media_type", "megabytes", "status"),
    [
        ("/v1/gaze", "application/json", 80, 413),
        ("/v1/gaze", "text/plain", 40, 415),
        ("/nothing", "text/plain", 5, 404),
        ("/livez", "text/plain", 5, 405),
    ],
)
def test_who_sends_a_large_body_to_its_end_still_reads_why_it_was_refused(
    server: str, path: str, media_type: str, megabytes: int, status: int
) -> None:
    connection = http.client.HTTPConnection(server.removeprefix("http://"), timeout=30)
    connection.request("POST", path, body=b"x" * (megabytes * 1024**2), headers={"Content-Type": media_type})
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize(("soft", "hard", "wanted"), [(256, 10_000, 8192), (256, 4096, 4096), (9000, 10_000, 9000)])
def test_there_are_descriptors_for_all_connections(soft: int, hard: int, wanted: int) -> None:
    program = (
        f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}));"
        "import service.server.gunicorn_conf; print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.splitlines()[-1] == f"({wanted}, {hard})"


LARGE = bytes(range(256)) * 160_000  # more than the kernel buffers of one connection
Ask = Callable[[bytes], socket.socket]


def answer_all(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> list[bytes]:
    """Answer as an app does: /large with much, all else with what has come."""
    body = LARGE if environ["PATH_INFO"] == "/large" else environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture
def handover(monkeypatch: pytest.MonkeyPatch) -> Handover:
    """Let the event loop run in this process, as a worker that is ready."""
    made = Handover()
    made.register()
    made.be_ready()
    monkeypatch.setattr(worker, "handover", made)
    monkeypatch.setattr(worker, "shutting_down", threading.Event())
    return made


@pytest.fixture
def admission(monkeypatch: pytest.MonkeyPatch) -> Admission:
    made = Admission(1)
    for module in (worker, rejection):
        monkeypatch.setattr(module, "admission", made)
    return made


@pytest.fixture
def ask(handover: Handover) -> Iterator[Ask]:
    """Run the event loop in a thread, with an app that needs no model; each call opens a connection and sends."""
    with ExitStack() as held:
        listener = socket.create_server(("127.0.0.1", 0))
        serving = worker.EventLoop([listener], answer_all, Config()).serve(lambda: None)
        thread = threading.Thread(target=asyncio.run, args=(serving,))
        address = listener.getsockname()

        def connect_and_send(sent: bytes) -> socket.socket:
            connection = held.enter_context(socket.create_connection(address, timeout=10))
            connection.sendall(sent)
            return connection

        thread.start()
        try:
            yield connect_and_send
        finally:
            held.close()
            handover.request_stop()
            thread.join(30)


def get(path: str, connection: str = "close") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: gaze\r\nConnection: {connection}\r\n\r\n".encode()


def all_of(connection: socket.socket) -> bytes:
    """Return what is read until the end, or until the connection is reset."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while piece := connection.recv(10**6):
            received += piece
    return bytes(received)


def test_a_long_answer_is_sent_in_order_to_a_slow_client(ask: Ask) -> None:
    connection = ask(get("/large"))
    time.sleep(0.3)
    assert all_of(connection).partition(b"\r\n\r\n")[2] == LARGE


@pytest.mark.parametrize("how", ["late", "gone"])
def test_a_client_that_does_not_take_its_answer_is_given_up(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(worker, "SEND_SECONDS", 0.2)
    with capture_logs() as logs:
        connection = ask(get("/large"))
        if how == "gone":
            connection.close()
        time.sleep(0.6)
        if how == "late":
            assert len(all_of(connection)) < len(LARGE)
            assert [(line["event"], line["client"]) for line in logs] == [
                ("the client did not take its answer", "127.0.0.1")
            ]
    assert [line for line in logs if line["event"] == "defect"] == []
    assert read_answer(ask(get("/"))).status == 200


def wait_until_stalled(connection: socket.socket) -> None:
    """Return once the kernel holds as much for a client as it takes."""
    seen = -1
    while (here := len(connection.recv(len(LARGE), socket.MSG_PEEK))) != seen:
        seen = here
        time.sleep(0.5)


def test_where_too_much_is_unsent_the_slowest_client_is_given_up(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "_MAX_UNSENT", 2 * len(LARGE) + 1000)
    first, second = ask(get("/large")), ask(get("/large"))
    wait_until_stalled(first)
    wait_until_stalled(second)
    read = 0
    while read < len(LARGE) // 4:  # this one reads
        read += len(first.recv(10**6))
    third = ask(get("/large"))
    wait_until_stalled(third)
    assert len(all_of(second)) < len(LARGE)
    assert read + len(all_of(first)) > len(LARGE)
    assert len(all_of(third)) > len(LARGE)


def test_a_client_whose_connection_is_not_kept_learns_so_at_once(ask: Ask) -> None:
    connection = ask(get("/"))
    assert all_of(connection).endswith(b"\r\n\r\n")


def test_requests_sent_together_are_answered_in_turn(ask: Ask) -> None:
    connection = ask(get("/", "keep-alive") * 2 + get("/"))
    assert all_of(connection).count(b"HTTP/1.1 200 OK") == 3


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nContent-Length: 3\r\n\r\nabc", 503),
        (b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nContent-Length: 30000\r\n\r\n" + bytes(30_000), 503),
        (b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nContent-Length: 30000\r\n\r\nabc", 503),
        (b"POST /v1/explain?a=b HTTP/1.1\r\nHost: gaze\r\nContent-Length: 3\r\n\r\nabc", 503),
        (b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
        (b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 200),
        (b"PUT /v1/gaze HTTP/1.1\r\nHost: gaze\r\nContent-Length: 3\r\n\r\nabc", 200),
        (b"GET /readyz HTTP/1.1\r\nHost: gaze\r\n\r\n", 200),
        (b"\x16\x03\x01\x02\x00\x01 POST /v1/gaze HTTP/1.1\r\n\r\n", 400),
    ],
)
def test_without_a_free_slot_only_inference_is_rejected(
    ask: Ask, admission: Admission, head: bytes, status: int
) -> None:
    assert admission.try_acquire()
    connection = ask(head)
    answer = read_answer(connection)
    assert answer.status == status
    if status == 503:
        checked_problem(status, answer.headers, answer.body, "overloaded")
        assert (answer.headers["Retry-After"], answer.headers["Connection"]) == ("1", "close")


def test_a_slow_request_meets_the_same_limits(ask: Ask, admission: Admission) -> None:
    connection = ask(b"POST /v1/gaze HTTP/1.1\r\nHost: ga")
    time.sleep(0.1)
    assert admission.try_acquire()
    connection.sendall(b"ze\r\nContent-Length: 3\r\n\r\nabc")
    assert read_answer(connection).status == 503
    admission.release()
    assert read_answer(ask(b"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nContent-Length: 3\r\n\r\nabc")).body == b"abc"


def test_a_defect_costs_one_connection(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"POST / HTTP/1.1\r\nHost: gaze\r\nContent-Length: 3\r\n\r\n"
    with capture_logs() as logs, monkeypatch.context() as patched:
        patched.setattr(rejection.Rejector, "try_reject", lambda *_: 1 / 0)
        assert all_of(ask(body)) == b""
    assert [line["event"] for line in logs] == ["defect"]
    assert read_answer(ask(get("/"))).status == 200
