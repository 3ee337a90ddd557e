"""What a request asks for -> GazeQuery or ExplainQuery, in which format, and whether the answer would be too large."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import unquote, urlsplit

import numpy as np
from flask import Request
from pydantic import BaseModel, ValidationError
from werkzeug.http import parse_options_header

from service.api import problems
from service.api.body import Form, file_name, read_body
from service.api.schemas.forms import LINKED_ART, SHARE_PATTERN, ExplainForm, GazeForm
from service.api.schemas.requests import (
    MAX_IMAGES,
    MAX_LISTS,
    ExplainRequest,
    GazeRequest,
    ImageByIiif,
    ImageByUrl,
    ImageInput,
)
from service.documents.formats import FORMATS, Format
from service.errors import FieldError, GazeError, InvalidRequest, UnknownList
from service.iiif.presentation import Canvas
from service.zero_shot.classifier import EncodedList, ZeroShotClassifier
from service.zero_shot.phrase_lists import OWN_LIST, PhraseList, own_list
from service.zero_shot.preprocessing.preparation import Fit
from service.zero_shot.ranking import RankOptions

JSON = "application/json"
_TAKEN_FOR_JSON = (JSON, "application/*", "*/*")
_BY_MEDIA_TYPE = {"application/ld+json": "annotations", "text/csv": "csv"}

MAX_PREDICTIONS = 120_000
MAX_JSON_BYTES = 40 * 1024**2
MAX_DOCUMENT_BYTES = 20 * 1024**2

_JSON_BYTES_EACH = 180
_LIST_BYTES = 500
_MORE_BYTES = {"certainty": 30, "lift": 30, "stability": 0, "none_of_these": 0}
_STABILITY_PHRASES, _STABILITY_BYTES_EACH, _STABILITY_FIRSTS = 50, 250, 20

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
class ResolvedImage:
    """One picture that a request asks about, and why it cannot be had, where that is known already."""

    source: ImageSource
    error: GazeError | None = None


@dataclass(frozen=True)
class GazeQuery:
    """What a caller wants to know.

    fit: how pictures are to be framed; None for the model's own way
    """

    images: tuple[ImageSource, ...]
    lists: tuple[str, ...]
    own_lists: tuple[PhraseList, ...]
    ranking: RankOptions
    fit: Fit | None


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
        form = validated(ExplainForm, _named(body.fields, ExplainForm))
        images = _images_of(body, form)
        if len(images) != 1:
            how = "Send one image, as file 'image', as 'image_url' or as 'image_iiif'."
            raise InvalidRequest(errors=(FieldError("/image", how),))
        phrases = own_list(OWN_LIST, tuple(form.phrases), form.template)
        return ExplainQuery(images[0], phrases, form.fit, form.overlay)
    sent = validated(ExplainRequest, body)
    phrases = own_list(OWN_LIST, tuple(sent.phrases), sent.template)
    return ExplainQuery(_as_source(sent.image, "/image"), phrases, sent.fit, sent.overlay)


def read_format(request: Request) -> Format | None:
    """Return the format that the parameter `format` names, else one that `Accept` prefers to JSON; None for JSON.

    Raises InvalidRequest for a name that is not known.
    """
    name = request.args.get("format")
    if name is not None:
        if name != "json" and name not in FORMATS:
            names = ", ".join(("json", *FORMATS))
            raise InvalidRequest(errors=(FieldError("/format", f"There are these formats: {names}."),))
        return FORMATS.get(name)
    accepted = [(quality, *parse_options_header(asked)) for asked, quality in request.accept_mimetypes if quality > 0]
    # The most wanted first, and JSON among equals.
    for _, media_type, options in sorted(accepted, key=lambda each: (-each[0], each[1] not in _TAKEN_FOR_JSON)):
        if media_type in _TAKEN_FOR_JSON:
            return None
        if name := _BY_MEDIA_TYPE.get(media_type.lower()):
            is_linked_art = name == "annotations" and LINKED_ART in options.get("profile", "").split()
            return FORMATS["linked-art" if is_linked_art else name]
    return None


def served_lists(
    query: GazeQuery, classifier: ZeroShotClassifier, served: Mapping[str, PhraseList]
) -> tuple[EncodedList, ...]:
    """Return the served lists that a query names.

    Raises UnknownList, which points at the first that is not served, and InvalidRequest where an own list has the name
    of a served one.
    """
    try:
        lists = classifier.lists_named(query.lists)
    except UnknownList as error:
        index = next(index for index, name in enumerate(query.lists) if name not in served)
        raise UnknownList(error.detail, errors=(FieldError(f"/lists/{index}", error.detail),)) from None
    if query.own_lists and (taken := [own.name for own in query.own_lists if own.name in served]):
        raise InvalidRequest(
            errors=tuple(FieldError(f"/phrases/{name}", "A served list has this name; take another.") for name in taken)
        )
    return lists


def require_bounded(
    query: GazeQuery, images: Sequence[ResolvedImage], served: Sequence[EncodedList], form: Format | None
) -> None:
    """Raise InvalidRequest where an answer could have too many predictions, or too many bytes.

    served: the lists that are ranked besides the query's own
    form:    of the document that the answer is to be; None for JSON
    """
    count = bytes_each_picture = 0
    for each in (*(encoded.phrase_list for encoded in served), *query.own_lists):
        told = _most_predictions(query, len(each.labels))
        count += told * len(images)
        bytes_each_picture += _list_bytes(query, each, told, form)
        if form:
            bytes_each_picture += told * max(_iri_bytes(image.source) for image in images)
    if count > MAX_PREDICTIONS:
        _refuse(f"{MAX_PREDICTIONS} predictions")
    most_bytes = MAX_DOCUMENT_BYTES if form else MAX_JSON_BYTES
    if bytes_each_picture * len(images) > most_bytes:
        _refuse(f"{most_bytes} bytes")


def _query_of_json(fields: Any) -> GazeQuery:
    sent = validated(GazeRequest, fields)
    images = (
        [("/image", sent.image)] if sent.image else [(f"/images/{n}", each) for n, each in enumerate(sent.images or ())]
    )
    return GazeQuery(
        images=tuple(_as_source(image, pointer) for pointer, image in images),
        lists=tuple(sent.lists or ()),
        own_lists=tuple(own_list(name, tuple(own), sent.template) for name, own in (sent.phrases or {}).items()),
        ranking=RankOptions(sent.top_k, sent.min_probability, sent.rank_by, frozenset(sent.include)),
        fit=sent.fit,
    )


def _query_of_form(form: Form) -> GazeQuery:
    sent = validated(GazeForm, _named(form.fields, GazeForm))
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
        ranking=RankOptions(sent.top_k, sent.min_probability, sent.rank_by, frozenset(sent.include)),
        fit=sent.fit,
    )


def validated(kind: type[_Sent], fields: Any) -> _Sent:
    """Return what was sent as this wire model. Raises InvalidRequest."""
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


def _refuse(limit: str) -> None:
    how = f"An answer may have {limit}; ask for fewer pictures, lists or phrases, a smaller top_k or a min_probability."
    raise InvalidRequest(errors=(FieldError("/top_k", how),))


def _most_predictions(query: GazeQuery, count: int) -> int:
    most = count if query.ranking.top_k is None else min(query.ranking.top_k, count)
    # The probabilities of a list add up to 1; what is 1 over the least that a float can be, no float can.
    return int(1 / query.ranking.min_probability) + 1 if query.ranking.min_probability * most > 1 else most


def _list_bytes(query: GazeQuery, phrase_list: PhraseList, told: int, form: Format | None) -> int:
    """Return what so many predictions of a list may take for one picture: those whose texts are the longest."""
    texts = zip(phrase_list.labels, phrase_list.phrases, phrase_list.uris, strict=True)
    # As they stand in JSON, in which quotes and control characters take more.
    sizes = np.fromiter(
        (len(json.dumps(each, ensure_ascii=False).encode(errors="replace")) for each in texts), np.int64
    )
    longest = int(np.sort(sizes)[-told:].sum()) if told else 0
    if form:
        return told * form.bytes_each + longest * form.times
    more = sum(_MORE_BYTES[each] for each in query.ranking.include)
    total = _LIST_BYTES + told * (_JSON_BYTES_EACH + more) + longest
    if "stability" in query.ranking.include:
        total += min(told, _STABILITY_PHRASES) * _STABILITY_BYTES_EACH + _STABILITY_FIRSTS * int(sizes.max())
    return total


def _iri_bytes(source: ImageSource) -> int:
    iri = source.canvas.id or source.canvas.image if source.canvas else source.content if source.source == "url" else ""
    return len(str(iri).encode(errors="replace")) + len((source.object_number or "").encode(errors="replace"))
