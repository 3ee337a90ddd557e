"""The operations of the OpenAPI document that reconciliation clients, such as OpenRefine, ask for."""

import json
from typing import Any

from service import errors
from service.api.openapi.fragments import answer, headers, problems, ref
from service.api.reconcile import batch
from service.api.reconcile.manifest import DRAFT, STABLE, VIEW
from service.api.reconcile.terms import term_id
from service.api.schemas import requests

_TAGS = ["reconciliation"]
_ASKED = (errors.MalformedRequest, errors.Unauthorized, errors.InvalidRequest, errors.RateLimited)
_SENT = (*_ASKED, errors.RequestTooLarge, errors.UnsupportedMediaType, errors.Overloaded, errors.NotReady)
_MANIFEST = {"type": "object", "required": ["versions", "name", "view", "defaultTypes", "batchSize"]}
_BATCH = {
    "type": "string",
    "format": "json",
    "contentMediaType": "application/json",
    "contentSchema": ref(batch.ReconciliationQueries),
}
_PICTURE = f"data:image/png;base64,{requests.EXAMPLE_IMAGE}"
_TERM = term_id("sites", "artstation", None)
_ABOUT = (
    "A query is a picture's URL (or a data URI), its type the name of a list, its candidates the most probable terms. "
    "None is ever a match. A picture that cannot be had, and an unknown list, has no candidates. Without a type, the "
    f"first list is requests. A batch has at most {batch.MAX_QUERIES} queries and "
    f"{batch.MAX_BATCH_BYTES} bytes."
)


def reconcile(names: list[str]) -> dict[str, dict[str, Any]]:
    """Return the operations by their paths; `names` are those of served lists."""
    return {
        STABLE: {"get": _stable(names), "post": _stable_batch(names)},
        DRAFT: {"get": _draft()},
        f"{DRAFT}/match": {"post": _match(names)},
        f"{DRAFT}/suggest/type": {"get": _suggest("type", batch.SuggestedTypes)},
        f"{DRAFT}/suggest/entity": {"get": _suggest("entity", batch.SuggestedEntities)},
        f"{DRAFT}/preview": {"get": _preview()},
        f"{VIEW}/{{identifier}}": {"get": _view()},
    }


def _stable(names: list[str]) -> dict[str, Any]:
    return {
        "operationId": "reconcile_stable",
        "tags": _TAGS,
        "summary": "Describe the reconciliation service, or answer a query batch, in version 0.2.",
        "description": f"Without `queries`, the manifest. {_ABOUT}",
        "parameters": [
            {
                "name": "queries",
                "in": "query",
                "description": "A query batch. By POST it may be longer.",
                "schema": _BATCH,
                "example": _stable_example(names),
            }
        ],
        "responses": {
            "200": {
                "description": "The manifest, or the candidates for each query.",
                "headers": headers(),
                "content": {"application/json": {"schema": {"anyOf": [_MANIFEST, ref(batch.ReconciliationResults)]}}},
            },
            **problems(*_ASKED, errors.RequestTooLarge, errors.Overloaded, errors.NotReady),
        },
    }


def _stable_batch(names: list[str]) -> dict[str, Any]:
    return {
        "operationId": "reconcile_stable_batch",
        "tags": _TAGS,
        "summary": "Answer a query batch in version 0.2.",
        "description": _ABOUT,
        "requestBody": {
            "required": True,
            "content": {
                batch.FORM: {
                    "schema": {
                        "type": "object",
                        "properties": {"queries": _BATCH},
                        "required": ["queries"],
                        # What else a client sends is not read, but each costs as much as what is.
                        "additionalProperties": {"type": "string"},
                        "maxProperties": batch.MAX_FIELDS,
                    },
                    "examples": {"one picture": {"value": {"queries": _stable_example(names)}}},
                }
            },
        },
        "responses": {
            "200": answer("The candidates for each query.", batch.ReconciliationResults, "Server-Timing"),
            **problems(*_SENT),
        },
    }


def _draft() -> dict[str, Any]:
    return {
        "operationId": "reconcile_draft",
        "tags": _TAGS,
        "summary": "Describe the reconciliation service in version 1.0-draft.",
        "responses": {
            "200": {
                "description": "The manifest.",
                "headers": headers(),
                "content": {"application/json": {"schema": _MANIFEST}},
            },
            **problems(errors.MalformedRequest, errors.Unauthorized, errors.RateLimited),
        },
    }


def _match(names: list[str]) -> dict[str, Any]:
    return {
        "operationId": "reconcile_draft_match",
        "tags": _TAGS,
        "summary": "Answer a query batch in version 1.0-draft.",
        "description": _ABOUT,
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": ref(batch.ReconciliationMatch),
                    "examples": {
                        "one picture": {
                            "value": {
                                "queries": [
                                    {
                                        "type": names[0],
                                        "limit": 3,
                                        "conditions": [{"matchType": "name", "propertyValue": _PICTURE}],
                                    }
                                ]
                            }
                        }
                    },
                }
            },
        },
        "responses": {
            "200": answer("The candidates, by query.", batch.ReconciliationMatchResults, "Server-Timing"),
            **problems(*_SENT),
        },
    }


def _suggest(what: str, model: Any) -> dict[str, Any]:
    fields = batch.Suggest.model_json_schema()["properties"]
    names = [name for name in fields if name != "type" or what == "entity"]
    return {
        "operationId": f"reconcile_suggest_{what}",
        "tags": _TAGS,
        "summary": "Complete the name of a list." if what == "type" else "Complete the name of a term.",
        "parameters": [
            {
                "name": name,
                "in": "query",
                "description": fields[name]["description"],
                "schema": {
                    "type": "string",
                    **{
                        key: value
                        for key, value in fields[name].items()
                        if key not in ("title", "description", "anyOf") and value is not None
                    },
                },
            }
            for name in names
        ],
        "responses": {"200": answer("What is suggested.", model), **problems(*_ASKED[1:], errors.RequestTooLarge)},
    }


def _preview() -> dict[str, Any]:
    return {
        "operationId": "reconcile_preview",
        "tags": _TAGS,
        "summary": "Show a term in a small frame.",
        "parameters": [
            {"name": "id", "in": "query", "required": True, "schema": {"type": "string"}, "example": _TERM},
        ],
        "responses": {"200": _page(), **problems(*_ASKED[1:], errors.NotFound, errors.RequestTooLarge)},
    }


def _view() -> dict[str, Any]:
    return {
        "operationId": "reconcile_view",
        "tags": _TAGS,
        "summary": "Lead to the page of a term's authority; show the term where it has none.",
        "parameters": [
            {"name": "identifier", "in": "path", "required": True, "schema": {"type": "string"}, "example": _TERM},
        ],
        "responses": {
            "200": _page(),
            "302": {"description": "The authority has a page.", "headers": headers()},
            **problems(errors.Unauthorized, errors.NotFound, errors.RateLimited),
        },
    }


def _page() -> dict[str, Any]:
    return {
        "description": "A page about the term.",
        "headers": headers(),
        "content": {"text/html; charset=utf-8": {"schema": {"type": "string"}}},
    }


def _stable_example(names: list[str]) -> str:
    return json.dumps({"q0": {"query": _PICTURE, "type": names[0], "limit": 3}}, indent=2)
