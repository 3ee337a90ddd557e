"""The life of the processes: killed, told to end, told to load anew, with a model that hangs or lacks memory."""

import http.client
import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CACHE, encoded, free_port, noise
from tests.gaze_command import gaze, run, sentence
from tests.problem_shape import checked_problem
from tests.running_service import SERVE, Service, served
from tests.test_cache import mounted
from tests.test_gaze import by_base64

Seen = Callable[[str], None]

GUNICORN = (sys.executable, "-m", "gunicorn", "--config", "python:service.gunicorn_conf")
PATIENCE = 5.0
LOST = "lost"
REFUSED = "refused"


def question(pictures: int = 1) -> bytes:
    """Return a body that asks about so many pictures, which need no decoder's process."""
    sent = [by_base64(encoded(noise(60, 40, seed=seed))) for seed in range(pictures)]
    return json.dumps({"images": sent, "lists": ["qualities"]}).encode()


def answer_to(
    service: Service, path: str, body: bytes | None = None, seconds: float = 30.0
) -> tuple[int, Any, dict[str, Any]]:
    """Return the status, the headers and the JSON of an answer, each error's checked to be a problem."""
    request = urllib.request.Request(service.address + path, body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:
            return response.status, response.headers, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            sent = error.read()
            problem = json.loads(sent)
            checked_problem(error.code, error.headers, sent, problem["code"])
            return error.code, error.headers, problem


def wait_for(what: Callable[[], bool], seconds: float) -> float:
    """Return after how many seconds something came true; fail if it did not within these."""
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < seconds
        time.sleep(0.02)
    return time.monotonic() - began


class Load:
    """Callers that ask one thing after another, half of them on connections that they keep, and what they got.

    A caller that no connection was made for asks again, as clients do, and nothing of it is lost.
    """

    def __init__(self, service: Service, callers: int = 4) -> None:
        self.outcomes: Counter[int | str] = Counter()
        self._service = service
        self._body = question()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(bool(number % 2),)) for number in range(callers)]

    @contextmanager
    def going(self) -> Iterator["Load"]:
        """Ask for as long as the block runs; all have their answers after it."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(60)
                assert not thread.is_alive(), "a caller never got an answer"

    @property
    def answered(self) -> int:
        """How many were answered so far."""
        return sum(count for outcome, count in self.outcomes.items() if isinstance(outcome, int))

    def _ask(self, keeps: bool) -> None:
        host = self._service.address.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=40)
        while not self._over.is_set():
            outcome = self._outcome(connection, keeps)
            with self._lock:
                self.outcomes[outcome] += 1
            if not keeps or outcome != 200:
                connection.close()
            if outcome == REFUSED:
                time.sleep(0.02)
        connection.close()

    def _outcome(self, connection: http.client.HTTPConnection, keeps: bool) -> int | str:
        try:
            if connection.sock is None:
                connection.connect()
        except ConnectionRefusedError:
            return REFUSED
        try:
            connection.request("POST", "/v1/gaze", self._body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        except (http.client.HTTPException, OSError):
            return LOST
        if response.status != 200:
            checked_problem(response.status, response.headers, body, json.loads(body)["code"])
        if not keeps or response.getheader("Connection") == "close":
            connection.close()
        return response.status


def status_of(service: Service, path: str) -> int:
    """Return the status of an answer, 0 where none comes: nobody takes the connection, or its worker ends."""
    try:
        return answer_to(service, path, seconds=5)[0]
    except (http.client.HTTPException, OSError):
        return 0


def readiness(service: Service) -> int:
    return status_of(service, "/readyz")


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
    ],
)
def test_twenty_times(twenty: Callable[[Path, Seen, int], None], tmp_path: Path, seen: Seen) -> None:
    twenty(tmp_path, seen, 20)


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    ("environment", "exit_code"),
    [
        ({"GAZE_MODEL": "/nowhere"}, None),
        ({"GAZE_MODEL": "museum/none", "HF_ENDPOINT": "http://127.0.0.1:9"}, 69),
        ({"GAZE_MODEL": "museum/none", "HF_HUB_OFFLINE": "1"}, 69),
    ],
)
def test_a_model_that_is_not_there(
    environment: dict[str, str], exit_code: int | None, tmp_path: Path, seen: Seen
) -> None:
    began = time.monotonic()
    ended = gaze("serve", HF_HOME=tmp_path, **environment)
    assert ended.returncode in ((65, 69, 78) if exit_code is None else (exit_code,))
    assert sentence(ended, ended.returncode)
    assert time.monotonic() - began < 60
    seen(f"one sentence, exit {ended.returncode}")


@pytest.mark.fault(35)
def test_a_model_that_is_gone_when_the_worker_starts_ends_the_master(tmp_path: Path, seen: Seen) -> None:
    port = str(free_port())
    ended = run([*GUNICORN, "service.wsgi:app"], HF_HOME=tmp_path, HF_HUB_OFFLINE="1", GAZE_PORT=port)
    assert ended.returncode == 3
    assert ended.stdout.count("Booting worker") == 1
    assert ended.stdout.count('"start failed"') == 1
    assert "Traceback" not in ended.stdout + ended.stderr
    seen("gone after the check: the master ends with 3 after one worker")


@pytest.mark.fault(36)
@pytest.mark.fault(38)
def test_two_starts_on_one_cache_and_then_broken_text_features(tmp_path: Path, seen: Seen) -> None:
    cache = tmp_path / "cache"
    with served(cache, tmp_path / "1") as first, served(cache, tmp_path / "2") as second:
        first.wait()
        second.wait()
        encoded_by = [service.lists("text features encoded") for service in (first, second)]
        answers = [answer_to(service, "/v1/gaze", question())[2] for service in (first, second)]
        assert answers[0] == answers[1]
    assert len(set(encoded_by[0]) | set(encoded_by[1])) == len(encoded_by[0]) + len(encoded_by[1]) > 0
    files = sorted(cache.glob("text-features/*/*.safetensors"))
    assert not list(cache.rglob(".unfinished*"))
    contents = [file.read_bytes() for file in files]
    broken = {
        0: contents[0][: len(contents[0]) // 2],
        1: bytes(byte ^ 255 for byte in contents[1]),
        2: contents[3],  # of another list
    }
    for number, wrong in broken.items():
        files[number].write_bytes(wrong)
    with served(cache, tmp_path / "3") as third:
        third.wait()
        assert len(third.lists("text features encoded")) == len(broken)
        told = {line["file"] for line in third.lines("text features unusable")}
        assert told == {files[number].name for number in broken}
        assert answer_to(third, "/v1/gaze", question())[2] == answers[0]
    assert [file.stat().st_size for file in files] == [len(whole) for whole in contents]
    seen(f"{len(files)} files whole after two starts at once; 3 broken ones rebuilt and logged, the same answer")


@pytest.mark.fault(37)
@pytest.mark.parametrize("disk", ["full", "read-only", "read-only root"])
def test_a_disk_that_takes_nothing(disk: str, tmp_path: Path, seen: Seen) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    command: tuple[str, ...]
    if disk == "read-only root":
        # As in compose, there is memory for temporary files, which torch cannot do without, and nothing else.
        mounts = (
            'for at in $(findmnt -rno TARGET | grep -Ev "^/(proc|sys|dev)"); do mount -o remount,bind,ro "$at"; done'
        )
        unwritable = '! touch "$0/x" 2>/dev/null'
        script = f'mount --make-rprivate / && {mounts}; {unwritable} && exec "$@"'
        command = ("unshare", "--mount", "sh", "-c", script, str(cache), *SERVE)
    else:
        command = tuple(mounted(cache, {"full": "size=1m", "read-only": "ro,size=1m"}[disk], *SERVE))
    with served(cache, tmp_path / "log", command=command, environment={"TMPDIR": "/dev/shm"}) as service:
        service.wait()
        assert answer_to(service, "/v1/gaze", question())[0] == 200
        assert "the cache cannot be written to" in service.warnings()
        assert service.lines("defect") == []
    seen(f"{disk}: 200, and a warning")
