"""The wire contract: what a request may say and what an answer says, as pydantic models."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import SkipJsonSchema

from service.images.fetch import MAX_URL_CHARACTERS
from service.zero_shot.phrase_lists import MAX_PHRASE_CHARACTERS

MAX_IMAGES = 32
MAX_LISTS = 100
MAX_OWN_LISTS = 32
DEFAULT_TOP_K = 5
# A red square of 8 x 8 pixels as PNG, and a blue one as WebP, so that the documentation's examples can be sent.
EXAMPLE_IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4AdMOEQH6QSAM1BAQ/oQeJvAAAAAElFTkSuQmCC"
OTHER_EXAMPLE_IMAGE = "UklGRhwAAABXRUJQVlA4TA8AAAAvB8ABAAcQ0f/+ByKi/wEA"


# Spelled out, because regular expressions of Python and of JSON schema differ in what \s is.
_VISIBLE = r"[^\s\x00-\x1f\x7f-\x9f\ufeff]"


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digits(text: Any) -> Any:
    """Read a query's digits; of the rest that int() would take for a number, the contract means nothing."""
    return int(text) if isinstance(text, str) and re.fullmatch(r"[0-9]{1,10}", text) else text


def _few(own_lists: Any) -> Any:
    # Counted before they are looked at: of a million wrong ones, pydantic would gather a million errors.
    if isinstance(own_lists, dict) and len(own_lists) > MAX_OWN_LISTS:
        raise ValueError(f"There may be {MAX_OWN_LISTS} own lists at most.")
    return own_lists


def _never_null(schema: dict[str, Any]) -> None:
    """Say in a field's JSON schema that the field is left out, and not null, where it is not used."""
    del schema["default"]
    schema.update(next(kind for kind in schema.pop("anyOf") if kind != {"type": "null"}))


def _own_lists(schema: dict[str, Any]) -> None:
    _never_null(schema)
    schema["additionalProperties"] = False


def _holds_label(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("The template must contain {} once.")
    return template


def _is_visible(phrase: str) -> str:
    if "\0" in phrase or not re.search(_VISIBLE, phrase):
        raise ValueError("A phrase must have a visible character and no NUL.")
    return phrase


def _image_kind(image: Any) -> str | None:
    """Tell by its one field what an image is given as; None lets pydantic say that it is neither."""
    fields = list(image) if isinstance(image, dict) else []
    return f"by_{fields[0]}" if fields in (["url"], ["base64"]) else None


class _Sent(BaseModel):
    """What callers send: exact types, and no field that the contract does not have."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ImageByUrl(_Sent):
    """An image that the service fetches."""

    url: str = Field(
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        examples=["https://museum.example/a.jpg"],
        json_schema_extra={"format": "uri"},
    )


class ImageByBase64(_Sent):
    """An image in the request itself; the prefix of a data URI is allowed."""

    base64: str = Field(min_length=1, examples=[EXAMPLE_IMAGE], json_schema_extra={"format": "byte"})


ImageInput = Annotated[
    Annotated[ImageByUrl, Tag("by_url")] | Annotated[ImageByBase64, Tag("by_base64")],
    Discriminator(
        _image_kind,
        custom_error_type="image",
        custom_error_message="An image is an object with exactly one of url and base64.",
    ),
]
Phrase = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_PHRASE_CHARACTERS),
    AfterValidator(_is_visible),
    WithJsonSchema(
        {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_PHRASE_CHARACTERS,
            "pattern": rf"^[^\x00]*{_VISIBLE}[^\x00]*$",
        }
    ),
]
# fail_fast for the same reason: of a long list that is wrong throughout, one place is told.
Phrases = Annotated[list[Phrase], Field(min_length=1, fail_fast=True)]
ListName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
OwnListName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
OwnLists = Annotated[dict[OwnListName, Phrases], Field(min_length=1, max_length=MAX_OWN_LISTS), BeforeValidator(_few)]
Template = Annotated[
    str,
    StringConstraints(max_length=MAX_PHRASE_CHARACTERS),
    AfterValidator(_holds_label),
    WithJsonSchema(
        {"type": "string", "maxLength": MAX_PHRASE_CHARACTERS, "pattern": r"^([^{]|\{(?!\}))*\{\}([^{]|\{(?!\}))*$"}
    ),
]
Digits = Annotated[int, BeforeValidator(_digits)]
TopK = Annotated[int, Field(ge=1), BeforeValidator(_whole)]


class GazeRequest(_Sent):
    """Rank the phrases of one or more lists for one or more images."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["image"]}, {"required": ["images"]}],
            "anyOf": [{"required": ["lists"]}, {"required": ["phrases"]}],
        }
    )

    image: ImageInput | None = Field(
        None, description="The one image; or give `images`, not both.", json_schema_extra=_never_null
    )
    images: Annotated[list[ImageInput], Field(min_length=1, max_length=MAX_IMAGES, fail_fast=True)] | None = Field(
        None,
        description="Several images; one that fails has an `error`, and the others are answered.",
        json_schema_extra=_never_null,
    )
    lists: Annotated[list[ListName], Field(min_length=1, max_length=MAX_LISTS, fail_fast=True)] | None = Field(
        None,
        description="Names of served lists.",
        examples=[["movements", "surfaces"]],
        json_schema_extra=_never_null,
    )
    phrases: OwnLists | None = Field(
        None,
        json_schema_extra=_own_lists,
        description="Own lists: a name and its phrases. All own lists together may have as many phrases as "
        "GAZE_MAX_PHRASES says; none may take a served list's name.",
        examples=[{"subject": ["a river", "a bridge"]}],
    )
    template: Template = Field("{}", description="Applied to `phrases` only; contains {} once.")
    top_k: TopK | None = Field(DEFAULT_TOP_K, description="Phrases of each list in the answer; null for every one.")

    @model_validator(mode="before")
    @classmethod
    def _not_too_many(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and len(fields) > len(cls.model_fields):
            raise ValueError("There is a field here that is not part of the contract.")
        return fields

    @model_validator(mode="before")
    @classmethod
    def _absent_not_null(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and any(
            fields.get(name, "") is None for name in cls.model_fields if name != "top_k"
        ):
            raise ValueError("Only top_k may be null; leave out a field that is not used.")
        return fields

    @model_validator(mode="after")
    def _complete(self) -> "GazeRequest":
        if (self.image is None) == (self.images is None):
            raise ValueError("Give exactly one of image and images.")
        if self.lists is None and self.phrases is None:
            raise ValueError("Give lists, phrases, or both.")
        return self


class GazeForm(_Sent):
    """The fields of a form beside its files."""

    image_url: list[Annotated[str, StringConstraints(min_length=1, max_length=MAX_URL_CHARACTERS)]] = []
    lists: list[ListName] = Field([], max_length=MAX_LISTS, fail_fast=True)
    phrases: list[Phrase] = []
    template: Template = "{}"
    top_k: TopK | None = DEFAULT_TOP_K


class ListPage(_Sent):
    """Which part of a list is asked for."""

    offset: Digits = Field(0, ge=0, le=10**9, description="How many items to skip.")
    limit: Digits = Field(100, ge=1, le=10_000, description="How many items to give at most.")


class ProblemField(BaseModel):
    """One thing wrong with a request."""

    pointer: str = Field(description="Where in the request, as a JSON pointer.", examples=["/lists/0"])
    detail: str


class Progress(BaseModel):
    """What a start still lacks, and how far it is."""

    stage: str
    done: int
    total: int


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: list[ProblemField] | SkipJsonSchema[None] = None
    progress: Progress | SkipJsonSchema[None] = None

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in dump(self).items() if value is not None}


class Model(BaseModel):
    """The model that answered."""

    id: str = Field(examples=["openai/clip-vit-base-patch32"])
    revision: str | None
    backend: str = Field(description="What ran the model.", examples=["openvino", "torch"])
    precision: str = Field(description="What it computed in.", examples=["float32", "bfloat16", "float16"])
    demo: bool = Field(description="True where the demo model answered, which is of no use for cataloguing.")


class ModelDetails(Model):
    """The model, what may be of use to know about it, and the version of the service."""

    image_size: int
    feature_size: int
    max_tokens: int
    logit_scale: float
    device: str
    version: str


class ImageInfo(BaseModel):
    """The image that was ranked; width and height are the upright image's."""

    source: Literal["upload", "base64", "url"]
    name: str | None
    sha256: str
    format: str
    width: int
    height: int


class FailedImage(BaseModel):
    """The image that failed, as far as it is known."""

    source: Literal["upload", "base64", "url"]
    name: str | None


class RankedPhrase(BaseModel):
    """A phrase's place in its list; its probability is relative to the list, never the chance that it is true."""

    rank: int
    label: str
    phrase: str
    probability: float = Field(ge=0, le=1)
    similarity: float
    uri: str | None


class RankedList(BaseModel):
    """The most probable phrases of one list."""

    count: int = Field(description="How many phrases the list has; the probabilities of all of them add up to 1.")
    hash: str = Field(description="SHA-256 of the list's exact contents.")
    predictions: list[RankedPhrase]


class Result(BaseModel):
    """The ranked lists of one image."""

    image: ImageInfo
    lists: dict[str, RankedList]


class FailedResult(BaseModel):
    """Why one of several images has no answer."""

    image: FailedImage
    error: Problem


class GazeAnswer(BaseModel):
    """The ranked lists of every image, in the order of the images."""

    model: Model
    results: list[Result | FailedResult]
    warnings: list[str] = Field(description="What a person should know and a program may ignore.")


class ListSummary(BaseModel):
    """What a served list is."""

    name: str
    title: str
    description: str
    count: int
    template: str
    source: str
    licence: str
    hash: str


class Lists(BaseModel):
    """The served lists, in order."""

    lists: list[ListSummary]


class ListItem(BaseModel):
    """A label, the phrase that CLIP is asked, and the term's authority URI."""

    label: str
    phrase: str
    uri: str | None


class ListDetails(ListSummary):
    """A served list and a page of its items."""

    items: list[ListItem]
    next: str | None = Field(description="The path of the next page, or null.")


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """The model has answered, and the served lists' text features are in memory."""

    status: Literal["ready"] = "ready"
