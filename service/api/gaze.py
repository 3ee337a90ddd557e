"""POST /v1/gaze: rank the phrases of one or more lists for one or more images."""

import base64
import binascii
import string
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import numpy as np
from flask import Blueprint, Response, g, request
from numpy.typing import NDArray

from service.admission import Admission
from service.api import metrics, problems
from service.api.claim import Claim
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
from service.images.decode import ImageLimits, min_short_side_for
from service.images.decoder import Decoder, PreparedImage
from service.images.fetch import ImageFetcher
from service.zero_shot.caveats import caveats
from service.zero_shot.classifier import EncodedList, ZeroShotClassifier
from service.zero_shot.features import ImageInputs, ModelDescription
from service.zero_shot.loading import LoadingClassifier
from service.zero_shot.phrase_lists import PhraseList

STAGES = ("fetch", "decode", "encode", "rank")

_GRACE_SECONDS = 2.0
"""What pictures that were read in time may be late by, so that a slow one does not take the others with it."""


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
    request_seconds: float,
    query_limits: QueryLimits,
    image_limits: ImageLimits,
    cores: int,
    decode_fast: bool,
) -> Blueprint:
    """Return the route that ranks, on the parts that it needs."""
    blueprint = Blueprint("gaze", __name__)
    decoder = Decoder(image_limits, cores)

    @blueprint.post("/v1/gaze")
    def gaze() -> Response:
        classifier = loading.require()
        claim = Claim(g.started + request_seconds, request.environ.get("gunicorn.socket"))
        query = read_query(request, query_limits, claim.deadline)
        lists = classifier.lists_named(query.lists)
        _refuse_served_names(query.own_lists, served)
        with nullcontext() if request.environ.get("gaze.has_place") else admission.place():
            min_short_side = min_short_side_for(classifier.model.image_size) if decode_fast else None
            look = _Look(classifier, fetcher, admission, claim, _Decoding(decoder, image_limits, min_short_side, cores))
            answer = look.answer(query, lists)
        return Response(answer.model_dump_json(), content_type="application/json")

    return blueprint


def _refuse_served_names(own_lists: Sequence[PhraseList], served: dict[str, PhraseList]) -> None:
    taken = [own.name for own in own_lists if own.name in served]
    if taken:
        raise InvalidRequest(
            errors=tuple(FieldError(f"/phrases/{name}", "A served list has this name; take another.") for name in taken)
        )


@dataclass(frozen=True)
class _Decoding:
    """How pictures are decoded: by what, within what limits, with what short side at least (None: all).

    cores: what all requests of this process have for it, together
    """

    decoder: Decoder
    limits: ImageLimits
    min_short_side: int | None
    cores: int


@dataclass(frozen=True)
class _Picture:
    """A picture that was decoded: what an answer says of it, and what the model takes of it."""

    info: ImageInfo
    inputs: ImageInputs


class _Look:
    """One request's way from images and lists to an answer."""

    def __init__(
        self,
        classifier: ZeroShotClassifier,
        fetcher: ImageFetcher,
        admission: Admission,
        claim: Claim,
        decoding: _Decoding,
    ) -> None:
        self._decoding = decoding
        self._classifier = classifier
        self._fetcher = fetcher
        self._admission = admission
        self._claim = claim
        self._times = StageTimes()

    def answer(self, query: GazeQuery, served: Sequence[EncodedList]) -> GazeAnswer:
        """Return the answer to a query. Raises what the image raises, or the first one where every image fails."""
        g.stages = self._times.milliseconds
        with self._times.of("encode"):
            own = self._classifier.encode_lists(query.own_lists, require=self._claim.require)
        lists = (*served, *own)
        pictures = [self._read(source) for source in query.images]
        prepared = [picture for picture in pictures if isinstance(picture, _Picture)]
        failures = [picture for picture in pictures if isinstance(picture, GazeError)]
        if not prepared:
            raise failures[0]
        with self._times.of("encode"):
            features = iter(
                self._classifier.encode_images(
                    [picture.inputs for picture in prepared], self._claim.extended(_GRACE_SECONDS).require
                )
            )
        with self._times.of("rank"):
            results = [
                _failed(source, picture)
                if isinstance(picture, GazeError)
                else Result(image=picture.info, lists=self._ranked(next(features), lists, query.top_k))
                for source, picture in zip(query.images, pictures, strict=True)
            ]
        for result in results:
            if isinstance(result, Result):
                metrics.IMAGES.labels(result.image.source, "ranked").inc()
        g.images = len(query.images)
        g.phrases = sum(len(encoded.phrase_list.labels) for encoded in lists) * len(prepared)
        metrics.PHRASES.inc(g.phrases)
        model = self._classifier.model
        return GazeAnswer(model=model_of(model), results=results, warnings=caveats(model, lists))

    def _read(self, source: ImageSource) -> _Picture | GazeError:
        """Return what the model takes of one picture, or what is wrong with the picture."""
        try:
            self._claim.require()
            encoded_image = self._bytes(source)
            # Decoding takes memory for the whole picture: so many at a time as can run at a time.
            with self._decoding.decoder.slot(encoded_image) as decode, self._times.of("decode"):
                self._claim.require()
                # A request that is alone has the other cores as well.
                cores = self._decoding.cores // self._admission.taken
                image = decode(self._classifier.prepare, self._decoding.min_short_side, cores)
                return _Picture(_info(source, image), image.inputs)
        except GazeError as error:
            metrics.IMAGES.labels(source.source, error.code).inc()
            # Its frames, and those of what it came of, would keep the whole picture in memory.
            error.__context__ = None
            return error.with_traceback(None)

    def _ranked(
        self, image_features: NDArray[np.float32], lists: Sequence[EncodedList], top_k: int | None
    ) -> dict[str, RankedList]:
        return {
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

    def _bytes(self, source: ImageSource) -> bytes:
        if isinstance(source.content, bytes):
            return source.content
        if source.source == "url":
            with self._times.of("fetch"), self._admission.fetching():
                return self._fetcher.fetch(source.content, self._claim.deadline)
        return _from_base64(source.content, self._decoding.limits.max_bytes)


def model_of(model: ModelDescription) -> Model:
    """Return what every answer says of the model."""
    return Model(
        id=model.id, revision=model.revision, backend=model.backend, precision=model.precision, demo=model.demo
    )


def _from_base64(text: str, max_bytes: int) -> bytes:
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    if any(white in text for white in string.whitespace):  # rare, and another copy
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


def _failed(source: ImageSource, error: GazeError) -> FailedResult:
    return FailedResult(
        image=FailedImage(source=source.source, name=source.name), error=problems.problem(error, g.request_id)
    )


def _info(source: ImageSource, image: PreparedImage) -> ImageInfo:
    return ImageInfo(
        source=source.source,
        name=source.name,
        sha256=image.sha256,
        format=image.format,
        width=image.width,
        height=image.height,
    )
