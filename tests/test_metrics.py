"""GET /metrics: Prometheus can read it, and the numbers move by what has happened."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from flask.testing import FlaskClient

from service.zero_shot.classifier import ZeroShotClassifier
from tests.support.exposition import Samples, of, parsed, samples
from tests.support.gaze_requests import BROKEN, PNG, ask, by_base64
from tests.support.problem_shape import MARKER


@contextmanager
def moved(client: FlaskClient) -> Iterator[Samples]:
    """Give a dictionary that is filled, after the block, with what has moved, and by how much."""
    before = samples(client)
    movement: Samples = {}
    yield movement
    for key, value in samples(client).items():
        if value != before.get(key, 0.0):
            movement[key] = value - before.get(key, 0.0)


def test_answer_is_counted(client: FlaskClient) -> None:
    with moved(client) as movement:
        ask(client, images=[by_base64(PNG), by_base64(BROKEN)], lists=["movements"], phrases={"own": ["a", "b"]})
    asked = {"route": "/v1/gaze", "method": "POST", "status": "200", "code": ""}
    assert movement[of("gaze_requests_total", **asked)] == 1
    assert movement[of("gaze_request_seconds_count", route="/v1/gaze")] == 1
    assert movement[of("gaze_request_seconds_sum", route="/v1/gaze")] > 0
    assert movement[of("gaze_images_total", source="base64", outcome="ranked")] == 1
    assert movement[of("gaze_images_total", source="base64", outcome="undecodable_image")] == 1
    assert movement[of("gaze_phrases_total")] == 195
    for stage in ("decode", "encode", "rank"):
        assert movement[of("gaze_stage_seconds_count", stage=stage)] == 1
    # Nothing was fetched, and a time of 0 would make the latency of fetching look better than it is.
    assert of("gaze_stage_seconds_count", stage="fetch") not in movement
    assert movement[of("gaze_stage_seconds_sum", stage="encode")] > 0
    assert of("gaze_in_flight") not in movement
    assert samples(client)[of("gaze_in_flight")] == 0


def test_refusal_is_counted_by_its_code(client: FlaskClient) -> None:
    with moved(client) as movement:
        client.post("/v1/gaze", json={})
        client.get("/v1/lists/unknown")
    refused = {"route": "/v1/gaze", "method": "POST", "status": "422", "code": "invalid_request"}
    unknown = {"route": "/v1/lists/<name>", "method": "GET", "status": "404", "code": "unknown_list"}
    assert movement[of("gaze_requests_total", **refused)] == 1
    assert movement[of("gaze_requests_total", **unknown)] == 1
    assert not any(name.startswith("gaze_images") for name, _ in movement)


def test_caller_cannot_make_new_series(client: FlaskClient) -> None:
    client.get("/before")
    client.open("/v1/lists", method="BREW")
    with moved(client) as movement:
        for number in range(20):
            client.get(f"/{MARKER}{number}")
            client.get(f"/v1/lists/{MARKER}{number}")
            client.open("/v1/lists", method=f"{MARKER}{number}".upper())
            client.get("/livez", headers={"X-Request-ID": f"{MARKER}{number}"})
    ours = {key for key in movement if key[0] == "gaze_requests_total"}
    assert ours == {
        of("gaze_requests_total", route="none", method="GET", status="404", code="not_found"),
        of("gaze_requests_total", route="none", method="other", status="405", code="method_not_allowed"),
        of("gaze_requests_total", route="/v1/lists/<name>", method="GET", status="404", code="unknown_list"),
        of("gaze_requests_total", route="/livez", method="GET", status="200", code=""),
        of("gaze_requests_total", route="/metrics", method="GET", status="200", code=""),
    }
    assert MARKER not in client.get("/metrics").text.lower()


def test_running_server_tells_its_model_and_that_it_is_ready(server: str, classifier: ZeroShotClassifier) -> None:
    told = []
    for _ in range(2):
        with urllib.request.urlopen(f"{server}/metrics", timeout=20) as response:
            told.append(parsed(response.read().decode()))
    assert told[1][of("gaze_ready")] == 1
    model = classifier.model
    computed = {"backend": model.backend, "precision": model.precision, "device": model.device}
    assert model.backend in ("openvino", "torch")
    assert told[1][of("gaze_model_info", id="demo", revision=model.revision or "", **computed)] == 1
    asked = of("gaze_requests_total", route="/metrics", method="GET", status="200", code="")
    assert told[1][asked] == told[0].get(asked, 0) + 1
