"""Callers of a real service: one who asks and is answered, and many who ask again and again and count what they get."""

import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from tests.conftest import encoded, noise
from tests.support.gaze_requests import by_base64
from tests.support.problem_shape import checked_problem
from tests.support.running_service import Service

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
        with self._lock:
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


def ask_patiently(
    service: Service, body: bytes, media_type: str, callers: int, seconds: float
) -> tuple[list[float], Counter[int]]:
    """Let so many ask again and again; who is refused comes back after a second. Return how long 200s took, and all."""
    took: list[float] = []
    statuses: Counter[int] = Counter()
    over = time.monotonic() + seconds

    def ask(number: int) -> None:
        time.sleep(number / callers)
        while time.monotonic() < over:
            connection = http.client.HTTPConnection(service.address.removeprefix("http://"), timeout=60)
            began = time.monotonic()
            connection.request("POST", "/v1/gaze", body, {"Content-Type": media_type})
            response = connection.getresponse()
            response.read()
            connection.close()
            statuses[response.status] += 1
            if response.status == 200:
                took.append(time.monotonic() - began)
            else:
                time.sleep(1)

    with ThreadPoolExecutor(callers) as crowd:
        list(crowd.map(ask, range(callers)))
    return took, statuses


def status_of(service: Service, path: str) -> int:
    """Return the status of an answer, 0 where none comes: nobody takes the connection, or its worker ends."""
    try:
        return answer_to(service, path, seconds=5)[0]
    except (http.client.HTTPException, OSError):
        return 0


def readiness(service: Service) -> int:
    return status_of(service, "/readyz")
