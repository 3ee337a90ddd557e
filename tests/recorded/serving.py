"""A `gaze serve` of some checkout, a request sent as it stands, and the answer without what differs each time."""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_SECONDS = 60.0
_ALWAYS_OTHER = {b"date", b"x-request-id", b"last-modified"}
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(T| )\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)?")
_FURTHER_HEAD = re.compile(r"^(Date|X-Request-ID): [^\r]*", re.MULTILINE)  # of the second of two answers
_VERSION = re.compile(r'("version": ?"|[Gg]aze[ /])\d+\.\d+\.\d+[a-z0-9.+]*')


@contextmanager
def gaze(checkout: Path, port: int, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run `gaze serve` of a checkout on the demo model; once it is ready, the `with` block begins."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GAZE_", "PYTHONPATH"))}
    own = {"PYTHONPATH": str(checkout), "GAZE_MODEL": "demo", "GAZE_PORT": str(port), "GAZE_THREADS": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "serve"],
            env={**inherited, **own, **environment},
            cwd=checkout,
            stdout=file,
            stderr=file,
        )
    try:
        _wait(port, process, log)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _wait(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.2)
    raise RuntimeError("the service did not become ready")


def sent(port: int, request: bytes, *, cut_short: bool = False) -> bytes:
    """Send a request as it stands and return all that comes back.

    cut_short: whether the sending is ended before the answer comes
    """
    with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # a refusal may come before all is sent
            connection.sendall(request)
            if cut_short:
                connection.shutdown(socket.SHUT_WR)
        received = bytearray()
        with suppress(ConnectionResetError):
            while block := connection.recv(1 << 16):
                received += block
    return bytes(received)


def masked(answer: bytes, *, server: int, origin: int, names_only: bool, is_file: bool) -> dict[str, object]:
    """Return an answer's status line, headers and body, without ids, moments, durations, ports and versions.

    names_only: of the body, only which names the metrics have
    is_file:    whether its ETag is made of the file's date
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    headers = [tuple(line.split(b": ", 1)) if b": " in line else (line, b"") for line in lines]
    identifier = next((value for name, value in headers if name.lower() == b"x-request-id"), b"")
    changed = _without_chance(body, identifier, server, origin, names_only)
    shown = []
    for name, value in headers:
        text = value.decode("latin-1")
        if name.lower() in _ALWAYS_OTHER or (is_file and name.lower() == b"etag"):
            text = "…"
        elif name.lower() == b"server-timing":
            text = re.sub(r"dur=[0-9.]+", "dur=…", text)
        elif name.lower() == b"retry-after" and len(text) > 2:
            text = "…"  # of a quota, which comes back while others are asked
        elif name.lower() == b"allow":
            text = ", ".join(sorted(text.split(", ")))  # Werkzeug has them in a set
        elif name.lower() == b"content-length" and names_only:
            text = "…"
        shown.append([name.decode("latin-1"), _without_ports(text, server, origin)])
    return {"status": status.decode("latin-1"), "headers": shown, "body": changed}


def _without_chance(body: bytes, identifier: bytes, server: int, origin: int, names_only: bool) -> str:
    if identifier:
        body = body.replace(identifier, b"REQUEST-ID")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return f"base64 {base64.b64encode(body).decode()}"
    if names_only:
        names = {line.split(" ")[2] for line in text.splitlines() if line.startswith(("# HELP", "# TYPE"))}
        return json.dumps(sorted(names))
    text = _FURTHER_HEAD.sub(r"\1: …", text)
    text = _MOMENT.sub("MOMENT", _without_ports(text, server, origin))
    return _VERSION.sub(r"\1VERSION", text)


def _without_ports(text: str, server: int, origin: int) -> str:
    for port, name in ((server, "SERVER"), (origin, "ORIGIN")):
        text = re.sub(rf"127\.0\.0\.1(:|%3A){port}(?![0-9])", name, text)
    return text
