"""DynamicBatcher: what comes while a pass runs shares the next one, and everyone gets what is theirs."""

import json
import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from numpy.typing import NDArray

from service.zero_shot.batching import DynamicBatcher
from tests.conftest import encoded, noise
from tests.support.gaze_requests import ask, by_base64
from tests.support.square_backend import SECONDS, Caller, SquareBackend, Stop, busy, features, phrases, pictures


def test_who_is_alone_is_served_at_once_and_by_itself() -> None:
    backend = SquareBackend()
    passes = DynamicBatcher(backend)
    assert passes.image_features(pictures(3)).tolist() == features(3)
    assert passes.text_features(phrases(5, 6)).tolist() == features(5, 6)
    assert passes.image_features(pictures(7, 8)).tolist() == features(7, 8)
    assert backend.passes == [("pictures", [3]), ("phrases", [5, 6]), ("pictures", [7, 8])]
    assert set(backend.threads) == {threading.current_thread()}


def test_what_comes_while_a_pass_runs_shares_the_next_and_each_gets_its_own() -> None:
    backend = SquareBackend()
    with busy(backend) as line:
        callers = {(1,): line.pictures(1), (2, 3): line.pictures(2, 3), (4,): line.pictures(4)}
        backend.let_all_on()
        for values, caller in callers.items():
            assert caller.wait().features == features(*values)
    assert backend.passes == [("pictures", [100]), ("pictures", [1, 2, 3, 4])]


@pytest.mark.parametrize(
    ("sizes", "passes"),
    [
        ([1] * 9, [4, 4, 1]),
        ([3, 2, 1, 1], [3, 4]),
        ([4, 1, 4], [4, 1, 4]),
        ([2, 3, 3, 2], [2, 3, 3, 2]),
        ([1, 3, 1, 3], [4, 4]),
    ],
)
def test_a_pass_has_so_many_pictures_at_most_first_come_first_served(sizes: list[int], passes: list[int]) -> None:
    backend = SquareBackend()
    numbers = iter(range(100))
    sent = [tuple(next(numbers) for _ in range(size)) for size in sizes]
    with busy(backend) as line:
        callers = [line.pictures(*values) for values in sent]
        backend.let_all_on()
        assert [caller.wait().features for caller in callers] == [features(*values) for values in sent]
    ran = [values for _, values in backend.passes[1:]]
    assert [len(values) for values in ran] == passes
    # In the order in which they came, over all passes.
    assert [value for values in ran for value in values] == list(range(sum(sizes)))


def test_batches_of_phrases_are_left_as_they_are() -> None:
    backend = SquareBackend()
    with busy(backend) as line:
        callers = [line.phrases(1, 2, 3), line.phrases(4), line.phrases(5)]
        backend.let_all_on()
        assert [caller.wait().features for caller in callers] == [features(1, 2, 3), features(4), features(5)]
    assert backend.passes[1:] == [("phrases", [1, 2, 3]), ("phrases", [4]), ("phrases", [5])]


@pytest.mark.parametrize("first", ["pictures", "phrases"])
def test_pictures_and_phrases_take_turns(first: str) -> None:
    backend = SquareBackend(image_batch=2)
    with busy(backend, first) as line:
        for number in range(3):
            line.pictures(number, number)
        for number in range(3):
            line.phrases(number)
        backend.let_all_on()
        for caller in line.callers:
            caller.wait()
    other = {"pictures": "phrases", "phrases": "pictures"}[first]
    assert [kind for kind, _ in backend.passes] == [first, *[other, first] * 3]
    assert [values for kind, values in backend.passes[1:] if kind == "phrases"] == [[0], [1], [2]]


@pytest.mark.parametrize("rushing", ["pictures", "phrases"])
def test_neither_is_held_up_while_the_other_keeps_coming(rushing: str) -> None:
    backend = SquareBackend(image_batch=1)
    with busy(backend, rushing) as line:
        another = {"pictures": line.pictures, "phrases": line.phrases}[rushing]
        for number in range(3):
            another(number)
        lonely = {"pictures": line.phrases, "phrases": line.pictures}[rushing](7)
        for number in range(3, 6):
            backend.let_on()
            backend.wait_for_pass()
            # There are always more of the others in the queue than before.
            another(number)
            another(number + 10)
        assert lonely.wait().features == features(7)
    assert [values for kind, values in backend.passes[:4] if kind != rushing] == [[7]]


def test_pictures_of_a_long_request_let_others_in_between() -> None:
    backend = SquareBackend(image_batch=4)
    with busy(backend) as line:
        long = line.pictures(*range(32))
        others = [line.pictures(40), line.phrases(50)]
        for _ in range(4):
            backend.let_on()
            backend.wait_for_pass()
        # The long request's second pass runs now.
        assert [caller.wait().features for caller in others] == [features(40), features(50)]
        assert long.thread.is_alive()
        backend.let_all_on()
        assert long.wait().features == features(*range(32))
    assert sorted(backend.passes[1:4]) == [("phrases", [50]), ("pictures", [0, 1, 2, 3]), ("pictures", [40])]
    own = [values for kind, values in backend.passes if kind == "pictures" and values[0] < 32]
    assert own == [list(range(start, start + 4)) for start in range(0, 32, 4)]


@pytest.mark.parametrize("max_concurrent_batches", [1, 2, 3])
def test_so_many_passes_run_side_by_side_as_there_are_slot(max_concurrent_batches: int) -> None:
    backend = SquareBackend(max_concurrent_batches=max_concurrent_batches, image_batch=1)
    with busy(backend) as line:
        assert backend.running == max_concurrent_batches
        callers = [line.pictures(number) for number in range(6)]
        # Only so many have begun, though others wait.
        assert not backend.entered.acquire(blocking=False)
        backend.let_all_on()
        assert [caller.wait().features for caller in callers] == [features(number) for number in range(6)]
    assert backend.most_running == max_concurrent_batches


def test_pictures_and_phrases_work_side_by_side_in_two_slot() -> None:
    backend = SquareBackend(max_concurrent_batches=2, held=True)
    passes = DynamicBatcher(backend)
    callers = [
        Caller(lambda: passes.image_features(pictures(1))),
        Caller(lambda: passes.text_features(phrases(2))),
    ]
    for _ in callers:
        backend.wait_for_pass()
    assert {kind for kind, _ in backend.passes} == {"pictures", "phrases"}
    backend.let_all_on()
    assert [caller.wait().features for caller in callers] == [features(1), features(2)]


@pytest.mark.parametrize("max_concurrent_batches", [1, 2, 3])
def test_every_slot_is_free_again_after_a_rush(max_concurrent_batches: int) -> None:
    backend = SquareBackend(max_concurrent_batches)
    backend.broken = {3: MemoryError(), 5: Stop()}
    passes = DynamicBatcher(backend)
    for first in ("pictures", "phrases", "pictures"):
        with busy(backend, first, passes) as line:
            assert backend.running == max_concurrent_batches
            for number in range(7):
                line.pictures(number)
                line.phrases(number)
        assert [caller.error is None for caller in line.callers].count(True) >= max_concurrent_batches + 5


def test_who_is_done_goes_home_and_does_not_run_the_next_ones_pass() -> None:
    backend = SquareBackend(image_batch=2)
    with busy(backend) as line:
        shared = [line.pictures(1), line.pictures(2)]
        backend.let_on()
        backend.wait_for_pass()
        # Behind them, while both are in the pass that runs.
        late = line.pictures(3)
        backend.let_on()
        backend.wait_for_pass()
        # The last one's pass runs now, and those two are not kept by it.
        assert [caller.wait().features for caller in shared] == [features(1), features(2)]
        assert late.thread.is_alive()
    assert late.features == features(3)
    assert backend.threads[-1] is late.thread


class SlowBatcher(DynamicBatcher):
    """A batcher in which another thread always runs between a look at the free slots and their change."""

    _slots = 0

    @property
    def _free_slots(self) -> int:
        slots = self._slots
        time.sleep(0.005)
        return slots

    @_free_slots.setter
    def _free_slots(self, slots: int) -> None:
        self._slots = slots


def test_callers_that_come_at_the_same_moment_share_one_slot() -> None:
    backend = SquareBackend(image_batch=1)
    passes = SlowBatcher(backend)
    together = threading.Barrier(4)
    got: list[float] = []

    def ask_for(value: int) -> None:
        together.wait(SECONDS)
        got.extend(float(passes.image_features(pictures(value))[0, 1]) for _ in range(5))

    threads = [threading.Thread(target=ask_for, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert sorted(got) == [0] * 5 + [1] * 5 + [4] * 5 + [9] * 5
    assert (backend.most_running, passes._slots) == (1, 1)


@pytest.mark.parametrize(("max_concurrent_batches", "image_batch"), [(1, 1), (1, 8), (2, 4), (3, 2)])
def test_many_callers_at_once_get_their_own(hasty_threads: None, max_concurrent_batches: int, image_batch: int) -> None:
    backend = SquareBackend(max_concurrent_batches, image_batch)
    passes = DynamicBatcher(backend)
    together = threading.Barrier(12)
    wrong: list[object] = []

    def work(number: int) -> NDArray[np.float32]:
        random = np.random.default_rng(number)
        together.wait(SECONDS)
        for _ in range(40):
            values = random.integers(0, 1_000, size=random.integers(1, 12)).tolist()
            if random.integers(2):
                found = passes.image_features(pictures(*values)).tolist()
            else:
                found = passes.text_features(phrases(*values)).tolist()
            if found != features(*values):
                wrong.append((values, found))
        return np.zeros((0, 2), np.float32)

    for caller in [Caller(partial(work, number)) for number in range(12)]:
        assert caller.wait().error is None
    assert wrong == []
    assert max(len(values) for kind, values in backend.passes if kind == "pictures") <= image_batch
    assert backend.most_running <= max_concurrent_batches
    assert backend.running == 0


def test_a_picture_has_the_same_answer_alone_and_in_company(client: FlaskClient) -> None:
    sent = [by_base64(encoded(noise(60 + seed, 50, seed=seed))) for seed in range(32)]
    together = ask(client, images=sent, lists=["qualities", "tools"], top_k=None)["results"]
    assert len(together) == 32
    assert len({json.dumps(result["lists"]) for result in together}) == 32
    for each, result in zip(sent, together, strict=True):
        assert ask(client, image=each, lists=["qualities", "tools"], top_k=None)["results"] == [result]


def test_callers_at_once_get_the_answers_that_each_gets_alone(client: FlaskClient) -> None:
    asked: list[dict[str, Any]] = [
        {
            "images": [by_base64(encoded(noise(64, 48, seed=10 * number + each))) for each in range(1 + number % 3)],
            "lists": ["qualities"],
            "phrases": {"own": [f"{number} ships", f"{'very ' * number}old ships"]},
        }
        for number in range(8)
    ]
    alone = [ask(client, **each) for each in asked]
    answers: dict[int, dict[str, Any]] = {}
    together = threading.Barrier(len(asked))

    def work(number: int) -> NDArray[np.float32]:
        own = client.application.test_client()
        together.wait(SECONDS)
        for _ in range(5):
            answers[number] = ask(own, **asked[number])
            assert answers[number] == alone[number]
        return np.zeros((0, 2), np.float32)

    for caller in [Caller(partial(work, number)) for number in range(len(asked))]:
        assert caller.wait().error is None
    assert len(answers) == len(asked)
