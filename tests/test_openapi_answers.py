"""Real answers of every route hold nothing that the OpenAPI document does not describe, and all that it promises."""

import base64
import copy
import json
import re
import threading
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from service.api.schemas.requests import EXAMPLE_IMAGE, INCLUDED
from service.app import create_app
from service.settings import Settings
from service.zero_shot.classifier import LoadingClassifier, Report, ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from tests.conftest import REPOSITORY, encoded, noise
from tests.support.gaze_requests import PNG, upload
from tests.support.iiif_museum import museum
from tests.support.openapi_reader import AnswerReader

OF_OTHER_DOCUMENTS = {
    ("/openapi.json", "get"): "OpenAPI's own specification describes it",
    ("/ns/gaze/1/context.json", "get"): "JSON-LD",
    ("/v1/reconcile/0.2", "get"): "without queries the manifest, which the specification's own schema describes",
    ("/v1/reconcile/1.0-draft", "get"): "the same",
}
"""Answers of which others' documents say what they are; tests of their own hold them to these."""

NEVER_SEEN: dict[tuple[str, str], str] = {}
"""Properties that no answer here has, and why."""

BATCH = json.dumps({"q": {"query": f"data:image/png;base64,{EXAMPLE_IMAGE}", "type": "tools", "limit": 2}})
CIRCLE = (REPOSITORY / "examples" / "red-circle-on-blue.png").read_bytes()


class Asking:
    """Asks a client, and reads what it answers by the document.

    asked: routes with their methods
    """

    def __init__(self, reader: AnswerReader, client: FlaskClient) -> None:
        self._reader = reader
        self._client = client
        self.asked: set[tuple[str, str]] = set()

    def __call__(self, route: str, method: str, status: int, path: str = "", **sent: Any) -> TestResponse:
        response = self._client.open(path or route, method=method.upper(), **sent)
        assert response.status_code == status, (route, response.text)
        media_type = response.content_type
        if media_type.endswith("json") and (route, method) not in OF_OTHER_DOCUMENTS:
            self._reader.read(route, method, status, media_type, response.get_json())
        self.asked.add((route, method))
        return response


def ask_all(
    document: dict[str, Any],
    make_client: Callable[..., FlaskClient],
    classifier: ZeroShotClassifier,
    phrase_lists: dict[str, PhraseList],
) -> AnswerReader:
    """Ask every route, for all that it can answer, and return what has read the answers."""
    reader = AnswerReader(document)
    ask = Asking(reader, make_client(url_fetch="127.0.0.0/8"))
    image = {"base64": EXAMPLE_IMAGE, "object_number": "1999.7"}
    everything = {"lists": ["tools"], "phrases": {"own": ["red", "blue"]}, "include": list(INCLUDED)}
    broken = {"base64": base64.b64encode(b"no picture").decode(), "object_number": "1999.8"}
    ask("/v1/gaze", "post", 200, json={"images": [image, broken], **everything})
    ask("/v1/gaze", "post", 200, data={"image": upload(PNG, "a.png"), "lists": "tools"})
    large = encoded(noise(1_000, 1_200), "JPEG")
    fast = Asking(reader, make_client(decode="fast"))
    fast("/v1/gaze", "post", 200, data={"image": upload(large, "a.jpg"), "lists": "tools"})
    with museum(canvases=2, broken=True) as root:
        ask("/v1/gaze", "post", 200, json={"image": {"iiif": f"{root}/manifest"}, "lists": ["tools"]})
    circle = {"base64": base64.b64encode(CIRCLE).decode()}
    ask("/v1/explain", "post", 200, json={"image": circle, "phrases": ["a red circle"], "overlay": True})
    ask("/v1/lists", "get", 200)
    ask("/v1/lists/{name}", "get", 200, "/v1/lists/tools?limit=2")
    ask("/v1/model", "get", 200)
    ask("/v1/reconcile/0.2", "get", 200)
    ask("/v1/reconcile/0.2", "post", 200, data={"queries": BATCH})
    ask("/v1/reconcile/1.0-draft", "get", 200)
    condition = {"matchType": "name", "propertyValue": f"data:image/png;base64,{EXAMPLE_IMAGE}"}
    queries = [{"type": "tools", "limit": 2, "conditions": [condition]}]
    ask("/v1/reconcile/1.0-draft/match", "post", 200, json={"queries": queries})
    ask("/v1/reconcile/1.0-draft/suggest/type", "get", 200, "/v1/reconcile/1.0-draft/suggest/type?prefix=art")
    ask("/v1/reconcile/1.0-draft/suggest/entity", "get", 200, "/v1/reconcile/1.0-draft/suggest/entity?prefix=brush")
    term = quote(next(iter(_terms(ask))))
    ask("/v1/reconcile/1.0-draft/preview", "get", 200, f"/v1/reconcile/1.0-draft/preview?id={term}")
    view = next(path for path in document["paths"] if path.endswith("/{identifier}"))
    ask(view, "get", 302, view.replace("{identifier}", term))
    for path in ("/livez", "/readyz", "/metrics", "/ns/gaze/1/context.json", "/openapi.json", "/docs", "/"):
        ask(path, "get", 200)
    # Each route was asked.
    assert ask.asked == {(path, method) for path, methods in document["paths"].items() for method in methods}
    _ask_for_problems(reader, ask, make_client, classifier, phrase_lists)
    return reader


def _terms(ask: Asking) -> list[str]:
    path = "/v1/reconcile/1.0-draft/suggest/entity"
    found = ask(path, "get", 200, f"{path}?prefix=brush").get_json()["result"]
    return [each["id"] for each in found if re.fullmatch(r"\d+", each["id"])]


def _ask_for_problems(
    reader: AnswerReader,
    ask: Asking,
    make_client: Callable[..., FlaskClient],
    classifier: ZeroShotClassifier,
    phrase_lists: dict[str, PhraseList],
) -> None:
    ask("/v1/gaze", "post", 400, data="{", content_type="application/json")
    ask("/v1/gaze", "post", 422, json={"image": {"base64": EXAMPLE_IMAGE}, "lists": ["tools"], "top_k": 0})
    ask("/v1/gaze", "post", 404, json={"image": {"base64": EXAMPLE_IMAGE}, "lists": ["tols"]})
    ask("/v1/lists/{name}", "get", 422, "/v1/lists/tools?limit=0")
    Asking(reader, make_client(api_keys=("a-key",)))("/v1/model", "get", 401)
    begun, go_on = threading.Event(), threading.Event()

    def build(report: Report) -> ZeroShotClassifier:
        report("encoding the lists", 640, 7165)
        begun.set()
        assert go_on.wait(60)
        return classifier

    loading = LoadingClassifier(build).start()
    assert begun.wait(60)
    starting = create_app(Settings(model="demo"), phrase_lists, loading, threading.Event()).test_client()
    Asking(reader, starting)("/readyz", "get", 503)
    go_on.set()
    loading.wait()


@pytest.fixture(scope="module")
def document(client: FlaskClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").get_json()
    return found


@pytest.fixture(scope="module")
def reader(
    document: dict[str, Any],
    make_client: Callable[..., FlaskClient],
    classifier: ZeroShotClassifier,
    phrase_lists: dict[str, PhraseList],
) -> AnswerReader:
    return ask_all(document, make_client, classifier, phrase_lists)


def test_answers_hold_nothing_that_is_not_described(reader: AnswerReader) -> None:
    assert reader.undescribed == set()


def test_all_that_is_promised_is_in_some_answer(reader: AnswerReader) -> None:
    assert reader.promised() - reader.seen == set(NEVER_SEEN)


def undescribed_by(document: dict[str, Any], reader: AnswerReader) -> set[str]:
    """Return what another document does not describe of the answers that were read."""
    other = AnswerReader(document)
    for answer in reader.answers:
        other.read(*answer)
    return other.undescribed


def test_schema_of_an_answer_that_says_nothing_is_noticed(reader: AnswerReader, document: dict[str, Any]) -> None:
    names = {name for name, _ in reader.promised()} | {"ReconciliationResults"}
    assert len(names) > 30
    for name in names:
        emptied = copy.deepcopy(document)
        emptied["components"]["schemas"][name] = {}
        assert undescribed_by(emptied, reader), name


def test_property_that_is_not_promised_is_noticed(reader: AnswerReader, document: dict[str, Any]) -> None:
    for name, part in reader.promised():
        silent = copy.deepcopy(document)
        schema = silent["components"]["schemas"][name]
        del schema["properties"][part]
        assert any(place.endswith(f"/{part}") for place in undescribed_by(silent, reader)), (name, part)


def test_property_that_is_of_another_type_is_noticed(reader: AnswerReader, document: dict[str, Any]) -> None:
    false = copy.deepcopy(document)
    false["components"]["schemas"]["ListItem"]["properties"]["label"] = {"type": "integer"}
    with pytest.raises(AssertionError, match="is not of type 'integer'"):
        undescribed_by(false, reader)
