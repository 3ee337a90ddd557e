"""POST /v1/gaze: rank the phrases of one or more lists for one or more images."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext

from flask import Blueprint, Request, Response, g, request
from PIL import Image
from pydantic import TypeAdapter

from service.api import metrics, problems
from service.api.answer_size import require_bounded
from service.api.canvases import Wanted, pictures_of
from service.api.claim import Claim
from service.api.documents import document, form_asked
from service.api.doubt import Features, Ranker
from service.api.pictures import Picture, PictureParts, PictureReader, StageTimes, said_of, warnings_of
from service.api.query import GazeQuery, ImageSource, QueryLimits, read_query
from service.api.schemas.responses import FailedImage, FailedResult, GazeAnswer, Model, Result
from service.errors import FieldError, GazeError, InvalidRequest
from service.images.decode import min_short_side_for
from service.zero_shot.caveats import caveats
from service.zero_shot.classifier import EncodedList, ZeroShotClassifier
from service.zero_shot.features import ModelDescription
from service.zero_shot.interpretation.views import Views
from service.zero_shot.loading import LoadingClassifier
from service.zero_shot.phrase_lists import PhraseList

_ANSWER = TypeAdapter(GazeAnswer)

GRACE_SECONDS = 2.0
"""What pictures that were read in time may be late by, so that a slow one does not take the others with it."""


def gaze_blueprint(
    *,
    loading: LoadingClassifier,
    served: dict[str, PhraseList],
    parts: PictureParts,
    request_seconds: float,
    query_limits: QueryLimits,
    address: Callable[[Request], str],
) -> Blueprint:
    """Return the route that ranks, on the parts that it needs.

    address: of the service, as the request's sender sees it
    """
    blueprint = Blueprint("gaze", __name__)

    @blueprint.post("/v1/gaze")
    @metrics.IN_FLIGHT.track_inprogress()
    def gaze() -> Response:
        classifier = loading.require()
        form = form_asked(request)
        own_address = address(request) if form else ""
        claim = Claim.of(request.environ, g.started + request_seconds)
        query = read_query(request, query_limits, claim.deadline)
        lists = classifier.lists_named(query.lists)
        _refuse_served_names(query.own_lists, served)
        with nullcontext() if request.environ.get("gaze.has_place") else parts.admission.place():
            look = _Look(classifier, parts, claim)
            wanted = look.pictures_of(query)
            asked = (*(encoded.phrase_list for encoded in lists), *query.own_lists)
            sources = [source for source, _ in wanted]
            require_bounded(query, sources, asked, form)
            answer = look.answer(query, wanted, lists, whole=form is not None)
        if form:
            by_name = {each.name: each for each in asked}
            return document(form, answer, sources, by_name, address=own_address, require=look.require_late)
        # What was not asked for is not set, and does not appear. As bytes: one emoji makes a text four times as large.
        return Response(_ANSWER.dump_json(answer, exclude_unset=True), content_type="application/json")

    return blueprint


def _refuse_served_names(own_lists: Sequence[PhraseList], served: dict[str, PhraseList]) -> None:
    taken = [own.name for own in own_lists if own.name in served]
    if taken:
        raise InvalidRequest(
            errors=tuple(FieldError(f"/phrases/{name}", "A served list has this name; take another.") for name in taken)
        )


class _Look:
    """One request's way from images and lists to an answer."""

    def __init__(self, classifier: ZeroShotClassifier, parts: PictureParts, claim: Claim) -> None:
        self._classifier = classifier
        self._parts = parts
        self._claim = claim
        self._times = StageTimes()
        self._reader = PictureReader(parts, claim, self._times, classifier.model.image_size)
        self.require_late = claim.extended(GRACE_SECONDS).require

    def pictures_of(self, query: GazeQuery) -> list[Wanted]:
        """Return the pictures that a query's images stand for. Raises InvalidRequest where they are too many."""
        g.stages = self._times.milliseconds
        return pictures_of(query.images, self._reader.iiif, self._parts.admission, self._claim, self._times)

    def answer(
        self, query: GazeQuery, wanted: Sequence[Wanted], served: Sequence[EncodedList], *, whole: bool
    ) -> GazeAnswer:
        """Return the answer to a query. Raises what the image raises, or the first one where every image fails.

        whole: whether the answer is wanted whole or not at all; then it raises what the first that fails raises
        """
        views = self._views(query)
        with self._times.of("encode"):
            own = self._classifier.encode_lists(query.own_lists, require=self._claim.require)
            ranker = Ranker(self._classifier, query, self._claim.require)
        lists = (*served, *own)
        min_short_side = min_short_side_for(self._classifier.model.image_size)
        if views:
            min_short_side = views.min_short_side(min_short_side)
        prepare = views or self._classifier.prepare
        pictures = [
            error or self._reader.read(source, prepare, min_short_side, exact=views is not None)
            for source, error in wanted
        ]
        prepared = [picture for picture in pictures if isinstance(picture, Picture)]
        failures = [picture for picture in pictures if isinstance(picture, GazeError)]
        if failures and whole and len(wanted) > 1:
            raise _of_one(failures[0], pictures.index(failures[0]) + 1)
        if not prepared:
            raise failures[0]
        with self._times.of("encode"):
            features = self._features(prepared, has_views=views is not None)
        with self._times.of("rank"):
            results = [
                _failed(source, picture)
                if isinstance(picture, GazeError)
                else self._result(picture, next(features), lists, ranker)
                for (source, _), picture in zip(wanted, pictures, strict=True)
            ]
        for result in results:
            if isinstance(result, Result):
                metrics.IMAGES.labels(result.image.source, "ranked").inc()
        g.images = len(wanted)
        g.phrases = sum(len(encoded.phrase_list.labels) for encoded in lists) * len(prepared)
        metrics.PHRASES.inc(g.phrases)
        model = self._classifier.model
        warnings = [*caveats(model, lists), *warnings_of(pictures)]
        return GazeAnswer(model=model_of(model), results=results, warnings=warnings)

    def _views(self, query: GazeQuery) -> Views | None:
        """Return what makes the views of a picture, or None where the model's own one is all that is asked for."""
        several = "stability" in query.include
        if query.fit is None and not several:
            return None
        framing = self._classifier.require_framing("/fit" if query.fit else "/include")
        return Views(framing, query.fit or framing.own, several)

    def _features(self, prepared: Sequence[Picture], has_views: bool) -> Iterator[Mapping[str, Features]]:
        """Return the unit features of each picture's views by name, the one that is ranked by first."""
        if has_views:
            return iter([self._features_of_views(picture) for picture in prepared])
        features = self._classifier.encode_images([picture.inputs for picture in prepared], self.require_late)
        return iter([{"own": each} for each in features])

    def _features_of_views(self, picture: Picture) -> Mapping[str, Features]:
        views = [Image.fromarray(view) for view in picture.inputs.values()]
        return dict(zip(picture.inputs, self._classifier.encode_views(views, self.require_late), strict=True))

    def _result(
        self, picture: Picture, views: Mapping[str, Features], lists: Sequence[EncodedList], ranker: Ranker
    ) -> Result:
        ranked = {}
        for encoded in lists:
            self.require_late()
            ranked[encoded.phrase_list.name] = ranker.ranked(views, encoded)
        return Result(image=picture.info, lists=ranked)


def model_of(model: ModelDescription) -> Model:
    """Return what every answer says of the model."""
    return Model(
        id=model.id, revision=model.revision, backend=model.backend, precision=model.precision, demo=model.demo
    )


def _of_one(error: GazeError, number: int) -> GazeError:
    """Return the error of one of several pictures as that of them all."""
    detail = f"Picture {number}: {error.detail} A document cannot hold this; leave the picture out, or ask for JSON."
    return type(error)(detail, retry_after=error.retry_after)


def _failed(source: ImageSource, error: GazeError) -> FailedResult:
    return FailedResult(image=FailedImage(**said_of(source)), error=problems.problem(error, g.request_id))
