"""The OpenAPI 3.1 document: operations from the app's routes and what their views declare, schemas from wire models."""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from service import __version__, errors
from service.api.access.browsers import PROBES
from service.api.access.callers import COUNTED, OPEN_PATHS
from service.api.openapi.operation import JSON, Operation, Schema
from service.api.problems import MEDIA_TYPE, problem
from service.api.reconcile.manifest import STABLE
from service.api.schemas.responses import Problem
from service.errors import GazeError

_REFERENCE = "#/components/schemas/{model}"
_BODY_ERRORS = (
    *(errors.MalformedRequest, errors.RequestTooLarge, errors.UnsupportedMediaType, errors.InvalidRequest),
    *(errors.Overloaded, errors.NotReady),
)
"""What any view may raise that reads a body and asks the model about it."""

_TAGS = {
    "ranking": "Ask which phrases describe a picture.",
    "lists and model": "What can be asked, and who answers.",
    "reconciliation": "For OpenRefine and other clients of the Reconciliation API.",
    "state": "For supervisors and for Prometheus.",
}
_TAG_OF_BLUEPRINT = {"gaze": "ranking", "explain": "ranking", "reconcile": "reconciliation", "health": "state"}
_ABOUT = """Send a picture and the names of lists, or phrases of your own; each list comes back ranked.

**What a probability means.** It is a softmax over the phrases of one list, before the answer is cut to `top_k`: how
this phrase fares against the others of the same list. It is never the chance that the phrase is true. There is always
a first place, even where nothing fits. CLIP and the lists are biased: by what was on the web, in English, with famous
names far ahead.

Where this document says less than you need, the service does what you would expect of HTTP: paths take no trailing
slash, `HEAD` answers as `GET` without a body, and `OPTIONS` names the methods in `Allow`, except to a preflight.
Every answer carries `X-Request-ID`: yours, if it is 1 to 128 characters of `A-Za-z0-9._-`, else a new one.
"""
_HEAD: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "Gaze",
        "version": __version__,
        "summary": "Which of these phrases describe this picture best, in CLIP's eyes?",
        "description": _ABOUT,
        "license": {"name": "MIT", "identifier": "MIT"},
    },
    "servers": [{"url": "/"}],
    "tags": [{"name": name, "description": description} for name, description in _TAGS.items()],
    "security": [{}, {"key": []}],
}
_SECURITY_SCHEMES = {"key": {"type": "http", "scheme": "bearer", "description": "Needed where GAZE_API_KEYS is set."}}
_HEADERS = {
    "X-Request-ID": {
        "description": "Names this request in the service's log.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "Server-Timing": {
        "description": "Milliseconds spent on fetch, decode, encode and rank.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}},
}


def document(app: Flask) -> dict[str, Any]:
    """Return the OpenAPI document of the app's routes, but for those whose views declare nothing."""
    paths: dict[str, Any] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if declared := getattr(view, "operation", None):
            [method] = {"GET", "POST"}.intersection(rule.methods or ())
            path = re.sub(r"<(\w+)>", r"{\1}", rule.rule)
            paths.setdefault(path, {})[method.lower()] = _operation(rule, method, inspect.getdoc(view) or "", declared)
    models: dict[type[BaseModel], None] = {Problem: None}
    paths = _with_references(paths, models)
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REFERENCE)
    return {
        **_HEAD,
        "paths": paths,
        "components": {"schemas": definitions["$defs"], "securitySchemes": _SECURITY_SCHEMES, "headers": _HEADERS},
    }


def _operation(rule: Rule, method: str, docstring: str, declared: Operation) -> dict[str, Any]:
    blueprint, _, name = rule.endpoint.partition(".")
    summary, _, about = docstring.partition("\n\n")
    found: dict[str, Any] = {
        "operationId": name,
        "tags": [_TAG_OF_BLUEPRINT.get(blueprint, "lists and model")],
        "summary": summary,
        "responses": _responses(rule, method, declared),
    }
    if description := " ".join([*about.split(), *declared.about.split()]):
        found["description"] = description
    if parameters := list(_parameters(rule, declared)):
        found["parameters"] = parameters
    if declared.body:
        content = _content(declared.body)
        examples = {name: {"value": value} for name, value in declared.examples.items()}
        next(iter(content.values()))["examples"] = examples
        if declared.form:
            content["multipart/form-data"] = {"schema": _inline(declared.form)}
        found["requestBody"] = {"required": True, "content": content}
    if rule.rule in OPEN_PATHS:
        found["security"] = []
    return found


def _parameters(rule: Rule, declared: Operation) -> Iterator[dict[str, Any]]:
    query = _inline(declared.query or {})
    places = {
        "path": {name: {"type": "string"} for name in rule.arguments},
        "query": query.get("properties", {}),
        "header": {"If-None-Match": {"type": "string"}} if 304 in declared.others else {},
    }
    for place, schemas in places.items():
        for name, schema in schemas.items():
            found = {"name": name, "in": place, "schema": {**schema}}
            if description := found["schema"].pop("description", None):
                found["description"] = description
            if place == "path" or name in query.get("required", ()):
                found["required"] = True
            if name in declared.examples:
                found["example"] = declared.examples[name]
            yield found


def _responses(rule: Rule, method: str, declared: Operation) -> dict[str, Any]:
    """Return the answers of a view, and those of what reads the request before it."""
    path = rule.rule
    own = [
        *(_BODY_ERRORS if declared.body else ()),
        *declared.errors,
        *((errors.InvalidRequest,) if declared.query and not declared.body else ()),
        *((errors.NotFound,) if rule.arguments else ()),
        *(() if path in OPEN_PATHS else (errors.Unauthorized,)),
        *((errors.RateLimited,) if path.startswith(COUNTED) else ()),
    ]
    of_browsers = [
        *(() if path in PROBES else (errors.MisdirectedRequest,)),
        *((errors.ForeignOrigin,) if method == "POST" or path == STABLE else ()),
    ]
    answer = {
        "description": declared.answer,
        "headers": _headers(*(["Server-Timing"] if declared.body else [])),
        "content": _content(declared.content),
        **({"links": declared.links} if declared.links else {}),
    }
    others = {str(status): {"description": says, "headers": _headers()} for status, says in declared.others.items()}
    return {"200": answer, **others, **_problems(own), **_problems(of_browsers)}


def _problems(kinds: list[type[GazeError]]) -> dict[str, Any]:
    """Return one response a status, with an example of each code.

    Each is a plain reference to one schema. Generated clients then have one type for every problem, and read a code
    that a later version adds.
    """
    return {
        str(status): {
            "description": " ".join(f"`{kind.code}`: {(kind.__doc__ or '').splitlines()[0]}" for kind in same),
            "headers": _headers(*(["Retry-After"] if status in (429, 503) else [])),
            "content": {MEDIA_TYPE: {"schema": Problem, "examples": {kind.code: _example(kind) for kind in same}}},
        }
        for status in sorted({kind.status for kind in kinds})
        for same in [[kind for kind in kinds if kind.status == status]]
    }


def _example(kind: type[GazeError]) -> dict[str, Any]:
    return {"value": problem(kind(), "3f2b8c1e9d4a4f6b8a7c5d2e1f0a9b8c").model_dump()}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *names)}


def _content(schema: Schema) -> dict[str, Any]:
    by_media_type = {JSON: schema} if isinstance(schema, type) else schema
    return {media_type: {"schema": each} for media_type, each in by_media_type.items()}


def _inline(schema: Schema) -> Mapping[str, Any]:
    """Return a model's schema without the titles that pydantic makes of names: generated clients name types by them."""
    if not isinstance(schema, type):
        return schema
    found = schema.model_json_schema()
    for each in (found, *found["properties"].values()):
        each.pop("title", None)
    return found


def _with_references(node: Any, models: dict[type[BaseModel], None]) -> Any:
    """Return the node with references in place of the wire models in it, which are added to `models`."""
    if isinstance(node, Mapping):
        return {name: _with_references(each, models) for name, each in node.items()}
    if isinstance(node, list):
        return [_with_references(each, models) for each in node]
    if isinstance(node, type):
        models[node] = None
        return {"$ref": _REFERENCE.format(model=node.__name__)}
    return node
