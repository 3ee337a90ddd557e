"""gunicorn's threaded worker, with its errors in the service's one shape and its end known to /readyz."""

import socket
import uuid
from typing import Any

import structlog
from gunicorn import util
from gunicorn.http import errors as http_errors
from gunicorn.workers.gthread import ThreadWorker

from service import errors
from service.lifetime import shutting_down

log = structlog.get_logger()

_TOO_LONG = (http_errors.LimitRequestLine, http_errors.LimitRequestHeaders)


class GazeWorker(ThreadWorker):
    """Answers what gunicorn cannot parse as a problem, and tells the app when it begins to stop."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Take SIGTERM: let /readyz say so, finish what is under way, then end."""
        shutting_down.set()
        super().handle_exit(sig, frame)

    def handle_error(
        self,
        req: Any,  # noqa: ARG002  # gunicorn's signature
        client: socket.socket,
        addr: Any,
        exc: BaseException,
    ) -> None:
        """Answer a request that never reached the app; nothing of what was sent is echoed."""
        # Imported here, because gunicorn's master imports this module, and needs no more of the service.
        from service.api import problems  # noqa: PLC0415

        request_id = uuid.uuid4().hex
        error: errors.GazeError
        if isinstance(exc, _TOO_LONG):
            error = errors.RequestTooLarge("The request's line or its headers are longer than this service takes.")
        elif isinstance(exc, http_errors.ParseException):
            error = errors.MalformedRequest("This is no valid HTTP request.")
        else:
            error = errors.InternalError()
            log.error("defect", request_id=request_id, exc_info=exc)
        log.info(
            "request", request_id=request_id, status=error.status, code=error.code, client=addr[0] if addr else None
        )
        body = problems.problem(error, request_id).model_dump_json().encode()
        head = (
            f"HTTP/1.1 {error.status} {error.title}\r\nConnection: close\r\nContent-Type: {problems.MEDIA_TYPE}\r\n"
            f"X-Request-ID: {request_id}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            util.write_nonblock(client, head.encode() + body)
        except OSError:
            log.debug("the caller was gone", request_id=request_id)
