"""Whatever the OpenAPI document allows, the running service answers as the document says: asked by schemathesis.

No 5xx, no status, media type, header or body that is not documented; what fits the document is accepted, what does not
is refused. The fixture `server` fetches no URLs (GAZE_URL_FETCH=off).
"""

import base64
import json
import os
import urllib.request
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings, strategies
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from service.api.schemas.requests import MAX_IMAGES
from service.zero_shot.phrase_lists import built_in_folder, read_lists
from tests.conftest import encoded, noise
from tests.support.openapi_reader import document_of_built_in_lists

pytestmark = pytest.mark.timeout(0)  # as many examples as are asked for

PROBLEM = "application/problem+json"
NAMES = list(read_lists(built_in_folder()))
# Schemathesis needs the document when tests are collected, before there is a server; the first test compares them.
DOCUMENT = document_of_built_in_lists()
Case = schemathesis.Case[Any]
EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES") or 100)
"""How many requests each operation gets; `make contract` asks for thousands."""
PICTURES = [encoded(noise(64, 48, seed=seed), kind) for seed, kind in enumerate(("PNG", "JPEG", "WEBP", "GIF"))]
BEYOND_A_SCHEMA = ("url_not_allowed",)
"""Codes of requests that fit the document and are refused all the same: URLs, because fetching is off."""

schemathesis.openapi.format("byte", strategies.sampled_from([base64.b64encode(each).decode() for each in PICTURES]))
schemathesis.openapi.format("binary", strategies.sampled_from(PICTURES))
schemathesis.openapi.format("json", strategies.sampled_from(['{"q0":{"query":"data:,","limit":3}}', "{}"]))

api = schemathesis.openapi.from_dict(
    DOCUMENT,
    config=schemathesis.Config.from_dict({"seed": 1, "generation": {"max-examples": EXAMPLES, "deterministic": True}}),
)


@api.hook
def map_case(_context: schemathesis.HookContext, case: Case) -> Case:
    """Ask for lists that are served where more than one is drawn; else unknown ones would hide all other answers."""
    body: Any = case.body
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    if positive and isinstance(body, dict) and len(body.get("lists", [])) > 1:
        case.body = {**body, "lists": [NAMES[len(name) % len(NAMES)] for name in body["lists"]]}
    return case


def too_many_together(case: Case) -> bool:
    """Say whether files and URLs of a form are too many together: a schema can only limit either, the text says so.

    Of /v1/explain's the schema says it, but schemathesis does not heed `oneOf` in forms.
    """
    body: Any = case.body
    sent = (
        [body[name] for name in ("image", "image_url", "image_iiif") if name in body] if isinstance(body, dict) else []
    )
    most = 1 if case.path == "/v1/explain" else MAX_IMAGES
    return sum(len(images) if isinstance(images, list) else 1 for images in sent) > most


def too_large_an_answer(response: Any) -> bool:
    """Say whether pictures, lists and phrases are too many together for one answer: a schema can only limit each."""
    said = response.json().get("errors") or []
    return [error["pointer"] for error in said] == ["/top_k"] and said[0]["detail"].startswith("An answer may have")


def unfit(case: Case, response: Any) -> list[Any]:
    """Return the checks that the contract cannot pass, for the reasons given here."""
    excluded: list[Any] = []
    if response.status_code >= 400 and (
        response.json()["code"] in BEYOND_A_SCHEMA or too_many_together(case) or too_large_an_answer(response)
    ):
        excluded.append(positive_data_acceptance)
    if response.status_code == 413:
        # It is refused for its length alone, which schemathesis does not take for a refusal of what does not fit.
        excluded.append(negative_data_rejection)
    if case.path.endswith("/match"):
        # One query of a batch that cannot be understood has no candidates, and the others are answered.
        excluded.append(negative_data_rejection)
    if case.media_type in ("multipart/form-data", "application/x-www-form-urlencoded"):
        # A form is text: an empty array, a lone value in place of an array, or a number in place of a text are on the
        # wire the same as what the document allows. tests/test_query_forms.py sends bad forms as bytes.
        excluded.append(negative_data_rejection)
    return excluded


def test_document_is_the_one_that_is_served(server: str) -> None:
    with urllib.request.urlopen(f"{server}/openapi.json", timeout=20) as response:
        assert json.load(response) == json.loads(json.dumps(DOCUMENT))


def check_problem(case: Case, response: Any) -> None:
    """Assert that a problem is one of those that the document shows for its operation and status.

    The schema of problems is the same for all, so that generated clients have one type.
    """
    # Methods that the document does not have are tried as well.
    operation = DOCUMENT["paths"][case.path].get(case.method.lower())
    if operation and PROBLEM in response.headers.get("content-type", ()):
        told = response.json()
        shown = operation["responses"][str(response.status_code)]
        assert told["status"] == response.status_code
        assert told["code"] in shown["content"][PROBLEM]["examples"]


@api.parametrize()
def test_answers_are_as_documented(case: Case, server: str) -> None:
    response = case.call(base_url=server)
    check_problem(case, response)
    case.validate_response(response, excluded_checks=unfit(case, response), transport_kwargs={"base_url": server})


def test_chains_of_links_are_answered_as_documented(server: str) -> None:
    asked: Counter[tuple[str, int]] = Counter()

    class Chain(api.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, _case: Case) -> dict[str, Any]:
            return {"base_url": server}

        def validate_response(self, response: Any, case: Case, **kwargs: Any) -> None:
            if self.recorder.cases[case.id].parent_id is not None:
                asked[case.operation.label, response.status_code] += 1
            check_problem(case, response)
            case.validate_response(response, excluded_checks=unfit(case, response), transport_kwargs=kwargs)

    Chain.run(
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=4, deadline=None, suppress_health_check=list(HealthCheck)
        )
    )
    assert asked["GET /v1/lists/{name}", 200], "no list was shown that another answer had named"
    assert asked["POST /v1/gaze", 200], "no list was asked that another answer had named"
