"""Admission refuses at once what is too much, and a fair semaphore grants its slots in order."""

import re
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from flask.testing import FlaskClient

from service import limits
from service.errors import Overloaded
from service.limits.admission import FETCH_SLOTS, Admission, FairSemaphore, PerClientAdmission
from service.settings import Settings
from tests.conftest import REPOSITORY
from tests.support.gaze_requests import PNG, by_base64
from tests.support.loopback_origin import LOOPBACK, Origin, serving_pictures
from tests.support.problem_shape import checked_problem


@pytest.fixture
def origin() -> Iterator[Origin]:
    with serving_pictures() as server:
        yield server


def test_slot_is_refused_while_all_are_taken() -> None:
    admission = Admission(2, 1)
    with admission.slot():
        assert not admission.is_full
    with admission.slot(), admission.slot():
        assert admission.is_full
        assert not admission.try_acquire()
        with pytest.raises(Overloaded) as refused, admission.slot():
            pass
        assert refused.value.retry_after == 1
        assert admission.taken == 2
    assert admission.taken == 0
    with admission.slot(), admission.slot():
        pass


def test_slot_is_released_where_the_request_fails() -> None:
    admission = Admission(1, 1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), admission.slot():
            raise ValueError("broken")


def test_slot_taken_without_a_block_is_counted() -> None:
    admission = Admission(1, 1)
    assert admission.try_acquire()
    assert (admission.taken, admission.try_acquire()) == (1, False)
    admission.release()
    assert (admission.taken, admission.try_acquire()) == (0, True)


def test_fetching_makes_room_and_computes_afterwards_all_the_same() -> None:
    admission = Admission(1, 1)
    with admission.slot():
        with admission.fetching():
            assert admission.taken == 0
            assert admission.try_acquire()
        assert admission.is_full
        assert (admission.taken, admission.try_acquire()) == (2, False)
        admission.release()
        assert admission.taken == 1
    assert admission.taken == 0


def test_only_so_many_fetch_at_a_time() -> None:
    admission = Admission(3, 1)
    with admission.slot(), admission.fetching():
        with admission.slot():
            with pytest.raises(Overloaded) as refused, admission.fetching():
                pass
            assert refused.value.retry_after == 1
            assert admission.taken == 1
        assert admission.taken == 0
    with admission.slot(), admission.fetching():
        pass
    with admission.slot(), pytest.raises(ValueError, match="host"), admission.fetching():
        raise ValueError("host")
    with admission.slot(), admission.fetching():
        assert admission.taken == 0
    assert admission.taken == 0


def test_counts_are_right_after_many_threads(hasty_threads: None) -> None:
    admission = Admission(4, 2)
    most = 0

    def come_and_go() -> None:
        nonlocal most
        for _ in range(300):
            if admission.try_acquire():
                most = max(most, admission.taken)
                admission.release()

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


def test_one_client_has_only_some_of_the_slots() -> None:
    shared = PerClientAdmission(3, 2)
    one, other = shared.of(b"one"), shared.of(b"other")
    assert [shared.of(b"one").try_acquire() for _ in range(3)] == [True, True, False]
    assert [other.try_acquire(), other.try_acquire()] == [True, False]
    one.release()
    assert (other.try_acquire(), one.try_acquire()) == (True, False)
    for caller in (one, other, other):
        caller.release()
    assert (shared.all.taken, shared.taken) == (0, {})


def test_page_of_limits_names_only_what_there_is() -> None:
    page = limits.__doc__ or ""
    code = "".join(path.read_text() for path in (REPOSITORY / "service").rglob("*.py") if path.name != "__init__.py")
    named = set(re.findall(r"\b_?[A-Z]{2,}_[A-Z_]+\b|\b(?:[A-Z][a-z]+){2,}\b", page)) - {"SLOTS"}
    settings = {f"GAZE_{name.upper()}" for name in Settings.model_fields}
    assert {name for name in named if name not in settings and not re.search(rf"\b{name}\b", code)} == set()


def test_refuses_at_the_deadline_while_no_slot_is_free() -> None:
    semaphore = FairSemaphore(2)
    with semaphore.acquired(), semaphore.acquired():
        with pytest.raises(Overloaded) as refused, semaphore.acquired(time.monotonic() + 0.05):
            pass
        assert refused.value.retry_after == 1
    with semaphore.acquired(time.monotonic()), semaphore.acquired(time.monotonic()):
        pass


def test_slot_is_released_where_the_block_raises() -> None:
    semaphore = FairSemaphore(1)
    for _ in range(3):
        with pytest.raises(ValueError, match="broken"), semaphore.acquired(time.monotonic()):
            raise ValueError("broken")


def test_slots_are_granted_first_come_first_served() -> None:
    semaphore = FairSemaphore(1)
    order: list[int] = []

    def wait(number: int) -> None:
        with semaphore.acquired():
            order.append(number)
            time.sleep(0.01)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(20)]
    with semaphore.acquired():
        for thread in threads:
            thread.start()
            time.sleep(0.01)
    with semaphore.acquired():
        order.append(99)
    for thread in threads:
        thread.join()
    assert order == [*range(20), 99]


def test_waiter_that_gave_up_is_skipped() -> None:
    semaphore = FairSemaphore(1)
    had: list[str] = []

    def patient() -> None:
        with semaphore.acquired():
            had.append("patient")

    with semaphore.acquired():
        with pytest.raises(Overloaded), semaphore.acquired(time.monotonic() + 0.02):
            pass
        waiting = threading.Thread(target=patient)
        waiting.start()
        time.sleep(0.05)
        assert had == []
    waiting.join(10)
    assert had == ["patient"]


def test_no_slot_is_lost_among_many_that_give_up(hasty_threads: None) -> None:
    semaphore = FairSemaphore(3)
    at_once = most = 0
    counting = threading.Lock()

    def come(seed: int) -> None:
        nonlocal at_once, most
        for number in range(200):
            try:
                with semaphore.acquired(time.monotonic() + 0.0001 * ((seed + number) % 5)):
                    with counting:
                        at_once += 1
                        most = max(most, at_once)
                    with counting:
                        at_once -= 1
            except Overloaded:
                continue

    threads = [threading.Thread(target=come, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 3
    with semaphore.acquired(time.monotonic(), slots=3):
        pass


def test_large_waiter_is_not_overtaken_by_small_ones() -> None:
    semaphore = FairSemaphore(10)
    had: list[str] = []

    def take(name: str, share: int) -> None:
        with semaphore.acquired(slots=share):
            had.append(name)

    with semaphore.acquired(slots=4):
        with semaphore.acquired(slots=6):
            threads = [threading.Thread(target=take, args=each) for each in (("large", 8), ("small", 3))]
            threads[0].start()
            time.sleep(0.02)
        threads[1].start()
        time.sleep(0.02)
        assert had == []
    for thread in threads:
        thread.join(5)
    assert had == ["large", "small"]
    with semaphore.acquired(time.monotonic(), slots=10):
        pass


def test_waiter_goes_on_once_a_larger_one_ahead_gives_up() -> None:
    semaphore = FairSemaphore(10)
    had = threading.Event()

    def small() -> None:
        with semaphore.acquired(slots=3):
            had.set()

    with semaphore.acquired(slots=5):
        waiting = threading.Timer(0.02, small)
        waiting.start()
        with pytest.raises(Overloaded), semaphore.acquired(time.monotonic() + 0.1, slots=6):
            pass
        assert had.wait(5)
    waiting.join()


def test_few_may_wait_while_stalled_and_others_are_refused() -> None:
    semaphore = FairSemaphore(1, max_waiting=2)
    had: list[int] = []

    def wait(number: int) -> None:
        with semaphore.acquired(time.monotonic() + 20):
            had.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(2)]
    with semaphore.acquired():
        for thread in threads:
            thread.start()
            time.sleep(0.02)
        begun = time.monotonic()
        for _ in range(2):  # the first waits to see whether something moves
            with pytest.raises(Overloaded), semaphore.acquired(time.monotonic() + 20):
                pass
        assert 0.5 < time.monotonic() - begun < 1.5
        begun = time.monotonic()
        with pytest.raises(Overloaded), semaphore.acquired(time.monotonic() + 20):
            pass
        assert time.monotonic() - begun < 0.3
    for thread in threads:
        thread.join(5)
    assert had == [0, 1]


def test_all_may_wait_while_slots_come_free() -> None:
    semaphore = FairSemaphore(1, max_waiting=1)
    had: list[float] = []

    def take() -> None:
        with semaphore.acquired(time.monotonic() + 20):
            time.sleep(0.4)
            had.append(time.monotonic())

    threads = [threading.Thread(target=take) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(had) == 5


def test_stalled_seconds_grow_while_all_slots_are_held() -> None:
    semaphore = FairSemaphore(2)
    with semaphore.acquired():
        assert semaphore.stalled_seconds == 0
        with semaphore.acquired():
            time.sleep(0.1)
            assert 0.1 <= semaphore.stalled_seconds < 5
        assert semaphore.stalled_seconds == 0
        with semaphore.acquired():
            assert semaphore.stalled_seconds < 0.1
