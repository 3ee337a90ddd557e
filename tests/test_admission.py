"""Admission: what is more than the places is refused at once, and who fetches an image makes room for others."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from service.errors import Overloaded
from service.limits.admission import Admission, SharedByCallers
from service.settings import FETCH_SLOTS
from tests.support.gaze_requests import PNG, by_base64
from tests.support.loopback_origin import LOOPBACK, Origin, serving_pictures
from tests.support.problem_shape import checked_problem


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving_pictures() as server:
        yield server


def test_place_is_refused_while_all_are_taken_and_free_again_after() -> None:
    admission = Admission(2, 1)
    with admission.place():
        assert not admission.is_full
    with admission.place(), admission.place():
        assert admission.is_full
        assert not admission.take()
        with pytest.raises(Overloaded) as refused, admission.place():
            pass
        assert refused.value.retry_after == 1
        assert admission.taken == 2
    assert admission.taken == 0
    with admission.place(), admission.place():
        pass


def test_place_is_given_back_where_the_request_fails() -> None:
    admission = Admission(1, 1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), admission.place():
            raise ValueError("broken")


def test_place_that_was_taken_ahead_is_counted() -> None:
    admission = Admission(1, 1)
    assert admission.take()
    assert (admission.taken, admission.take()) == (1, False)
    admission.give_back()
    assert (admission.taken, admission.take()) == (0, True)


def test_who_fetches_makes_room_and_computes_afterwards_all_the_same() -> None:
    admission = Admission(1, 1)
    with admission.place():
        with admission.fetching():
            assert admission.taken == 0
            assert admission.take()
        assert admission.is_full
        assert (admission.taken, admission.take()) == (2, False)
        admission.give_back()
        assert admission.taken == 1
    assert admission.taken == 0


def test_only_so_many_fetch_at_a_time() -> None:
    admission = Admission(3, 1)
    with admission.place(), admission.fetching():
        with admission.place():
            with pytest.raises(Overloaded) as refused, admission.fetching():
                pass
            assert refused.value.retry_after == 1
            assert admission.taken == 1
        assert admission.taken == 0
    with admission.place(), admission.fetching():
        pass
    with admission.place(), pytest.raises(ValueError, match="host"), admission.fetching():
        raise ValueError("host")
    with admission.place(), admission.fetching():
        assert admission.taken == 0
    assert admission.taken == 0


def test_counts_are_right_after_many_threads(hasty_threads: None) -> None:
    admission = Admission(4, 2)
    most = 0

    def come_and_go() -> None:
        nonlocal most
        for _ in range(300):
            if admission.take():
                most = max(most, admission.taken)
                admission.give_back()

    threads = [threading.Thread(target=come_and_go) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert admission.taken == 0
    assert 1 <= most <= 4


def test_hosts_that_do_not_answer_keep_nobody_from_asking_of_an_upload(
    make_client: Callable[..., FlaskClient],
    origin: Origin,
) -> None:
    client = make_client(url_fetch=LOOPBACK)
    waiting = {"image": {"url": f"{origin.address}/slow.png"}, "lists": ["qualities"]}
    statuses: list[int] = []

    def wait_for_slow_image() -> None:
        statuses.append(client.application.test_client().post("/v1/gaze", json=waiting).status_code)

    threads = [threading.Thread(target=wait_for_slow_image) for _ in range(FETCH_SLOTS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert origin.waiting.acquire(timeout=20)

    assert client.post("/v1/gaze", json={"image": by_base64(PNG), "lists": ["qualities"]}).status_code == 200
    started = time.monotonic()
    response = client.post("/v1/gaze", json=waiting)
    assert time.monotonic() - started < 2
    assert response.status_code == 503
    assert "fetches" in checked_problem(503, response.headers, response.data, "overloaded")["detail"]

    origin.go_on.set()
    for thread in threads:
        thread.join()
    assert statuses == [200] * FETCH_SLOTS
    assert client.post("/v1/gaze", json=waiting).status_code == 200


def test_one_caller_has_only_some_of_the_places() -> None:
    shared = SharedByCallers(3, 2)
    one, other = shared.of(b"one"), shared.of(b"other")
    assert [shared.of(b"one").take() for _ in range(3)] == [True, True, False]
    assert [other.take(), other.take()] == [True, False]
    one.give_back()
    assert (other.take(), one.take()) == (True, False)
    for caller in (one, other, other):
        caller.give_back()
    assert (shared.all.taken, shared.taken) == (0, {})
