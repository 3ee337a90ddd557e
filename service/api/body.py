"""A request's body, as JSON or as a form -> its fields and files; everything is bounded and kept in memory."""

import binascii
import json
import re
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import unquote

from flask import Request
from gunicorn.http.errors import ParseException
from pydantic_core import from_json as parsed_json
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, State

from service.api.schemas.forms import MAX_PARTS
from service.errors import (
    FieldError,
    InvalidRequest,
    MalformedRequest,
    Overloaded,
    RequestTooLarge,
    UnsupportedMediaType,
)
from service.parsing.json_extent import json_extent

MAX_JSON_VALUES = 120_000
"""As many phrases as can be allowed, and what stands around them."""

MAX_JSON_DEPTH = 10
MAX_PART_HEAD_BYTES = 16 * 1024
MAX_HEAD_BYTES = 1024 * 1024
MAX_FIELD_BYTES = 64 * 1024
_BLOCK = 64 * 1024
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # .NET and PowerShell send it
_MOST_WITH_SURROGATES = 1024 * 1024
"""Bytes of JSON in which half a pair of surrogates may stand, escaped: only json takes it, and takes more memory."""

_END_OF_HEAD = re.compile(rb"\r\n\r\n|\r\r|\n\n")
_FILE_NAME = re.compile(r'filename="[^"\r\n]*"', re.IGNORECASE)
_BARE_FILE_NAME = re.compile(r"(;[ \t]*filename=)([^\s\";]+)", re.IGNORECASE)
_ESCAPE = re.compile(r'\\(\\|(?!"))')
# Some clients leave out the quotes that it needs with / : = ? in it.
_BARE_BOUNDARY = re.compile(r";[ \t]*boundary=([^\s\";,]+)", re.IGNORECASE)
# RFC 8187 wants no quotes around it, Postman sends them, and the decoder leaves what is in them as it is.
_QUOTED_EXTENDED_NAME = re.compile(r"\"(utf-8|iso-8859-1)'[^']*'(.*)\"", re.IGNORECASE)
_CHARSETS = {
    **dict.fromkeys(("utf-8", "utf8", "us-ascii", "ascii"), "utf-8"),
    **dict.fromkeys(("iso-8859-1", "latin1", "windows-1252"), "cp1252"),
}
"""What a form's fields may say that they are written in; Java's clients say one of the last unless told otherwise."""

_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class SentFile:
    """A file `image` of a form, and the last part of what the caller says it is called."""

    name: str | None
    content: bytes


@dataclass(frozen=True)
class Form:
    """The files `image` of a form and its other fields, each in the order sent."""

    files: tuple[SentFile, ...]
    fields: tuple[tuple[str, str], ...]


def read_body(request: Request, max_bytes: int, deadline: float) -> Any | Form:
    """Return what JSON says, or a form.

    deadline: by when the body must be here, on time.monotonic()'s clock.
    Raises MalformedRequest, RequestTooLarge, UnsupportedMediaType, InvalidRequest or Overloaded.
    """
    content_type = request.headers.get("Content-Type", "")
    media_type, options = parse_options_header(content_type)
    bare = _BARE_BOUNDARY.search(content_type)
    boundary = bare[1] if bare else options.get("boundary")
    media_type = media_type.lower()
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType
    if media_type == "application/json":
        return from_json(read_bytes(request, max_bytes, deadline))
    if media_type == "multipart/form-data" and boundary:
        return _from_form(_blocks(request, max_bytes, deadline), boundary)
    raise UnsupportedMediaType


def read_bytes(request: Request, max_bytes: int, deadline: float) -> bytes:
    """Return the body as it came. Raises MalformedRequest, RequestTooLarge or Overloaded.

    deadline: by when it must be here, on time.monotonic()'s clock.
    """
    return b"".join(_blocks(request, max_bytes, deadline))


def _blocks(request: Request, max_bytes: int, deadline: float) -> deque[bytes]:
    """Return the body in blocks of 64 KiB at most; raises as read_bytes() does."""
    sentence = f"A request may have {max_bytes} bytes."
    if (request.content_length or 0) > max_bytes:
        raise RequestTooLarge(sentence)
    blocks: deque[bytes] = deque()
    size = 0
    whole = True
    try:
        while block := request.stream.read(_BLOCK):
            size += len(block)
            if size > max_bytes:
                raise RequestTooLarge(sentence)
            blocks.append(block)
    except (ClientDisconnected, OSError, ValueError, EOFError, ParseException):
        # gunicorn parses chunks while they are read, and raises its own errors of broken ones.
        whole = False
    if time.monotonic() > deadline:
        raise Overloaded("The request's body came too slowly.", retry_after=1)
    if not whole or size < (request.content_length or 0):
        raise MalformedRequest("The request's body is broken, or it ended before it was whole.")
    return blocks


def from_json(body: bytes) -> Any:
    """Return what the body says. Raises MalformedRequest, RequestTooLarge or InvalidRequest."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    extent = json_extent(body, MAX_JSON_VALUES)
    if extent.values > MAX_JSON_VALUES:
        raise RequestTooLarge(f"A JSON body may have {MAX_JSON_VALUES} values.")
    if extent.depth > MAX_JSON_DEPTH:
        deep = f"Arrays and objects may nest {MAX_JSON_DEPTH} deep."
        raise InvalidRequest(errors=(FieldError("", deep),))
    try:
        # Not by json: it wants the body as str, which one emoji makes four times as large.
        return parsed_json(body, allow_inf_nan=False, cache_strings="none")
    except ValueError as error:
        if b"\\u" in body and len(body) <= _MOST_WITH_SURROGATES:
            with suppress(ValueError):
                return json.loads(body.decode(), parse_constant=_refuse_constant)
        raise MalformedRequest("The body is not JSON in UTF-8.") from error


def _refuse_constant(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _from_form(blocks: deque[bytes], boundary: str) -> Form:
    decoder = MultipartDecoder(boundary.encode("latin-1", "replace"), max_parts=MAX_PARTS)
    files: list[SentFile] = []
    fields: list[tuple[str, str]] = []
    part: Field | File | None = None
    pieces: list[bytes] = []
    size = 0
    event: Event = NeedData()
    try:
        for event in _events(decoder, blocks):
            if isinstance(event, (Field, File)):
                part, pieces, size = event, [], 0
                if "\ufffd" in (part.name or ""):
                    raise ValueError("a field's name that is not UTF-8")
            elif isinstance(event, Data):
                pieces.append(bytes(event.data))
                size += len(event.data)
                if isinstance(part, Field) and part.name != "image" and size > MAX_FIELD_BYTES:
                    raise RequestTooLarge(f"A field of a form may have {MAX_FIELD_BYTES} bytes.")
                if event.more_data:
                    continue
                _keep(part, _transferred(part, b"".join(pieces)), files, fields)
    except RequestEntityTooLarge:
        raise RequestTooLarge(f"A form may have {MAX_PARTS} parts; send more phrases as JSON.") from None
    except (ValueError, UnicodeDecodeError):
        raise MalformedRequest("The body is not a form as multipart/form-data in UTF-8.") from None
    if not isinstance(event, Epilogue):
        raise MalformedRequest("The form ends before its last boundary.")
    return Form(tuple(files), tuple(fields))


def _keep(part: Field | File | None, content: bytes, files: list[SentFile], fields: list[tuple[str, str]]) -> None:
    if isinstance(part, File) and not part.filename and not content:
        return  # a browser sends so where no file was chosen
    if part is not None and part.name == "image":
        # A file need not have a name (RFC 7578, section 4.2).
        files.append(SentFile(_name_of(part) if isinstance(part, File) else None, content))
    elif isinstance(part, Field):
        fields.append((part.name or "", content.decode(_charset_of(part))))
    else:
        raise InvalidRequest(errors=(FieldError("", "A file must be a part named 'image'."),))


def _events(decoder: MultipartDecoder, blocks: deque[bytes]) -> Iterator[Event]:
    """Yield what a form consists of.

    In blocks, because the decoder looks for the next boundary with a slow search in all that it was given, and with a
    fast one where there is none in it: 3 ms less for a picture of 1 MB. Each is let go of once it was read.
    """
    head_bytes = 0
    while blocks and decoder.state is not State.EPILOGUE:  # which would be kept, and means nothing
        decoder.receive_data(blocks.popleft())
        while True:
            if decoder.state is State.PART:
                head_bytes += _mended_head(decoder.buffer)
            if head_bytes > MAX_HEAD_BYTES:
                raise RequestTooLarge(f"The headers of a form's parts may have {MAX_HEAD_BYTES} bytes together.")
            if isinstance(event := decoder.next_event(), NeedData):
                break
            yield event
        if decoder.state is State.PREAMBLE and len(decoder.buffer) > _BLOCK:
            raise ValueError("no boundary")
    decoder.receive_data(None)
    while not isinstance(event := decoder.next_event(), (Epilogue, NeedData)):
        yield event
    yield event


def _mended_head(buffer: bytearray) -> int:
    """Return how many bytes the part's headers have that the buffer begins with; 0 where they do not end in it.

    What is not UTF-8 in them, as old clients send it, becomes replacement characters: it is only told back. In a file's
    name, a backslash is one unless it escapes something: browsers send it so. Raises RequestTooLarge.
    """
    end = _END_OF_HEAD.search(buffer, 0, MAX_PART_HEAD_BYTES)
    if end is None:
        if len(buffer) >= MAX_PART_HEAD_BYTES:
            raise RequestTooLarge(f"The headers of a part of a form may have {MAX_PART_HEAD_BYTES} bytes.")
        return 0
    head = buffer[: end.start()].decode(errors="replace")
    if not head.isascii() or "\\" in head:
        head = _BARE_FILE_NAME.sub(r'\1"\2"', head)
        buffer[: end.start()] = _FILE_NAME.sub(lambda name: _ESCAPE.sub(r"\\\\\1", name[0]), head).encode()
    return end.end()


def _transferred(part: Field | File | None, content: bytes) -> bytes:
    """Return what a part says, which programs made for mail encode. Raises ValueError where it is not encoded so."""
    encoding = part.headers.get("Content-Transfer-Encoding", "").strip().lower() if part else ""
    if encoding == "base64":
        return binascii.a2b_base64(content.translate(None, b" \t\r\n"), strict_mode=True)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(content)
    if encoding not in ("7bit", "8bit", "binary", ""):
        raise ValueError("an encoding that is not known")
    return content


def _charset_of(field: Field) -> str:
    """Return in what a field's text is written. Raises ValueError where it is none of a few."""
    charset = parse_options_header(field.headers.get("Content-Type"))[1].get("charset", "utf-8").lower()
    if charset not in _CHARSETS:
        raise ValueError("a character set that is not read")
    return _CHARSETS[charset]


def _name_of(file: File) -> str | None:
    quoted = _QUOTED_EXTENDED_NAME.fullmatch(file.filename)
    return file_name(unquote(quoted[2], quoted[1]) if quoted else file.filename)


def file_name(name: str | None) -> str | None:
    """Return the last part of what a caller says a file is called; it is only ever told back to that caller."""
    return _NOT_IN_NAMES.sub("", re.split(r"[/\\]", name or "")[-1])[:255] or None
