"""Whatever the OpenAPI document allows, the running service answers as the document says: asked by schemathesis.

No 5xx, no status, media type, header or body that is not documented; what fits the document is accepted, what does not
is refused. The fixture `server` fetches no URLs (GAZE_URL_FETCH=off).
"""

import base64
import json
import urllib.request
from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from service.api.openapi import document
from service.api.schemas import MAX_IMAGES
from service.zero_shot.phrase_lists import built_in_folder, read_lists
from tests.conftest import encoded, noise

NAMES = list(read_lists(built_in_folder()))
# Schemathesis needs the document when tests are collected, before there is a server; the first test compares them.
DOCUMENT = document(NAMES)
Case = schemathesis.Case[Any]
PICTURES = [encoded(noise(64, 48, seed=seed), kind) for seed, kind in enumerate(("PNG", "JPEG", "WEBP", "GIF"))]
BEYOND_A_SCHEMA = ("url_not_allowed",)
"""Codes of requests that fit the document and are refused all the same: URLs, because fetching is off."""

schemathesis.openapi.format("byte", strategies.sampled_from([base64.b64encode(each).decode() for each in PICTURES]))
schemathesis.openapi.format("binary", strategies.sampled_from(PICTURES))

api = schemathesis.openapi.from_dict(
    DOCUMENT,
    config=schemathesis.Config.from_dict({"seed": 1, "generation": {"max-examples": 100, "deterministic": True}}),
)


@api.hook
def map_case(_context: schemathesis.HookContext, case: Case) -> Case:
    """Ask for lists that are served where more than one is drawn; else unknown ones would hide all other answers."""
    body: Any = case.body
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive and isinstance(body, dict) and len(body.get("lists", [])) > 1:
        case.body = {**body, "lists": [NAMES[len(name) % len(NAMES)] for name in body["lists"]]}
    return case


def too_many_together(body: Any) -> bool:
    """Say whether files and URLs of a form are too many together: a schema can only limit either, the text says so."""
    sent = [body.get(name) for name in ("image", "image_url")] if isinstance(body, dict) else []
    return sum(len(images) for images in sent if isinstance(images, list)) > MAX_IMAGES


def test_document_is_the_one_that_is_served(server: str) -> None:
    with urllib.request.urlopen(f"{server}/openapi.json", timeout=20) as response:
        assert json.load(response) == json.loads(json.dumps(DOCUMENT))


@api.parametrize()
def test_answers_are_as_documented(case: Case, server: str) -> None:
    response = case.call(base_url=server)
    excluded: list[Any] = []
    if response.status_code >= 400 and (response.json()["code"] in BEYOND_A_SCHEMA or too_many_together(case.body)):
        excluded.append(positive_data_acceptance)
    if case.media_type == "multipart/form-data":
        # A form is text: an empty array, a lone value in place of an array, or a number in place of a text are on the
        # wire the same as what the document allows. tests/test_query_forms.py sends bad forms as bytes.
        excluded.append(negative_data_rejection)
    case.validate_response(response, excluded_checks=excluded, transport_kwargs={"base_url": server})
