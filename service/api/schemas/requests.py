"""The wire contract: what a request may say, as pydantic models."""

import re
from typing import Annotated, Any, ClassVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)

from service.images.fetch.fetcher import MAX_URL_CHARACTERS
from service.zero_shot.phrase_lists import MAX_PHRASE_CHARACTERS
from service.zero_shot.preprocessing.preparation import Fit
from service.zero_shot.ranking import Included, RankBy

MAX_IMAGES = 32
MAX_LISTS = 100
MAX_OWN_LISTS = 32
MAX_EXPLAINED = 16
MAX_NUMBER_CHARACTERS = 200
DEFAULT_TOP_K = 5
# A red square of 8 x 8 pixels as PNG, and a blue one as WebP, so that the documentation's examples can be sent.
EXAMPLE_IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEklEQVR4nGP8z4AdMOEQH6QSAM1BAQ/oQeJvAAAAAElFTkSuQmCC"
OTHER_EXAMPLE_IMAGE = "UklGRhwAAABXRUJQVlA4TA8AAAAvB8ABAAcQ0f/+ByKi/wEA"


# Spelled out, because regular expressions of Python and of JSON schema differ in what \s is.
_VISIBLE = r"[^\s\x00-\x1f\x7f-\x9f\ufeff]"


def whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _few(own_lists: Any) -> Any:
    # Counted before they are looked at: of a million wrong ones, pydantic would gather a million errors.
    if isinstance(own_lists, dict) and len(own_lists) > MAX_OWN_LISTS:
        raise ValueError(f"There may be {MAX_OWN_LISTS} own lists at most.")
    return own_lists


def never_null(schema: dict[str, Any]) -> None:
    """Say in a field's JSON schema that the field is left out, and not null, where it is not used."""
    del schema["default"]
    schema.update(next(kind for kind in schema.pop("anyOf") if kind != {"type": "null"}))


def _own_lists(schema: dict[str, Any]) -> None:
    # Said as names and values: generated clients take what has only patternProperties for an object without fields.
    never_null(schema)
    [(name, phrases)] = schema.pop("patternProperties").items()
    schema.update(propertyNames={"pattern": name}, additionalProperties=phrases)


def _holds_label(template: str) -> str:
    if template.count("{}") != 1:
        raise ValueError("The template must contain {} once.")
    return template


def _is_visible(phrase: str) -> str:
    if "\0" in phrase or not re.search(_VISIBLE, phrase):
        raise ValueError("A phrase must have a visible character and no NUL.")
    return phrase


def _image_kind(image: Any) -> str | None:
    """Tell by its field what an image is given as; None lets pydantic say that it is none of them."""
    fields = set(image) - {"object_number"} if isinstance(image, dict) else set()
    return f"by_{fields.pop()}" if fields in ({"url"}, {"base64"}, {"iiif"}) else None


class Sent(BaseModel):
    """What callers send: exact types, and no field that the contract does not have."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Question(Sent):
    """What is sent as JSON: a field that is not used is left out, and not null."""

    _nullable: ClassVar[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _not_too_many(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and len(fields) > len(cls.model_fields):
            raise ValueError("There is a field here that is not part of the contract.")
        return fields

    @model_validator(mode="before")
    @classmethod
    def _absent_not_null(cls, fields: Any) -> Any:
        if isinstance(fields, dict):
            for name in cls.model_fields:
                if name != cls._nullable and fields.get(name, "") is None:
                    only = f"Only {cls._nullable} may be null" if cls._nullable else "No field may be null"
                    raise ValueError(f"{only}; leave out a field that is not used.")
        return fields


ObjectNumber = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_NUMBER_CHARACTERS, pattern=r"^[^\x00-\x1f\x7f-\x9f]+$")
]


class _Image(_Question):
    """An image, however it is given."""

    object_number: ObjectNumber | None = Field(
        None,
        description="The museum's own number of what the image shows; it comes back with the answer.",
        examples=["1913.7.4"],
        json_schema_extra=never_null,
    )


class ImageByUrl(_Image):
    """An image that the service fetches."""

    url: str = Field(
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        description="An http or https URL. Letters outside ASCII and blanks are encoded as browsers do.",
        examples=["https://museum.example/a.jpg"],
        json_schema_extra={"format": "uri"},
    )


class ImageByBase64(_Image):
    """An image in the request itself; the prefix of a data URI is allowed."""

    base64: str = Field(min_length=1, examples=[EXAMPLE_IMAGE], json_schema_extra={"format": "byte"})


class ImageByIiif(_Image):
    """An image, or several, that IIIF servers describe."""

    iiif: str = Field(
        min_length=1,
        max_length=MAX_URL_CHARACTERS,
        description="The URI of an image of the IIIF Image API 2 or 3 (base URI, info.json or the image itself), or of "
        "a manifest or collection of the Presentation API 3 or 2, which stands for all of its canvases. The server is "
        "asked for the smallest size that serves the model; where it does not give it, for others that it lists, the "
        "whole, its tiles, and at last the image as it was given.",
        examples=["https://museum.example/iiif/a/info.json"],
        json_schema_extra={"format": "uri"},
    )


ImageInput = Annotated[
    Annotated[ImageByUrl, Tag("by_url")]
    | Annotated[ImageByBase64, Tag("by_base64")]
    | Annotated[ImageByIiif, Tag("by_iiif")],
    Discriminator(
        _image_kind,
        custom_error_type="image",
        custom_error_message="An image is an object with exactly one of url, base64 and iiif.",
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
TopK = Annotated[int, Field(ge=1), BeforeValidator(whole)]
INCLUDED: tuple[Included, ...] = get_args(Included)
Include = Annotated[list[Included], Field(fail_fast=True)]
Share = Annotated[float, Field(ge=0, le=1)]


class GazeRequest(_Question):
    """Rank the phrases of one or more lists for one or more images."""

    model_config = ConfigDict(
        json_schema_extra={
            # In an allOf, because generated clients take an object that has a oneOf beside its fields for anything.
            "allOf": [
                {"oneOf": [{"required": ["image"]}, {"required": ["images"]}]},
                {"anyOf": [{"required": ["lists"]}, {"required": ["phrases"]}]},
            ]
        }
    )

    _nullable = "top_k"

    image: ImageInput | None = Field(
        None, description="The one image; or give `images`, not both.", json_schema_extra=never_null
    )
    images: Annotated[list[ImageInput], Field(min_length=1, max_length=MAX_IMAGES, fail_fast=True)] | None = Field(
        None,
        description="Several images; one that fails has an `error`, and the others are answered.",
        json_schema_extra=never_null,
    )
    lists: Annotated[list[ListName], Field(min_length=1, max_length=MAX_LISTS, fail_fast=True)] | None = Field(
        None,
        description="Names of served lists.",
        examples=[["movements", "surfaces"]],
        json_schema_extra=never_null,
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
    min_probability: Share = Field(0.0, description="Phrases that are less probable are left out.")
    rank_by: RankBy = Field("probability", description="What phrases are ranked by; `lift` includes it, too.")
    fit: Fit | None = Field(
        None,
        description="What of the picture the model sees: `crop`, the middle square; `pad`, all of it, on bars of its "
        "edge's colour; `stretch`, all of it, out of proportion. Left out: as the model was trained, which for CLIP "
        "is `crop`.",
        json_schema_extra=never_null,
    )
    include: Include = Field(
        [],
        description="What else the answer says, to show how far it is to be trusted.",
        examples=[["certainty", "none_of_these"]],
    )

    @model_validator(mode="after")
    def _complete(self) -> "GazeRequest":
        if (self.image is None) == (self.images is None):
            raise ValueError("Give exactly one of image and images.")
        if self.lists is None and self.phrases is None:
            raise ValueError("Give lists, phrases, or both.")
        return self


class ExplainRequest(_Question):
    """Show what parts of an image raise some phrases."""

    image: ImageInput
    phrases: Annotated[Phrases, Field(max_length=MAX_EXPLAINED)] = Field(examples=[["a red square", "a blue square"]])
    template: Template = Field("{}", description="Applied to `phrases`; contains {} once.")
    fit: Fit | None = Field(
        None, description="What of the picture the model sees, as for /v1/gaze.", json_schema_extra=never_null
    )
    overlay: bool = Field(False, description="Whether each heat map comes as a PNG as well, to lay on the picture.")
