"""POST /v1/gaze: rank the phrases of one or more lists for one or more images."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from flask import Blueprint, Request, Response, request
from PIL import Image
from pydantic import TypeAdapter

from service.api import metrics, problems
from service.api.documents import document
from service.api.images import ImageServices, LoadedImage, RequestImages, said_of, warnings_of
from service.api.openapi import examples
from service.api.openapi.operation import DOCUMENTS, IMAGE_ERRORS, JSON, Operation
from service.api.query import (
    GazeQuery,
    QueryLimits,
    ResolvedImage,
    read_format,
    read_query,
    require_bounded,
    served_lists,
)
from service.api.request_context import RequestContext, current_request
from service.api.schemas import responses
from service.api.schemas.forms import GazeForm, GazeParameters
from service.api.schemas.requests import GazeRequest
from service.api.schemas.responses import GazeAnswer
from service.errors import FieldError, GazeError, InvalidRequest, UnknownList
from service.images.decode import MIN_SHORT_SIDES
from service.zero_shot.classifier import EncodedList, LoadingClassifier, ZeroShotClassifier
from service.zero_shot.interpretation.stability import Views
from service.zero_shot.phrase_lists import PhraseList
from service.zero_shot.preprocessing.preparation import Framing
from service.zero_shot.ranking import Features, Ranker, Ranking, ViewFeatures, caveats

_ANSWER = TypeAdapter(GazeAnswer)


def gaze_blueprint(
    *,
    loading: LoadingClassifier,
    served: dict[str, PhraseList],
    services: ImageServices,
    query_limits: QueryLimits,
    address: Callable[[Request], str],
) -> Blueprint:
    """Return the route that ranks, on the parts that it needs.

    address: of the service, as the request's sender sees it
    """
    blueprint = Blueprint("gaze", __name__)

    @blueprint.post("/v1/gaze")
    @Operation(
        "The ranked lists.",
        {JSON: GazeAnswer, **DOCUMENTS},
        errors=(UnknownList, *IMAGE_ERRORS),
        query=GazeParameters,
        body=GazeRequest,
        form=GazeForm,
        examples=examples.gaze(served),
    )
    @metrics.IN_FLIGHT.track_inprogress()
    def gaze() -> Response:
        """Rank the phrases of one or more lists for one or more images.

        Every list is its own softmax. Results come in the order of the images. With `images`, one that fails has an
        `error` in place of `lists` and the others are answered, with status 200; with `image`, or when every image
        fails, the request fails.
        """
        context = current_request()
        classifier = loading.require()
        document_format = read_format(request)
        own_address = address(request) if document_format else ""
        query = read_query(request, query_limits, context.deadline.at)
        lists = served_lists(query, classifier, served)
        with context.admitted(services.admission):
            handler = _GazeHandler(classifier, services, context, query)
            images = handler.loader.resolve(query.images)
            require_bounded(query, images, lists, document_format)
            answer = handler.answer(images, lists, whole=document_format is not None)
        if document_format:
            sources = [image.source for image in images]
            by_name = {each.name: each for each in (*(encoded.phrase_list for encoded in lists), *query.own_lists)}
            return document(document_format, answer, sources, by_name, address=own_address, check=handler.check_late)
        # What was not asked for is not set, and does not appear. As bytes: one emoji makes a text four times as large.
        return Response(_ANSWER.dump_json(answer, exclude_unset=True), content_type="application/json")

    return blueprint


def framing_of(classifier: ZeroShotClassifier, pointer: str) -> Framing:
    """Return how pictures come to the model's size. Raises InvalidRequest if the model has no one size for all.

    pointer: to what in the request needs it
    """
    if classifier.framing is None:
        detail = "This model brings pictures to its size in a way of its own, so that this cannot be had."
        raise InvalidRequest(errors=(FieldError(pointer, detail),))
    return classifier.framing


class _GazeHandler:
    """One request's way from images and lists to an answer."""

    def __init__(
        self, classifier: ZeroShotClassifier, services: ImageServices, context: RequestContext, query: GazeQuery
    ) -> None:
        self._classifier = classifier
        self._context = context
        self._query = query
        self.check_late = context.late_deadline.check
        self.loader = RequestImages(services, context, classifier.model.image_size)

    def answer(self, images: Sequence[ResolvedImage], served: Sequence[EncodedList], *, whole: bool) -> GazeAnswer:
        """Return the answer to the query. Raises what the image raises, or the first one where every image fails.

        whole: whether the answer is wanted whole or not at all; then it raises what the first that fails raises
        """
        classifier, context = self._classifier, self._context
        views = self._views()
        loaded = self._load(images, views)
        warnings = warnings_of(loaded)
        pictures = [each for each in loaded if isinstance(each, LoadedImage)]
        failures = [each for each in loaded if isinstance(each, GazeError)]
        if failures and whole and len(images) > 1:
            raise _of_one(failures[0], loaded.index(failures[0]) + 1)
        if not pictures:
            raise failures[0]
        with context.stage("encode"):
            own = classifier.encode_lists(self._query.own_lists, check=self.check_late) if self._query.own_lists else ()
            lists = (*served, *own)
            ranker = Ranker(classifier, self._query.ranking, self.check_late)
            warnings = [*caveats(classifier.model, lists), *warnings]
            features = self._features(pictures, has_views=views is not None)
        with context.stage("rank"):
            results = [
                self._failed(image, each)
                if isinstance(each, GazeError)
                else self._result(each, next(features), lists, ranker)
                for image, each in zip(images, loaded, strict=True)
            ]
            context.image_outcomes.update((picture.info.source, "ranked") for picture in pictures)
            context.images = len(images)
            context.phrases = sum(len(encoded.phrase_list.labels) for encoded in lists) * len(pictures)
            context.ranked_phrases = context.phrases
        return GazeAnswer(model=responses.Model(**vars(classifier.model)), results=results, warnings=warnings)

    def _views(self) -> Views | None:
        """Return what makes the views of a picture, or None where the model's own one is all that is asked for."""
        fit, several = self._query.fit, "stability" in self._query.ranking.include
        if fit is None and not several:
            return None
        framing = framing_of(self._classifier, "/fit" if fit else "/include")
        return Views(framing, fit or framing.own, several)

    def _load(self, images: Sequence[ResolvedImage], views: Views | None) -> list[LoadedImage | GazeError]:
        side = MIN_SHORT_SIDES * self._classifier.model.image_size
        if views is None:
            return [self.loader.load(image, self._classifier.preprocess, side) for image in images]
        return [self.loader.load(image, views, views.min_short_side(side), exact=True) for image in images]

    def _features(self, pictures: Sequence[LoadedImage], has_views: bool) -> Iterator[ViewFeatures]:
        """Return the unit features of each picture, or of its views by name, the one that is ranked by first."""
        if has_views:
            return iter([self._features_of_views(picture) for picture in pictures])
        return iter(self._classifier.encode_images([picture.inputs for picture in pictures], self.check_late))

    def _features_of_views(self, picture: LoadedImage) -> Mapping[str, Features]:
        views = [Image.fromarray(view) for view in picture.inputs.values()]
        return dict(zip(picture.inputs, self._classifier.encode_views(views, self.check_late), strict=True))

    def _result(
        self,
        picture: LoadedImage,
        views: ViewFeatures,
        lists: Sequence[EncodedList],
        ranker: Ranker,
    ) -> responses.Result:
        ranked = {}
        for encoded in lists:
            self.check_late()
            ranked[encoded.phrase_list.name] = _ranked_list(ranker.rank(views, encoded))
        return responses.Result(image=picture.info, lists=ranked)

    def _failed(self, image: ResolvedImage, error: GazeError) -> responses.FailedResult:
        problem = problems.problem(error, self._context.request_id)
        return responses.FailedResult(image=responses.FailedImage(**said_of(image.source)), error=problem)


def _of_one(error: GazeError, number: int) -> GazeError:
    """Return the error of one of several pictures as that of them all."""
    detail = f"Picture {number}: {error.detail} A document cannot hold this; leave the picture out, or ask for JSON."
    return type(error)(detail, retry_after=error.retry_after)


def _ranked_list(ranking: Ranking) -> responses.RankedList:
    """Return a ranking as an answer says it: what was not asked for is not set."""
    said = responses.RankedList(
        count=len(ranking.phrase_list.labels),
        hash=ranking.phrase_list.hash,
        predictions=[
            responses.RankedPhrase.model_validate(
                {name: value for name, value in vars(found).items() if value is not None or name == "uri"},
                from_attributes=True,
            )
            for found in ranking.predictions
        ],
    )
    if ranking.certainty:
        said.certainty = responses.Certainty.model_validate(ranking.certainty, from_attributes=True)
    if ranking.none_of_these:
        said.none_of_these = responses.Verdict.model_validate(ranking.none_of_these, from_attributes=True)
    if ranking.stability:
        said.stability = responses.ListStability.model_validate(ranking.stability, from_attributes=True)
    return said
