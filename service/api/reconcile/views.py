"""/v1/reconcile: the served lists as a reconciliation service, which OpenRefine speaks, in versions 0.2 and 1.0-draft.

A query is a picture's URL, its type is a list, and its candidates are the list's most probable terms. None is ever a
match: a person decides.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Blueprint, Response, request
from pydantic import ValidationError

from service.api import problems
from service.api.address import AddressOf
from service.api.images import ImageServices
from service.api.query import QueryLimits
from service.api.reconcile.batch import (
    Query,
    ReconciliationType,
    Suggest,
    SuggestedEntities,
    SuggestedEntity,
    SuggestedType,
    SuggestedTypes,
    queries_of,
    read_form,
    read_match,
)
from service.api.reconcile.candidates import Batch
from service.api.reconcile.manifest import DRAFT, STABLE, VIEW, draft_manifest, stable_manifest
from service.api.reconcile.terms import Terms
from service.api.request_context import current_request
from service.errors import FieldError, InvalidRequest
from service.limits.admission import Admission
from service.zero_shot.loading import LoadingClassifier
from service.zero_shot.phrase_lists import PhraseList

_SUGGESTED = 20
_BY_GET = 4
"""Batches that may come by GET at a time; those that come by POST have their places before they cost a thread."""

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
    def stable() -> Response:
        sent = request.args.getlist("queries")
        if not sent:
            return _json(stable_manifest(served.values(), address(request)))
        with by_get.slot():
            return results(queries_of(sent))

    @blueprint.post(STABLE, strict_slashes=False)
    def stable_batch() -> Response:
        deadline = current_request().deadline.at
        return results(queries_of(read_form(request, query_limits.max_bytes, deadline)))

    @blueprint.get(DRAFT, strict_slashes=False)
    def draft() -> Response:
        return _json(draft_manifest(served.values(), address(request)))

    @blueprint.post(f"{DRAFT}/match")
    def draft_match() -> Response:
        deadline = current_request().deadline.at
        found = candidates(read_match(request, query_limits.max_bytes, deadline))
        return _json({"results": [{"candidates": each} for each in found]})

    _add_terms(blueprint, served)
    return blueprint


def _add_terms(blueprint: Blueprint, served: Mapping[str, PhraseList]) -> None:
    """Add the routes that find and show lists and terms."""
    terms = Terms(served)

    @blueprint.get(f"{DRAFT}/suggest/type")
    def suggest_type() -> Response:
        asked = _suggest()
        wanted = asked.prefix.strip().casefold()
        types = [
            SuggestedType(id=each.name, name=each.title, description=each.description)
            for each in served.values()
            if each.name.startswith(wanted) or each.title.casefold().startswith(wanted)
        ]
        return _json(SuggestedTypes(result=types[asked.cursor :]).model_dump())

    @blueprint.get(f"{DRAFT}/suggest/entity")
    def suggest_entity() -> Response:
        asked = _suggest()
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
    def preview() -> Response:
        identifier = request.args.get("id")
        if identifier is None:
            raise InvalidRequest(errors=(FieldError("/id", "Say which term is to be shown."),))
        return _html(terms.term(identifier).page)

    @blueprint.get(f"{VIEW}/<identifier>")
    def view(identifier: str) -> Response:
        term = terms.term(identifier)
        if term.uri and term.is_on_the_web:
            return Response(term.uri, 302, {"Location": term.uri}, content_type="text/plain; charset=utf-8")
        return _html(term.page)


def _suggest() -> Suggest:
    try:
        return Suggest.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise problems.invalid(error) from None


def _json(answer: dict[str, Any]) -> Response:
    # With escapes for all but ASCII: a query's name may have surrogates, which UTF-8 cannot say.
    return Response(json.dumps(answer, separators=(",", ":")), content_type="application/json")


def _html(page: str) -> Response:
    return Response(page, content_type="text/html; charset=utf-8", headers=_PAGE_HEADERS)
