"""The OpenAPI 3.1 document of the service: schemas from the wire models, operations from the table below."""

from collections.abc import Iterable
from typing import Any

from pydantic.json_schema import models_json_schema

from service import __version__, errors
from service.api.openapi.fragments import answer, headers, problems, text
from service.api.openapi.questions import explain, gaze
from service.api.openapi.reconcile import reconcile
from service.api.reconcile import batch
from service.api.reconcile.manifest import STABLE
from service.api.schemas import requests, responses
from service.documents.annotation_page import CONTEXT_PATH

_SENT = (
    requests.GazeRequest,
    requests.ExplainRequest,
    batch.ReconciliationQueries,
    batch.ReconciliationMatch,
)
_ANSWERED = (
    responses.GazeAnswer,
    responses.Explanation,
    responses.ServedLists,
    responses.ListDetails,
    responses.ModelDetails,
    responses.Alive,
    responses.Ready,
    responses.Problem,
    batch.ReconciliationResults,
    batch.ReconciliationMatchResults,
    batch.SuggestedTypes,
    batch.SuggestedEntities,
)
_BY_ANY_NAME = ("/livez", "/readyz", "/metrics")
_ABOUT = """Send a picture and the names of lists, or phrases of your own; each list comes back ranked.

**What a probability means.** It is a softmax over the phrases of one list, before the answer is cut to `top_k`: how
this phrase fares against the others of the same list. It is never the chance that the phrase is true. There is always
a first place, even where nothing fits. CLIP and the lists are biased: by what was on the web, in English, with famous
names far ahead.

Where this document says less than you need, the service does what you would expect of HTTP: paths take no trailing
slash, `HEAD` answers as `GET` without a body, and `OPTIONS` names the methods in `Allow`, except to a preflight.
Every answer carries `X-Request-ID`: yours, if it is 1 to 128 characters of `A-Za-z0-9._-`, else a new one.
"""


def document(list_names: Iterable[str]) -> dict[str, Any]:
    """Return the OpenAPI document; `list_names` are shown as examples of what `lists` may name."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in (*_SENT, *_ANSWERED)], ref_template="#/components/schemas/{model}"
    )
    names = list(list_names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gaze",
            "version": __version__,
            "summary": "Which of these phrases describe this picture best, in CLIP's eyes?",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "ranking", "description": "Ask which phrases describe a picture."},
            {"name": "lists and model", "description": "What can be asked, and who answers."},
            {"name": "reconciliation", "description": "For OpenRefine and other clients of the Reconciliation API."},
            {"name": "state", "description": "For supervisors and for Prometheus."},
        ],
        "security": [{}, {"key": []}],
        "paths": _with_refusals(
            {
                "/v1/gaze": {"post": gaze(names)},
                "/v1/explain": {"post": explain()},
                "/v1/lists": {"get": _lists()},
                "/v1/lists/{name}": {"get": _list(names)},
                "/v1/model": {"get": _model()},
                **reconcile(names),
                "/livez": {"get": _livez()},
                "/readyz": {"get": _readyz()},
                "/metrics": {"get": _metrics()},
                CONTEXT_PATH: {"get": _context()},
                "/openapi.json": {"get": _openapi()},
                "/docs": {"get": _page("docs", "This documentation, to read.")},
                "/": {"get": _page("page", "The web page.")},
            }
        ),
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "Needed where GAZE_API_KEYS is set."}
            },
            "headers": {
                "X-Request-ID": {
                    "description": "Names this request in the service's log.",
                    "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
                },
                "Server-Timing": {
                    "description": "Milliseconds spent on fetch, decode, encode and rank.",
                    "schema": {"type": "string"},
                },
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
            },
        },
    }


def _with_refusals(paths: dict[str, Any]) -> dict[str, Any]:
    """Return the operations with what each of them says of names and pages that are not this service's own."""
    for path, operations in paths.items():
        for method, operation in operations.items():
            if path not in _BY_ANY_NAME:
                works = method == "post" or path == STABLE
                operation["responses"] |= problems(
                    errors.MisdirectedRequest, *([errors.ForeignOrigin] if works else [])
                )
    return paths


def _lists() -> dict[str, Any]:
    return {
        "operationId": "lists",
        "tags": ["lists and model"],
        "summary": "Name the served lists.",
        "responses": {
            "200": {
                **answer("The lists, in order.", responses.ServedLists),
                "links": _links_to_a_list("$response.body#/lists/0/name"),
            },
            **problems(errors.Unauthorized, errors.RateLimited),
        },
    }


def _list(names: list[str]) -> dict[str, Any]:
    page = requests.ListPage.model_json_schema()["properties"]
    return {
        "operationId": "list",
        "tags": ["lists and model"],
        "summary": "Show a list and a page of its items.",
        "parameters": [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}, "example": names[0]},
            *(
                {
                    "name": name,
                    "in": "query",
                    "description": page[name]["description"],
                    "schema": {key: value for key, value in page[name].items() if key not in ("title", "description")},
                }
                for name in page
            ),
            {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}},
        ],
        "responses": {
            "200": {
                **answer("The list and a page of it, with an ETag.", responses.ListDetails),
                "links": _links_to_a_list("$response.body#/name"),
            },
            "304": {"description": "The caller has this page already.", "headers": headers()},
            **problems(
                errors.Unauthorized, errors.UnknownList, errors.NotFound, errors.InvalidRequest, errors.RateLimited
            ),
        },
    }


def _model() -> dict[str, Any]:
    return {
        "operationId": "model",
        "tags": ["lists and model"],
        "summary": "Describe the model that answers.",
        "responses": {
            "200": answer("The model.", responses.ModelDetails),
            **problems(errors.Unauthorized, errors.RateLimited, errors.NotReady),
        },
    }


def _livez() -> dict[str, Any]:
    return {
        "operationId": "livez",
        "tags": ["state"],
        "summary": "Say that the process answers, and that no inference in it has hung or keeps failing.",
        "security": [],
        "responses": {"200": answer("It does.", responses.Alive), **problems(errors.NotReady)},
    }


def _readyz() -> dict[str, Any]:
    return {
        "operationId": "readyz",
        "tags": ["state"],
        "summary": "Say whether the model has answered and the lists' text features are in memory.",
        "security": [],
        "responses": {
            "200": answer("They are.", responses.Ready),
            **problems(errors.NotReady, errors.ShuttingDown),
        },
    }


def _metrics() -> dict[str, Any]:
    return {
        "operationId": "metrics",
        "tags": ["state"],
        "summary": "Count requests, images and phrases, and measure latencies.",
        "responses": {
            "200": text("Prometheus' text format.", "text/plain; version=0.0.4; charset=utf-8"),
            **problems(errors.Unauthorized),
        },
    }


def _context() -> dict[str, Any]:
    return {
        "operationId": "context",
        "tags": ["lists and model"],
        "summary": "Say what this service's own keys in annotation pages mean.",
        "security": [],
        "responses": {
            "200": {
                "description": "A JSON-LD context.",
                "headers": headers(),
                "content": {"application/ld+json": {"schema": {"type": "object"}}},
            },
            **problems(errors.MalformedRequest),
        },
    }


def _openapi() -> dict[str, Any]:
    return {
        "operationId": "openapi",
        "tags": ["lists and model"],
        "summary": "This document.",
        "security": [],
        "responses": {
            "200": {
                "description": "OpenAPI 3.1.",
                "headers": headers(),
                "content": {"application/json": {"schema": {"type": "object"}}},
            }
        },
    }


def _page(operation: str, summary: str) -> dict[str, Any]:
    return {
        "operationId": operation,
        "tags": ["lists and model"],
        "summary": summary,
        "security": [],
        "responses": {"200": text("A page.", "text/html; charset=utf-8")},
    }


def _links_to_a_list(name: str) -> dict[str, Any]:
    """Return what can be done with a list, whose name is found in an answer by this expression."""
    question = {"image": {"base64": requests.EXAMPLE_IMAGE}, "lists": [name]}
    return {
        "show": {"operationId": "list", "parameters": {"name": name}, "description": "Show the list."},
        "ask": {"operationId": "gaze", "requestBody": question, "description": "Rank the list's phrases for an image."},
    }
