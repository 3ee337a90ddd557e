"""Every error of the service, once: its code, its status and what the caller is told.

GazeError                     what a caller is told, as an RFC 9457 problem
├── MalformedRequest          400 malformed_request
├── Unauthorized              401 unauthorized
├── ForeignOrigin             403 foreign_origin
├── UnknownList               404 unknown_list
├── NotFound                  404 not_found
├── MethodNotAllowed          405 method_not_allowed
├── RequestTooLarge           413 request_too_large
├── ImageTooLarge             413 image_too_large
├── UnsupportedMediaType      415 unsupported_media_type
├── UnsupportedImageFormat    415 unsupported_image_format
├── MisdirectedRequest        421 misdirected_request
├── InvalidRequest            422 invalid_request
├── UndecodableImage          422 undecodable_image
├── ImageDimensions           422 image_dimensions
├── UrlNotAllowed             422 url_not_allowed
├── RateLimited               429 rate_limited
├── CallerGone                499 caller_gone
├── InternalError             500 internal_error
├── ImageFetchFailed          502 image_fetch_failed
├── Overloaded                503 overloaded
├── NotReady                  503 not_ready
├── ShuttingDown              503 shutting_down
└── ImageFetchTimeout         504 image_fetch_timeout

StartError                    why the program cannot start: one sentence and an exit code
├── InvalidSettings           78
├── InvalidList               78
├── UnsuitableModel           78
├── CorruptModel              65
└── ModelUnavailable          69

JobError                      why a bulk job cannot begin or go on: one sentence; exit code 65
"""

import os
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with a request: where, as a JSON pointer (RFC 6901), and what."""

    pointer: str
    detail: str


class GazeError(Exception):
    """An error that the caller is told about; `detail` is a public sentence that echoes nothing that was sent."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    default_detail: ClassVar[str]

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: tuple[FieldError, ...] = (),
        retry_after: int | None = None,
        allow: tuple[str, ...] = (),
        progress: dict[str, Any] | None = None,
    ) -> None:
        self.detail = detail or self.default_detail
        self.errors = errors
        self.retry_after = retry_after
        self.allow = allow
        self.progress = progress
        super().__init__(self.detail)


class MalformedRequest(GazeError):
    """The request cannot be read at all."""

    status, code, title = 400, "malformed_request", "Malformed request"
    default_detail = "The request could not be read."


class Unauthorized(GazeError):
    """Keys are configured, and none or a wrong one came."""

    status, code, title = 401, "unauthorized", "Key needed"
    default_detail = "This service needs a key: send the header 'Authorization: Bearer KEY' with a key that it knows."


class ForeignOrigin(GazeError):
    """No keys are configured, and a page of another origin asks through a browser."""

    status, code, title = 403, "foreign_origin", "Foreign origin"
    default_detail = (
        "A page of another origin may not ask this. Its origin can be named in GAZE_CORS_ORIGINS, and this service's "
        "own address in GAZE_PUBLIC_URL."
    )


class UnknownList(GazeError):
    """A list was named that is not served."""

    status, code, title = 404, "unknown_list", "Unknown list"
    default_detail = "Unknown list. GET /v1/lists names the lists that are served."


class NotFound(GazeError):
    """There is nothing at this path."""

    status, code, title = 404, "not_found", "Not found"
    default_detail = "There is nothing at this path. GET /docs describes the paths that there are."


class MethodNotAllowed(GazeError):
    """The path exists and does not take this method."""

    status, code, title = 405, "method_not_allowed", "Method not allowed"
    default_detail = "This path does not take this method; the Allow header names those that it takes."


class RequestTooLarge(GazeError):
    """The request has more bytes or parts than the service takes."""

    status, code, title = 413, "request_too_large", "Request too large"
    default_detail = "The request is larger than this service takes."


class ImageTooLarge(GazeError):
    """One picture has more bytes than the service takes."""

    status, code, title = 413, "image_too_large", "Image too large"
    default_detail = "The image has more bytes than this service takes."


class UnsupportedMediaType(GazeError):
    """The body is neither JSON nor a form."""

    status, code, title = 415, "unsupported_media_type", "Unsupported media type"
    default_detail = "Send application/json or multipart/form-data, without Content-Encoding."


class UnsupportedImageFormat(GazeError):
    """The bytes are no picture of a format that is opened."""

    status, code, title = 415, "unsupported_image_format", "Unsupported image format"
    default_detail = (
        "This is no image in a format that is read: JPEG, PNG, WebP, GIF, TIFF, BMP, AVIF, HEIC or JPEG 2000."
    )


class MisdirectedRequest(GazeError):
    """No keys are configured, and the header Host has a name that anybody could have made to lead here."""

    status, code, title = 421, "misdirected_request", "Misdirected request"
    default_detail = (
        "This service does not know that it is called by the name in the header Host. Names can be given in "
        "GAZE_HOSTS, or by GAZE_PUBLIC_URL."
    )


class InvalidRequest(GazeError):
    """The request was read, and something in it does not fit the contract."""

    status, code, title = 422, "invalid_request", "Invalid request"
    default_detail = "The request does not fit the contract; `errors` says where."


class UndecodableImage(GazeError):
    """The picture's format is known and its contents are broken or cut short."""

    status, code, title = 422, "undecodable_image", "Undecodable image"
    default_detail = "The image is broken or cut short and could not be decoded."


class ImageDimensions(GazeError):
    """The picture has too many pixels or too extreme a shape."""

    status, code, title = 422, "image_dimensions", "Image dimensions"
    default_detail = "The image's width and height are outside what this service takes."


class UrlNotAllowed(GazeError):
    """The URL names something that this service does not fetch."""

    status, code, title = 422, "url_not_allowed", "URL not allowed"
    default_detail = "This URL is not one that this service fetches."


class RateLimited(GazeError):
    """The caller has used up its quota for now."""

    status, code, title = 429, "rate_limited", "Rate limited"
    default_detail = "Your quota is used up for now. Try again after the seconds that Retry-After gives."


class CallerGone(GazeError):
    """The caller has closed the connection; nobody is told, but the log is."""

    status, code, title = 499, "caller_gone", "Caller gone"
    default_detail = "The caller closed the connection before the answer."


class InternalError(GazeError):
    """A defect of the service."""

    status, code, title = 500, "internal_error", "Internal error"
    default_detail = "Something went wrong inside the service. Its log has the details under this request id."


class ImageFetchFailed(GazeError):
    """The image's host could not be reached, or did not deliver a picture's bytes.

    host_status: the HTTP status that the host answered with, if that is why
    transient:   whether the same request may succeed a little later
    """

    host_status: int | None = None
    transient: bool = False

    status, code, title = 502, "image_fetch_failed", "Image fetch failed"
    default_detail = "The image could not be fetched from its host."


class ImageFetchTimeout(GazeError):
    """The image's host was too slow."""

    status, code, title = 504, "image_fetch_timeout", "Image fetch timed out"
    default_detail = "The image's host took too long."


class Overloaded(GazeError):
    """More requests are under way than can be answered in time."""

    status, code, title = 503, "overloaded", "Overloaded"
    default_detail = "The service has as much to do as it can. Try again after the time that Retry-After gives."


class NotReady(GazeError):
    """The model is still being loaded."""

    status, code, title = 503, "not_ready", "Not ready"
    default_detail = "The model is still being loaded. Try again after the time that Retry-After gives."


class ShuttingDown(GazeError):
    """This process is finishing what it has and takes nothing new."""

    status, code, title = 503, "shutting_down", "Shutting down"
    default_detail = "This process is shutting down. Try again; another one will answer."


class StartError(Exception):
    """Why the program cannot start: one sentence that says what to do, and the exit code of sysexits.h."""

    exit_code: ClassVar[int] = os.EX_CONFIG


class InvalidSettings(StartError):
    """A setting is unknown or has a value that it cannot have."""


class InvalidList(StartError):
    """A list's file is broken, or a list's name is taken twice; the message names file and line."""


class UnsuitableModel(StartError):
    """The model is there and is not one that this service can use."""


class CorruptModel(StartError):
    """The model's files are missing, cut short or broken."""

    exit_code = os.EX_DATAERR


class ModelUnavailable(StartError):
    """The model is not on this machine and could not be fetched."""

    exit_code = os.EX_UNAVAILABLE


class JobError(Exception):
    """Why a bulk job cannot begin or go on: one sentence that says what to do."""

    exit_code: ClassVar[int] = os.EX_DATAERR
