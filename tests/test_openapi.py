"""GET /openapi.json and the README say what is so."""

import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from schemathesis.openapi import from_dict

from service import __version__
from service.api.schemas.responses import Problem
from service.errors import CallerGone, GazeError, MethodNotAllowed
from service.zero_shot.phrase_lists import PhraseList
from tests.support.gaze_requests import PNG, upload

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document(client: FlaskClient) -> dict[str, Any]:
    response = client.get("/openapi.json")
    assert (response.status_code, response.content_type) == (200, "application/json")
    found: dict[str, Any] = response.get_json()
    return found


def calls(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(path, method): call for path, methods in document["paths"].items() for method, call in methods.items()}


def referred(node: Any) -> list[str]:
    """Return what every $ref within a node refers to."""
    if isinstance(node, dict):
        here = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return here + [found for value in node.values() for found in referred(value)]
    return [found for value in node for found in referred(value)] if isinstance(node, list) else []


def codes_of(response: dict[str, Any]) -> set[str]:
    return set(response["content"]["application/problem+json"]["examples"])


def test_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == __version__
    from_dict(document).validate()


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    assert referred(document)
    for reference in set(referred(document)):
        node: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in node, reference
            node = node[step]


def test_every_route_is_documented_and_every_documented_one_is_there(
    client: FlaskClient, document: dict[str, Any]
) -> None:
    app: Flask = client.application
    routes = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        # The page's own assets are no part of the interface.
        if rule.endpoint != "page.static"
        for method in rule.methods or ()
        if method.lower() in METHODS
    }
    assert routes == set(calls(document))


def test_every_call_has_an_id_a_summary_and_an_answer(document: dict[str, Any]) -> None:
    found = calls(document).values()
    assert len({call["operationId"] for call in found}) == len(found)
    for call in found:
        assert call["summary"].endswith(".")
        assert "200" in call["responses"]
        for response in call["responses"].values():
            assert "X-Request-ID" in response["headers"]


def test_every_error_of_the_service_is_documented(document: dict[str, Any]) -> None:
    documented = {
        (int(status), code)
        for call in calls(document).values()
        for status, response in call["responses"].items()
        if status >= "400"
        for code in codes_of(response)
    }
    # No documented method can be one that is not allowed, and who is gone is told nothing.
    told = [kind for kind in GazeError.__subclasses__() if kind not in (MethodNotAllowed, CallerGone)]
    known = {(kind.status, kind.code) for kind in told}
    assert documented == known


def test_an_example_of_a_problem_is_one_that_is_told(document: dict[str, Any]) -> None:
    for call in calls(document).values():
        for status, response in call["responses"].items():
            for code, example in (
                response.get("content", {}).get("application/problem+json", {}).get("examples", {}).items()
            ):
                shown = Problem.model_validate(example["value"])
                assert (shown.status, shown.code) == (int(status), code)
                assert code in response["description"]


def test_only_what_is_open_is_documented_as_open(document: dict[str, Any]) -> None:
    opened = {path for (path, _), call in calls(document).items() if call.get("security") == []}
    assert opened == {"/", "/docs", "/openapi.json", "/livez", "/readyz", "/ns/gaze/1/context.json"}
    for (path, _), call in calls(document).items():
        assert ("401" in call["responses"]) == (path not in opened)


def test_every_example_is_answered(client: FlaskClient, document: dict[str, Any]) -> None:
    for path, answered_with in (("/v1/gaze", "results"), ("/v1/explain", "maps")):
        examples = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert examples
        for name, example in examples.items():
            response = client.post(path, data=json.dumps(example["value"]), content_type="application/json")
            assert response.status_code == 200, name
            assert not any("error" in each for each in response.get_json()[answered_with])
    [name] = [each for each in document["paths"]["/v1/lists/{name}"]["get"]["parameters"] if each["name"] == "name"]
    assert client.get(f"/v1/lists/{name['example']}").status_code == 200


def test_examples_of_fields_are_answered(
    client: FlaskClient, document: dict[str, Any], phrase_lists: dict[str, PhraseList]
) -> None:
    schemas = document["components"]["schemas"]
    fields = schemas["GazeRequest"]["properties"]
    for lists in fields["lists"]["examples"]:
        assert set(lists) <= set(phrase_lists)
    [picture] = schemas["ImageByBase64"]["properties"]["base64"]["examples"]
    for phrases in fields["phrases"]["examples"]:
        sent = {"image": {"base64": picture}, "phrases": phrases, "template": fields["template"]["default"]}
        assert client.post("/v1/gaze", json=sent).status_code == 200


def test_limits_in_the_document_are_those_of_the_service(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    fields = schemas["GazeRequest"]["properties"]
    assert fields["images"]["maxItems"] == 32
    assert fields["phrases"]["maxProperties"] == 32
    assert fields["phrases"]["propertyNames"] == {"pattern": "^[a-z0-9_-]{1,64}$"}
    assert fields["top_k"]["anyOf"] == [{"minimum": 1, "type": "integer"}, {"type": "null"}]
    assert fields["top_k"]["default"] == 5
    assert schemas["GazeRequest"]["additionalProperties"] is False
    parameters = {each["name"]: each["schema"] for each in document["paths"]["/v1/lists/{name}"]["get"]["parameters"]}
    assert (parameters["limit"]["minimum"], parameters["limit"]["maximum"]) == (1, 10_000)
    assert parameters["offset"]["minimum"] == 0


def test_fields_of_a_form_are_those_that_are_read(client: FlaskClient, document: dict[str, Any]) -> None:
    form = document["paths"]["/v1/gaze"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    sent = {"lists": "qualities", "phrases": "a river", "template": "{}", "top_k": "all", "rank_by": "lift"}
    sent |= {"fit": "pad", "include": "certainty, lift,stability,none_of_these", "min_probability": "0.001"}
    assert set(form["properties"]) == {"image", "image_url", "image_iiif", *sent}
    response = client.post("/v1/gaze", data={**sent, "image": upload(PNG, "a.png")})
    assert response.status_code == 200
    form = document["paths"]["/v1/explain"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    sent = {"phrases": "a river", "template": "{}", "fit": "stretch", "overlay": "true"}
    assert set(form["properties"]) == {"image", "image_url", "image_iiif", *sent}
    response = client.post("/v1/explain", data={**sent, "image": upload(PNG, "a.png")})
    assert response.status_code == 200
