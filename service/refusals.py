"""Answers that gunicorn's worker gives by itself, without the app."""

import uuid
from collections.abc import Mapping
from types import MappingProxyType

import structlog

from service.errors import GazeError

log = structlog.get_logger()

COSTLY = ("POST", "/v1/gaze")


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
    from service.api import metrics, problems  # noqa: PLC0415

    request_id = request_id or uuid.uuid4().hex
    method, route = asked if asked == COSTLY else ("other", "none")
    metrics.REQUESTS.labels(route, method, error.status, error.code).inc()
    log.info(
        "request",
        request_id=request_id,
        method=method,
        route=route,
        status=error.status,
        code=error.code,
        client=client,
    )
    body = problems.problem(error, request_id).model_dump_json().encode()
    retry = f"Retry-After: {error.retry_after}\r\n" if error.retry_after is not None else ""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"HTTP/1.1 {error.status} {error.title}\r\nConnection: close\r\nContent-Type: {problems.MEDIA_TYPE}\r\n"
        f"X-Request-ID: {request_id}\r\n{retry}{more}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + (b"" if asked[0] == "HEAD" else body)
