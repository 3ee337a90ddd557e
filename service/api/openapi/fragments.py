"""What the operations of the OpenAPI document share: answers, problems, headers, references."""

from typing import Any

from pydantic import BaseModel

from service.api.problems import MEDIA_TYPE, problem
from service.api.schemas import responses
from service.errors import GazeError

EXAMPLE_REQUEST_ID = "3f2b8c1e9d4a4f6b8a7c5d2e1f0a9b8c"


def answer(description: str, model: type[BaseModel], *named: str) -> dict[str, Any]:
    """Return an answer in JSON, with these headers besides the common ones."""
    return {
        "description": description,
        "headers": headers(*named),
        "content": {"application/json": {"schema": ref(model)}},
    }


def text(description: str, media_type: str) -> dict[str, Any]:
    """Return an answer that is text."""
    return {"description": description, "headers": headers(), "content": {media_type: {"schema": {"type": "string"}}}}


def headers(*names: str) -> dict[str, Any]:
    """Return the headers that every answer has, and these."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *names)}


def problems(*kinds: type[GazeError]) -> dict[str, Any]:
    """Return the problems that an operation may answer with: one response a status, with an example of each code.

    Each is a plain reference to one schema. Generated clients then have one type for every problem, and read a code
    that a later version adds.
    """
    by_status: dict[str, Any] = {}
    for status in sorted({kind.status for kind in kinds}):
        codes = [kind for kind in kinds if kind.status == status]
        by_status[str(status)] = {
            "description": " ".join(f"`{kind.code}`: {(kind.__doc__ or '').splitlines()[0]}" for kind in codes),
            "headers": headers(*(["Retry-After"] if status in (429, 503) else [])),
            "content": {
                MEDIA_TYPE: {
                    "schema": ref(responses.Problem),
                    "examples": {kind.code: {"value": _example(kind)} for kind in codes},
                }
            },
        }
    return by_status


def _example(kind: type[GazeError]) -> dict[str, Any]:
    return problem(kind(), EXAMPLE_REQUEST_ID).model_dump()


def ref(model: type[BaseModel]) -> dict[str, str]:
    """Return a reference to a wire model's schema."""
    return {"$ref": f"#/components/schemas/{model.__name__}"}
