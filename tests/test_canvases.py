"""POST /v1/gaze and /v1/explain with IIIF URIs: what they stand for, and what is fetched of it."""

import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from PIL import Image

from fuzz.bombs import white_png
from service.api.images import IIIF_DOCUMENTS, IIIF_TILES
from tests.conftest import encoded, noise
from tests.support.exposition import of, samples
from tests.support.gaze_requests import PNG, ask, ask_by_form, by_base64, upload
from tests.support.iiif_museum import canvas, museum
from tests.support.iiif_tree import StaticHost, tiles_only
from tests.support.loopback_origin import LOOPBACK
from tests.support.origin import Origin, http, slowly
from tests.support.problem_shape import checked_problem

MakeClient = Callable[..., FlaskClient]
FORMS = ("", "/", "/info.json", "/full/max/0/default.jpg", "/full/full/0/default.jpg")


def without_image(answer: dict[str, Any]) -> dict[str, Any]:
    [result] = answer["results"]
    return {**result, "image": None}


@pytest.mark.parametrize("image", ["2/a", "3/b"])
def test_every_uri_of_an_image_gives_the_answer_of_its_smallest_size_that_serves(
    make_client: MakeClient, image: str
) -> None:
    client = make_client(url_fetch=LOOPBACK)
    with museum() as root:
        size = "450," if image == "2/a" else "450,300"
        url = f"{root}/{image}/full/{size}/0/default.jpg"
        expected = ask(client, image={"url": url}, lists=["qualities"])
        for form in FORMS:
            answer = ask(client, image={"iiif": f"{root}/{image}{form}"}, lists=["qualities"])
            assert without_image(answer) == without_image(expected)
            said = answer["results"][0]["image"]
            assert said == {**expected["results"][0]["image"], "source": "iiif", "name": None}
            assert (said["width"], said["height"]) == (450, 300)


@pytest.mark.parametrize("version", [2, 3])
def test_tiles_are_put_together_where_a_server_has_nothing_else(make_client: MakeClient, version: int) -> None:
    """The answer is that of the same picture in one piece; its hash is that of the tiles one after another."""
    client = make_client(url_fetch=LOOPBACK)
    files = StaticHost()
    whole = noise(901, 602)
    small = whole.resize((301, 201), Image.Resampling.BOX)
    with Origin(files) as origin:
        base = f"http://{origin.address}/a"
        tree = tiles_only(whole, version, base, 3, 128)
        files.update({f"/a{path}": http(body) for path, body in tree.items()})
        answer = ask(client, image={"iiif": base}, lists=["qualities"])
        assert origin.connections == 3 + 6  # what the base is, what is said of the image, and its tiles
        explained = client.post("/v1/explain", json={"image": {"iiif": f"{base}/info.json"}, "phrases": ["noise"]})
        assert explained.status_code == 200
    expected = ask(client, image=by_base64(encoded(small, "PNG")), lists=["qualities"])
    assert without_image(answer) == without_image(expected)
    together = hashlib.sha256(b"".join(body for path, body in tree.items() if path != "/info.json"))
    said = {
        "source": "iiif",
        "name": None,
        "sha256": together.hexdigest(),
        "format": "PNG",
        "width": 301,
        "height": 201,
    }
    assert answer["results"][0]["image"] == said


def test_tiles_of_which_one_is_broken(make_client: MakeClient) -> None:
    client = make_client(url_fetch=LOOPBACK)
    files = StaticHost()
    with Origin(files) as origin:
        tree = tiles_only(noise(901, 602), 3, f"http://{origin.address}/a", 3, 128)
        for hostile, status, code in (
            (white_png(13_400, 13_200), 422, "image_dimensions"),
            (encoded(noise(9, 9), "PNG"), 422, "undecodable_image"),
            (b"\xff\0no", 415, "unsupported_image_format"),
        ):
            files.update({f"/a{path}": http(body) for path, body in tree.items()})
            files[f"/a{list(tree)[-1]}"] = http(hostile)
            response = client.post(
                "/v1/gaze", json={"image": {"iiif": f"http://{origin.address}/a"}, "lists": ["qualities"]}
            )
            assert response.status_code == status
            checked_problem(status, response.headers, response.data, code)


def test_one_request_fetches_no_more_than_so_many_tiles(make_client: MakeClient) -> None:
    client = make_client(url_fetch=LOOPBACK)
    files = StaticHost()
    with Origin(files) as origin:
        shown = []
        for number in range(10):
            base = f"http://{origin.address}/{number}"
            tree = tiles_only(noise(256, 256), 3, base, 1, 32)
            files.update({f"/{number}{path}": http(body) for path, body in tree.items()})
            shown.append(canvas(f"http://{origin.address}", number, base))
        document = {"id": f"http://{origin.address}/m", "type": "Manifest", "items": shown}
        files["/m"] = http(json.dumps(document).encode())
        answer = ask(client, image={"iiif": f"http://{origin.address}/m"}, lists=["qualities"])
    read = ["lists" in result for result in answer["results"]]
    assert read == [True] * (IIIF_TILES // 64) + [False] * (10 - IIIF_TILES // 64)


@pytest.mark.parametrize(
    ("own", "named", "target"),
    [
        ("urn:uuid:1f6a", "urn:uuid:1f6a", "urn:uuid:1f6a"),
        ("canvas/1", "{root}/m#/items/0", "{root}/m#/items/0"),
        (None, "{root}/m#/items/0", "{root}/m#/items/0"),
    ],
)
def test_a_canvas_without_an_address_is_ranked_and_stands_in_documents(
    make_client: MakeClient, own: str | None, named: str, target: str
) -> None:
    client = make_client(url_fetch=LOOPBACK)
    files = StaticHost()
    with Origin(files) as origin:
        root = f"http://{origin.address}"
        files["/a.png"] = http(PNG)
        painting = {"type": "Annotation", "body": {"id": f"{root}/a.png", "type": "Image"}}
        shown = {"id": own, "type": "Canvas", "items": [{"type": "AnnotationPage", "items": [painting]}]}
        files["/m"] = http(json.dumps({"id": f"{root}/m", "type": "Manifest", "items": [shown]}).encode())
        sent = {"image": {"iiif": f"{root}/m"}, "lists": ["qualities"]}
        [result] = ask(client, **sent)["results"]
        assert result["image"]["canvas"] == named.format(root=root)
        page = client.post("/v1/gaze?format=annotations", json=sent)
        assert page.json is not None
        assert {annotation["target"] for annotation in page.json["items"]} == {target.format(root=root)}


@pytest.mark.parametrize("document", ["manifest", "collection"])
def test_a_manifest_stands_for_its_canvases(make_client: MakeClient, document: str) -> None:
    client = make_client(url_fetch=LOOPBACK)
    with museum() as root:
        images = [{"iiif": f"{root}/{document}", "object_number": "1913.7"}, by_base64(PNG)]
        first, second, last = ask(client, images=images, lists=["qualities"])["results"]
        alone = [ask(client, image={"iiif": f"{root}/{image}"}, lists=["qualities"]) for image in ("2/a", "3/b")]
        for number, result in enumerate((first, second), start=1):
            image = result["image"]
            assert (image["source"], image["name"], image["object_number"]) == ("iiif", f"Plate {number}", "1913.7")
            assert (image["canvas"], image["manifest"]) == (f"{root}/p/{number}", f"{root}/manifest")
            assert {**result, "image": None} == without_image(alone[number - 1])
        assert last["image"]["source"] == "base64"
        assert set(last["image"]) == {"source", "name", "sha256", "format", "width", "height"}


def test_iiif_of_a_form_comes_last(make_client: MakeClient) -> None:
    with museum() as root:
        answer = ask_by_form(
            make_client(url_fetch=LOOPBACK),
            ("image_iiif", f"{root}/manifest"),
            ("image_url", f"{root}/3/b/full/max/0/default.jpg"),
            ("image", upload(PNG, "a.png")),
            ("lists", "qualities"),
        )
    sources = [each["image"]["source"] for each in answer["results"]]
    assert sources == ["upload", "url", "iiif", "iiif"]


def test_a_canvas_that_fails_has_its_own_error(make_client: MakeClient) -> None:
    with museum(broken=True) as root:
        answer = ask(make_client(url_fetch=LOOPBACK), image={"iiif": f"{root}/manifest"}, lists=["qualities"])
    good, bad = answer["results"]
    assert "lists" in good
    assert bad["error"]["code"] == "image_fetch_failed"
    assert (bad["image"]["name"], bad["image"]["canvas"]) == ("Plate 2", f"{root}/p/2")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("gone", 502, "image_fetch_failed"),
        ("empty", 502, "image_fetch_failed"),
        ("3/b/full/75,50/0/default.jpg/no", 502, "image_fetch_failed"),
    ],
)
def test_iiif_that_leads_nowhere(make_client: MakeClient, path: str, status: int, code: str) -> None:
    client = make_client(url_fetch=LOOPBACK)
    with museum() as root:
        for route, phrases in (("/v1/gaze", {"qualities": ["a", "b"]}), ("/v1/explain", ["a"])):
            sent = {"image": {"iiif": f"{root}/{path}"}, "phrases": phrases if route == "/v1/explain" else {"x": ["a"]}}
            response = client.post(route, json=sent)
            assert response.status_code == status
            checked_problem(status, response.headers, response.data, code)


@pytest.mark.parametrize("address", ["http://169.254.169.254/iiif/a", "http://127.0.0.2/info.json", "file:///etc", "x"])
def test_iiif_is_guarded_as_urls_are(make_client: MakeClient, address: str) -> None:
    response = make_client(url_fetch=LOOPBACK).post(
        "/v1/gaze", json={"image": {"iiif": address}, "lists": ["qualities"]}
    )
    assert response.status_code == 422
    checked_problem(422, response.headers, response.data, "url_not_allowed")


def test_too_many_canvases_are_refused(make_client: MakeClient) -> None:
    with museum(canvases=33) as root:
        client = make_client(url_fetch=LOOPBACK)
        images = [by_base64(PNG), {"iiif": f"{root}/manifest"}]
        response = client.post("/v1/gaze", json={"images": images, "lists": ["qualities"]})
    assert response.status_code == 422
    problem = checked_problem(422, response.headers, response.data, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == ["/images/1"]


def test_explaining_iiif(make_client: MakeClient) -> None:
    client = make_client(url_fetch=LOOPBACK)
    with museum() as root:
        explained = client.post("/v1/explain", json={"image": {"iiif": f"{root}/3/b/info.json"}, "phrases": ["noise"]})
        assert explained.status_code == 200
        assert explained.json is not None
        assert explained.json["image"]["source"] == "iiif"
        several = client.post("/v1/explain", json={"image": {"iiif": f"{root}/manifest"}, "phrases": ["noise"]})
    problem = checked_problem(422, several.headers, several.data, "invalid_request")
    assert [error["pointer"] for error in problem["errors"]] == ["/image"]


def nested(files: StaticHost, root: str, parts: int) -> None:
    """Add a collection `many` of as many collections, all of them empty."""
    collection = {"@context": "http://iiif.io/api/presentation/3/context.json", "type": "Collection"}
    for number in range(parts):
        files[f"/part/{number}"] = http(json.dumps({**collection, "id": f"{root}/part/{number}", "items": []}).encode())
    items = [{"id": f"{root}/part/{number}", "type": "Collection"} for number in range(parts)]
    files["/many"] = http(json.dumps({**collection, "id": f"{root}/many", "items": items}).encode())


def test_one_request_reads_no_more_than_so_many_documents(make_client: MakeClient) -> None:
    client = make_client(url_fetch=LOOPBACK)
    files = StaticHost()
    with Origin(files) as origin:
        root = f"http://{origin.address}"
        nested(files, root, 60)
        images = [{"iiif": f"{root}/many"}, {"iiif": f"{root}/many?again"}, {"iiif": f"{root}/many?more"}]
        response = client.post("/v1/gaze", json={"images": images, "lists": ["qualities"]})
        checked_problem(502, response.headers, response.data, "image_fetch_failed")
        assert origin.connections == IIIF_DOCUMENTS


def test_one_uri_takes_no_longer_than_one_url(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.images.FETCH_SECONDS", 0.5)
    client = make_client(url_fetch=LOOPBACK)
    files = StaticHost()
    with Origin(files) as origin:
        nested(files, f"http://{origin.address}", 60)
        for number in range(60):
            answer = files[f"/part/{number}"]
            assert isinstance(answer, bytes)
            files[f"/part/{number}"] = slowly(answer[:20], answer[20:], 0.2)
        image = {"iiif": f"http://{origin.address}/many"}
        response = client.post("/v1/gaze", json={"image": image, "lists": ["qualities"]})
        checked_problem(504, response.headers, response.data, "image_fetch_timeout")
        assert origin.connections < 6


@pytest.mark.parametrize(
    "document",
    [
        {"@context": "iiif" * 250_000, "type": "Manifest", "items": []},
        {"@context": "http://" + "a." * 500_000, "profile": "iiif/" * 100_000, "width": 1, "height": 1},
        {"type": "Collection", "items": [{"": [[]] * 60_000}, {"": [[]] * 60_000}]},
        {"type": "Manifest", "label": "a" * 5_000_000, "items": []},
    ],
    ids=["context", "profile", "values", "bytes"],
)
def test_a_document_that_is_made_to_be_dear_is_refused_at_once(make_client: MakeClient, document: Any) -> None:
    client = make_client(url_fetch=LOOPBACK)
    files = StaticHost()
    with Origin(files) as origin:
        files["/dear"] = http(json.dumps(document).encode())
        began = time.process_time()
        sent = {"image": {"iiif": f"http://{origin.address}/dear"}, "lists": ["qualities"]}
        response = client.post("/v1/gaze", json=sent)
        checked_problem(502, response.headers, response.data, "image_fetch_failed")
        assert time.process_time() - began < 1


def test_what_fails_is_counted(make_client: MakeClient) -> None:
    client = make_client(url_fetch=LOOPBACK)
    with museum() as root:
        before = samples(client)
        client.post("/v1/gaze", json={"image": {"iiif": f"{root}/gone"}, "lists": ["qualities"]})
        after = samples(client)
    failed = of("gaze_images_total", source="iiif", outcome="image_fetch_failed")
    assert after[failed] - before.get(failed, 0) == 1
