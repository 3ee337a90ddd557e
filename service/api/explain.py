"""POST /v1/explain: show what parts of an image raise some phrases."""

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from flask import Blueprint, Response, request
from PIL import Image

from service.api.gaze import framing_of
from service.api.images import ImageServices, RequestImages, warnings_of
from service.api.openapi import examples
from service.api.openapi.operation import IMAGE_ERRORS, Operation
from service.api.query import ExplainQuery, QueryLimits, read_explain_query
from service.api.request_context import RequestContext, current_request
from service.api.schemas import responses
from service.api.schemas.forms import ExplainForm
from service.api.schemas.requests import ExplainRequest
from service.errors import FieldError, GazeError, InvalidRequest
from service.images.decode import MIN_SHORT_SIDES
from service.limits.admission import Admission
from service.zero_shot.batching import POLL_SECONDS, CancelCheck
from service.zero_shot.classifier import LoadingClassifier, ZeroShotClassifier
from service.zero_shot.interpretation.heat_map import METHOD, HeatMap, heat_maps, overlay_of, pictures_to_ask
from service.zero_shot.interpretation.stability import Views
from service.zero_shot.ranking import caveats, cosines

_AT_A_TIME = 3
"""Explanations that may compute, or wait while one does: each is 51 passes, and rankings must get on meanwhile."""


class _Computing:
    """Lets one explanation compute at a time, and a few wait for it."""

    def __init__(self) -> None:
        self._places = Admission(_AT_A_TIME)
        self._turn = threading.Lock()

    @contextmanager
    def turn(self, check: CancelCheck) -> Iterator[None]:
        """Wait for the turn, and have it. Raises Overloaded if too many wait already, and what `check` raises."""
        with self._places.slot():
            while not self._turn.acquire(timeout=POLL_SECONDS):
                check()
            try:
                yield
            finally:
                self._turn.release()


def explain_blueprint(*, loading: LoadingClassifier, services: ImageServices, query_limits: QueryLimits) -> Blueprint:
    """Return the route that explains, on the parts that it needs."""
    blueprint = Blueprint("explain", __name__)
    computing = _Computing()

    @blueprint.post("/v1/explain")
    @Operation(
        "A heat map for each phrase, in their order.",
        responses.Explanation,
        errors=IMAGE_ERRORS,
        body=ExplainRequest,
        form=ExplainForm,
        examples=examples.EXPLAIN,
    )
    def explain() -> Response:
        """Show what parts of an image raise some phrases.

        A heat map for each phrase, on the grid of the model's patches. It is found by covering soft discs of the
        picture, and by leaving one alone, and asking the model again: about 50 times the work of a ranking. It says
        where, and not why; it is no outline of a thing, and no finer than a third of the picture. A phrase that is not
        true of the picture has a map as well.
        """
        classifier = loading.require()
        context = current_request()
        query = read_explain_query(request, query_limits, context.deadline.at)
        with context.admitted(services.admission):
            answer = _explained(classifier, services, context, query, computing)
        return Response(answer.model_dump_json(exclude_unset=True), content_type="application/json")

    return blueprint


def _explained(
    classifier: ZeroShotClassifier,
    services: ImageServices,
    context: RequestContext,
    query: ExplainQuery,
    computing: _Computing,
) -> responses.Explanation:
    """Return the heat maps of a query's phrases. Raises what the image raises."""
    loader = RequestImages(services, context, classifier.model.image_size)
    framing = framing_of(classifier, "/fit" if query.fit else "")
    fit = query.fit or framing.own
    [image, *others] = loader.resolve([query.image])
    if others:
        raise InvalidRequest(errors=(FieldError(query.image.pointer, "This leads to several pictures; give one."),))
    side = MIN_SHORT_SIDES * classifier.model.image_size
    picture = loader.load(image, Views(framing, fit), side, exact=True)
    if isinstance(picture, GazeError):
        raise picture
    seen = picture.inputs[fit]
    with context.stage("encode"), computing.turn(context.deadline.check):
        [phrases] = classifier.encode_lists([query.phrases], check=context.deadline.check)
        features = classifier.encode_views(pictures_to_ask(seen), context.deadline.check)
    with context.stage("rank"):
        similarities = np.stack([cosines(each, phrases.text_features) for each in features])
        height, width = framing.size
        patch = classifier.model.patch_size
        maps = heat_maps(similarities, height // patch, width // patch)
    context.image_outcomes[query.image.source, "explained"] += 1
    context.images, context.phrases = 1, len(maps)
    left, top, across, down = framing.region(picture.info.width, picture.info.height, fit)
    answer = responses.Explanation(
        model=responses.Model(**vars(classifier.model)),
        image=picture.info,
        region=responses.Region(left=left, top=top, width=across, height=down),
        method=METHOD,
        maps=[
            _heat_map(label, phrase, each, (width, height) if query.overlay else None)
            for label, phrase, each in zip(query.phrases.labels, query.phrases.phrases, maps, strict=True)
        ],
        warnings=[*caveats(classifier.model, [phrases], ranked=False), *warnings_of([picture])],
    )
    if query.overlay:
        answer.seen = _png(Image.fromarray(seen))
    return answer


def _heat_map(label: str, phrase: str, found: HeatMap, overlay_size: tuple[int, int] | None) -> responses.HeatMap:
    heat_map = responses.HeatMap(
        label=label,
        phrase=phrase,
        similarity=found.similarity,
        gain=found.gain,
        values=found.values.tolist(),
        flat=found.flat,
    )
    if not found.flat:
        row, column = np.unravel_index(int(found.values.argmax()), found.values.shape)
        heat_map.strongest = responses.Place(row=int(row), column=int(column))
    if overlay_size:
        heat_map.overlay = _png(overlay_of(found, overlay_size))
    return heat_map


def _png(picture: Image.Image) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
