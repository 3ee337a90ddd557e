"""Requests that the OpenAPI document shows; they can be sent as they stand."""

import json
from collections.abc import Iterable
from typing import Any

from service.api.reconcile.terms import term_id
from service.api.schemas.requests import EXAMPLE_IMAGE, INCLUDED, OTHER_EXAMPLE_IMAGE

_IMAGE = {"base64": EXAMPLE_IMAGE}
_DATA_URI = f"data:image/png;base64,{EXAMPLE_IMAGE}"
TERM = term_id("sites", "artstation", None)
EXPLAIN = {"two phrases": {"image": _IMAGE, "phrases": ["a red square", "a blue circle"], "overlay": True}}


def gaze(served: Iterable[str]) -> dict[str, Any]:
    """Return questions to /v1/gaze by what they show; `served` are names of lists."""
    names = list(served)
    images = [_IMAGE, {"base64": f"data:image/webp;base64,{OTHER_EXAMPLE_IMAGE}"}]
    return {
        "own phrases": {"image": _IMAGE, "phrases": {"colour": ["red", "green", "blue"]}, "template": "a {} square"},
        "served lists": {"image": _IMAGE, "lists": names[:2], "top_k": 3},
        "several images": {"images": images, "lists": names[:1], "top_k": None},
        "how far to trust it": {
            "image": _IMAGE,
            "phrases": {"subject": ["plain red", "a red circle", "a blue gradient"]},
            "fit": "pad",
            "rank_by": "lift",
            "min_probability": 0.001,
            "include": list(INCLUDED),
        },
    }


def stable_batch(list_name: str) -> str:
    """Return a query batch of version 0.2 of the Reconciliation API."""
    return json.dumps({"q0": {"query": _DATA_URI, "type": list_name, "limit": 3}}, indent=2)


def draft_batch(list_name: str) -> dict[str, Any]:
    """Return a query batch of version 1.0-draft."""
    condition = {"matchType": "name", "propertyValue": _DATA_URI}
    return {"queries": [{"type": list_name, "limit": 3, "conditions": [condition]}]}


def links_to_a_list(name: str) -> dict[str, Any]:
    """Return OpenAPI's links to a list, whose name is found in an answer by this expression."""
    question = {"image": _IMAGE, "lists": [name]}
    return {
        "show": {"operationId": "list", "parameters": {"name": name}, "description": "Show the list."},
        "ask": {"operationId": "gaze", "requestBody": question, "description": "Rank the list's phrases for an image."},
    }
