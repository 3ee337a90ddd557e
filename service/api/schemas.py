"""The wire contract: what a request may say and what an answer says, as pydantic models."""

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

from service.zero_shot.phrase_lists import MAX_PHRASE_CHARACTERS

MAX_IMAGES = 32
MAX_OWN_LISTS = 32
DEFAULT_TOP_K = 5
EXAMPLE_IMAGE = (
    # A red square of 8 x 8 pixels, so that the example of the documentation can be sent as it is.
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGO4o6GBFTEMLQkAuDc0wX8DKAwAAAAASUVORK5CYII="
)


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _holds_label(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("The template must contain {} once.")
    return template


def _is_visible(phrase: str) -> str:
    if "\0" in phrase or not phrase.strip():
        raise ValueError("A phrase must have a visible character and no NUL.")
    return phrase


def _image_kind(image: Any) -> str | None:
    """Tell by its one field what an image is given as; None lets pydantic say that it is neither."""
    fields = set(image) if isinstance(image, dict) else set()
    given = fields & {"url", "base64"}
    return f"by_{given.pop()}" if len(given) == 1 else None


class _Sent(BaseModel):
    """What callers send: exact types, and no field that the contract does not have."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ImageByUrl(_Sent):
    """An image that the service fetches."""

    url: str = Field(min_length=1, max_length=2_083, examples=["https://museum.example/a.jpg"])


class ImageByBase64(_Sent):
    """An image in the request itself; the prefix of a data URI is allowed."""

    base64: str = Field(min_length=1, examples=[EXAMPLE_IMAGE])


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
        {"type": "string", "minLength": 1, "maxLength": MAX_PHRASE_CHARACTERS, "pattern": r"^[^\x00]*\S[^\x00]*$"}
    ),
]
ListName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
OwnListName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
Template = Annotated[
    str,
    StringConstraints(max_length=MAX_PHRASE_CHARACTERS),
    AfterValidator(_holds_label),
    WithJsonSchema(
        {"type": "string", "maxLength": MAX_PHRASE_CHARACTERS, "pattern": r"^([^{]|\{(?!\}))*\{\}([^{]|\{(?!\}))*$"}
    ),
]
TopK = Annotated[int, BeforeValidator(_whole), Field(ge=1)]


class GazeRequest(_Sent):
    """Rank the phrases of one or more lists for one or more images."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": ["image"]}, {"required": ["images"]}],
            "anyOf": [{"required": ["lists"]}, {"required": ["phrases"]}],
        }
    )

    image: ImageInput | SkipJsonSchema[None] = Field(None, description="The one image; or give `images`, not both.")
    images: Annotated[list[ImageInput], Field(min_length=1, max_length=MAX_IMAGES)] | SkipJsonSchema[None] = Field(
        None, description="Several images; one that fails has an `error`, and the others are answered."
    )
    lists: Annotated[list[ListName], Field(min_length=1, max_length=100)] | SkipJsonSchema[None] = Field(
        None, description="Names of served lists.", examples=[["movements", "surfaces"]]
    )
    phrases: (
        Annotated[
            dict[OwnListName, Annotated[list[Phrase], Field(min_length=1)]],
            Field(min_length=1, max_length=MAX_OWN_LISTS),
        ]
        | SkipJsonSchema[None]
    ) = Field(
        None,
        description="Own lists: a name and its phrases. All own lists together may have as many phrases as "
        "GAZE_MAX_PHRASES says; none may take a served list's name.",
        examples=[{"subject": ["a river", "a bridge"]}],
    )
    template: Template = Field("{}", description="Applied to `phrases` only; contains {} once.")
    top_k: TopK | None = Field(DEFAULT_TOP_K, description="Phrases of each list in the answer; null for every one.")

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

    image_url: list[Annotated[str, StringConstraints(min_length=1, max_length=2_083)]] = []
    lists: list[ListName] = Field([], max_length=100)
    phrases: list[Phrase] = []
    template: Template = "{}"
    top_k: TopK | None = DEFAULT_TOP_K


class ListPage(BaseModel):
    """Which part of a list is asked for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    offset: int = Field(0, ge=0, le=10**9, description="How many items to skip.")
    limit: int = Field(100, ge=1, le=10_000, description="How many items to give at most.")


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
    backend: str
    precision: str
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
