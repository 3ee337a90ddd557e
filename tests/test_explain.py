"""POST /v1/explain: where in a picture phrases are, as numbers and as pictures to lay on it."""

import base64
import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from werkzeug.datastructures import MultiDict

from benchmarks.heat_maps import maps_of
from service.api.schemas.requests import MAX_EXPLAINED
from service.zero_shot import ranking
from service.zero_shot.classifier import ZeroShotClassifier
from service.zero_shot.interpretation.heat_map import METHOD
from tests.conftest import encoded
from tests.support.gaze_requests import PNG, answered, by_base64, upload
from tests.support.problem_shape import checked_problem, pointers
from tests.support.rankings import framing_of
from tests.support.wire import exchange
from training.shapes import shape_mask

CIRCLE_AT, SQUARE_AT = (150, 200), (450, 200)
PHRASES = ["a red circle", "a blue square"]


def scene() -> bytes:
    """Return a white picture of 600 x 400 with a red circle on the left and a blue square on the right."""
    picture = Image.new("RGB", (600, 400), "white")
    rng = np.random.default_rng(0)
    picture.paste((220, 20, 20), mask=shape_mask("circle", picture.size, CIRCLE_AT, 80, rng))
    picture.paste((20, 20, 220), mask=shape_mask("square", picture.size, SQUARE_AT, 80, rng, spread=0))
    return encoded(picture)


SCENE = scene()


def explain(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    fields = {"image": by_base64(SCENE), "phrases": PHRASES, **fields}
    return answered(client.post("/v1/explain", data=json.dumps(fields), content_type="application/json"))


def hottest(answer: dict[str, Any], index: int) -> tuple[float, float]:
    """Return where in the picture, in pixels, the middle of a map's hottest patch lies."""
    heat_map, region = answer["maps"][index], answer["region"]
    rows, columns = np.array(heat_map["values"]).shape
    place = heat_map["strongest"]
    x = region["left"] + (place["column"] + 0.5) / columns * region["width"]
    y = region["top"] + (place["row"] + 0.5) / rows * region["height"]
    return x, y


def decoded(data_uri: str) -> Image.Image:
    kind, _, text = data_uri.partition(",")
    assert kind == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def test_answer_says_who_answered_about_what_and_how(client: FlaskClient, classifier: ZeroShotClassifier) -> None:
    answer = explain(client)
    assert list(answer) == ["model", "image", "region", "method", "maps", "warnings"]
    assert answer["model"]["id"] == "demo"
    assert (answer["image"]["width"], answer["image"]["height"], answer["image"]["format"]) == (600, 400, "PNG")
    assert answer["method"] == METHOD
    assert answer["warnings"] == [ranking.DEMO]
    for found, phrase in zip(answer["maps"], PHRASES, strict=True):
        assert list(found) == ["label", "phrase", "similarity", "gain", "values", "strongest", "flat"]
        assert (found["label"], found["phrase"], found["flat"]) == (phrase, phrase, False)
        values = np.array(found["values"])
        assert values.shape == (14, 14)
        assert (values.min(), values.max()) == (0, 1)
        assert values[found["strongest"]["row"], found["strongest"]["column"]] == 1
    seen = np.asarray(framing_of(classifier)(Image.open(io.BytesIO(SCENE)).convert("RGB"), "crop"), dtype=np.uint8)
    for found, expected in zip(answer["maps"], maps_of(classifier, seen, PHRASES), strict=True):
        np.testing.assert_array_equal(np.array(found["values"], np.float32), expected.values)


def test_gain_is_what_the_strongest_part_alone_has_above_all_but_it(client: FlaskClient) -> None:
    """Ask for the parts one by one, as anyone can who has the description of the method and an image editor."""
    explained = explain(client, overlay=True)
    seen = decoded(explained["seen"])
    blurred = seen.filter(ImageFilter.GaussianBlur(0.18 * 224))
    y, x = np.mgrid[0:224, 0:224] + 0.5
    alone, covered = [], []
    for centre in itertools.product(np.linspace(0.18, 0.82, 5), repeat=2):
        away = (y / 224 - centre[0]) ** 2 + (x / 224 - centre[1]) ** 2
        disc = Image.fromarray(np.rint(255 * np.exp(-away / (2 * 0.12**2))).astype(np.uint8))
        alone.append(Image.composite(seen, blurred, disc))
        covered.append(Image.composite(blurred, seen, disc))
    gains = similarities(client, alone) - similarities(client, covered)  # [discs, phrases]
    for found, of_phrase in zip(explained["maps"], gains.T, strict=True):
        assert found["gain"] == pytest.approx(of_phrase.max(), abs=0.01)
        row, column = divmod(int(of_phrase.argmax()), 5)
        assert abs(found["strongest"]["row"] / 13 - row / 4) < 0.3
        assert abs(found["strongest"]["column"] / 13 - column / 4) < 0.3
    # Neither of the two alone would do for that.
    assert np.abs(similarities(client, covered)).min() > 0.02


def similarities(client: FlaskClient, pictures: list[Image.Image]) -> NDArray[np.float64]:
    """Return the similarity of each picture and each of the phrases: [pictures, phrases]."""
    body = {"images": [by_base64(encoded(each)) for each in pictures], "phrases": {"own": PHRASES}, "top_k": None}
    rows = []
    for result in answered(client.post("/v1/gaze", json=body))["results"]:
        found = {each["phrase"]: each["similarity"] for each in result["lists"]["own"]["predictions"]}
        rows.append([found[phrase] for phrase in PHRASES])
    return np.array(rows)


@pytest.mark.parametrize("fit", [None, "crop", "pad", "stretch"])
def test_each_phrase_is_where_it_is_drawn_however_the_picture_is_framed(client: FlaskClient, fit: str | None) -> None:
    answer = explain(client, **({"fit": fit} if fit else {}))
    for index, (x, y) in enumerate((CIRCLE_AT, SQUARE_AT)):
        at_x, at_y = hottest(answer, index)
        assert abs(at_x - x) < 80
        assert abs(at_y - y) < 80


@pytest.mark.parametrize(
    ("fit", "region"),
    [("crop", (100, 0, 400, 400)), ("pad", (0, -100, 600, 600)), ("stretch", (0, 0, 600, 400))],
)
def test_region_is_what_the_model_saw(client: FlaskClient, fit: str, region: tuple[int, int, int, int]) -> None:
    found = explain(client, fit=fit)["region"]
    assert tuple(found) == ("left", "top", "width", "height")
    assert tuple(found.values()) == pytest.approx(region, abs=3)


def test_overlay_is_a_picture_as_large_as_what_the_model_saw(client: FlaskClient) -> None:
    answer = explain(client, overlay=True)
    seen = decoded(answer["seen"])
    assert (seen.mode, seen.size) == ("RGB", (224, 224))
    for found in answer["maps"]:
        overlay = decoded(found["overlay"])
        assert (overlay.mode, overlay.size) == ("RGBA", (224, 224))
        alpha = np.asarray(overlay)[..., 3]
        row, column = np.unravel_index(int(alpha.argmax()), alpha.shape)
        assert abs(row // 16 - found["strongest"]["row"]) <= 1
        assert abs(column // 16 - found["strongest"]["column"]) <= 1
    # The red circle of the middle square is at its left.
    red, green, blue = np.asarray(seen)[112, 30]
    assert red > 200
    assert max(green, blue) < 60


def test_form_asks_for_the_same(client: FlaskClient) -> None:
    fields = [("image", upload(SCENE, "a.png")), *(("phrases", each) for each in PHRASES)]
    of_form = answered(client.post("/v1/explain", data=MultiDict([*fields, ("fit", "pad"), ("overlay", "true")])))
    of_json = explain(client, fit="pad", overlay=True)
    assert of_form["image"] == {**of_json["image"], "source": "upload", "name": "a.png"}
    assert (of_form["maps"], of_form["seen"]) == (of_json["maps"], of_json["seen"])


def test_template_makes_the_phrase(client: FlaskClient) -> None:
    [found] = explain(client, phrases=["red circle"], template="a {}")["maps"]
    assert (found["label"], found["phrase"]) == ("red circle", "a red circle")
    assert found["values"] == explain(client, phrases=["a red circle"])["maps"][0]["values"]


def test_a_phrase_too_long_for_the_model_is_warned_of(client: FlaskClient) -> None:
    warnings = explain(client, phrases=["a red circle " * 40])["warnings"]
    assert len(warnings) == 2
    assert "77 tokens" in warnings[1]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"phrases": []}, "/phrases"),
        ({"phrases": ["a"] * (MAX_EXPLAINED + 1)}, "/phrases"),
        ({"phrases": [" "]}, "/phrases/0"),
        ({"phrases": {"own": ["a"]}}, "/phrases"),
        ({"phrases": None}, ""),
        ({"template": "no place"}, "/template"),
        ({"fit": "squeeze"}, "/fit"),
        ({"fit": None}, ""),
        ({"overlay": "true"}, "/overlay"),
        ({"overlay": 1}, "/overlay"),
        ({"image": {}}, "/image"),
        ({"image": None}, ""),
        ({"images": [by_base64(PNG)]}, ""),
        ({"lists": ["movements"]}, ""),
    ],
)
def test_what_cannot_be_asked_for_is_refused(client: FlaskClient, fields: dict[str, Any], pointer: str) -> None:
    sent = {"image": by_base64(PNG), "phrases": ["a"], **fields}
    response = client.post("/v1/explain", data=json.dumps(sent), content_type="application/json")
    problem = checked_problem(422, response.headers, response.data, "invalid_request")
    assert pointers(problem) == [pointer]


@pytest.mark.parametrize(
    ("form", "pointer"),
    [
        ([("phrases", "a")], "/image"),
        ([("image", "file"), ("image", "file"), ("phrases", "a")], "/image"),
        ([("image", "file"), ("image_url", "https://museum.example/a.jpg"), ("phrases", "a")], "/image"),
        ([("image", "file")], "/phrases"),
        ([("image", "file"), ("phrases", "a"), ("overlay", "yes")], "/overlay"),
        ([("image", "file"), ("phrases", "a"), ("overlay", "true"), ("overlay", "true")], "/overlay"),
        ([("image", "file"), ("phrases", "a"), ("lists", "movements")], ""),
        ([("image", "file"), *[("phrases", "a")] * (MAX_EXPLAINED + 1)], "/phrases"),
    ],
)
def test_bad_forms_are_refused(client: FlaskClient, form: list[tuple[str, str]], pointer: str) -> None:
    fields = [(name, upload(PNG, "a.png") if text == "file" else text) for name, text in form]
    response = client.post("/v1/explain", data=MultiDict(fields), content_type="multipart/form-data")
    problem = checked_problem(422, response.headers, response.data, "invalid_request")
    assert pointers(problem) == [pointer]


def test_what_is_wrong_with_the_picture_is_told(client: FlaskClient) -> None:
    sent = {"image": by_base64(PNG[:60]), "phrases": ["a"]}
    response = client.post("/v1/explain", json=sent)
    checked_problem(422, response.headers, response.data, "undecodable_image")
    sent["image"] = {"url": "https://museum.example/a.jpg"}
    response = client.post("/v1/explain", json=sent)
    checked_problem(422, response.headers, response.data, "url_not_allowed")


def test_a_flat_map_has_no_strongest_place(client: FlaskClient) -> None:
    [found] = explain(client, image=by_base64(encoded(Image.new("RGB", (300, 300), "white"))), phrases=["a"])["maps"]
    assert found["flat"]
    assert "strongest" not in found


def test_a_slow_host_keeps_nobody_from_an_explanation(make_client: Callable[..., FlaskClient], slow_host: str) -> None:
    client = make_client(url_fetch="127.0.0.1/32")
    waiting = [
        threading.Thread(
            target=client.post,
            args=("/v1/explain",),
            kwargs={"json": {"image": {"url": f"{slow_host}/slow.png"}, "phrases": PHRASES}},
        )
        for _ in range(4)
    ]
    for thread in waiting:
        thread.start()
    assert explain(client)["maps"]
    assert all(thread.is_alive() for thread in waiting)
    SlowHost.go_on.set()
    for thread in waiting:
        thread.join()


class SlowHost(BaseHTTPRequestHandler):
    """A host whose pictures come when the test lets them."""

    go_on = threading.Event()

    def do_GET(self) -> None:
        self.go_on.wait(10)
        self.send_response(404)
        self.end_headers()

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def slow_host() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), SlowHost) as host:
        threading.Thread(target=host.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{host.server_port}"
        host.shutdown()


def test_explaining_needs_the_key_too(make_client: Callable[..., FlaskClient]) -> None:
    response = make_client(api_keys="secret-key-of-a-museum").post("/v1/explain", json={})
    checked_problem(401, response.headers, response.data, "unauthorized")


def post(server: str, path: str, fields: dict[str, Any]) -> int:
    """Return the status of a server's answer."""
    body = json.dumps(fields).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: gaze\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return exchange(server, head.encode() + body).status


def test_more_explanations_than_can_be_had_are_refused_and_rankings_get_on(server: str) -> None:
    outcomes: list[int] = []

    def ask() -> None:
        outcomes.append(post(server, "/v1/explain", {"image": by_base64(SCENE), "phrases": PHRASES}))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    ranked = post(server, "/v1/gaze", {"image": by_base64(PNG), "lists": ["qualities"]})
    for thread in threads:
        thread.join()
    assert ranked == 200
    assert set(outcomes) == {200, 503}
    assert outcomes.count(200) >= 3
