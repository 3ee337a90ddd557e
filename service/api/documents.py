"""An answer as a document in one of the formats that catalogues read."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from flask import Blueprint, Response, request

from service import __version__
from service.api.address import AddressOf
from service.api.openapi.operation import Operation
from service.api.query import ImageSource
from service.api.request_context import current_request
from service.api.schemas.responses import GazeAnswer, ImageInfo, RankedList, Result
from service.documents.annotation_page import CONTEXT_PATH, context
from service.documents.finding import Finding, Provenance, RankedTerms, Subject, Term
from service.documents.formats import Format
from service.errors import MalformedRequest
from service.zero_shot.batching import CancelCheck
from service.zero_shot.phrase_lists import PhraseList


def document(
    document_format: Format,
    answer: GazeAnswer,
    sources: Sequence[ImageSource],
    lists: Mapping[str, PhraseList],
    *,
    address: str,
    check: CancelCheck,
) -> Response:
    """Return the answer, of which no picture failed, in this format. `check` is called picture by picture."""
    model = answer.model
    provenance = Provenance(model.id, model.revision, __version__, address, datetime.now(UTC))
    findings = [
        Finding(_subject(result.image, source), tuple(_ranked(result.lists, lists)))
        for result, source in zip(answer.results, sources, strict=True)
        if isinstance(result, Result)
    ]
    pieces: list[bytes] = []
    for piece in document_format.render(findings, provenance, f"{address}/v1/gaze/{current_request().request_id}"):
        check()
        pieces.append(piece.encode(errors="replace"))
    return Response(b"".join(pieces), content_type=document_format.media_type)


def context_blueprint(address: AddressOf) -> Blueprint:
    """Return the route of the JSON-LD context that annotation pages name."""
    blueprint = Blueprint("context", __name__)

    @blueprint.get(CONTEXT_PATH, endpoint="context")
    @Operation("A JSON-LD context.", {"application/ld+json": {"type": "object"}}, errors=(MalformedRequest,))
    def annotation_context() -> Response:
        """Say what this service's own keys in annotation pages mean."""
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
