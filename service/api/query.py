"""What a request's body asks for -> GazeQuery or ExplainQuery, whether it came as JSON or as a form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from flask import Request
from pydantic import BaseModel, ValidationError

from service.api import problems
from service.api.asked import (
    MAX_IMAGES,
    SHARE_PATTERN,
    ExplainForm,
    ExplainRequest,
    GazeForm,
    GazeRequest,
    ImageByUrl,
    ImageInput,
    Included,
    RankBy,
)
from service.api.body import Form, file_name, read_body
from service.errors import FieldError, InvalidRequest
from service.zero_shot.framing import Fit
from service.zero_shot.phrase_lists import OWN_LIST, PhraseList, own_list

_WHOLE = re.compile(r"0|[1-9][0-9]{0,8}")
_DECIMAL = re.compile(SHARE_PATTERN)
_TRUTH = {"true": True, "false": False}
_Sent = TypeVar("_Sent", bound=BaseModel)


@dataclass(frozen=True)
class ImageSource:
    """An image as it was sent: its bytes, its base64 text or its URL."""

    source: Literal["upload", "base64", "url"]
    name: str | None
    content: bytes | str


@dataclass(frozen=True)
class GazeQuery:
    """What a caller wants to know.

    fit: how pictures are to be framed; None for the model's own way
    """

    images: tuple[ImageSource, ...]
    lists: tuple[str, ...]
    own_lists: tuple[PhraseList, ...]
    top_k: int | None
    min_probability: float
    rank_by: RankBy
    fit: Fit | None
    include: frozenset[Included]


@dataclass(frozen=True)
class ExplainQuery:
    """What a caller wants to see: where in an image these phrases are, and whether as pictures too."""

    image: ImageSource
    phrases: PhraseList
    fit: Fit | None
    overlay: bool


@dataclass(frozen=True)
class QueryLimits:
    """What one request may have at most: bytes, and phrases in its own lists together."""

    max_bytes: int
    max_phrases: int


def read_query(request: Request, limits: QueryLimits, deadline: float) -> GazeQuery:
    """Return what the request asks for; raises as read_body does.

    deadline: by when the body must be here, on time.monotonic()'s clock.
    """
    body = read_body(request, limits.max_bytes, deadline)
    query = _query_of_form(body) if isinstance(body, Form) else _query_of_json(body)
    if sum(len(own.labels) for own in query.own_lists) > limits.max_phrases:
        too_many = FieldError("/phrases", f"All own lists together may have {limits.max_phrases} phrases.")
        raise InvalidRequest(errors=(too_many,))
    return query


def read_explain_query(request: Request, limits: QueryLimits, deadline: float) -> ExplainQuery:
    """Return what the request asks to be shown; raises as read_body does."""
    body = read_body(request, limits.max_bytes, deadline)
    if isinstance(body, Form):
        form = _validated(ExplainForm, _named(body.fields, ExplainForm))
        images = _images_of(body, form.image_url)
        if len(images) != 1:
            raise InvalidRequest(errors=(FieldError("/image", "Send one image, as file 'image' or as 'image_url'."),))
        phrases = own_list(OWN_LIST, tuple(form.phrases), form.template)
        return ExplainQuery(images[0], phrases, form.fit, form.overlay)
    sent = _validated(ExplainRequest, body)
    phrases = own_list(OWN_LIST, tuple(sent.phrases), sent.template)
    return ExplainQuery(_as_source(sent.image), phrases, sent.fit, sent.overlay)


def _query_of_json(fields: Any) -> GazeQuery:
    sent = _validated(GazeRequest, fields)
    images = sent.images if sent.images is not None else [sent.image]
    return GazeQuery(
        images=tuple(_as_source(image) for image in images if image is not None),
        lists=tuple(sent.lists or ()),
        own_lists=tuple(own_list(name, tuple(own), sent.template) for name, own in (sent.phrases or {}).items()),
        top_k=sent.top_k,
        min_probability=sent.min_probability,
        rank_by=sent.rank_by,
        fit=sent.fit,
        include=frozenset(sent.include),
    )


def _query_of_form(form: Form) -> GazeQuery:
    sent = _validated(GazeForm, _named(form.fields, GazeForm))
    images = _images_of(form, sent.image_url)
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
        min_probability=sent.min_probability,
        rank_by=sent.rank_by,
        fit=sent.fit,
        include=frozenset(sent.include),
    )


def _validated(kind: type[_Sent], fields: Any) -> _Sent:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise problems.invalid(error) from None


def _images_of(form: Form, urls: list[str]) -> tuple[ImageSource, ...]:
    files = (ImageSource("upload", file.name, file.content) for file in form.files)
    return (*files, *(ImageSource("url", _url_name(url), url) for url in urls))


def _as_source(image: ImageInput) -> ImageSource:
    if isinstance(image, ImageByUrl):
        return ImageSource("url", _url_name(image.url), image.url)
    return ImageSource("base64", None, image.base64)


def _named(fields: tuple[tuple[str, str], ...], kind: type[BaseModel]) -> Mapping[str, Any]:
    """Return a form's fields in the types that its model expects."""
    named: dict[str, Any] = {}
    for name, text in fields:
        if name in ("lists", "include"):
            named.setdefault(name, []).extend(part.strip() for part in text.split(","))
        elif name in ("phrases", "image_url"):
            named.setdefault(name, []).append(text)
        elif name in named and name in kind.model_fields:
            raise InvalidRequest(errors=(FieldError(f"/{name}", "This field may be sent once."),))
        elif name == "top_k":
            named[name] = None if text == "all" else int(text) if _WHOLE.fullmatch(text) else text
        elif name == "min_probability":
            named[name] = float(text) if _DECIMAL.fullmatch(text) else text
        elif name == "overlay":
            named[name] = _TRUTH.get(text, text)
        else:
            named[name] = text
    return named


def _url_name(url: str) -> str | None:
    try:
        return file_name(unquote(urlsplit(url).path))
    except ValueError:
        return None
