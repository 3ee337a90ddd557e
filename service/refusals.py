"""Answers that gunicorn's worker gives by itself, without the app."""

from collections.abc import Mapping
from types import MappingProxyType

from service.errors import GazeError


def refusal(error: GazeError, request_id: str, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """Return the HTTP answer that tells a caller of an error and that the connection is closed, as it is sent."""
    # Imported here, because gunicorn's master imports this module, and needs no more of the service.
    from service.api import problems  # noqa: PLC0415

    body = problems.problem(error, request_id).model_dump_json().encode()
    retry = f"Retry-After: {error.retry_after}\r\n" if error.retry_after is not None else ""
    more = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"HTTP/1.1 {error.status} {error.title}\r\nConnection: close\r\nContent-Type: {problems.MEDIA_TYPE}\r\n"
        f"X-Request-ID: {request_id}\r\n{retry}{more}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
