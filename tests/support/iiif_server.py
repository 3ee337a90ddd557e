"""Debian's iipimage-server behind a small HTTP server on loopback, which counts what it sends.

It speaks version 2 of the Image API (iipsrv 1.1). Under /iiif/3 the same images are asked for in the same way, which
version 3 allows, and their information is rewritten to what version 3 calls it.
"""

import json
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PROGRAM = Path("/usr/lib/iipimage-server/iipsrv.fcgi")
_BEGIN, _END, _PARAMETERS, _INPUT, _OUTPUT = 1, 3, 4, 5, 6
_RESPONDER = 1


class ImageServer:
    """An image server under way.

    address: host and port
    sent:    for each path that was asked for, in that order, the bytes of its body
    """

    def __init__(self, fastcgi_port: int) -> None:
        server = self
        self.sent: list[tuple[str, int]] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                head, body = server.answered(self.path, fastcgi_port)
                server.sent.append((self.path, len(body)))
                self.send_response(int(head.get("Status", "200").split(" ")[0]))
                for name in ("Content-Type", "Location"):
                    if name in head:
                        self.send_header(name, head[name])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its base calls it so
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.http.server_port}"

    def answered(self, path: str, fastcgi_port: int) -> tuple[Message, bytes]:
        """Return head and body of what the image server says to /iiif/VERSION/NAME/..."""
        _, _, version, rest = path.split("/", 3)
        name = rest.partition("/")[0]
        head, body = _asked(
            fastcgi_port,
            {
                "REQUEST_METHOD": "GET",
                "QUERY_STRING": f"IIIF={rest}",
                "REQUEST_URI": path,
                "HTTP_HOST": self.address,
                "HTTP_X_IIIF_ID": f"http://{self.address}/iiif/{version}/{name}",
            },
        )
        if version == "3" and rest.endswith("/info.json") and body:
            body = json.dumps(_third(json.loads(body))).encode()
        return head, body


def _third(second: dict[str, Any]) -> dict[str, Any]:
    """Return the information of version 2 as version 3 has it."""
    kept: dict[str, Any] = {
        key: second[key] for key in ("protocol", "width", "height", "sizes", "tiles") if key in second
    }
    return {
        "@context": "http://iiif.io/api/image/3/context.json",
        "id": second["@id"],
        "type": "ImageService3",
        "profile": "level1",
        **kept,
    }


@contextmanager
def image_server(folder: Path) -> Iterator[ImageServer]:
    """Serve the images of a folder while the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    environment = os.environ | {"FILESYSTEM_PREFIX": f"{folder}/", "LOGFILE": f"{folder}/iipsrv.log", "VERBOSITY": "1"}
    program = subprocess.Popen([PROGRAM, "--bind", f"127.0.0.1:{port}"], env=environment)
    try:
        _wait_for(port)
        server = ImageServer(port)
        thread = threading.Thread(target=server.http.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.http.shutdown()
            thread.join()
            server.http.server_close()
    finally:
        program.kill()
        program.wait()


def _wait_for(port: int) -> None:
    give_up = time.monotonic() + 20
    while True:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if time.monotonic() > give_up:
            raise TimeoutError
        time.sleep(0.05)


def _asked(port: int, parameters: dict[str, str]) -> tuple[Message, bytes]:
    """Ask a FastCGI responder once; return head and body of its answer."""
    pairs = b"".join(
        struct.pack("!II", len(name) | 1 << 31, len(value) | 1 << 31) + name.encode() + value.encode()
        for name, value in parameters.items()
    )
    with socket.create_connection(("127.0.0.1", port)) as connection, connection.makefile("rb") as received:
        connection.sendall(
            _record(_BEGIN, struct.pack("!HB5x", _RESPONDER, 0))
            + _record(_PARAMETERS, pairs)
            + _record(_PARAMETERS, b"")
            + _record(_INPUT, b"")
        )
        output = b""
        while header := received.read(8):
            _, kind, _, length, padding = struct.unpack("!BBHHBx", header)
            content = received.read(length + padding)[:length]
            if kind == _OUTPUT:
                output += content
            elif kind == _END:
                break
    head, _, body = output.partition(b"\r\n\r\n")
    return BytesParser().parsebytes(head + b"\r\n\r\n"), body


def _record(kind: int, content: bytes) -> bytes:
    return struct.pack("!BBHHBx", 1, kind, 1, len(content), 0) + content
