"""Answers that would be too large are refused before anything is computed, and what is reckoned holds."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.api import query as module
from service.api.gaze import _GazeHandler
from service.api.query import GazeQuery, ImageSource, ResolvedImage, require_bounded
from service.documents.formats import FORMATS
from service.errors import InvalidRequest
from service.zero_shot.phrase_lists import PhraseList, own_list
from service.zero_shot.ranking import Ranker, RankOptions
from tests.conftest import encoded, noise
from tests.support.gaze_requests import answered, by_base64
from tests.support.problem_shape import checked_problem

IMAGE = by_base64(encoded(noise(32, 24)))
HOSTILE = ["%" * 990 + f"{n}😀" for n in range(1000)]


def refused(client: FlaskClient, question: Any, form: str | None = None) -> str:
    response = client.post("/v1/gaze", json=question, query_string={"format": form} if form else {})
    assert response.status_code == 422
    [found] = checked_problem(422, response.headers, response.data, "invalid_request")["errors"]
    assert found["pointer"] == "/top_k"
    return str(found["detail"])


@pytest.mark.parametrize("form", [None, *FORMATS])
def test_too_large_an_answer_is_refused_before_a_picture_is_read(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, form: str | None
) -> None:
    monkeypatch.setattr(_GazeHandler, "answer", None)
    question = {"images": [IMAGE] * 24, "phrases": {"a": HOSTILE, "b": HOSTILE}, "top_k": None}
    assert "bytes" in refused(client, question, form)


@pytest.mark.parametrize("least", [0.0, 5e-324, 1e-9])
def test_too_many_predictions_are_refused(
    client: FlaskClient, phrase_lists: dict[str, PhraseList], least: float
) -> None:
    question = {"images": [IMAGE] * 17, "lists": list(phrase_lists), "top_k": None, "min_probability": least}
    assert "120000 predictions" in refused(client, question)


@pytest.mark.parametrize("more", [{"top_k": 5}, {"top_k": None, "min_probability": 0.01}])
def test_who_asks_for_the_best_alone_is_answered(
    client: FlaskClient, phrase_lists: dict[str, PhraseList], more: dict[str, Any]
) -> None:
    question = {"images": [IMAGE] * 17, "lists": list(phrase_lists), **more}
    assert len(answered(client.post("/v1/gaze", json=question))["results"]) == 17


@pytest.mark.parametrize("form", [None, *FORMATS])
def test_all_of_the_built_in_lists_fit(
    client: FlaskClient, phrase_lists: dict[str, PhraseList], form: str | None
) -> None:
    question = {"image": IMAGE, "lists": list(phrase_lists), "top_k": None}
    response = client.post("/v1/gaze", json=question, query_string={"format": form} if form else {})
    assert response.status_code == 200


def query(lists: Sequence[PhraseList], **asked: Any) -> GazeQuery:
    return GazeQuery((), (), tuple(lists), RankOptions(**asked), None)


def test_a_museums_list_of_a_hundred_thousand_fits() -> None:
    labels = tuple(f"a term of a thesaurus, number {number}" for number in range(100_970))
    uris = tuple(f"http://vocab.getty.edu/aat/3{number:08}" for number in range(100_970))
    own = PhraseList("museum", labels, uris, template="{} in a picture")
    picture = ResolvedImage(ImageSource("upload", "a.png", b""))
    asked = query([own], include=frozenset({"certainty", "lift", "none_of_these"}))
    require_bounded(asked, [picture], [], None)
    with pytest.raises(InvalidRequest):
        require_bounded(asked, [picture] * 2, [], None)
    with pytest.raises(InvalidRequest):
        require_bounded(asked, [picture], [], FORMATS["linked-art"])


LABELS = {
    "plain": "a river",
    "percent and an emoji": "%" * 990 + "😀",
    "emoji": "😀" * 990,
    "quotes": '"' * 990 + "a",
    "control characters": "\x01" * 990 + "a",
    "bars": "|" * 990 + "a",
}


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS.keys())
@pytest.mark.parametrize("form", [None, *FORMATS])
def test_no_answer_is_larger_than_was_reckoned(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, form: str | None, label: str
) -> None:
    phrases = [f"{label}{number}" for number in range(60)]
    include = [] if form else ["certainty", "lift", "none_of_these", "stability"]
    question = {"images": [IMAGE] * 2, "phrases": {"a": phrases}, "top_k": None, "include": include}
    response = client.post("/v1/gaze", json=question, query_string={"format": form} if form else {})
    assert response.status_code == 200
    for limit in ("MAX_JSON_BYTES", "MAX_DOCUMENT_BYTES"):
        monkeypatch.setattr(module, limit, len(response.data) - 2_000)
    assert "bytes" in refused(client, question, form)


def test_longer_texts_are_reckoned_first() -> None:
    own = own_list("a", ("a" * 900, *["b"] * 99, "c" * 900), "{}")
    picture = ResolvedImage(ImageSource("upload", None, b""))
    for top_k, most in ((1, 3_000), (2, 5_000), (50, 20_000)):
        require_bounded(query([own], top_k=top_k), [picture], [], None)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(module, "MAX_JSON_BYTES", most)
            require_bounded(query([own], top_k=top_k), [picture], [], None)
            patched.setattr(module, "MAX_JSON_BYTES", most // 3)
            with pytest.raises(InvalidRequest):
                require_bounded(query([own], top_k=top_k), [picture], [], None)


@pytest.mark.parametrize("form", [None, "linked-art"])
def test_the_deadline_holds_while_an_answer_is_made(
    make_client: Callable[..., FlaskClient],
    monkeypatch: pytest.MonkeyPatch,
    form: str | None,
) -> None:
    scores = Ranker.scores

    def slow(*arguments: Any) -> Any:
        time.sleep(1.5)
        return scores(*arguments)

    monkeypatch.setattr(Ranker, "scores", slow)
    question = {"images": [IMAGE] * 8, "phrases": {"a": ["a river"]}}
    began = time.monotonic()
    query_string = {"format": form} if form else {}
    response = make_client(request_timeout=1).post("/v1/gaze", json=question, query_string=query_string)
    assert response.status_code == 503
    assert json.loads(response.data)["code"] == "overloaded"
    assert time.monotonic() - began < 8
