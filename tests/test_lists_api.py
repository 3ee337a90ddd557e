"""GET /v1/lists and GET /v1/lists/{name}."""

import dataclasses
import hashlib
import threading
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.settings import Settings
from service.zero_shot.classifier import LoadingClassifier, Report, ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from tests.support.problem_shape import MARKER, checked_problem, pointers

SUMMARY = ["name", "title", "description", "count", "template", "source", "licence", "hash"]
BUILT_IN = [
    ("movements", 193, "a1bd93ecd26f8e775f81dbc2e41f38bc0d15765d7bb7f17e32487ea7c753e1ec"),
    ("painting_materials", 25, "6cf155cfc2f0883430932e0e9fcafeb60cbf607b6bb6269ee89d659a9a7b038c"),
    ("sculpture_materials", 38, "4e79104ed4b4038f882d9b2186fc29f9d82c03fa95fd6957c1b90af284f6bf80"),
    ("printing_techniques", 29, "8f9ec25751740c9dc639c4a2fbe250c2439512e2826245f9e8cc2018418d2258"),
    ("surfaces", 19, "54cee6b2519ef5194cf32c8bdcb22dc040c790dd5c5aa1b7fbb32bd62477dba1"),
    ("tools", 24, "fb5454ce50d024c3e7b339eb63f3a65c98bdd48d52b73ef05e6af6056af443e2"),
    ("sites", 19, "a9aa1508bc7852c35d5af4260a5ff6742a5b7c2cf9af2616880c9e38f4cae837"),
    ("qualities", 7, "bf617100f97e70d84c35b224077155920e61ed69b2744f6e30f903e1e353d85a"),
    ("artists_by_training_prevalence", 957, "05a5a3a30074c010e4ffbe4a65df53357042000ca368ee9bb0f10d79135163a0"),
    ("artists_by_name", 5854, "4634b042ea73ef70ca9314b717047a3a6d7d81666256b7e64d9d7d72cbc01f59"),
]


def get(client: FlaskClient, path: str) -> dict[str, Any]:
    response = client.get(path)
    assert response.status_code == 200, response.text
    assert response.content_type == "application/json"
    answer: dict[str, Any] = response.get_json()
    return answer


def paged(client: FlaskClient, path: str) -> list[dict[str, Any]]:
    """Return the items of all pages, from a path on."""
    items: list[dict[str, Any]] = []
    following: str | None = path
    while following:
        page = get(client, following)
        items += page["items"]
        following = page["next"]
    return items


def serve(*lists: PhraseList) -> FlaskClient:
    """Return a client of a service that has these lists, and no model: what lists hold needs none."""

    def build(_report: Report) -> ZeroShotClassifier:
        raise AssertionError("a model was loaded")

    served = {each.name: each for each in lists}
    return create_app(Settings(), served, LoadingClassifier(build), threading.Event()).test_client()


def test_lists_are_told_in_order(client: FlaskClient, phrase_lists: dict[str, PhraseList]) -> None:
    answer = get(client, "/v1/lists")
    assert list(answer) == ["lists"]
    assert [(each["name"], each["count"]) for each in answer["lists"]] == [(name, count) for name, count, _ in BUILT_IN]
    for each in answer["lists"]:
        assert list(each) == SUMMARY
        assert all(isinstance(each[field], str) and each[field] for field in SUMMARY if field != "count")
        assert each["hash"] == phrase_lists[each["name"]].hash
        assert each["template"].count("{}") == 1


@pytest.mark.parametrize(("name", "count", "sha256"), BUILT_IN)
def test_phrases_over_http_are_those_of_clip_gaze(client: FlaskClient, name: str, count: int, sha256: str) -> None:
    phrases = [item["phrase"] for item in paged(client, f"/v1/lists/{name}?limit=1000")]
    assert len(phrases) == count
    assert hashlib.sha256("\n".join(phrases).encode()).hexdigest() == sha256


def test_one_list_has_its_summary_and_a_page(client: FlaskClient, phrase_lists: dict[str, PhraseList]) -> None:
    page = get(client, "/v1/lists/movements")
    assert list(page) == [*SUMMARY, "items", "next"]
    [summary] = [each for each in get(client, "/v1/lists")["lists"] if each["name"] == "movements"]
    assert {field: page[field] for field in SUMMARY} == summary
    assert page["next"] == "/v1/lists/movements?offset=100&limit=100"
    movements = phrase_lists["movements"]
    assert [tuple(item.values()) for item in page["items"]] == list(
        zip(movements.labels[:100], movements.phrases[:100], movements.uris[:100], strict=True)
    )
    assert list(page["items"][0]) == ["label", "phrase", "uri"]


@pytest.mark.parametrize(
    ("query", "labels", "following"),
    [
        ("?offset=0&limit=7", slice(0, 7), None),
        ("?limit=3", slice(0, 3), "?offset=3&limit=3"),
        ("?offset=5&limit=2", slice(5, 7), None),
        ("?offset=4&limit=2", slice(4, 6), "?offset=6&limit=2"),
        ("?offset=7", slice(7, 7), None),
        ("?offset=1000000000", slice(7, 7), None),
        ("?limit=10000", slice(0, 7), None),
    ],
)
def test_page_and_the_next_one(
    client: FlaskClient, phrase_lists: dict[str, PhraseList], query: str, labels: slice, following: str | None
) -> None:
    page = get(client, f"/v1/lists/qualities{query}")
    assert [item["label"] for item in page["items"]] == list(phrase_lists["qualities"].labels[labels])
    assert page["next"] == (f"/v1/lists/qualities{following}" if following else None)
    assert page["count"] == 7


@pytest.mark.parametrize("limit", [1, 50, 192, 193, 194])
def test_pages_together_are_the_list(client: FlaskClient, phrase_lists: dict[str, PhraseList], limit: int) -> None:
    labels = [item["label"] for item in paged(client, f"/v1/lists/movements?limit={limit}")]
    assert labels == list(phrase_lists["movements"].labels)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        *(
            (f"limit={limit}", "/limit")
            for limit in ("0", "10001", "-1", "x", "", "1.0", "1_0", "+5", "%205", "9" * 30)
        ),
        *((f"offset={offset}", "/offset") for offset in ("-1", "1000000001", MARKER, "", "1e3", "%D9%A5")),
        (f"{MARKER}=1", ""),
        ("Limit=1", ""),
    ],
)
def test_page_that_there_cannot_be(client: FlaskClient, query: str, pointer: str) -> None:
    response = client.get(f"/v1/lists/qualities?{query}")
    assert response.status_code == 422
    assert pointers(checked_problem(422, response.headers, response.data, "invalid_request")) == [pointer]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("movment", "'movements'"),
        ("MOVEMENTS", "GET /v1/lists"),
        (MARKER, "GET /v1/lists"),
        ("%ff%00", "GET /v1/lists"),
    ],
)
def test_unknown_list(client: FlaskClient, name: str, suggestion: str) -> None:
    response = client.get(f"/v1/lists/{name}")
    assert response.status_code == 404
    assert suggestion in checked_problem(404, response.headers, response.data, "unknown_list")["detail"]


def test_page_that_the_caller_has_is_not_sent_again(client: FlaskClient) -> None:
    first = client.get("/v1/lists/movements?limit=2")
    tag = first.headers["ETag"]
    assert client.get("/v1/lists/movements?limit=2").headers["ETag"] == tag
    for matching in (tag, f'"x", {tag}', "*", f"W/{tag}"):
        again = client.get("/v1/lists/movements?limit=2", headers={"If-None-Match": matching})
        assert (again.status_code, again.data) == (304, b"")
        assert "Content-Type" not in again.headers
        assert again.headers["ETag"] == tag
        assert again.headers["X-Request-ID"]
    for other in ("/v1/lists/movements?limit=3", "/v1/lists/movements?offset=1&limit=2", "/v1/lists/tools?limit=2"):
        assert client.get(other, headers={"If-None-Match": tag}).status_code == 200
    assert client.get("/v1/lists/movements?limit=2", headers={"If-None-Match": '"x"'}).status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"template": "a {} work"},
        {"labels": ("good", "poor"), "uris": (None, None)},
        {"labels": ("bad", "good")},
        {"uris": ("http://vocab.getty.edu/aat/1", None)},
    ],
)
def test_hash_changes_with_the_contents(changes: dict[str, Any]) -> None:
    before = PhraseList("ours", ("good", "bad"), (None, None), "Ours", "", "{}", "us", "CC0")
    first, same, after = (
        get(serve(each), "/v1/lists/ours")
        for each in (before, dataclasses.replace(before), dataclasses.replace(before, **changes))
    )
    assert first["hash"] == same["hash"]
    assert first["hash"] != after["hash"]


def test_tag_changes_with_what_is_told_of_the_list() -> None:
    before = PhraseList("ours", ("good", "bad"), (None, None), "Ours", "", "{}", "us", "CC0")
    tags = [
        serve(each).get("/v1/lists/ours").headers["ETag"] for each in (before, dataclasses.replace(before, title="New"))
    ]
    assert tags[0] != tags[1]


def test_only_if_none_match_makes_an_answer_conditional(client: FlaskClient) -> None:
    whole = client.get("/v1/lists/surfaces")
    for headers in ({"If-Match": '"x"'}, {"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}, {"Range": "bytes=0-"}):
        answer = client.get("/v1/lists/surfaces", headers=headers)
        assert (answer.status_code, answer.data) == (200, whole.data)
    known = client.get("/v1/lists/surfaces", headers={"If-None-Match": f'"other", {whole.headers["ETag"]}'})
    assert (known.status_code, known.data) == (304, b"")
    assert known.headers["ETag"] == whole.headers["ETag"]
