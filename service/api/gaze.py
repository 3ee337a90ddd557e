"""POST /v1/gaze: rank the phrases of one or more lists for one or more images."""

import base64
import binascii
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from flask import Blueprint, Response, g, request

from service.api import metrics, problems
from service.api.admission import Admission
from service.api.query import GazeQuery, ImageSource, QueryLimits, read_query
from service.api.schemas import (
    FailedImage,
    FailedResult,
    GazeAnswer,
    ImageInfo,
    Model,
    RankedList,
    RankedPhrase,
    Result,
)
from service.errors import FieldError, GazeError, ImageTooLarge, InvalidRequest, UndecodableImage
from service.images.decode import DecodedImage, ImageLimits, decode
from service.images.fetch import ImageFetcher
from service.zero_shot.caveats import caveats
from service.zero_shot.classifier import EncodedList, ZeroShotClassifier
from service.zero_shot.features import ModelDescription
from service.zero_shot.loading import LoadingClassifier
from service.zero_shot.phrase_lists import PhraseList

STAGES = ("fetch", "decode", "encode", "rank")


@dataclass
class StageTimes:
    """Milliseconds that a request spent on each stage; 0 where it had none of it."""

    milliseconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add the time that the block takes to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.milliseconds[stage] += (time.perf_counter() - started) * 1000


def gaze_blueprint(
    *,
    loading: LoadingClassifier,
    served: dict[str, PhraseList],
    fetcher: ImageFetcher,
    admission: Admission,
    query_limits: QueryLimits,
    image_limits: ImageLimits,
    decoding_slots: int,
) -> Blueprint:
    """Return the route that ranks, on the parts that it needs."""
    blueprint = Blueprint("gaze", __name__)
    decoding = threading.BoundedSemaphore(decoding_slots)

    @blueprint.post("/v1/gaze")
    def gaze() -> Response:
        classifier = loading.require()
        query = read_query(request, query_limits, admission.deadline(g.started))
        lists = classifier.lists_named(query.lists)
        _refuse_served_names(query.own_lists, served)
        with admission.slot():
            answer = _Look(classifier, fetcher, admission, image_limits, decoding).answer(query, lists)
        return Response(answer.model_dump_json(), content_type="application/json")

    return blueprint


def _refuse_served_names(own_lists: Sequence[PhraseList], served: dict[str, PhraseList]) -> None:
    taken = [own.name for own in own_lists if own.name in served]
    if taken:
        raise InvalidRequest(
            errors=tuple(FieldError(f"/phrases/{name}", "A served list has this name; take another.") for name in taken)
        )


class _Look:
    """One request's way from images and lists to an answer."""

    def __init__(
        self,
        classifier: ZeroShotClassifier,
        fetcher: ImageFetcher,
        admission: Admission,
        image_limits: ImageLimits,
        decoding: threading.BoundedSemaphore,
    ) -> None:
        self._decoding = decoding
        self._classifier = classifier
        self._fetcher = fetcher
        self._admission = admission
        self._image_limits = image_limits
        self._times = StageTimes()

    def answer(self, query: GazeQuery, served: Sequence[EncodedList]) -> GazeAnswer:
        """Return the answer to a query. Raises what the image raises, or the first one where every image fails."""
        g.stages = self._times.milliseconds
        with self._times.of("encode"):
            own = self._classifier.encode_lists(query.own_lists, lambda *_: self._admission.require_time(g.started))
            lists = (*served, *own)
        results: list[Result | FailedResult] = []
        failures: list[GazeError] = []
        for source in query.images:
            try:
                results.append(self._result(source, lists, query.top_k))
            except GazeError as error:
                metrics.IMAGES.labels(source.source, error.code).inc()
                failures.append(error)
                failed = FailedImage(source=source.source, name=source.name)
                results.append(FailedResult(image=failed, error=problems.problem(error, g.request_id)))
        if len(failures) == len(query.images):
            raise failures[0]
        g.images = len(query.images)
        g.phrases = sum(len(encoded.phrase_list.labels) for encoded in lists) * (len(results) - len(failures))
        metrics.PHRASES.inc(g.phrases)
        model = self._classifier.model
        return GazeAnswer(model=model_of(model), results=results, warnings=caveats(model, lists))

    def _result(self, source: ImageSource, lists: Sequence[EncodedList], top_k: int | None) -> Result:
        self._admission.require_time(g.started)
        encoded_image = self._bytes(source)
        # Decoding takes memory for the whole picture: so many at a time as can run at a time.
        with self._decoding, self._times.of("decode"):
            image = decode(encoded_image, self._image_limits)
        with self._times.of("encode"):
            image_features = self._classifier.encode_image(image.rgb)
        with self._times.of("rank"):
            ranked = {
                encoded.phrase_list.name: RankedList(
                    count=len(encoded.phrase_list.labels),
                    hash=encoded.phrase_list.hash,
                    predictions=[
                        RankedPhrase(**vars(prediction))
                        for prediction in self._classifier.rank(image_features, encoded, top_k)
                    ],
                )
                for encoded in lists
            }
        metrics.IMAGES.labels(source.source, "ranked").inc()
        return Result(image=_info(source, image), lists=ranked)

    def _bytes(self, source: ImageSource) -> bytes:
        if isinstance(source.content, bytes):
            return source.content
        if source.source == "url":
            with self._times.of("fetch"):
                return self._fetcher.fetch(source.content, self._admission.deadline(g.started))
        return _from_base64(source.content, self._image_limits.max_bytes)


def model_of(model: ModelDescription) -> Model:
    """Return what every answer says of the model."""
    return Model(
        id=model.id, revision=model.revision, backend=model.backend, precision=model.precision, demo=model.demo
    )


def _from_base64(text: str, max_bytes: int) -> bytes:
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    text = "".join(text.split())
    if len(text) * 3 // 4 > max_bytes + 2:
        raise ImageTooLarge(f"The image has more than the {max_bytes} bytes that this service takes.")
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        decoded = b""
    if not decoded:
        raise UndecodableImage("The image is no base64 text, or it is empty.")
    return decoded


def _info(source: ImageSource, image: DecodedImage) -> ImageInfo:
    return ImageInfo(
        source=source.source,
        name=source.name,
        sha256=image.sha256,
        format=image.format,
        width=image.rgb.width,
        height=image.rgb.height,
    )
