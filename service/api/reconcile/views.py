"""/v1/reconcile: the served lists as a reconciliation service, which OpenRefine speaks, in versions 0.2 and 1.0-draft.

A query is a picture's URL, its type is a list, and its candidates are the list's most probable terms. None is ever a
match: a person decides.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, request

from service.api.address import AddressOf
from service.api.images import ImageServices
from service.api.openapi import examples
from service.api.openapi.operation import HTML, JSON, Operation
from service.api.query import QueryLimits, validated
from service.api.reconcile.batch import (
    FORM,
    MAX_BATCH_BYTES,
    MAX_FIELDS,
    MAX_QUERIES,
    Query,
    ReconciliationMatch,
    ReconciliationMatchResults,
    ReconciliationQueries,
    ReconciliationResults,
    ReconciliationType,
    SuggestedEntities,
    SuggestedEntity,
    SuggestedType,
    SuggestedTypes,
    SuggestEntity,
    SuggestType,
    queries_of,
    read_form,
    read_match,
)
from service.api.reconcile.candidates import Batch
from service.api.reconcile.manifest import DRAFT, STABLE, VIEW, draft_manifest, stable_manifest
from service.api.reconcile.terms import Terms
from service.api.request_context import current_request
from service.errors import FieldError, InvalidRequest, MalformedRequest, NotFound, NotReady, Overloaded, RequestTooLarge
from service.limits.admission import Admission
from service.zero_shot.classifier import LoadingClassifier
from service.zero_shot.phrase_lists import PhraseList

_SUGGESTED = 20
_BY_GET = 4
"""Batches that may come by GET at a time; those that come by POST have their places before they cost a thread."""

_BATCH = {"type": "string", "format": "json", "contentMediaType": JSON, "contentSchema": ReconciliationQueries}
_BATCH_FORM = {
    "type": "object",
    "properties": {"queries": _BATCH},
    "required": ["queries"],
    # What else a client sends is not read, but each costs as much as what is.
    "additionalProperties": {"type": "string"},
    "maxProperties": MAX_FIELDS,
}
_MANIFEST = {"type": "object", "required": ["versions", "name", "view", "defaultTypes", "batchSize"]}
_ABOUT_BATCHES = (
    "A query is a picture's URL (or a data URI), its type the name of a list, its candidates the most probable terms. "
    "None is ever a match. A picture that cannot be had, and an unknown list, has no candidates. Without a type, the "
    f"first list is asked. A batch has at most {MAX_QUERIES} queries and {MAX_BATCH_BYTES} bytes."
)

_PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer"}


def reconcile_blueprint(
    *,
    loading: LoadingClassifier,
    served: Mapping[str, PhraseList],
    services: ImageServices,
    query_limits: QueryLimits,
    address: AddressOf,
) -> Blueprint:
    """Return the routes of the reconciliation service, on the parts that they need."""
    blueprint = Blueprint("reconcile", __name__)
    by_get = Admission(_BY_GET)
    first_list = next(iter(served))
    shown = examples.stable_batch(first_list)

    def candidates(queries: Sequence[Query]) -> list[list[dict[str, Any]]]:
        classifier = loading.require()
        context = current_request()
        with context.admitted(services.admission):
            found = Batch(classifier, served, services, context).candidates(queries)
        return [[candidate.model_dump() for candidate in each] for each in found]

    def results(queries: Mapping[str, Query]) -> Response:
        found = candidates(tuple(queries.values()))
        return _json({name: {"result": each} for name, each in zip(queries, found, strict=True)})

    @blueprint.get(STABLE, strict_slashes=False)
    @Operation(
        "The manifest, or the candidates for each query.",
        {JSON: {"anyOf": [_MANIFEST, ReconciliationResults]}},
        errors=(MalformedRequest, RequestTooLarge, Overloaded, NotReady),
        about=_ABOUT_BATCHES,
        query={"properties": {"queries": {**_BATCH, "description": "A query batch. By POST it may be longer."}}},
        examples={"queries": shown},
    )
    def reconcile_stable() -> Response:
        """Describe the reconciliation service, or answer a query batch, in version 0.2.

        Without `queries`, the manifest.
        """
        sent = request.args.getlist("queries")
        if not sent:
            return _json(stable_manifest(served.values(), address(request)))
        with by_get.slot():
            return results(queries_of(sent))

    @blueprint.post(STABLE, strict_slashes=False)
    @Operation(
        "The candidates for each query.",
        ReconciliationResults,
        about=_ABOUT_BATCHES,
        body={FORM: _BATCH_FORM},
        examples={"one picture": {"queries": shown}},
    )
    def reconcile_stable_batch() -> Response:
        """Answer a query batch in version 0.2."""
        deadline = current_request().deadline.at
        return results(queries_of(read_form(request, query_limits.max_bytes, deadline)))

    @blueprint.get(DRAFT, strict_slashes=False)
    @Operation("The manifest.", {JSON: _MANIFEST}, errors=(MalformedRequest,))
    def reconcile_draft() -> Response:
        """Describe the reconciliation service in version 1.0-draft."""
        return _json(draft_manifest(served.values(), address(request)))

    @blueprint.post(f"{DRAFT}/match")
    @Operation(
        "The candidates, by query.",
        ReconciliationMatchResults,
        about=_ABOUT_BATCHES,
        body=ReconciliationMatch,
        examples={"one picture": examples.draft_batch(first_list)},
    )
    def reconcile_draft_match() -> Response:
        """Answer a query batch in version 1.0-draft."""
        deadline = current_request().deadline.at
        found = candidates(read_match(request, query_limits.max_bytes, deadline))
        return _json({"results": [{"candidates": each} for each in found]})

    _add_terms(blueprint, served)
    return blueprint


def _add_terms(blueprint: Blueprint, served: Mapping[str, PhraseList]) -> None:
    """Add the routes that find and show lists and terms."""
    terms = Terms(served)

    @blueprint.get(f"{DRAFT}/suggest/type")
    @Operation("What is suggested.", SuggestedTypes, errors=(RequestTooLarge,), query=SuggestType)
    def reconcile_suggest_type() -> Response:
        """Complete the name of a list."""
        asked = validated(SuggestType, request.args.to_dict())
        wanted = asked.prefix.strip().casefold()
        types = [
            SuggestedType(id=each.name, name=each.title, description=each.description)
            for each in served.values()
            if each.name.startswith(wanted) or each.title.casefold().startswith(wanted)
        ]
        return _json(SuggestedTypes(result=types[asked.cursor :]).model_dump())

    @blueprint.get(f"{DRAFT}/suggest/entity")
    @Operation("What is suggested.", SuggestedEntities, errors=(RequestTooLarge,), query=SuggestEntity)
    def reconcile_suggest_entity() -> Response:
        """Complete the name of a term."""
        asked = validated(SuggestEntity, request.args.to_dict())
        entities = [
            SuggestedEntity(
                id=term.id,
                name=term.name,
                description=", ".join(each.title for each in term.lists),
                notable=[ReconciliationType.of(each) for each in term.lists],
            )
            for term in terms.suggested(asked.prefix, asked.type, asked.cursor, _SUGGESTED)
        ]
        return _json(SuggestedEntities(result=entities).model_dump())

    @blueprint.get(f"{DRAFT}/preview")
    @Operation(
        "A page about the term.",
        HTML,
        errors=(NotFound, RequestTooLarge),
        query={"properties": {"id": {"type": "string"}}, "required": ["id"]},
        examples={"id": examples.TERM},
    )
    def reconcile_preview() -> Response:
        """Show a term in a small frame."""
        identifier = request.args.get("id")
        if identifier is None:
            raise InvalidRequest(errors=(FieldError("/id", "Say which term is to be shown."),))
        return _html(terms.term(identifier).page)

    @blueprint.get(f"{VIEW}/<identifier>")
    @Operation(
        "A page about the term.",
        HTML,
        others={302: "The authority has a page."},
        examples={"identifier": examples.TERM},
    )
    def reconcile_view(identifier: str) -> Response:
        """Lead to the page of a term's authority; show the term where it has none."""
        term = terms.term(identifier)
        if term.uri and term.is_on_the_web:
            return Response(term.uri, 302, {"Location": term.uri}, content_type="text/plain; charset=utf-8")
        return _html(term.page)


def _json(answer: dict[str, Any]) -> Response:
    # With escapes for all but ASCII: a query's name may have surrogates, which UTF-8 cannot say.
    return Response(json.dumps(answer, separators=(",", ":")), content_type="application/json")


def _html(page: str) -> Response:
    return Response(page, content_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)
