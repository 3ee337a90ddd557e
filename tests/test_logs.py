"""What a running service logs: JSON, one line a request, and nothing of what callers sent."""

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CACHE, REPOSITORY
from tests.support.gaze_requests import PNG
from tests.support.problem_shape import MARKER
from tests.support.running_service import Service, served
from tests.support.wire import exchange

KEY = f"{MARKER}-key"


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with served(CACHE, tmp_path_factory.mktemp("logs") / "output", environment={"GAZE_API_KEYS": KEY}) as service:
        yield service.wait()


def ask(service: Service, path: str, request_id: str, body: bytes | None = None, **headers: str) -> int:
    """Send a request with the key, and return the status."""
    sent = {"Authorization": f"Bearer {KEY}", "X-Request-ID": request_id}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(service.address + path, body, sent), timeout=30) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def multipart(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(
        f"--b\r\nContent-Disposition: form-data; {about}\r\n\r\n".encode() + content + b"\r\n"
        for about, content in parts
    )
    return body + b"--b--\r\n"


def test_request_has_one_line(logged: Service) -> None:
    body = multipart(
        (f'name="image"; filename="{MARKER}.png"', PNG),
        ('name="lists"', b"qualities"),
        ('name="phrases"', f"a {MARKER}".encode()),
    )
    headers = {"Content_Type": "multipart/form-data; boundary=b", "User_Agent": MARKER, "Referer": f"http://{MARKER}/"}
    assert ask(logged, f"/v1/gaze?{MARKER}=1", "ranked-1", body, **headers) == 200
    [line] = logged.lines_of("ranked-1")
    assert line["milliseconds"] > 0
    assert set(line["stages"]) == {"fetch", "decode", "encode", "rank"}
    assert line.pop("timestamp").endswith("Z")
    del line["milliseconds"], line["stages"]
    assert line == {
        "event": "request",
        "level": "info",
        "request_id": "ranked-1",
        "method": "POST",
        "route": "/v1/gaze",
        "status": 200,
        "code": None,
        "images": 1,
        "phrases": 8,
        "client": "127.0.0.1",
    }


REFUSED: dict[str, tuple[str, bytes | None, dict[str, Any]]] = {
    "path": (f"/{MARKER}?{MARKER}", None, {"status": 404, "code": "not_found", "route": "none"}),
    "list": (f"/v1/lists/{MARKER}", None, {"status": 404, "code": "unknown_list", "route": "/v1/lists/<name>"}),
    "page": (
        f"/v1/lists/movements?limit={MARKER}",
        None,
        {"status": 422, "code": "invalid_request", "route": "/v1/lists/<name>"},
    ),
    "field": (
        "/v1/gaze",
        f'{{"{MARKER}": 1}}'.encode(),
        {"status": 422, "code": "invalid_request", "route": "/v1/gaze"},
    ),
    "url": (
        "/v1/gaze",
        f'{{"image": {{"url": "http://u:p@{MARKER}/"}}, "lists": ["tools"]}}'.encode(),
        {"status": 422, "code": "url_not_allowed", "route": "/v1/gaze"},
    ),
    "base64": (
        "/v1/gaze",
        f'{{"image": {{"base64": "!{MARKER}"}}, "lists": ["tools"]}}'.encode(),
        {"status": 422, "code": "undecodable_image", "route": "/v1/gaze"},
    ),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_refusal_has_one_line_too(logged: Service, wrong: str) -> None:
    path, body, told = REFUSED[wrong]
    assert ask(logged, path, f"wrong-{wrong}", body, Content_Type="application/json") == told["status"]
    [line] = logged.lines_of(f"wrong-{wrong}")
    assert {name: line[name] for name in told} == told


def test_wrong_key_is_not_logged(logged: Service) -> None:
    assert ask(logged, "/v1/model", "wrong-key", Authorization=f"Bearer {MARKER}") == 401
    [line] = logged.lines_of("wrong-key")
    assert line["code"] == "unauthorized"


def test_request_that_never_reached_the_app_has_one_line(logged: Service) -> None:
    answer = exchange(logged.address, f"{MARKER}\r\n\r\n".encode())
    [line] = logged.lines_of(answer.headers["X-Request-ID"])
    assert (line["event"], line["status"], line["code"]) == ("request", 400, "malformed_request")


def test_broken_chunks_are_no_defect(logged: Service) -> None:
    head = f"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
    chunk = f"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{MARKER}\r\n"
    answer = exchange(logged.address, (head + chunk).encode())
    [line] = logged.lines_of(answer.headers["X-Request-ID"])
    assert (line["event"], line["level"], line["status"]) == ("request", "info", 400)


@pytest.mark.parametrize("sent", ['a\r\n {"event": "forged"}', "x" * 129, "x" * 10_000])
def test_request_id_cannot_forge_a_line(logged: Service, sent: str) -> None:
    before = len(logged.lines())
    request = f"GET /livez HTTP/1.1\r\nHost: gaze\r\nConnection: close\r\nX-Request-ID: {sent}\r\n\r\n"
    answer = exchange(logged.address, request.encode())
    assert len(answer.headers["X-Request-ID"]) == 32
    assert len(logged.lines_of(answer.headers["X-Request-ID"])) == 1
    assert not any(line["event"] == "forged" for line in logged.lines()[before:])


def test_nothing_of_all_this_is_logged(logged: Service) -> None:
    assert ask(logged, "/livez", "last") == 200
    assert logged.lines_of("last")
    output = json.dumps(logged.lines()).lower()
    for secret in (MARKER, "a.png", "http://u:p", "multipart", "bearer"):
        assert secret not in output
    assert {line["event"] for line in logged.lines()} >= {"request", "ready"}


LOGS = """
import logging, sys, structlog
from service.logs import configure_logs

log = structlog.get_logger()
configure_logs(*eval(sys.argv[1]))
log.info("an event", some="thing")
log.warning("a warning", reason="broken")
logging.getLogger("a.library").info("of a library")
logging.getLogger("a.library").warning("of a library, %s", "and bad")
logging.getLogger("PIL").warning("of one that says too much")
"""


@pytest.mark.parametrize(
    ("arguments", "printed", "told"),
    [
        ("()", ["an event", "a warning", "of a library", "of a library, and bad"], []),
        ("(sys.stderr,)", [], ["an event", "a warning", "of a library", "of a library, and bad"]),
        ("(sys.stderr, logging.WARNING)", [], ["a warning", "of a library, and bad"]),
        ("(sys.stdout, logging.ERROR)", [], []),
    ],
)
def test_logs_go_where_they_are_sent_from_a_level_on(arguments: str, printed: list[str], told: list[str]) -> None:
    command = [sys.executable, "-c", LOGS, arguments]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    for stream, events in ((ended.stdout, printed), (ended.stderr, told)):
        lines = [json.loads(line) for line in stream.splitlines()]
        assert [line["event"] for line in lines] == events
        assert all(line["timestamp"].endswith("Z") and line["level"] in ("info", "warning") for line in lines)


def test_program_goes_on_where_its_log_cannot_be_written() -> None:
    command = [sys.executable, "-c", LOGS + "print('went on', file=sys.stderr)", "()"]
    with Path("/dev/full").open("wb") as full:  # every write to it fails, as on a full disk
        ended = subprocess.run(
            command, cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert "went on" in ended.stderr.splitlines()


PREPARED = """
import structlog
from service.logs import CHANGING, PreparedEvent, configure_logs

configure_logs()
log = structlog.get_logger()
log.info("100 %", request_id="one", status=503, code=None, client="::1%eth0")
log.info("100 %", request_id="two", status=503, code=None, client=None)
event = PreparedEvent("100 %", request_id=CHANGING, status=503, code=None, client=CHANGING)
event.log([("one", "::1%eth0"), ("two", None)])
"""


def test_prepared_events_are_logged_as_all_others() -> None:
    command = [sys.executable, "-c", PREPARED]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60)
    stamps, lines = zip(*(stamp_of(line) for line in ended.stdout.splitlines()), strict=True)
    assert lines[2:] == lines[:2]
    assert len(set(lines)) == 2
    assert list(stamps) == sorted(stamps)


def stamp_of(line: str) -> tuple[str, str]:
    """Return when a line was logged, and the line without that."""
    moment = json.loads(line)["timestamp"]
    assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", moment)
    return moment, line.replace(moment, "")
