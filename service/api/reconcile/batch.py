"""The Reconciliation API's query batches as they are sent -> queries; and its answers, as pydantic models.

Versions 0.2 (https://www.w3.org/community/reports/reconciliation/CG-FINAL-specs-0.2-20230410/) and 1.0-draft
(https://reconciliation-api.github.io/specs/1.0-draft/). What they know beside a picture, a type and a limit means
nothing here, and is passed over.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import parse_qsl

import structlog
from flask import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, RootModel, ValidationError
from werkzeug.http import parse_options_header

from service.api.body import from_json, read_bytes
from service.api.request_context import current_request
from service.api.schemas.forms import Digits, digits
from service.api.schemas.requests import DEFAULT_TOP_K, never_null, whole
from service.errors import FieldError, InvalidRequest, MalformedRequest, UnsupportedMediaType
from service.zero_shot.phrase_lists import PhraseList

BATCH_SIZE = 10
"""How many queries clients are told to send at a time."""

MAX_QUERIES = 32
MAX_CANDIDATES = 100
MAX_BATCH_BYTES = 1024 * 1024
MAX_PREFIX_CHARACTERS = 100
MAX_FIELDS = 16  # of a form

log = structlog.get_logger()

FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Query:
    """What is asked of one picture.

    image: its URL, or a data URI; None where there is no picture in the query
    types: names of lists; empty for the default
    """

    image: str | None
    types: tuple[str, ...]
    limit: int


_NOTHING = Query(None, (), 0)


class _Sent(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)


def _type_id(sent: Any) -> Any:
    """Read a type that is sent as an object, as clients have it from a manifest."""
    return sent["id"] if isinstance(sent, dict) and "id" in sent else sent


def _type_ids(sent: Any) -> Any:
    return list(map(_type_id, sent)) if isinstance(sent, list) else _type_id(sent)


def _limit(sent: Any) -> Any:
    """Read a number that is sent as text, or as null where there is none."""
    return DEFAULT_TOP_K if sent is None else whole(digits(sent))


TypeIds = Annotated[list[str], Field(fail_fast=True)]
Limit = Annotated[
    int,
    Field(ge=0, description=f"How many candidates at most; never more than {MAX_CANDIDATES}."),
    BeforeValidator(_limit),
]


class ReconciliationQuery(_Sent):
    """A query of version 0.2: a picture's URL, as text to be matched."""

    query: str | None = Field(None, description="The picture's URL, or a data URI.")
    type: Annotated[str | TypeIds | None, BeforeValidator(_type_ids)] = Field(
        None, description="The name of a list, or several."
    )
    limit: Limit = DEFAULT_TOP_K

    def read(self) -> Query:
        """Return what is asked."""
        return _query(self.query, self.type, self.limit)


class ReconciliationCondition(_Sent):
    """A condition of version 1.0-draft; the first of matchType `name` has the picture's URL."""

    matchType: Literal["name", "id", "property"]  # noqa: N815  # the specification's name
    propertyValue: Any = Field(description="The picture's URL, or a data URI.")  # noqa: N815


class ReconciliationMatchQuery(_Sent):
    """A query of version 1.0-draft."""

    conditions: Annotated[list[ReconciliationCondition], Field(min_length=1, max_length=100, fail_fast=True)]
    type: Annotated[str | TypeIds | None, BeforeValidator(_type_ids)] = Field(None, description="The name of a list.")
    limit: Limit = DEFAULT_TOP_K

    def read(self) -> Query:
        """Return what is asked."""
        values = (each.propertyValue for each in self.conditions if each.matchType == "name")
        image = next((value for value in map(_first, values) if isinstance(value, str)), None)
        return _query(image, self.type, self.limit)


class ReconciliationQueries(RootModel[Annotated[dict[str, ReconciliationQuery], Field(max_length=MAX_QUERIES)]]):
    """A query batch of version 0.2: queries by names that the client makes up."""


class ReconciliationMatch(_Sent):
    """A query batch of version 1.0-draft."""

    queries: Annotated[list[ReconciliationMatchQuery], Field(max_length=MAX_QUERIES)]


class SuggestType(_Sent):
    """What the service that suggests lists is asked."""

    prefix: Annotated[str, Field(max_length=MAX_PREFIX_CHARACTERS)] = Field("", description="What a name starts with.")
    cursor: Digits = Field(0, ge=0, le=10**9, description="How many suggestions to skip.")


class SuggestEntity(SuggestType):
    """What the service that suggests terms is asked."""

    type: str | None = Field(None, description="Only terms of the list of this name.", json_schema_extra=never_null)


class ReconciliationType(BaseModel):
    """A list, as a type of entities."""

    id: str
    name: str

    @classmethod
    def of(cls, phrase_list: PhraseList) -> "ReconciliationType":
        """Return the type that a list is."""
        return cls(id=phrase_list.name, name=phrase_list.title)


class SuggestedType(ReconciliationType):
    """A list that is suggested."""

    description: str


class SuggestedTypes(BaseModel):
    """The lists whose names start so."""

    result: list[SuggestedType]


class SuggestedEntity(BaseModel):
    """A term that is suggested, and the lists that have it."""

    id: str
    name: str
    description: str
    notable: list[ReconciliationType]


class SuggestedEntities(BaseModel):
    """The terms that have a word which starts so."""

    result: list[SuggestedEntity]


class ReconciliationFeature(BaseModel):
    """A number that a score can be made of."""

    id: str
    name: str
    value: float


class ReconciliationCandidate(BaseModel):
    """A term that a picture may show; `match` is never true, because a person decides."""

    id: str
    name: str
    description: str
    score: float = Field(ge=0, le=100, description="100 times the probability, which is relative to the list.")
    match: Literal[False]
    type: list[ReconciliationType]
    features: list[ReconciliationFeature]


class ReconciliationResult(BaseModel):
    """The candidates for one query of version 0.2, best first."""

    result: list[ReconciliationCandidate]


class ReconciliationResults(RootModel[dict[str, ReconciliationResult]]):
    """The candidates for each query of version 0.2, by the client's own names."""


class ReconciliationMatchResult(BaseModel):
    """The candidates for one query of version 1.0-draft, best first."""

    candidates: list[ReconciliationCandidate]


class ReconciliationMatchResults(BaseModel):
    """The candidates for each query of version 1.0-draft, in their order."""

    results: list[ReconciliationMatchResult]


_Kind = TypeVar("_Kind", ReconciliationQuery, ReconciliationMatchQuery)


def read_form(request: Request, max_bytes: int, deadline: float) -> list[str]:
    """Return the fields `queries` of a form in a request's body.

    deadline: by when the body must be here, on time.monotonic()'s clock.
    Raises MalformedRequest, RequestTooLarge, UnsupportedMediaType or Overloaded.
    """
    body = _read(request, FORM, max_bytes, deadline)
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise MalformedRequest(f"The body is no form of {MAX_FIELDS} fields or fewer in UTF-8.") from None
    return [text for name, text in fields if name == "queries"]


def queries_of(sent: Sequence[str]) -> dict[str, Query]:
    """Return the queries of a batch of version 0.2 by their names. Raises MalformedRequest or InvalidRequest.

    sent: what came under the name `queries`
    """
    if len(sent) != 1:
        raise _unfit("Send one query batch, as `queries`.")
    try:
        batch = from_json(sent[0].encode("utf-8", "surrogatepass"))
    except MalformedRequest:
        raise MalformedRequest("The query batch is not JSON.") from None
    if not isinstance(batch, dict):
        raise _unfit("A query batch is an object of queries by name.")
    return dict(zip(batch, _read_all(ReconciliationQuery, batch.values(), len(batch)), strict=True))


def read_match(request: Request, max_bytes: int, deadline: float) -> list[Query]:
    """Return the queries of a batch of version 1.0-draft; raises as read_form and queries_of do."""
    sent = from_json(_read(request, "application/json", max_bytes, deadline))
    queries = sent.get("queries") if isinstance(sent, dict) else None
    if not isinstance(queries, list):
        raise _unfit("A query batch is an object whose field `queries` is an array.")
    return _read_all(ReconciliationMatchQuery, queries, len(queries))


def _read_all(kind: type[_Kind], sent: Iterable[Any], count: int) -> list[Query]:
    """Return the queries; one that cannot be understood is one for nothing, so that the others are answered."""
    if count > MAX_QUERIES:
        raise _unfit(f"A query batch may have {MAX_QUERIES} queries.")
    read = [_read_one(kind, query) for query in sent]
    if unread := read.count(None):
        log.info("unread", request_id=current_request().request_id, queries=unread)
    return [query or _NOTHING for query in read]


def _read_one(kind: type[_Kind], sent: Any) -> Query | None:
    try:
        return kind.model_validate(sent).read()
    except ValidationError:
        return None


def _read(request: Request, media_type: str, max_bytes: int, deadline: float) -> bytes:
    sent, _ = parse_options_header(request.headers.get("Content-Type", ""))
    if sent.lower() != media_type or request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType(f"Send {media_type}, without Content-Encoding.")
    return read_bytes(request, min(max_bytes, MAX_BATCH_BYTES), deadline)


def _query(image: str | None, types: str | list[str] | None, limit: int) -> Query:
    named = [types] if isinstance(types, str) else types or []
    return Query((image or "").strip() or None, tuple(dict.fromkeys(filter(None, named))), min(limit, MAX_CANDIDATES))


def _first(value: Any) -> Any:
    return next(iter(value), None) if isinstance(value, list) else value


def _unfit(found: str) -> InvalidRequest:
    return InvalidRequest(errors=(FieldError("/queries", found),))
