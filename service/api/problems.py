"""Any error -> one RFC 9457 shape, in one place; never HTML, and never an echo of what was sent."""

import re
from collections.abc import Sequence

import structlog
from flask import Flask, Response
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from werkzeug.exceptions import HTTPException

from service import errors
from service.api.request_context import current_request
from service.api.schemas.responses import Problem, ProblemField, Progress
from service.errors import FieldError, GazeError

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
_SAFE_NAME = re.compile(r"[a-z0-9_-]{1,64}")

_MESSAGES = {
    "dict_type": "This must be an object.",
    "model_type": "This must be an object.",
    "extra_forbidden": "There is a field here that is not part of the contract.",
}
"""What pydantic says in Python's words, in those of JSON."""

_OF_STATUS: dict[int, type[GazeError]] = {
    400: errors.MalformedRequest,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.RequestTooLarge,
    415: errors.UnsupportedMediaType,
}
"""What werkzeug raises by itself, in the words of the contract."""


def register(app: Flask) -> None:
    """Let every error of the app be answered as a problem."""
    app.register_error_handler(GazeError, respond)
    app.register_error_handler(HTTPException, _from_werkzeug)
    app.register_error_handler(Exception, _defect)


def problem(error: GazeError, request_id: str) -> Problem:
    """Return the error in the shape in which callers are told of it."""
    return Problem(
        type="about:blank",
        title=error.title,
        status=error.status,
        code=error.code,
        detail=error.detail,
        request_id=request_id,
        errors=[ProblemField(pointer=found.pointer, detail=found.detail) for found in error.errors] or None,
        progress=Progress.model_validate(error.progress) if error.progress else None,
    )


def respond(error: GazeError) -> Response:
    """Return the HTTP answer that tells the caller of the error."""
    context = current_request()
    context.code = error.code
    body = problem(error, context.request_id).model_dump_json()
    return Response(body, error.status, headers_of(error), content_type=MEDIA_TYPE)


def headers_of(error: GazeError) -> dict[str, str]:
    """Return the headers that say more of the error."""
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    if error.allow:
        headers["Allow"] = ", ".join(error.allow)
    if isinstance(error, errors.Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def invalid(error: ValidationError) -> errors.InvalidRequest:
    """Return what pydantic found wrong, without the values that were sent and without names that a caller made up."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return errors.InvalidRequest(errors=tuple(_field_error(details) for details in found[:20]))


def _field_error(details: ErrorDetails) -> FieldError:
    location: Sequence[int | str] = details["loc"]
    message = _MESSAGES.get(details["type"]) or details["msg"].removeprefix("Value error, ")
    if details["type"] == "extra_forbidden":
        location = location[:-1]
    steps: list[str] = []
    for step in location:
        if step == "[key]" or (isinstance(step, str) and not _SAFE_NAME.fullmatch(step)):
            message = "An own list's name takes 1 to 64 of the characters a-z, 0-9, _ and -."
            break
        # pydantic names the kind of image in the path; a caller knows only the fields.
        if location[0] == "phrases" or step not in ("by_url", "by_base64"):
            steps.append(f"/{step}")
    return FieldError("".join(steps), message)


def _from_werkzeug(error: HTTPException) -> Response:
    status = error.code or 500
    if status >= 500:
        return _defect(error)
    # What else werkzeug refuses, such as a range that a file does not have, is the caller's error too.
    kind = _OF_STATUS.get(status, errors.MalformedRequest)
    allow = tuple(sorted(getattr(error, "valid_methods", None) or ()))
    return respond(kind(allow=allow))


def _defect(error: Exception) -> Response:
    log.error("defect", request_id=current_request().request_id, exc_info=error)
    return respond(errors.InternalError())
