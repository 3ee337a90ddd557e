"""Answers of POST /v1/gaze as documents: how one asks for them, and that they say what JSON says."""

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.documents.formats import FORMATS
from tests.support.gaze_requests import PNG, ask, by_base64, upload
from tests.support.iiif_museum import museum
from tests.support.loopback_origin import LOOPBACK
from tests.support.problem_shape import checked_problem

ASKED = {"image": {**by_base64(PNG), "object_number": "1913.7"}, "lists": ["movements", "surfaces"], "top_k": 3}
LINKED_ART = 'application/ld+json;profile="https://linked.art/ns/v1/linked-art.json"'


def asked_for(client: FlaskClient, format_name: str = "", accept: str = "*/*", body: Any = ASKED) -> Any:
    query = {"format": format_name} if format_name else {}
    return client.post("/v1/gaze", json=body, query_string=query, headers={"Accept": accept})


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_answered_with_its_media_type(client: FlaskClient, name: str) -> None:
    response = asked_for(client, name)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == FORMATS[name].media_type
    assert "1913.7" in response.text or name == "annotations"


def test_csv_says_what_json_says(client: FlaskClient) -> None:
    answer = ask(client, **ASKED)
    [result] = answer["results"]
    predictions = [(name, each) for name, found in result["lists"].items() for each in found["predictions"]]
    read = rows(asked_for(client, "csv").text)
    assert len(read) == 6
    for row, (name, each) in zip(read, predictions, strict=True):
        assert (row["object_number"], row["list"], row["rank"]) == ("1913.7", name, str(each["rank"]))
        assert float(row["probability"]) == each["probability"]
        assert (row["label"], row["uri"] or None) == (each["label"], each["uri"])
        assert (row["list_hash"], row["candidates"]) == (
            result["lists"][name]["hash"],
            str(result["lists"][name]["count"]),
        )
        assert (row["model"], row["revision"]) == (answer["model"]["id"], answer["model"]["revision"])


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/json", "application/json"),
        ("text/html", "application/json"),
        ("text/csv", "text/csv"),
        ("text/csv;q=0.5, application/json", "application/json"),
        ("application/json;q=0.5, TEXT/CSV", "text/csv"),
        ("text/csv;q=0", "application/json"),
        ("text/csv, application/json;charset=utf-8", "application/json"),
        (f"application/json, {LINKED_ART};q=0.1", "application/json"),
        ("*/*, text/csv;q=0.1", "application/json"),
        ("text/csv, */*;q=0.8", "text/csv"),
        ("application/ld+json", 'application/ld+json; profile="http://iiif.io/api/presentation/3/context.json"'),
        (LINKED_ART, 'application/ld+json; profile="https://linked.art/ns/v1/linked-art.json"'),
    ],
)
def test_accept_chooses_the_form(client: FlaskClient, accept: str, media_type: str) -> None:
    response = asked_for(client, accept=accept)
    assert response.status_code == 200
    assert response.headers["Content-Type"].startswith(media_type)


def test_the_parameter_goes_before_accept(client: FlaskClient) -> None:
    assert asked_for(client, "json", "text/csv").is_json
    assert asked_for(client, "csv", "application/json").headers["Content-Type"].startswith("text/csv")


@pytest.mark.parametrize("name", ["", "xml", "CSV", "csv ", "a" * 10_000])
def test_a_format_that_is_not_known(client: FlaskClient, name: str) -> None:
    response = client.post("/v1/gaze", json=ASKED, query_string={"format": name})
    problem = checked_problem(422, response.headers, response.data, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == ["/format"]


@pytest.mark.parametrize("name", ["csv", "annotations"])
def test_a_document_is_whole_or_not_at_all(client: FlaskClient, name: str) -> None:
    body = {"images": [by_base64(PNG), by_base64(b"no picture"), by_base64(PNG)], "lists": ["qualities"]}
    response = asked_for(client, name, body=body)
    problem = checked_problem(415, response.headers, response.data, "unsupported_image_format")
    assert problem["detail"].startswith("Picture 2: ")
    assert asked_for(client, "json", body=body).status_code == 200


def test_what_many_pictures_are_called_is_no_object_number(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(url_fetch=LOOPBACK)
    with museum() as root:
        url = f"{root}/3/b/full/max/0/default.jpg"
        body = {"images": [{"url": url}, {"iiif": f"{root}/manifest"}], "lists": ["qualities"], "top_k": 1}
        numbers = [row["object_number"] for row in rows(asked_for(client, "csv", body=body).text)]
    assert numbers == [url, f"{root}/p/1", f"{root}/p/2"]
    form = {"image": upload(PNG, "1937.1.84.png"), "lists": "qualities", "top_k": "1"}
    sent = client.post("/v1/gaze?format=csv", data=form, content_type="multipart/form-data")
    assert [row["object_number"] for row in rows(sent.text)] == ["1937.1.84"]


def test_ids_of_annotations_are_iris(client: FlaskClient) -> None:
    page = json.loads(asked_for(client, "annotations").data)
    for found in (page["id"], *(each["id"] for each in page["items"])):
        assert re.fullmatch(r"https?://[^\s#]+(#[^\s#]+)?", found)


def test_annotations_are_of_the_canvases(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(url_fetch=LOOPBACK)
    with museum() as root:
        body = {"image": {"iiif": f"{root}/manifest"}, "lists": ["qualities"], "top_k": 2}
        page = json.loads(asked_for(client, "annotations", body=body).data)
    targets = [f"{root}/p/1"] * 2 + [f"{root}/p/2"] * 2
    assert [each["target"] for each in page["items"]] == targets
    assert len({each["id"] for each in page["items"]}) == 4


def test_the_service_names_itself_as_it_is_told_to(make_client: Callable[..., FlaskClient]) -> None:
    client = make_client(public_url="https://museum.example/gaze/")
    page = json.loads(asked_for(client, "annotations").data)
    assert page["@context"][0] == "https://museum.example/gaze/ns/gaze/1/context.json"
    context = client.get("/ns/gaze/1/context.json")
    assert json.loads(context.data)["@context"]["gaze"] == "https://museum.example/gaze/ns/gaze/1#"
    assert context.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("host", ["a b", "x/y", "\\", 'a"b', "é"])
def test_a_host_that_is_none_is_in_no_document(make_client: Callable[..., FlaskClient], host: str) -> None:
    response = make_client(hosts="*").get("/ns/gaze/1/context.json", headers={"Host": host})
    checked_problem(400, response.headers, response.data, "malformed_request")


BROKEN = by_base64(PNG[:-40])


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("pictures", "told"),
    [
        ([by_base64(PNG), BROKEN], "Picture 2: The image is broken"),
        ([BROKEN, by_base64(PNG)], "Picture 1: The image is broken"),
        ([by_base64(PNG), by_base64(b"no picture"), BROKEN], "Picture 2: This is no image"),
        ([BROKEN, BROKEN], "Picture 1: The image is broken"),
        ([BROKEN], "The image is broken"),
    ],
)
def test_a_document_of_pictures_of_which_one_is_broken_fails_and_names_it(
    client: FlaskClient, name: str, pictures: list[Any], told: str
) -> None:
    response = asked_for(client, name, body={"images": pictures, "lists": ["qualities"]})
    code = "unsupported_image_format" if "no image" in told else "undecodable_image"
    assert response.status_code == (415 if "no image" in told else 422)
    detail = checked_problem(response.status_code, response.headers, response.data, code)["detail"]
    assert detail.startswith(told)
    assert detail.endswith("A document cannot hold this; leave the picture out, or ask for JSON.") == (
        len(pictures) > 1
    )
    as_json = client.post("/v1/gaze", json={"images": pictures, "lists": ["qualities"]})
    assert as_json.status_code == (200 if by_base64(PNG) in pictures else response.status_code)
