"""The OpenAPI 3.1 document of the service: schemas from the wire models, operations from the table below."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service import __version__, errors
from service.api import answered, asked
from service.api.body import MAX_PARTS
from service.api.problems import MEDIA_TYPE
from service.errors import GazeError

_SENT = (asked.GazeRequest,)
_ANSWERED = (
    answered.GazeAnswer,
    answered.Lists,
    answered.ListDetails,
    answered.ModelDetails,
    answered.Alive,
    answered.Ready,
    answered.Problem,
)
_GAZE_ERRORS = (
    errors.MalformedRequest,
    errors.Unauthorized,
    errors.UnknownList,
    errors.RequestTooLarge,
    errors.ImageTooLarge,
    errors.UnsupportedMediaType,
    errors.UnsupportedImageFormat,
    errors.InvalidRequest,
    errors.UndecodableImage,
    errors.ImageDimensions,
    errors.UrlNotAllowed,
    errors.RateLimited,
    errors.InternalError,
    errors.ImageFetchFailed,
    errors.Overloaded,
    errors.NotReady,
    errors.ImageFetchTimeout,
)
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
            {"name": "state", "description": "For supervisors and for Prometheus."},
        ],
        "security": [{}, {"key": []}],
        "paths": {
            "/v1/gaze": {"post": _gaze(names)},
            "/v1/lists": {"get": _lists()},
            "/v1/lists/{name}": {"get": _list(names)},
            "/v1/model": {"get": _model()},
            "/livez": {"get": _livez()},
            "/readyz": {"get": _readyz()},
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _openapi()},
            "/docs": {"get": _page("docs", "This documentation, to read.")},
            "/": {"get": _page("page", "The web page.")},
        },
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


def _gaze(names: list[str]) -> dict[str, Any]:
    return {
        "operationId": "gaze",
        "tags": ["ranking"],
        "summary": "Rank the phrases of one or more lists for one or more images.",
        "description": "Every list is its own softmax. Results come in the order of the images. With `images`, "
        "one that fails has an `error` in place of `lists` and the others are answered, with status 200; with `image`, "
        "or when every image fails, the request fails.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _ref(asked.GazeRequest),
                    "examples": {
                        "own phrases": {
                            "value": {
                                "image": {"base64": asked.EXAMPLE_IMAGE},
                                "phrases": {"colour": ["red", "green", "blue"]},
                                "template": "a {} square",
                            }
                        },
                        "served lists": {
                            "value": {"image": {"base64": asked.EXAMPLE_IMAGE}, "lists": names[:2], "top_k": 3}
                        },
                        "several images": {
                            "value": {
                                "images": [
                                    {"base64": asked.EXAMPLE_IMAGE},
                                    {"base64": f"data:image/webp;base64,{asked.OTHER_EXAMPLE_IMAGE}"},
                                ],
                                "lists": names[:1],
                                "top_k": None,
                            }
                        },
                    },
                },
                "multipart/form-data": {"schema": _form()},
            },
        },
        "responses": {
            "200": _answer("The ranked lists.", answered.GazeAnswer, "Server-Timing"),
            **_problems(*_GAZE_ERRORS),
        },
    }


def _form() -> dict[str, Any]:
    text = {"type": "string"}
    fields = asked.GazeForm.model_json_schema()["properties"]
    name = "[a-z0-9_-]{1,64}"
    return {
        "type": "object",
        "description": f"At most {MAX_PARTS} parts; send more phrases as JSON. Files come before URLs in `results`. "
        "Every field may be sent more than once, but for `template` and `top_k`.",
        "properties": {
            "image": {
                "type": "array",
                "items": {**text, "format": "binary"},
                "minItems": 1,
                "maxItems": asked.MAX_IMAGES,
                "description": f"The images, as files; with those by URL, {asked.MAX_IMAGES} at most.",
            },
            "image_url": {
                "type": "array",
                "items": {**fields["image_url"]["items"], "format": "uri"},
                "minItems": 1,
                "maxItems": asked.MAX_IMAGES,
                "description": "Images that the service fetches.",
            },
            "lists": {
                "type": "array",
                "items": {**text, "pattern": f"^{name}(, ?{name})*$"},
                "minItems": 1,
                "maxItems": asked.MAX_LISTS,
                "description": "Names of lists, repeated or comma-separated.",
            },
            "phrases": {
                "type": "array",
                "items": fields["phrases"]["items"],
                "minItems": 1,
                "description": "Own phrases, ranked as the list `phrases`.",
            },
            "template": {**fields["template"], "description": "Applied to `phrases` only; contains {} once."},
            "top_k": {
                **text,
                "pattern": "^([1-9][0-9]{0,8}|all)$",
                "description": f"`all` for every phrase. Default {asked.DEFAULT_TOP_K}.",
            },
        },
        "allOf": [
            {"anyOf": [{"required": ["image"]}, {"required": ["image_url"]}]},
            {"anyOf": [{"required": ["lists"]}, {"required": ["phrases"]}]},
        ],
        "additionalProperties": False,
    }


def _lists() -> dict[str, Any]:
    return {
        "operationId": "lists",
        "tags": ["lists and model"],
        "summary": "Name the served lists.",
        "responses": {
            "200": {
                **_answer("The lists, in order.", answered.Lists),
                "links": _links_to_a_list("$response.body#/lists/0/name"),
            },
            **_problems(errors.Unauthorized, errors.RateLimited),
        },
    }


def _list(names: list[str]) -> dict[str, Any]:
    page = asked.ListPage.model_json_schema()["properties"]
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
                **_answer("The list and a page of it, with an ETag.", answered.ListDetails),
                "links": _links_to_a_list("$response.body#/name"),
            },
            "304": {"description": "The caller has this page already.", "headers": _headers()},
            **_problems(
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
            "200": _answer("The model.", answered.ModelDetails),
            **_problems(errors.Unauthorized, errors.RateLimited, errors.NotReady),
        },
    }


def _livez() -> dict[str, Any]:
    return {
        "operationId": "livez",
        "tags": ["state"],
        "summary": "Say that the process answers, and that no inference in it has hung or keeps failing.",
        "security": [],
        "responses": {"200": _answer("It does.", answered.Alive), **_problems(errors.NotReady)},
    }


def _readyz() -> dict[str, Any]:
    return {
        "operationId": "readyz",
        "tags": ["state"],
        "summary": "Say whether the model has answered and the lists' text features are in memory.",
        "security": [],
        "responses": {
            "200": _answer("They are.", answered.Ready),
            **_problems(errors.NotReady, errors.ShuttingDown),
        },
    }


def _metrics() -> dict[str, Any]:
    return {
        "operationId": "metrics",
        "tags": ["state"],
        "summary": "Count requests, images and phrases, and measure latencies.",
        "responses": {
            "200": _text("Prometheus' text format.", "text/plain; version=0.0.4; charset=utf-8"),
            **_problems(errors.Unauthorized),
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
                "headers": _headers(),
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
        "responses": {"200": _text("A page.", "text/html; charset=utf-8")},
    }


def _answer(description: str, model: type[BaseModel], *headers: str) -> dict[str, Any]:
    return {
        "description": description,
        "headers": _headers(*headers),
        "content": {"application/json": {"schema": _ref(model)}},
    }


def _links_to_a_list(name: str) -> dict[str, Any]:
    """Return what can be done with a list, whose name is found in an answer by this expression."""
    question = {"image": {"base64": asked.EXAMPLE_IMAGE}, "lists": [name]}
    return {
        "show": {"operationId": "list", "parameters": {"name": name}, "description": "Show the list."},
        "ask": {"operationId": "gaze", "requestBody": question, "description": "Rank the list's phrases for an image."},
    }


def _text(description: str, media_type: str) -> dict[str, Any]:
    return {"description": description, "headers": _headers(), "content": {media_type: {"schema": {"type": "string"}}}}


def _headers(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *names)}


def _problems(*kinds: type[GazeError]) -> dict[str, Any]:
    """Return the problems that an operation may answer with, one response a status that names each code."""
    responses: dict[str, Any] = {}
    for status in sorted({kind.status for kind in kinds}):
        codes = [kind for kind in kinds if kind.status == status]
        responses[str(status)] = {
            "description": " ".join(f"`{kind.code}`: {(kind.__doc__ or '').splitlines()[0]}" for kind in codes),
            "headers": _headers(*(["Retry-After"] if status in (429, 503) else [])),
            "content": {
                MEDIA_TYPE: {
                    "schema": {
                        "allOf": [
                            _ref(answered.Problem),
                            {
                                "properties": {
                                    "status": {"const": status},
                                    "code": {"enum": [kind.code for kind in codes]},
                                }
                            },
                        ]
                    }
                }
            },
        }
    return responses


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}
