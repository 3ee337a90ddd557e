"""Answers that gunicorn's worker gives by itself, without the app."""

import random
import uuid
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

import structlog
from gunicorn.http import errors as http_errors

from service.errors import GazeError, InternalError, MalformedRequest, RequestTooLarge

if TYPE_CHECKING:
    from prometheus_client import Counter

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
    # Imported here, because gunicorn's master imports this module, and needs no more of the service.
    from service.api import problems  # noqa: PLC0415

    # An id is no secret, and random needs no call to the kernel for one, as uuid4() does.
    request_id = request_id or f"{random.getrandbits(128):032x}"
    method, route = asked if asked in COSTLY else ("other", "none")
    _counter(route, method, error.status, error.code).inc()
    log.info(
        "request",
        request_id=request_id,
        method=method,
        route=route,
        status=error.status,
        code=error.code,
        client=client,
    )
    around_id = _body_around_id(type(error), error.detail)  # type: ignore[arg-type]  # mypy thinks no class hashable
    body = request_id.join(around_id).encode()
    retry = f"Retry-After: {error.retry_after}\r\n" if error.retry_after is not None else ""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"HTTP/1.1 {error.status} {error.title}\r\nConnection: close\r\nContent-Type: {problems.MEDIA_TYPE}\r\n"
        f"X-Request-ID: {request_id}\r\n{retry}{more}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + (b"" if asked[0] == "HEAD" else body)


def failed(failure: BaseException, client: str | None) -> bytes:
    """Return the answer to a request that never reached the app; nothing of what was sent is echoed.

    failure: what gunicorn raised
    client:  the caller's address
    """
    request_id = uuid.uuid4().hex
    if isinstance(failure, _TOO_LONG):
        return refused(RequestTooLarge(HEAD_TOO_LONG), client, request_id=request_id)
    if isinstance(failure, http_errors.ParseException):
        return refused(MalformedRequest("This is no valid HTTP request."), client, request_id=request_id)
    log.error("defect", request_id=request_id, exc_info=failure)
    return refused(InternalError(), client, request_id=request_id)


# Under ten times the load there are hundreds a second of few kinds, and what is kept here is a fifth of their cost.


@lru_cache(maxsize=64)
def _counter(route: str, method: str, status: int, code: str) -> "Counter":
    from service.api import metrics  # noqa: PLC0415

    return metrics.REQUESTS.labels(route, method, status, code)


@lru_cache(maxsize=64)
def _body_around_id(kind: type[GazeError], detail: str) -> tuple[str, str]:
    """Return what comes before the request's id in the body, and after it: an id needs no escape in JSON."""
    from service.api import problems  # noqa: PLC0415

    whole = problems.problem(kind(detail), _NO_ID).model_dump_json()
    before, _, after = whole.partition(f'"request_id":"{_NO_ID}"')
    return f'{before}"request_id":"', f'"{after}'
