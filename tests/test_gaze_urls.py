"""POST /v1/gaze with URLs: images fetched from a host on loopback that is allowed by name of its network."""

import threading
from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from tests.conftest import encoded, noise
from tests.support.exposition import of, samples
from tests.support.gaze_requests import JPEG, PNG, answered, ask, ask_by_form, by_base64, upload
from tests.support.loopback_origin import LOOPBACK, Origin, serving_pictures
from tests.support.problem_shape import MARKER, checked_problem


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving_pictures() as server:
        yield server


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/bl%C3%BCte.png", "blüte.png"),
        ("/Öl auf Holz/größe 1.png ", "größe 1.png"),
        ("/b.png?width=10&a=/c", "b.png"),
        ("/x%2F..%2Fy.png", "y.png"),
    ],
)
def test_image_behind_a_url_is_ranked(
    make_client: Callable[..., FlaskClient], origin: Origin, path: str, name: str
) -> None:
    client = make_client(url_fetch=LOOPBACK)
    sent = ask(client, image=by_base64(PNG), lists=["qualities"])["results"][0]
    fetched = ask(client, image={"url": origin.address + path}, lists=["qualities"])["results"][0]
    assert fetched == {**sent, "image": {**sent["image"], "source": "url", "name": name}}


def test_files_of_a_form_come_before_its_urls(make_client: Callable[..., FlaskClient], origin: Origin) -> None:
    answer = ask_by_form(
        make_client(url_fetch=LOOPBACK),
        ("image_url", f"{origin.address}/1.png"),
        ("image", upload(JPEG, "2.jpg")),
        ("image_url", f"{origin.address}/3.png"),
        ("image", upload(encoded(noise(20, 20), "GIF"), "4.gif")),
        ("lists", "qualities"),
    )
    assert [(each["image"]["source"], each["image"]["name"]) for each in answer["results"]] == [
        ("upload", "2.jpg"),
        ("upload", "4.gif"),
        ("url", "1.png"),
        ("url", "3.png"),
    ]


@pytest.mark.parametrize(
    ("url", "status", "code"),
    [
        ("{origin}/missing", 502, "image_fetch_failed"),
        ("{origin}/text", 415, "unsupported_image_format"),
        ("http://127.0.0.2/a.png", 422, "url_not_allowed"),
        ("http://169.254.169.254/latest", 422, "url_not_allowed"),
        ("file:///etc/passwd", 422, "url_not_allowed"),
        ("no url", 422, "url_not_allowed"),
        ("http://[", 422, "url_not_allowed"),
    ],
)
def test_image_that_is_not_fetched(
    make_client: Callable[..., FlaskClient], origin: Origin, url: str, status: int, code: str
) -> None:
    client = make_client(url_fetch=LOOPBACK)
    asked = f"{url.format(origin=origin.address)}?{MARKER}"
    by_json = client.post("/v1/gaze", json={"image": {"url": asked}, "lists": ["qualities"]})
    form = {"image_url": asked, "lists": "qualities"}
    by_form = client.post("/v1/gaze", data=form, content_type="multipart/form-data")
    for response in (by_json, by_form):
        assert response.status_code == status
        checked_problem(status, response.headers, response.data, code)


def test_host_that_is_too_slow(make_client: Callable[..., FlaskClient], origin: Origin) -> None:
    client = make_client(url_fetch=LOOPBACK, request_timeout=0.5)
    asked = {"image": {"url": f"{origin.address}/slow.png"}, "lists": ["qualities"]}
    response = client.post("/v1/gaze", json=asked)
    assert response.status_code == 504
    checked_problem(504, response.headers, response.data, "image_fetch_timeout")


def test_no_url_is_fetched_where_fetching_is_off(client: FlaskClient, origin: Origin) -> None:
    response = client.post("/v1/gaze", json={"image": {"url": f"{origin.address}/slow.png"}, "lists": ["qualities"]})
    assert response.status_code == 422
    checked_problem(422, response.headers, response.data, "url_not_allowed")
    assert not origin.waiting.acquire(timeout=0.05)


def test_slow_url_among_several_takes_the_time_of_those_behind_it(
    make_client: Callable[..., FlaskClient], origin: Origin
) -> None:
    client = make_client(url_fetch=LOOPBACK, request_timeout=3)
    sent = [by_base64(PNG), {"url": f"{origin.address}/slow.png"}, by_base64(PNG)]
    results = answered(client.post("/v1/gaze", json={"images": sent, "lists": ["qualities"]}))["results"]
    assert "lists" in results[0]
    assert [result["error"]["code"] for result in results[1:]] == ["image_fetch_timeout", "overloaded"]


def test_requests_under_way_are_counted(make_client: Callable[..., FlaskClient], origin: Origin) -> None:
    client = make_client(url_fetch=LOOPBACK)
    sent = {"image": {"url": f"{origin.address}/slow.png"}, "lists": ["qualities"]}
    asking = threading.Thread(target=lambda: client.post("/v1/gaze", json=sent))
    asking.start()
    assert origin.waiting.acquire(timeout=10)
    assert samples(make_client())[of("gaze_in_flight")] == 1
    origin.go_on.set()
    asking.join()
    assert samples(make_client())[of("gaze_in_flight")] == 0
