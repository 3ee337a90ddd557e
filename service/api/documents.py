"""An answer as a document: which form a request asks for, and the answer in that form."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from flask import Blueprint, Request, Response, g, request
from werkzeug.http import parse_options_header

from service import __version__
from service.api.address import AddressOf
from service.api.query import ImageSource
from service.api.schemas.responses import GazeAnswer, ImageInfo, RankedList, Result
from service.documents.annotation_page import CONTEXT_PATH, context
from service.documents.finding import Finding, Machine, RankedTerms, Subject, Term
from service.documents.formats import FORMATS, Format
from service.errors import FieldError, InvalidRequest
from service.zero_shot.features import Require
from service.zero_shot.phrase_lists import PhraseList

JSON = "application/json"
_TAKEN_FOR_JSON = (JSON, "application/*", "*/*")
_BY_MEDIA_TYPE = {"application/ld+json": "annotations", "text/csv": "csv"}
LINKED_ART = "https://linked.art/ns/v1/linked-art.json"


def form_asked(request: Request) -> Format | None:
    """Return the form that the parameter `format` names, else one that `Accept` prefers to JSON; None for JSON.

    Raises InvalidRequest for a name that is not known.
    """
    name = request.args.get("format")
    if name is not None:
        if name != "json" and name not in FORMATS:
            names = ", ".join(("json", *FORMATS))
            raise InvalidRequest(errors=(FieldError("/format", f"There are these formats: {names}."),))
        return FORMATS.get(name)
    accepted = [(quality, *parse_options_header(asked)) for asked, quality in request.accept_mimetypes if quality > 0]
    # The most wanted first, and JSON among equals.
    for _, media_type, options in sorted(accepted, key=lambda each: (-each[0], each[1] not in _TAKEN_FOR_JSON)):
        if media_type in _TAKEN_FOR_JSON:
            return None
        if name := _BY_MEDIA_TYPE.get(media_type.lower()):
            is_linked_art = name == "annotations" and LINKED_ART in options.get("profile", "").split()
            return FORMATS["linked-art" if is_linked_art else name]
    return None


def document(
    form: Format,
    answer: GazeAnswer,
    sources: Sequence[ImageSource],
    lists: Mapping[str, PhraseList],
    *,
    address: str,
    require: Require,
) -> Response:
    """Return the answer, of which no picture failed, in this form. `require` is asked picture by picture."""
    model = answer.model
    machine = Machine(model.id, model.revision, __version__, address, datetime.now(UTC))
    findings = [
        Finding(_subject(result.image, source), tuple(_ranked(result.lists, lists)))
        for result, source in zip(answer.results, sources, strict=True)
        if isinstance(result, Result)
    ]
    pieces: list[bytes] = []
    for piece in form.render(findings, machine, f"{address}/v1/gaze/{g.request_id}"):
        require()
        pieces.append(piece.encode(errors="replace"))
    return Response(b"".join(pieces), content_type=form.media_type)


def context_blueprint(address: AddressOf) -> Blueprint:
    """Return the route of the JSON-LD context that annotation pages name."""
    blueprint = Blueprint("context", __name__)

    @blueprint.get(CONTEXT_PATH)
    def annotation_context() -> Response:
        response = Response(json.dumps(context(address(request))), content_type="application/ld+json")
        # Whoever reads a page in a browser may look up what its keys mean.
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response

    return blueprint


def _subject(image: ImageInfo, source: ImageSource) -> Subject:
    url = str(source.content) if source.source == "url" else source.canvas.image if source.canvas else None
    # An upload's name is the caller's own. The last part of a URL, and a canvas's label, are the same for many.
    named = Path(image.name).stem if image.source == "upload" and image.name else None
    return Subject(image.object_number or named, url, image.canvas, image.manifest, image.sha256)


def _ranked(ranked: Mapping[str, RankedList], lists: Mapping[str, PhraseList]) -> Iterator[RankedTerms]:
    for name, found in ranked.items():
        terms = tuple(
            Term(each.rank, each.label, each.phrase, each.uri, each.probability, each.similarity)
            for each in found.predictions
        )
        yield RankedTerms(name, lists[name].title, found.hash, found.count, terms)
