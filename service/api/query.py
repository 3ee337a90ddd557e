"""A request's body -> GazeQuery, whether it came as JSON or as a form; everything is bounded and kept in memory."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn
from urllib.parse import unquote, urlsplit

from flask import Request
from gunicorn.http.errors import ParseException
from pydantic import ValidationError
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData

from service.api import problems
from service.api.schemas import MAX_IMAGES, GazeForm, GazeRequest, ImageByUrl, ImageInput
from service.errors import (
    FieldError,
    InvalidRequest,
    MalformedRequest,
    Overloaded,
    RequestTooLarge,
    UnsupportedMediaType,
)
from service.zero_shot.phrase_lists import OWN_LIST, PhraseList, own_list

MAX_PARTS = 1_000
_BLOCK = 64 * 1024
_WHOLE = re.compile(r"0|[1-9][0-9]{0,8}")
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class ImageSource:
    """An image as it was sent: its bytes, its base64 text or its URL."""

    source: Literal["upload", "base64", "url"]
    name: str | None
    content: bytes | str


@dataclass(frozen=True)
class GazeQuery:
    """What a caller wants to know."""

    images: tuple[ImageSource, ...]
    lists: tuple[str, ...]
    own_lists: tuple[PhraseList, ...]
    top_k: int | None


@dataclass(frozen=True)
class QueryLimits:
    """What one request may have at most: bytes, and phrases in its own lists together."""

    max_bytes: int
    max_phrases: int


def read_query(request: Request, limits: QueryLimits, deadline: float) -> GazeQuery:
    """Return what the request asks for.

    deadline: by when the body must be here, on time.monotonic()'s clock.
    Raises MalformedRequest, RequestTooLarge, UnsupportedMediaType, InvalidRequest or Overloaded.
    """
    media_type, options = parse_options_header(request.headers.get("Content-Type", ""))
    media_type = media_type.lower()
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType
    if media_type == "application/json":
        query = _from_json(_read_body(request, limits.max_bytes, deadline))
    elif media_type == "multipart/form-data" and options.get("boundary"):
        query = _from_form(_read_body(request, limits.max_bytes, deadline), options["boundary"])
    else:
        raise UnsupportedMediaType
    if sum(len(own.labels) for own in query.own_lists) > limits.max_phrases:
        too_many = FieldError("/phrases", f"All own lists together may have {limits.max_phrases} phrases.")
        raise InvalidRequest(errors=(too_many,))
    return query


def _read_body(request: Request, max_bytes: int, deadline: float) -> bytes:
    too_large = RequestTooLarge(f"A request may have {max_bytes} bytes.")
    if (request.content_length or 0) > max_bytes:
        raise too_large
    blocks: list[bytes] = []
    size = 0
    whole = True
    try:
        while block := request.stream.read(_BLOCK):
            size += len(block)
            if size > max_bytes:
                raise too_large
            blocks.append(block)
    except (ClientDisconnected, OSError, ValueError, EOFError, ParseException):
        # gunicorn parses chunks while they are read, and raises its own errors of broken ones.
        whole = False
    if time.monotonic() > deadline:
        raise Overloaded("The request's body came too slowly.", retry_after=1)
    if not whole or size < (request.content_length or 0):
        raise MalformedRequest("The request's body is broken, or it ended before it was whole.")
    return b"".join(blocks)


def _from_json(body: bytes) -> GazeQuery:
    try:
        text = body.decode()
        del body  # it may be as large as a request may be, and there are copies enough of it
        fields = json.loads(text, parse_constant=_refuse_constant)
        del text
    except (ValueError, RecursionError):
        raise MalformedRequest("The body is not JSON in UTF-8.") from None
    try:
        sent = GazeRequest.model_validate(fields)
    except ValidationError as error:
        raise problems.invalid(error) from None
    images = sent.images if sent.images is not None else [sent.image]
    return GazeQuery(
        images=tuple(_as_source(image) for image in images if image is not None),
        lists=tuple(sent.lists or ()),
        own_lists=tuple(own_list(name, tuple(own), sent.template) for name, own in (sent.phrases or {}).items()),
        top_k=sent.top_k,
    )


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _as_source(image: ImageInput) -> ImageSource:
    if isinstance(image, ImageByUrl):
        return ImageSource("url", _url_name(image.url), image.url)
    return ImageSource("base64", None, image.base64)


def _from_form(body: bytes, boundary: str) -> GazeQuery:
    files, fields = _read_parts(body, boundary)
    try:
        sent = GazeForm.model_validate(_named(fields))
    except ValidationError as error:
        raise problems.invalid(error) from None
    images = (*files, *(ImageSource("url", _url_name(url), url) for url in sent.image_url))
    wrong: list[FieldError] = []
    if not 1 <= len(images) <= MAX_IMAGES:
        wrong.append(FieldError("/image", f"Send 1 to {MAX_IMAGES} images as files 'image' or fields 'image_url'."))
    if not sent.lists and not sent.phrases:
        wrong.append(FieldError("", "Give lists, phrases, or both."))
    if wrong:
        raise InvalidRequest(errors=tuple(wrong))
    return GazeQuery(
        images=images,
        lists=tuple(sent.lists),
        own_lists=(own_list(OWN_LIST, tuple(sent.phrases), sent.template),) if sent.phrases else (),
        top_k=sent.top_k,
    )


def _read_parts(body: bytes, boundary: str) -> tuple[list[ImageSource], list[tuple[str, str]]]:
    """Return the files `image` and the other fields of a form, each in the order sent."""
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), max_parts=MAX_PARTS)
    files: list[ImageSource] = []
    fields: list[tuple[str, str]] = []
    part: Field | File | None = None
    content = bytearray()
    event: Event = NeedData()
    try:
        for event in _events(decoder, body):
            if isinstance(event, (Field, File)):
                part, content = event, bytearray()
            elif isinstance(event, Data):
                content += event.data
                if event.more_data:
                    continue
                if part is not None and part.name == "image":
                    # A file need not have a name (RFC 7578, section 4.2).
                    name = _file_name(part.filename) if isinstance(part, File) else None
                    files.append(ImageSource("upload", name, bytes(content)))
                elif isinstance(part, Field):
                    fields.append((part.name or "", content.decode()))
                else:
                    raise InvalidRequest(errors=(FieldError("", "A file must be a part named 'image'."),))
    except RequestEntityTooLarge:
        raise RequestTooLarge(f"A form may have {MAX_PARTS} parts; send more phrases as JSON.") from None
    except (ValueError, UnicodeDecodeError):
        raise MalformedRequest("The body is not a form as multipart/form-data in UTF-8.") from None
    if not isinstance(event, Epilogue):
        raise MalformedRequest("The form ends before its last boundary.")
    return files, fields


def _events(decoder: MultipartDecoder, body: bytes) -> Iterator[Event]:
    """Yield what a form consists of.

    In blocks, because the decoder looks for the next boundary with a slow search in all that it was given, and with a
    fast one where there is none in it: 3 ms less for a picture of 1 MB.
    """
    for start in range(0, len(body), _BLOCK):
        decoder.receive_data(body[start : start + _BLOCK])
        while not isinstance(event := decoder.next_event(), NeedData):
            yield event
    decoder.receive_data(None)
    while not isinstance(event := decoder.next_event(), (Epilogue, NeedData)):
        yield event
    yield event


def _named(fields: list[tuple[str, str]]) -> Mapping[str, Any]:
    """Return a form's fields in the types that GazeForm expects."""
    named: dict[str, Any] = {}
    for name, text in fields:
        if name == "lists":
            named.setdefault(name, []).extend(part.strip() for part in text.split(","))
        elif name in ("phrases", "image_url"):
            named.setdefault(name, []).append(text)
        elif name in named and name in GazeForm.model_fields:
            raise InvalidRequest(errors=(FieldError(f"/{name}", "This field may be sent once."),))
        elif name == "top_k":
            named[name] = None if text == "all" else int(text) if _WHOLE.fullmatch(text) else text
        else:
            named[name] = text
    return named


def _file_name(name: str | None) -> str | None:
    """Return the last part of what a caller says a file is called; it is only ever told back to that caller."""
    return _NOT_IN_NAMES.sub("", re.split(r"[/\\]", name or "")[-1])[:255] or None


def _url_name(url: str) -> str | None:
    try:
        return _file_name(unquote(urlsplit(url).path))
    except ValueError:
        return None
