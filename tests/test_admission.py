"""Admission: what is more than the slots is refused at once, and what can no longer be in time is dropped."""

import threading
import time
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from service.api.admission import Admission
from service.errors import Overloaded
from service.settings import SLOTS
from tests.problem_shape import checked_problem
from tests.test_gaze import PNG, by_base64
from tests.test_gaze_urls import LOOPBACK, Origin, origin  # noqa: F401  # a fixture


def test_slot_is_refused_while_all_are_taken_and_free_again_after() -> None:
    admission = Admission(2, 60)
    with admission.slot(), admission.slot():
        with pytest.raises(Overloaded) as refused, admission.slot():
            pass
        assert refused.value.retry_after == 1
    with admission.slot(), admission.slot():
        pass


def test_slots_that_are_held_are_counted() -> None:
    admission = Admission(2, 60)
    assert admission.taken == 0
    with admission.slot():
        assert admission.taken == 1
        with admission.slot():
            assert admission.taken == 2
            with pytest.raises(Overloaded), admission.slot():
                pass
            assert admission.taken == 2
    assert admission.taken == 0


def test_slot_is_given_back_where_the_request_fails() -> None:
    admission = Admission(1, 60)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), admission.slot():
            raise ValueError("broken")


def test_time_is_over_at_the_deadline() -> None:
    admission = Admission(1, 60)
    now = time.monotonic()
    assert admission.deadline(now) == now + 60
    admission.require_time(now - 30)
    with pytest.raises(Overloaded) as late:
        admission.require_time(now - 61)
    assert late.value.retry_after == 1


def test_request_beyond_the_slots_is_refused_at_once(
    make_client: Callable[..., FlaskClient],
    origin: Origin,  # noqa: F811
) -> None:
    client = make_client(url_fetch=LOOPBACK)
    waiting = {"image": {"url": f"{origin.address}/slow.png"}, "lists": ["qualities"]}
    statuses: list[int] = []

    def wait_for_slow_image() -> None:
        statuses.append(client.application.test_client().post("/v1/gaze", json=waiting).status_code)

    threads = [threading.Thread(target=wait_for_slow_image) for _ in range(SLOTS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert origin.waiting.acquire(timeout=20)

    started = time.monotonic()
    response = client.post("/v1/gaze", json={"image": by_base64(PNG), "lists": ["qualities"]})
    assert time.monotonic() - started < 2
    assert response.status_code == 503
    problem = checked_problem(503, response.headers, response.data, "overloaded")
    assert "Retry-After" in problem["detail"]
    assert client.get("/readyz").status_code == 200

    origin.go_on.set()
    for thread in threads:
        thread.join()
    assert statuses == [200] * SLOTS
    assert client.post("/v1/gaze", json={"image": by_base64(PNG), "lists": ["qualities"]}).status_code == 200
