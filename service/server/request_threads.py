"""gunicorn's threaded worker, as far as it answers, in a thread, a request that is there."""

import socket
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from gunicorn import util
from gunicorn.http import errors as http_errors

from service.api.access.browsers import ForeignPages
from service.api.access.callers import counted_as
from service.errors import GazeError, Overloaded
from service.server.connection import Connection
from service.server.process_state import access, admission
from service.server.rejection import COSTLY, error_of, new_id, refused
from service.server.sending import AnswerSocket, SendingWorker
from service.settings import read_settings

PROBES = ("/livez", "/readyz", "/metrics")
"""Who asks for these supervises the service."""


class AnsweringWorker(SendingWorker):
    """Lets the app know of a request what the event loop knows, and gives its place back once the app is done."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._current = threading.local()
        self._access = access()
        settings = read_settings()
        self._cors = settings.cors_origins
        self._pages = ForeignPages.where_open(settings.api_keys, settings.hosts, self._cors, settings.public_url)

    def load_wsgi(self) -> None:
        """Load the app, and let it know of each request what the event loop knows."""
        super().load_wsgi()
        app = self.wsgi

        def informed(environ: MutableMapping[str, Any], start_response: Any) -> Any:
            environ["gaze.started"] = self._current.conn.started
            environ["gaze.counted"] = self._current.conn.counted
            environ["gaze.has_place"] = self._current.has_place
            try:
                return app(environ, start_response)
            finally:
                self._give_place_back()  # what is left is to send the answer

        self.wsgi = informed

    def _handle(self, conn: Connection, has_place: bool) -> Any:
        self._current.conn = conn
        self._current.has_place = has_place
        try:
            return self.handle(conn)
        finally:
            self._give_place_back()

    def _give_place_back(self) -> None:
        if self._current.has_place:
            self._current.has_place = False
            admission.release()

    def _keepalive_after(self, conn: Any, keepalive: Any) -> bool:
        """Skip what the app did not read of a body that is here whole; gunicorn gives up on more than 64 KiB.

        Where the connection is not kept, its caller learns so at once, and not when the event loop comes to close it.
        """
        kept = bool(keepalive and conn.parser.finish_body())
        if not kept and (conn.answer is None or conn.answer.all_sent):
            with suppress(OSError):
                conn.sock.shutdown(socket.SHUT_WR)
        return kept

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer one request, and close the connection after it where its body is not read to the end."""
        if req.version >= (1, 1) and sum(name == "HOST" for name, _ in req.headers) != 1:
            raise http_errors.InvalidHeader("HOST", req=req)
        if not conn.arrival.whole:
            req.force_close()
        connection = conn.sock
        conn.sock = conn.answer = AnswerSocket(connection)
        try:
            return super().handle_request(req, conn)
        except BaseException:
            conn.answer = None  # what is begun cannot be ended
            raise
        finally:
            conn.sock = connection

    # With gunicorn's signature.
    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:  # noqa: ARG002
        """Answer a request that never reached the app."""
        conn = self._current.conn
        request_id = new_id()  # what came is not to be trusted, not even to be one
        with suppress(OSError):
            util.write_nonblock(client, self._refused(conn, error_of(exc, request_id), request_id))

    def _refusal_by_head(self, conn: Connection) -> GazeError | None:
        """Return why a request's body would be read for nothing, if it would be."""
        arrival = conn.arrival
        asked = method, path = arrival.method_and_path
        if asked in COSTLY and not arrival.can_begin and admission.is_full:
            return Overloaded(retry_after=1)
        client = self._access.client(conn.address, arrival.forwarded_for)
        try:
            # The app looks again, at the method and the path as it understands them.
            if self._pages and path not in PROBES:
                self._pages.require_own(method, "http", arrival.header)
            conn.counted = self._access.require(path, arrival.authorization, client)
        except GazeError as error:
            return error
        return None

    def _refused(self, conn: Connection, error: GazeError, request_id: str | None = None) -> bytes:
        """Return the answer that tells a caller of an error and that the connection is closed; it is logged."""
        arrival = conn.arrival
        headers = self._cors.headers(arrival.origin)
        request_id = request_id or arrival.request_id
        return refused(error, self._client_of(conn), arrival.method_and_path, request_id, headers)

    def _caller_of(self, conn: Connection) -> bytes:
        """Return what counts as one caller, by its address."""
        return counted_as(self._access.client(conn.address, conn.arrival.forwarded_for))

    def _client_of(self, conn: Connection) -> str | None:
        """Return the address that asks, which a trusted proxy may say; the peer's before the head is here."""
        client = self._access.client(conn.address, conn.arrival.forwarded_for)
        return str(client) if client else None
