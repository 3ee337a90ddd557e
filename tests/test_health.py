"""GET /livez and /readyz, and what is answered before the model is there."""

import threading
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from service.app import create_app
from service.errors import CorruptModel
from service.settings import Settings
from service.zero_shot.classifier import ZeroShotClassifier
from service.zero_shot.loading import LoadingClassifier, Report
from service.zero_shot.phrase_lists import PhraseList
from tests.problem_shape import checked_problem


class Start:
    """A start that goes on when the test lets it."""

    def __init__(self, classifier: ZeroShotClassifier, phrase_lists: dict[str, PhraseList]) -> None:
        self.reported = threading.Event()
        self.go_on = threading.Event()
        self._classifier = classifier
        self.loading = LoadingClassifier(self._build)
        self.shutting_down = threading.Event()
        self.client = create_app(
            Settings(model="demo", url_fetch="off"), phrase_lists, self.loading, self.shutting_down
        ).test_client()

    def _build(self, report: Report) -> ZeroShotClassifier:
        report("encoding the lists", 640, 7165)
        self.reported.set()
        assert self.go_on.wait(60)
        return self._classifier


@pytest.fixture
def start(classifier: ZeroShotClassifier, phrase_lists: dict[str, PhraseList]) -> Iterator[Start]:
    held = Start(classifier, phrase_lists)
    held.loading.start()
    assert held.reported.wait(60)
    yield held
    held.go_on.set()
    held.loading.wait()


def test_process_that_answers_is_alive(client: FlaskClient) -> None:
    response = client.get("/livez")
    assert (response.status_code, response.get_json()) == (200, {"status": "alive"})


def test_service_with_its_model_is_ready(client: FlaskClient) -> None:
    response = client.get("/readyz")
    assert (response.status_code, response.get_json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("path", ["/readyz", "/v1/model"])
def test_service_without_its_model_says_how_far_it_is(start: Start, path: str) -> None:
    response = start.client.get(path)
    assert response.status_code == 503
    problem = checked_problem(503, response.headers, response.data, "not_ready")
    assert problem["progress"] == {"stage": "encoding the lists", "done": 640, "total": 7165}
    assert "encoding the lists" in problem["detail"]


def test_nothing_is_ranked_before_the_model_is_there(start: Start) -> None:
    response = start.client.post("/v1/gaze", json={})
    assert response.status_code == 503
    checked_problem(503, response.headers, response.data, "not_ready")


@pytest.mark.parametrize(
    "path", ["/livez", "/metrics", "/v1/lists", "/v1/lists/movements", "/openapi.json", "/docs", "/"]
)
def test_what_needs_no_model_answers_from_the_first_second(start: Start, path: str) -> None:
    assert start.client.get(path).status_code == 200


def test_readiness_comes_with_the_model(start: Start) -> None:
    assert start.client.get("/readyz").status_code == 503
    start.go_on.set()
    start.loading.wait()
    assert start.client.get("/readyz").status_code == 200
    assert start.client.get("/v1/model").status_code == 200


def test_start_that_fails_is_never_ready(phrase_lists: dict[str, PhraseList]) -> None:
    def build(_report: Report) -> ZeroShotClassifier:
        raise CorruptModel("The weights are broken.")

    loading = LoadingClassifier(build).start().wait()
    client = create_app(Settings(model="demo"), phrase_lists, loading, threading.Event()).test_client()
    response = client.get("/readyz")
    assert response.status_code == 503
    assert checked_problem(503, response.headers, response.data, "not_ready")["progress"]["stage"] == "failed"


def test_service_that_shuts_down_is_alive_and_not_ready(start: Start) -> None:
    start.go_on.set()
    start.loading.wait()
    start.shutting_down.set()
    response = start.client.get("/readyz")
    assert response.status_code == 503
    checked_problem(503, response.headers, response.data, "shutting_down")
    assert start.client.get("/livez").status_code == 200
