"""Answers that gunicorn's worker gives by itself, without the app."""

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

import structlog
from gunicorn import SERVER
from gunicorn.http import errors as http_errors
from gunicorn.util import http_date
from werkzeug.http import HTTP_STATUS_CODES

from service.errors import GazeError, InternalError, MalformedRequest, RequestTooLarge
from service.logs import CHANGING, PreparedEvent

log = structlog.get_logger()

COSTLY = (
    ("POST", "/v1/gaze"),
    ("POST", "/v1/explain"),
    ("POST", "/v1/reconcile/0.2"),
    ("POST", "/v1/reconcile/0.2/"),
    ("POST", "/v1/reconcile/1.0-draft/match"),
)

HEAD_TOO_LONG = "The request's line or its headers are longer than this service takes."

_TOO_LONG = (http_errors.LimitRequestLine, http_errors.LimitRequestHeaders)
_NO_ID = "-"
_ELSE = ("other", "none")


class Refusal:
    """What is sent, counted and logged where one reason refuses one kind of request: only ids and addresses change.

    It is put together once, because under ten times the load there are hundreds a second of few kinds.

    asked: the method and the path, of COSTLY, or _ELSE
    """

    def __init__(self, error: GazeError, asked: tuple[str, str]) -> None:
        # Imported here, because gunicorn's master imports this module, and needs no more of the service.
        from service.api import metrics, problems  # noqa: PLC0415

        method, route = asked
        whole = problems.problem(error, _NO_ID).model_dump_json()
        before, _, after = whole.partition(f'"request_id":"{_NO_ID}"')  # an id needs no escape in JSON
        self._body = f'{before}"request_id":"'.encode(), f'"{after}'.encode()
        self._length = sum(map(len, self._body))
        lines = {
            "Server": SERVER,
            "Connection": "close",
            "Content-Type": problems.MEDIA_TYPE,
            "X-Content-Type-Options": "nosniff",
            **problems.headers_of(error),
        }
        reason = HTTP_STATUS_CODES[error.status].upper()  # as Flask says it
        self._head = f"HTTP/1.1 {error.status} {reason}\r\n{_said(lines)}".encode()
        self._counter = metrics.REQUESTS.labels(route, method, error.status, error.code)
        self._event = PreparedEvent(
            "request",
            request_id=CHANGING,
            method=method,
            route=route,
            status=error.status,
            code=error.code,
            client=CHANGING,
        )

    def answer(self, request_id: str, headers: Mapping[str, str], *, has_body: bool = True) -> bytes:
        """Return the HTTP answer, which says that the connection is closed, with these headers besides."""
        own_id = request_id.encode()
        more = _said({**headers, "Date": http_date()}).encode()
        body = own_id.join(self._body) if has_body else b""
        length = self._length + len(own_id)
        return b"%bX-Request-ID: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (self._head, own_id, more, length, body)

    def record(self, requests: Sequence[tuple[str, str | None]]) -> None:
        """Count and log requests that were refused, by their ids and their callers' addresses."""
        self._counter.inc(len(requests))
        self._event.log(requests)


def refusal_for(error: GazeError, asked: tuple[str, str]) -> Refusal:
    """Return how a request for that method and path is refused, which is put together when it is first asked for."""
    kind, asked = type(error), asked if asked in COSTLY else _ELSE
    return _refusal(kind, error.detail, error.retry_after, asked)  # type: ignore[arg-type]  # mypy thinks no class hashable


def new_id() -> str:
    """Return an id for a request that came without: no secret, so it needs no call to the kernel."""
    return f"{random.getrandbits(128):032x}"


def refused(
    error: GazeError,
    client: str | None,
    asked: tuple[str, str] = ("", ""),
    request_id: str | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """Return the HTTP answer that tells a caller of an error and that the connection is closed, as it is sent.

    It is counted and logged, as the app does with its own answers.

    client:     the caller's address
    asked:      the method and the path, as far as they are known
    request_id: the caller's own, where it has a usable one
    headers:    what the answer has besides
    """
    request_id = request_id or new_id()
    refusal = refusal_for(error, asked)
    refusal.record([(request_id, client)])
    return refusal.answer(request_id, headers, has_body=asked[0] != "HEAD")


def error_of(failure: BaseException, request_id: str) -> GazeError:
    """Return what is told of a request that never reached the app; nothing of what was sent is echoed.

    failure: what gunicorn raised
    """
    if isinstance(failure, _TOO_LONG):
        return RequestTooLarge(HEAD_TOO_LONG)
    if isinstance(failure, http_errors.ParseException):
        return MalformedRequest("This is no valid HTTP request.")
    log.error("defect", request_id=request_id, exc_info=failure)
    return InternalError()


def _said(headers: Mapping[str, str]) -> str:
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


@lru_cache(maxsize=64)
def _refusal(kind: type[GazeError], detail: str, retry_after: int | None, asked: tuple[str, str]) -> Refusal:
    return Refusal(kind(detail, retry_after=retry_after), asked)
