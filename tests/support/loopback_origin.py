"""An origin on loopback that serves pictures over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.support.gaze_requests import PNG

LOOPBACK = "127.0.0.1/32"


class Origin(ThreadingHTTPServer):
    """A host of images; what is asked of /slow is answered once the test lets it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.waiting = threading.Semaphore(0)
        self.go_on = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Origin

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.startswith("/slow"):
            self.server.waiting.release()
            self.server.go_on.wait(30)
        body = PNG if path.endswith(".png") else b"not a picture"
        self.send_response(404 if path == "/missing" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that the base class has
        pass


@contextmanager
def serving_pictures() -> Iterator[Origin]:
    """Serve them while the block runs."""
    with Origin() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()
