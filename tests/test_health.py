"""GET /livez and /readyz, and what is answered before the model is there."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask.testing import FlaskClient
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from service.api import health
from service.app import create_app
from service.errors import CorruptModel
from service.images import loader as images_loader
from service.images.isolation import decoder
from service.images.isolation.decoder import Decoder
from service.limits.threads import available_cores
from service.settings import Settings
from service.zero_shot.classifier import LoadingClassifier, Report, ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from tests.conftest import encoded, noise
from tests.support.held_model import HeldModel, wait_until, with_stall_timeout
from tests.support.problem_shape import checked_problem

STALL_TIMEOUT = 1.5
TRIAL_SECONDS = 0.3


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


@pytest.mark.parametrize("loaded", [True, False])
def test_service_that_shuts_down_is_alive_and_not_ready(start: Start, loaded: bool) -> None:
    if loaded:
        start.go_on.set()
        start.loading.wait()
    start.shutting_down.set()
    response = start.client.get("/readyz")
    assert response.status_code == 503
    checked_problem(503, response.headers, response.data, "shutting_down")
    assert start.client.get("/livez").status_code == 200


def test_service_in_which_decoding_stands_still_is_not_ready(
    classifier: ZeroShotClassifier, phrase_lists: dict[str, PhraseList], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Decoder] = []

    def make(*arguments: Any) -> Decoder:
        made.append(Decoder(*arguments))
        return made[0]

    monkeypatch.setattr(images_loader, "Decoder", make)
    monkeypatch.setattr(decoder, "DECODE_SECONDS", 0.2)
    ready = LoadingClassifier(lambda _report: classifier).start().wait()
    client = create_app(Settings(model="demo"), phrase_lists, ready, threading.Event()).test_client()
    ordinary = encoded(noise(30, 20))
    with ExitStack() as slots:
        for _ in range(max(2, available_cores())):
            slots.enter_context(made[0].slot(ordinary))
        assert client.get("/readyz").status_code == 200
        time.sleep(0.3)
        response = client.get("/readyz")
        problem = checked_problem(503, response.headers, response.data, "not_ready")
        assert problem["detail"] == "No picture has been decoded for 0 seconds."
        assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldModel]:
    monkeypatch.setattr(health, "TRIAL_SECONDS", TRIAL_SECONDS)
    held = with_stall_timeout(monkeypatch, STALL_TIMEOUT)
    yield held
    held.error = None
    held.go_on()


@pytest.fixture
def held(model: HeldModel, phrase_lists: dict[str, PhraseList]) -> FlaskClient:
    """A client of a service on a model that hangs when the test says so."""
    return create_app(Settings(model="demo"), phrase_lists, model.loading, threading.Event()).test_client()


def unanswered(response: TestResponse) -> None:
    problem = checked_problem(503, response.headers, response.data, "not_ready")
    assert "The model last answered " in problem["detail"]
    assert response.headers["Retry-After"] == "5"


def test_service_whose_model_hangs_is_neither_alive_nor_ready_until_it_answers(
    model: HeldModel, held: FlaskClient
) -> None:
    model.answer()
    model.hang_with_a_caller()
    assert held.get("/livez").status_code == held.get("/readyz").status_code == 200
    wait_until(lambda: model.monitor.stalled)
    unanswered(held.get("/livez"))
    unanswered(held.get("/readyz"))
    model.go_on()
    assert held.get("/livez").status_code == held.get("/readyz").status_code == 200


def test_service_of_which_one_pass_hangs_is_neither_alive_nor_ready_though_another_answers(
    model: HeldModel, held: FlaskClient
) -> None:
    model.hang_with_a_caller()
    model.answer_others()
    wait_until(lambda: model.monitor.stalled)
    model.answer()
    assert model.monitor.seconds_since_success < STALL_TIMEOUT / 2
    unanswered(held.get("/livez"))
    unanswered(held.get("/readyz"))


def test_service_whose_model_only_fails_is_neither_alive_nor_ready_until_it_answers(
    model: HeldModel, held: FlaskClient
) -> None:
    model.error = RuntimeError("out of order")
    time.sleep(STALL_TIMEOUT)
    with capture_logs() as logs:
        unanswered(held.get("/readyz"))
    assert [(line["event"], line["exc_info"]) for line in logs if line["log_level"] == "error"] == [
        ("a trial inference failed", model.error)
    ]
    assert held.get("/livez").status_code == 200  # it has failed just now for the first time
    wait_until(lambda: model.monitor.stalled)
    unanswered(held.get("/livez"))
    model.error = None
    assert held.get("/readyz").status_code == held.get("/livez").status_code == 200


def test_readiness_tries_an_inference_only_where_none_has_succeeded_for_long(
    model: HeldModel, held: FlaskClient
) -> None:
    model.answer()
    assert held.get("/readyz").status_code == 200
    assert model.passes == 1
    time.sleep(STALL_TIMEOUT / 2)
    assert held.get("/livez").status_code == 200
    assert model.passes == 1
    assert held.get("/readyz").status_code == held.get("/readyz").status_code == 200
    assert model.passes == 2
    time.sleep(2 * STALL_TIMEOUT)  # and nobody asks
    assert held.get("/readyz").status_code == 200
    assert model.passes == 3


def test_a_model_that_takes_long_has_time_to_show_that_it_answers(model: HeldModel, held: FlaskClient) -> None:
    model.answer()
    model.hang()
    time.sleep(STALL_TIMEOUT / 2)
    assert held.get("/readyz").status_code == 200
    time.sleep(STALL_TIMEOUT / 2)
    unanswered(held.get("/readyz"))
    model.go_on()
    wait_until(lambda: held.get("/readyz").status_code == 200)
    assert model.passes == 2


def test_many_who_ask_while_the_model_hangs_wait_for_one_trial(
    hasty_threads: None, model: HeldModel, held: FlaskClient
) -> None:
    model.hang()
    time.sleep(STALL_TIMEOUT)
    together = threading.Barrier(6)
    took: list[float] = []

    def ask() -> None:
        own = held.application.test_client()
        together.wait(60)
        began = time.monotonic()
        unanswered(own.get("/readyz"))
        took.append(time.monotonic() - began)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == 6
    assert max(took) >= TRIAL_SECONDS
    began = time.monotonic()
    for _ in range(10):
        unanswered(held.get("/readyz"))
    assert time.monotonic() - began < 10 * TRIAL_SECONDS  # who comes later does not wait anew
    assert model.passes == 1
