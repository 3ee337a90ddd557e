"""The life of a worker: its model hangs or lacks memory; it is killed, told to end, told to load anew."""

import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from service.limits.admission import SLOTS
from service.zero_shot.model_files import demo_folder
from tests.conftest import CACHE
from tests.faults.callers import LOST, REFUSED, Load, answer_to, question, readiness, status_of, wait_for
from tests.faults.starting import GUNICORN
from tests.support.running_service import Service, served

Seen = Callable[[str], None]
PATIENCE = 5.0


@contextmanager
def injected(folder: Path, **environment: str) -> Iterator[Service]:
    """Give the real service on a backend that hangs or lacks memory where a file in the folder says so."""
    chosen = {"FAULTS_FOLDER": str(folder), "FAULTS_PATIENCE": str(PATIENCE), "HF_HUB_OFFLINE": "1", **environment}
    command = [*GUNICORN, "tests.faults.injected:app"]
    with served(CACHE, folder / "log", command=command, environment=chosen) as service:
        yield service.wait()


@pytest.mark.fault(33)
def test_too_little_memory_for_a_pass(tmp_path: Path, seen: Seen) -> None:
    memory = tmp_path / "memory"
    with injected(tmp_path) as service:
        _, _, expected = answer_to(service, "/v1/gaze", question(8))
        memory.write_text("1")
        status, _, answer = answer_to(service, "/v1/gaze", question(8))
        assert status == 200
        assert len(answer["results"]) == 8
        for result, before in zip(answer["results"], expected["results"], strict=True):
            ranked, ranked_before = (each["lists"]["qualities"]["predictions"] for each in (result, before))
            assert [found["phrase"] for found in ranked] == [found["phrase"] for found in ranked_before]
        memory.write_text("0")
        status, headers, problem = answer_to(service, "/v1/gaze", question(8))
        assert (status, problem["code"]) == (503, "overloaded")
        assert int(headers["Retry-After"]) > 0
        assert answer_to(service, "/livez")[0] == 200
        memory.unlink()
        assert answer_to(service, "/v1/gaze", question(8))[0] == 200
        logged = [line["pictures"] for line in service.lines("too little memory for a pass")]
        assert logged == [8, 8, 1]
        assert service.lines("defect") == []
    seen("injected: 8 pictures in parts 200, one too many 503, next 200")


@pytest.mark.fault(39)
@pytest.mark.fault(29)
def test_an_inference_that_hangs(tmp_path: Path, seen: Seen) -> None:
    hang = tmp_path / "hang"
    with injected(tmp_path, GAZE_REQUEST_TIMEOUT="2") as service:
        assert answer_to(service, "/v1/gaze", question())[0] == 200
        assert answer_to(service, "/livez")[0] == answer_to(service, "/readyz")[0] == 200
        [worker] = service.workers()
        hang.touch()
        began = time.monotonic()
        with Load(service, 1).going() as held:
            time.sleep(0.3)  # its pass hangs
            status, _, problem = answer_to(service, "/v1/gaze", question())
            waited = time.monotonic() - began
            assert (status, problem["code"]) == (503, "overloaded")
            assert waited < 8
            failed = wait_for(lambda: status_of(service, "/livez") == 503, PATIENCE + 3)
            failed += waited
            assert status_of(service, "/readyz") == 503
            wait_for(lambda: worker not in service.workers(), 2 * PATIENCE + 3)
            ended = time.monotonic() - began
            hang.unlink()
            again = wait_for(lambda: readiness(service) == 200, 10)
            wait_for(lambda: held.outcomes[200] > 0, 10)
        assert answer_to(service, "/v1/gaze", question())[0] == 200
        assert len(service.lines("the model does not answer")) == 1
    seen(
        f"patience {PATIENCE:.0f} s: queued 503 after {waited:.1f} s, /livez 503 after {failed:.1f} s, "
        f"worker ends after {ended:.1f} s, ready {again:.1f} s later"
    )


@pytest.mark.fault(49)
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_share_the_places(tmp_path: Path, seen: Seen, workers: int) -> None:
    hang = tmp_path / "hang"
    with injected(tmp_path, GAZE_WORKERS=str(workers)) as service, ThreadPoolExecutor(3 * SLOTS) as callers:
        wait_for(partial(_started, service, workers), 30)
        hang.touch()
        asked = [callers.submit(answer_to, service, "/v1/gaze", question()) for _ in range(3 * SLOTS)]
        try:
            wait_for(lambda: sum(each.done() for each in asked) >= 2 * SLOTS, PATIENCE)
            refused = [each.result()[0] for each in asked if each.done()]
        finally:
            hang.unlink()
        assert refused == [503] * (2 * SLOTS)
        assert Counter(each.result()[0] for each in asked) == {200: SLOTS, 503: 2 * SLOTS}
    seen(f"{workers} worker(s): {SLOTS} of {3 * SLOTS} at once have places")


@pytest.mark.fault(39)
def test_readiness_tries_an_inference_when_none_has_succeeded_for_long(tmp_path: Path, seen: Seen) -> None:
    hang = tmp_path / "hang"
    with injected(tmp_path) as service:
        time.sleep(PATIENCE + 0.5)
        assert readiness(service) == 200
        hang.touch()
        time.sleep(PATIENCE + 0.5)  # nobody asks for anything
        assert answer_to(service, "/livez")[0] == 200
        began = time.monotonic()
        asked = [threading.Thread(target=readiness, args=(service,)) for _ in range(6)]
        for thread in asked:
            thread.start()
        for thread in asked:
            thread.join()
        assert time.monotonic() - began < 4
        assert readiness(service) == 503
        hang.unlink()
        wait_for(lambda: readiness(service) == 200, 2)
        assert service.lines("defect") == []
    seen("idle: /readyz tries one inference, 503 while that hangs")


def _started(service: Service, workers: int) -> bool:
    """Tell whether so many workers have become ready since the start."""
    return len(service.lines("ready")) == workers


def _gone(service: Service, worker: int) -> bool:
    return worker not in service.workers()


def _kill(tmp_path: Path, seen: Seen, tries: int) -> None:
    lost, slowest = 0, 0.0
    with served(CACHE, tmp_path / "log", environment={"GAZE_WORKERS": "2"}) as service:
        service.wait()
        for number in range(tries):
            wait_for(partial(_started, service, number + 2), 20)
            with Load(service).going() as load:
                wait_for(lambda: load.answered >= 20, 20)
                os.kill(service.workers()[number % 2], signal.SIGKILL)
                slowest = max(slowest, wait_for(partial(_started, service, number + 3), 10))
                assert readiness(service) == 200
            assert set(load.outcomes) <= {200, LOST}, load.outcomes
            assert load.outcomes[LOST] <= 4, load.outcomes
            lost += load.outcomes[LOST]
    seen(f"{tries} kills: {lost} requests lost, all under way in the killed worker; ready in {slowest:.1f} s at most")


def _terminate(tmp_path: Path, seen: Seen, tries: int) -> None:
    slowest, answered = 0.0, 0
    for number in range(tries):
        with served(CACHE, tmp_path / f"log{number}") as service:
            service.wait()
            with Load(service).going() as load:
                wait_for(lambda: load.answered >= 20, 20)
                before = load.answered
                service.process.send_signal(signal.SIGTERM)
                began = time.monotonic()
                assert service.process.wait(30) == 0
                slowest = max(slowest, time.monotonic() - began)
            assert set(load.outcomes) <= {200, 503, REFUSED}, load.outcomes
            answered += load.answered - before
    seen(f"{tries} SIGTERM: 0 lost, {answered} answered after it, out in {slowest:.1f} s at most")


def _reload(tmp_path: Path, seen: Seen, tries: int) -> None:
    answered, slowest = 0, 0.0
    with served(CACHE, tmp_path / "log") as service:
        service.wait()
        for number in range(tries):
            [worker] = service.workers()
            with Load(service).going() as load:
                wait_for(lambda: load.answered >= 20, 20)
                service.process.send_signal(signal.SIGHUP)
                wait_for(partial(_started, service, number + 2), 20)
                slowest = max(slowest, wait_for(partial(_gone, service, worker), 30))
                time.sleep(0.5)  # the new one answers alone
            assert set(load.outcomes) == {200}, load.outcomes
            answered += load.answered
            assert len(service.workers()) == 1
    seen(
        f"{tries} SIGHUP: {answered} requests, all 200; old worker gone {slowest:.1f} s after the new is ready at most"
    )


OWN = "an owl\na hare\n"
BROKEN = "label,uri\na hare,https://museum.example/hare\na hare,https://museum.example/hare\n"


def _labels(service: Service) -> list[str]:
    return [item["label"] for item in answer_to(service, "/v1/lists/own")[2]["items"]]


def _reload_broken(tmp_path: Path, seen: Seen, tries: int, workers: int = 1) -> None:
    lists, answered = tmp_path / "lists", 0
    lists.mkdir()
    own, broken = lists / "own.txt", lists / "animals.csv"
    own.write_text(OWN, encoding="utf-8")
    environment = {"GAZE_LISTS_DIR": str(lists), "GAZE_WORKERS": str(workers)}
    with served(CACHE, tmp_path / "log", environment=environment) as service:
        service.wait()
        wait_for(partial(_started, service, workers), 20)
        old = service.workers()
        for number in range(tries):
            own.write_text(f"{OWN}number {number}\n", encoding="utf-8")
            broken.write_text(BROKEN, encoding="utf-8")
            with Load(service).going() as load:
                wait_for(lambda: load.answered >= 20, 20)  # it is called in this turn alone
                service.process.send_signal(signal.SIGHUP)
                wait_for(partial(_refused, service, number + 1), 20)
                before = load.answered
                wait_for(lambda: load.answered >= before + 20, 20)  # noqa: B023
            assert set(load.outcomes) == {200}, load.outcomes
            answered += load.answered
            assert service.workers() == old
            assert _labels(service) == ["an owl", "a hare"]
        for line in service.lines(NOT_READ):
            assert line["level"] == "error"
            assert "animals.csv" in line["reason"]
            assert "line 3" in line["reason"]
        broken.unlink()
        with Load(service).going() as load:
            service.process.send_signal(signal.SIGHUP)
            wait_for(partial(_started, service, 2 * workers), 30)
            wait_for(lambda: not set(old) & set(service.workers()), 30)
        assert set(load.outcomes) == {200}, load.outcomes
        assert _labels(service) == ["an owl", "a hare", f"number {tries - 1}"]
        assert len(service.workers()) == workers
    seen(f"{tries} broken lists, {workers} worker(s): {answered} requests, all 200; mended, the new ones answer")


NOT_READ = "the lists are not read anew, and the old ones are served on"


def _refused(service: Service, times: int) -> bool:
    return len(service.lines(NOT_READ)) == times


@pytest.mark.fault(47)
@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_with_a_broken_list(tmp_path: Path, seen: Seen, workers: int) -> None:
    _reload_broken(tmp_path, seen, 2, workers)


@pytest.mark.fault(47)
@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_while_the_model_is_gone(tmp_path: Path, seen: Seen, workers: int) -> None:
    model, away = tmp_path / "model", tmp_path / "away"
    shutil.copytree(demo_folder(), model)
    environment = {"GAZE_MODEL": str(model), "GAZE_WORKERS": str(workers)}
    with served(CACHE, tmp_path / "log", environment=environment) as service:
        service.wait()
        wait_for(partial(_started, service, workers), 20)
        old = service.workers()
        model.rename(away)
        with Load(service).going() as load:
            service.process.send_signal(signal.SIGHUP)
            wait_for(lambda: len(service.lines("start failed")) == workers, 30)
            wait_for(lambda: set(service.workers()) == set(old), 10)
            began = load.answered
            time.sleep(3)  # gunicorn looks each second whether there are enough workers, or too many
            wait_for(lambda: load.answered >= began + 20, 20)
            assert set(service.workers()) == set(old)
            away.rename(model)
            service.process.send_signal(signal.SIGHUP)
            wait_for(partial(_started, service, 2 * workers), 30)
            wait_for(lambda: not set(old) & set(service.workers()), 30)
        assert set(load.outcomes) == {200}, load.outcomes
        assert len(service.workers()) == workers
        assert len(service.lines("start failed")) == workers
        service.process.send_signal(signal.SIGTERM)
        ended = wait_for(lambda: service.process.poll() is not None, 30)
        assert service.process.returncode == 0
    seen(
        f"{workers} worker(s), model gone: {load.answered} requests, all 200; back, it is loaded; out in {ended:.1f} s"
    )


@pytest.mark.fault(47)
def test_a_worker_that_dies_while_the_model_is_gone(tmp_path: Path, seen: Seen) -> None:
    model, away = tmp_path / "model", tmp_path / "away"
    shutil.copytree(demo_folder(), model)
    environment = {"GAZE_MODEL": str(model), "GAZE_WORKERS": "2"}
    with served(CACHE, tmp_path / "log", environment=environment) as service:
        service.wait()
        wait_for(partial(_started, service, 2), 20)
        model.rename(away)
        killed, other = service.workers()
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: bool(service.lines("a worker could not start; the others go on until SIGHUP")), 20)
        time.sleep(2)
        assert service.workers() == [other]
        assert len(service.lines("start failed")) == 1
        assert answer_to(service, "/v1/gaze", question())[0] == 200
        away.rename(model)
        service.process.send_signal(signal.SIGHUP)
        wait_for(partial(_started, service, 4), 30)
        wait_for(partial(_gone, service, other), 30)
        assert len(service.workers()) == 2
    seen("one of two dies, model gone: the other goes on, without a loop of starts")


@pytest.mark.fault(34)
def test_a_worker_that_is_killed(tmp_path: Path, seen: Seen) -> None:
    _kill(tmp_path, seen, 2)


@pytest.mark.fault(40)
def test_sigterm_under_load(tmp_path: Path, seen: Seen) -> None:
    _terminate(tmp_path, seen, 2)


@pytest.mark.fault(40)
def test_sighup_under_load(tmp_path: Path, seen: Seen) -> None:
    _reload(tmp_path, seen, 2)


@pytest.mark.timed
@pytest.mark.parametrize(
    "twenty",
    [
        pytest.param(_kill, marks=pytest.mark.fault(34)),
        pytest.param(_terminate, marks=pytest.mark.fault(40)),
        pytest.param(_reload, marks=pytest.mark.fault(40)),
        pytest.param(_reload_broken, marks=pytest.mark.fault(47)),
    ],
)
def test_twenty_times(twenty: Callable[[Path, Seen, int], None], tmp_path: Path, seen: Seen) -> None:
    twenty(tmp_path, seen, 20)
