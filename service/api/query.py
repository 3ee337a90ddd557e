"""What a request's body asks for -> GazeQuery or ExplainQuery, whether it came as JSON or as a form."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from flask import Request
from pydantic import BaseModel, ValidationError

from service.api import problems
from service.api.body import Form, file_name, read_body
from service.api.schemas.requests import (
    MAX_IMAGES,
    MAX_LISTS,
    SHARE_PATTERN,
    ExplainForm,
    ExplainRequest,
    GazeForm,
    GazeRequest,
    ImageByIiif,
    ImageByUrl,
    ImageInput,
    Included,
    RankBy,
)
from service.errors import FieldError, InvalidRequest
from service.iiif.presentation import Canvas
from service.zero_shot.phrase_lists import OWN_LIST, PhraseList, own_list
from service.zero_shot.preprocessing.framing import Fit

_WHOLE = re.compile(r"0|[1-9][0-9]{0,8}")
_DECIMAL = re.compile(SHARE_PATTERN)
_TRUTH = {"true": True, "false": False}
_Sent = TypeVar("_Sent", bound=BaseModel)


@dataclass(frozen=True)
class ImageSource:
    """An image as it was sent: its bytes, its base64 text, its URL or its IIIF URI.

    pointer: where in the request it is
    canvas:  what the IIIF URI led to, once that is known
    """

    source: Literal["upload", "base64", "url", "iiif"]
    name: str | None
    content: bytes | str
    object_number: str | None = None
    pointer: str = ""
    canvas: Canvas | None = None


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
        images = _images_of(body, form)
        if len(images) != 1:
            how = "Send one image, as file 'image', as 'image_url' or as 'image_iiif'."
            raise InvalidRequest(errors=(FieldError("/image", how),))
        phrases = own_list(OWN_LIST, tuple(form.phrases), form.template)
        return ExplainQuery(images[0], phrases, form.fit, form.overlay)
    sent = _validated(ExplainRequest, body)
    phrases = own_list(OWN_LIST, tuple(sent.phrases), sent.template)
    return ExplainQuery(_as_source(sent.image, "/image"), phrases, sent.fit, sent.overlay)


def _query_of_json(fields: Any) -> GazeQuery:
    sent = _validated(GazeRequest, fields)
    images = (
        [("/image", sent.image)] if sent.image else [(f"/images/{n}", each) for n, each in enumerate(sent.images or ())]
    )
    return GazeQuery(
        images=tuple(_as_source(image, pointer) for pointer, image in images),
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
    images = _images_of(form, sent)
    wrong: list[FieldError] = []
    if not 1 <= len(images) <= MAX_IMAGES:
        how = "as files 'image', fields 'image_url' or fields 'image_iiif'"
        wrong.append(FieldError("/image", f"Send 1 to {MAX_IMAGES} images {how}."))
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


def _images_of(form: Form, sent: GazeForm | ExplainForm) -> tuple[ImageSource, ...]:
    files = (ImageSource("upload", file.name, file.content, pointer="/image") for file in form.files)
    urls = (ImageSource("url", _url_name(url), url, pointer="/image_url") for url in sent.image_url)
    iiif = (ImageSource("iiif", None, uri, pointer="/image_iiif") for uri in sent.image_iiif)
    return (*files, *urls, *iiif)


def _as_source(image: ImageInput, pointer: str) -> ImageSource:
    number = image.object_number
    if isinstance(image, ImageByUrl):
        return ImageSource("url", _url_name(image.url), image.url, number, pointer)
    if isinstance(image, ImageByIiif):
        return ImageSource("iiif", None, image.iiif, number, pointer)
    return ImageSource("base64", None, image.base64, number, pointer)


def _named(fields: tuple[tuple[str, str], ...], kind: type[BaseModel]) -> Mapping[str, Any]:
    """Return a form's fields in the types that its model expects."""
    named: dict[str, Any] = {}
    for name, text in fields:
        if name in ("lists", "include"):
            named.setdefault(name, []).extend(part.strip() for part in text.split(",", MAX_LISTS))
        elif name in ("phrases", "image_url", "image_iiif"):
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
        return file_name(unquote(urlsplit(url.strip()).path))
    except ValueError:
        return None
