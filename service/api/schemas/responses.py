"""The wire contract: what an answer says, as pydantic models."""

from typing import Any, Literal

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer
from pydantic.json_schema import SkipJsonSchema


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
    patch_size: int
    feature_size: int
    max_tokens: int
    logit_scale: float
    device: str
    version: str


class SentImage(BaseModel):
    """An image as it was sent, or as a IIIF document has it."""

    source: Literal["upload", "base64", "url", "iiif"]
    name: str | None = Field(description="A file's name; of a IIIF canvas, its label.")
    object_number: str | SkipJsonSchema[None] = Field(default=None, description="Where one was sent.")
    canvas: str | SkipJsonSchema[None] = Field(
        default=None,
        description="URI of the IIIF canvas that shows it; where it has none that is one anywhere, its place in its "
        "manifest: the manifest's URI and a fragment.",
    )
    manifest: str | SkipJsonSchema[None] = Field(default=None, description="URI of the canvas's manifest.")


class Size(BaseModel):
    """Pixels of an upright image."""

    width: int
    height: int


class ImageInfo(SentImage):
    """The image that was ranked; width and height are the upright image's, of IIIF the size that was asked for."""

    sha256: str = Field(
        description="SHA-256 of the image's bytes, in hex; of one that a IIIF server has in tiles alone, of the tiles' "
        "bytes one after another, row by row."
    )
    format: str
    width: int
    height: int
    decoded_at: Size | SkipJsonSchema[None] = Field(
        default=None,
        description="The size at which it was decoded, where that is not its own: a file that is larger than the "
        "limits may have a smaller size in it that serves the model; and see GAZE_DECODE.",
    )


class FailedImage(SentImage):
    """The image that failed, as far as it is known."""


class RankSpread(BaseModel):
    """The best and the worst rank that a phrase had, by probability whatever `rank_by` says."""

    lowest: int
    highest: int


class ProbabilitySpread(BaseModel):
    """The lowest and the highest probability that a phrase had."""

    lowest: float
    highest: float


class Spread(BaseModel):
    """How far a phrase's rank and probability vary."""

    rank: RankSpread
    probability: ProbabilitySpread


class PhraseStability(BaseModel):
    """How a phrase fares where the picture is seen differently, and where the list is asked in other words."""

    pictures: Spread = Field(description="Over all views of the picture, against all phrases of the list.")
    templates: Spread = Field(description="Over all templates, against the first 50 phrases of the ranking alone.")


class RankedPhrase(BaseModel):
    """A phrase's place in its list; its probability is relative to the list, never the chance that it is true."""

    rank: int
    label: str
    phrase: str
    probability: float = Field(ge=0, le=1)
    similarity: float
    uri: str | None
    lift: float | SkipJsonSchema[None] = Field(
        default=None, description="How many times as probable as for neutral pictures. With `lift`."
    )
    near_tie_group: int | SkipJsonSchema[None] = Field(
        default=None,
        description="Neighbours of one group, numbered from the most similar, have no order to be trusted; in a long "
        "list a group may be a chain whose ends are far apart. With `certainty`.",
    )
    stability: PhraseStability | SkipJsonSchema[None] = Field(default=None, description="With `stability`.")


class Certainty(BaseModel):
    """How evenly the probabilities of all phrases of a list lie."""

    entropy: float = Field(description="In bits: 0 where one phrase has all, log2(count) where all have the same.")
    effective_count: float = Field(description="So many equally probable phrases would be as uncertain.")
    margin: float = Field(description="The highest probability less the second highest.")
    near_tie_similarity: float = Field(description="Neighbours whose similarities differ by less are of one group.")


class Verdict(BaseModel):
    """Whether the picture shows nothing of the list, by a documented threshold."""

    verdict: bool
    evidence: float = Field(description="By how much the phrase that fits best is raised over neutral pictures.")
    threshold: float = Field(description="With less evidence the verdict is true.")


class First(BaseModel):
    """The phrase that came first, by probability whatever `rank_by` says."""

    label: str
    probability: float = Field(ge=0, le=1)


class ListStability(BaseModel):
    """What came first where the picture was seen differently, and where the list was asked in other words."""

    views: dict[str, First]
    templates: dict[str, First]
    edges_matter: bool = Field(
        description="Whether another phrase comes first, by more than a near tie, with all of the picture in view."
    )


class RankedList(BaseModel):
    """The most probable phrases of one list."""

    count: int = Field(description="How many phrases the list has; the probabilities of all of them add up to 1.")
    hash: str = Field(description="SHA-256 of the list's exact contents.")
    predictions: list[RankedPhrase]
    certainty: Certainty | SkipJsonSchema[None] = Field(default=None, description="With `certainty`.")
    none_of_these: Verdict | SkipJsonSchema[None] = Field(default=None, description="With `none_of_these`.")
    stability: ListStability | SkipJsonSchema[None] = Field(default=None, description="With `stability`.")


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


class Region(BaseModel):
    """What of a picture the model saw, in pixels of the upright picture; with bars it is larger than the picture."""

    left: float
    top: float
    width: float
    height: float


class Place(BaseModel):
    """A row and a column of a heat map, counted from 0."""

    row: int
    column: int


class HeatMap(BaseModel):
    """What parts of a picture raise one phrase."""

    label: str
    phrase: str
    similarity: float = Field(description="Of the phrase and the whole of what the model saw.")
    gain: float = Field(description="By how much similarity is higher with the best part alone than with all but it.")
    values: list[list[float]] = Field(
        description="Rows from the top, each from the left: 1 for the part that raises the phrase most, down to 0."
    )
    strongest: Place | SkipJsonSchema[None] = Field(default=None, description="Where it is 1; not of a flat map.")
    flat: bool = Field(description="Whether no part raises the phrase more than others by what counts.")
    overlay: str | SkipJsonSchema[None] = Field(default=None, description="A PNG as data URI, to lay on the region.")


class Explanation(BaseModel):
    """What parts of an image raise some phrases."""

    model: Model
    image: ImageInfo
    region: Region
    method: str
    maps: list[HeatMap]
    seen: str | SkipJsonSchema[None] = Field(default=None, description="What the model saw, as PNG. With `overlay`.")
    warnings: list[str]


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


class ServedLists(BaseModel):
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
