"""Requests that are rejected in the event loop: which, and the bytes of the answer."""

import random
from collections.abc import Mapping
from email.utils import formatdate
from functools import lru_cache

import structlog
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from werkzeug.http import HTTP_STATUS_CODES

from service.api.access.browsers import ForeignPages
from service.api.access.callers import Address
from service.errors import GazeError, InternalError, MalformedRequest, Overloaded, RequestTooLarge
from service.logs import CHANGING, PreparedEvent
from service.server.connection import Connection, http_head
from service.server.process_state import access, admission
from service.settings import Settings

log = structlog.get_logger()

INFERENCE_ROUTES = (
    ("POST", "/v1/gaze"),
    ("POST", "/v1/explain"),
    ("POST", "/v1/reconcile/0.2"),
    ("POST", "/v1/reconcile/0.2/"),
    ("POST", "/v1/reconcile/1.0-draft/match"),
)
"""What needs a slot."""

PROBES = ("/livez", "/readyz", "/metrics")
"""What supervisors ask for: answered by threads of their own, whatever else is under way."""

NO_HTTP = "This is no valid HTTP request."
HEAD_TOO_LONG = "The request's line or its headers are longer than this service takes."
SERVER = "gunicorn"

_NO_ID = "-"


class PreparedRejection:
    """The bytes, the metric and the log line of one error on one route, in which only ids and addresses differ.

    It is made once, because under ten times the load there are hundreds a second of few kinds.
    """

    def __init__(self, error: GazeError, method: str, route: str) -> None:
        # Imported here, because gunicorn's master imports this module, and needs no more of the service.
        from service.api import metrics, problems  # noqa: PLC0415

        body = problems.problem(error, _NO_ID).model_dump_json()
        before, _, after = body.partition(f'"request_id":"{_NO_ID}"')  # an id needs no escape in JSON
        self._body = f'{before}"request_id":"'.encode(), f'"{after}'.encode()
        self._headers = {
            "Server": SERVER,
            "Connection": "close",
            "Content-Type": problems.MEDIA_TYPE,
            "X-Content-Type-Options": "nosniff",
            **problems.headers_of(error),
        }
        reason = HTTP_STATUS_CODES[error.status].upper()  # as Flask says it
        self._line = f"HTTP/1.1 {error.status} {reason}"
        self._counter = metrics.REQUESTS.labels(route, method, error.status, error.code)
        fields = {"method": method, "route": route, "status": error.status, "code": error.code}
        self._event = PreparedEvent("request", request_id=CHANGING, **fields, client=CHANGING)

    def answer(self, request_id: str, headers: Mapping[str, str], *, has_body: bool = True) -> bytes:
        """Return the HTTP answer, which says that the connection is closed, with these headers besides."""
        body = request_id.encode().join(self._body)
        own = {"X-Request-ID": request_id, **headers, "Date": formatdate(usegmt=True), "Content-Length": len(body)}
        return http_head(self._line, {**self._headers, **own}.items()) + (body if has_body else b"")

    def record(self, request_id: str, client: str | None) -> None:
        """Count and log a request that was rejected."""
        self._counter.inc()
        self._event.log([(request_id, client)])


class Rejector:
    """Decides by a request's head whether it is rejected, and answers those that are."""

    def __init__(self, settings: Settings) -> None:
        self._access = access()
        self._cors = settings.cors_origins
        self._pages = ForeignPages.where_open(settings.api_keys, settings.hosts, self._cors, settings.public_url)

    def try_reject(self, conn: Connection) -> GazeError | None:
        """Return why a request's body would be read for nothing, if it would be."""
        buffer = conn.buffer
        method, path = buffer.method_and_path
        if (method, path) in INFERENCE_ROUTES and not buffer.is_ready and admission.is_full:
            return Overloaded(retry_after=1)
        try:
            # The app looks again, at the method and the path as it understands them.
            if self._pages and path not in PROBES:
                self._pages.require_own(method, "http", buffer.header)
            conn.counted = self._access.require(path, buffer.header("Authorization") or "", self.client(conn))
        except GazeError as error:
            return error
        return None

    def answer(self, conn: Connection, error: GazeError, request_id: str | None = None) -> bytes:
        """Return the answer that tells a client of an error and that the connection is closed; it is recorded."""
        asked, client = conn.buffer.method_and_path, self.client(conn)
        request_id = request_id or conn.buffer.request_id or new_id()
        method, route = asked if asked in INFERENCE_ROUTES else ("other", "none")
        prepared = _prepared(type(error), error.detail, error.retry_after, method, route)  # type: ignore[arg-type]
        prepared.record(request_id, str(client) if client else None)
        headers = self._cors.headers(conn.buffer.header("Origin"))
        return prepared.answer(request_id, headers, has_body=asked[0] != "HEAD")

    def client(self, conn: Connection) -> Address | None:
        """Return the address that asks, which a trusted proxy may say; the peer's before the head is here."""
        return self._access.client(conn.peer, conn.buffer.header("X-Forwarded-For") or "")


def new_id() -> str:
    """Return an id for a request that came without: no secret, so it needs no call to the kernel."""
    return f"{random.getrandbits(128):032x}"


def error_of(failure: BaseException, request_id: str) -> GazeError:
    """Return what a client is told of a request that never reached the app; nothing of what it sent is echoed."""
    if isinstance(failure, GazeError):
        return failure
    if isinstance(failure, LimitRequestLine | LimitRequestHeaders):
        return RequestTooLarge(HEAD_TOO_LONG)
    if isinstance(failure, ParseException):
        return MalformedRequest(NO_HTTP)
    log.error("defect", request_id=request_id, exc_info=failure)
    return InternalError()


@lru_cache(maxsize=64)
def _prepared(
    kind: type[GazeError], detail: str, retry_after: int | None, method: str, route: str
) -> PreparedRejection:
    return PreparedRejection(kind(detail, retry_after=retry_after), method, route)
