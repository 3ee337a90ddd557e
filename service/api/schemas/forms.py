"""The wire contract: what a form and a query may say, where all is text, as pydantic models."""

import re
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from service.api.schemas.requests import (
    DEFAULT_TOP_K,
    INCLUDED,
    MAX_EXPLAINED,
    MAX_IMAGES,
    MAX_LISTS,
    Include,
    ListName,
    Phrase,
    Sent,
    Share,
    Template,
    TopK,
)
from service.documents.formats import FORMATS
from service.images.fetch.fetcher import MAX_URL_CHARACTERS
from service.zero_shot.preprocessing.preparation import Fit
from service.zero_shot.ranking import RankBy

MAX_PARTS = 1_000
SHARE_PATTERN = r"0(\.[0-9]{1,20})?|1(\.0{1,20})?"
"""A share in a form, between 0 and 1."""

LINKED_ART = "https://linked.art/ns/v1/linked-art.json"
"""The profile that `Accept` asks for Linked Art by."""

_URL = {"minLength": 1, "maxLength": MAX_URL_CHARACTERS, "format": "uri"}
_FILE = {"type": "string", "format": "binary"}
_IMAGE_NEEDED = [{"required": ["image"]}, {"required": ["image_url"]}, {"required": ["image_iiif"]}]


def digits(text: Any) -> Any:
    """Read a query's digits; of the rest that int() would take for a number, the contract means nothing."""
    return int(text) if isinstance(text, str) and re.fullmatch(r"[0-9]{1,10}", text) else text


def _text(default: Any, description: str, **schema: Any) -> Any:
    """Return a field of a form or a query, where all is text; `schema` says of what kind it must be."""

    def write(found: dict[str, Any]) -> None:
        found.clear()
        found.update(type="string", description=description, **schema)

    return Field(default, description=description, json_schema_extra=write)


def _texts(description: str, most: int | None = None, pattern: str | None = None) -> Any:
    """Return a field that a form may have several times; `pattern` is that of each, where it is not its type's."""

    def write(found: dict[str, Any]) -> None:
        del found["default"]
        if pattern:
            found["items"] = {"type": "string", "pattern": pattern}
        found.update({"minItems": 1, "maxItems": most} if most else {"minItems": 1})

    return Field([], description=description, json_schema_extra=write)


def _with_commas(name: str) -> str:
    return f"^{name}(, ?{name})*$"


def _form(description: str, image: dict[str, Any], *needed: dict[str, Any]) -> ConfigDict:
    """Return what says in a form's JSON schema that there are files, too, which are no fields, and what it needs."""

    def write(schema: dict[str, Any]) -> None:
        schema["properties"] = {"image": image, **schema["properties"]}
        # In an allOf as in GazeRequest, for the same reason.
        schema.update(description=description, allOf=list(needed))

    return ConfigDict(json_schema_extra=write)


Digits = Annotated[int, BeforeValidator(digits)]
Url = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_URL_CHARACTERS), Field(json_schema_extra={"format": "uri"})
]
FormFit = Annotated[
    Fit | None,
    _text(None, "What of the picture the model sees. Left out: as the model was trained.", enum=list(get_args(Fit))),
]


class GazeForm(Sent):
    """The fields of a form beside its files."""

    model_config = _form(
        f"At most {MAX_PARTS} parts; send more phrases as JSON. Files come before URLs in `results`. Every field may "
        "be sent more than once, but for those that are no arrays.",
        {
            "type": "array",
            "items": _FILE,
            "minItems": 1,
            "maxItems": MAX_IMAGES,
            "description": f"The images, as files; with those by URL, {MAX_IMAGES} at most.",
        },
        {"anyOf": _IMAGE_NEEDED},
        {"anyOf": [{"required": ["lists"]}, {"required": ["phrases"]}]},
    )

    image_url: list[Url] = _texts("Images that the service fetches.", MAX_IMAGES)
    image_iiif: list[Url] = _texts(
        "URIs of IIIF images, manifests and collections, which stand for all their canvases.", MAX_IMAGES
    )
    lists: Annotated[list[ListName], Field(max_length=MAX_LISTS, fail_fast=True)] = _texts(
        "Names of lists, repeated or comma-separated.", pattern=_with_commas("[a-z0-9_-]{1,64}")
    )
    phrases: list[Phrase] = _texts("Own phrases, ranked as the list `phrases`.")
    template: Template = Field("{}", description="Applied to `phrases` only; contains {} once.")
    top_k: TopK | None = _text(
        DEFAULT_TOP_K, f"`all` for every phrase. Default {DEFAULT_TOP_K}.", pattern="^([1-9][0-9]{0,8}|all)$"
    )
    min_probability: Share = _text(
        0.0, "Phrases that are less probable are left out. Default 0.", pattern=f"^({SHARE_PATTERN})$"
    )
    rank_by: RankBy = _text("probability", "Default `probability`.", enum=list(get_args(RankBy)))
    fit: FormFit = None
    include: Include = _texts(
        f"What else the answer says, repeated or comma-separated: {', '.join(INCLUDED)}.",
        pattern=_with_commas(f"({'|'.join(INCLUDED)})"),
    )


class ExplainForm(Sent):
    """The fields of a form beside its file."""

    model_config = _form(
        "Only `phrases` may be sent more than once.",
        {**_FILE, "description": "The image, as a file."},
        {"oneOf": _IMAGE_NEEDED},
    )

    image_url: list[Url] = _text([], "Or an image that the service fetches.", **_URL)
    image_iiif: list[Url] = _text([], "Or a IIIF URI that leads to one image.", **_URL)
    phrases: Annotated[list[Phrase], Field(min_length=1, max_length=MAX_EXPLAINED, fail_fast=True)]
    template: Template = Field("{}", description="Applied to `phrases`; contains {} once.")
    fit: FormFit = None
    overlay: bool = _text(False, "Whether each map comes as a PNG as well.", enum=["true", "false"])


class GazeParameters(BaseModel):
    """What may stand in the query."""

    format: str | None = _text(
        None,
        "The form of the answer. Left out, `Accept` says it: `application/ld+json` (an annotation page, or Linked Art "
        f"with its profile `{LINKED_ART}`) or `text/csv`; else it is JSON. All but JSON fail where one of several "
        "images does.",
        enum=["json", *FORMATS],
    )


class ListPage(Sent):
    """Which part of a list is asked for."""

    offset: Digits = Field(0, ge=0, le=10**9, description="How many items to skip.")
    limit: Digits = Field(100, ge=1, le=10_000, description="How many items to give at most.")
