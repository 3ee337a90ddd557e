"""Many requests, one after the other: nothing may grow."""

import base64
import http.client
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

import psutil
import pytest

from service.zero_shot.encoder import PHRASE_CACHE_BYTES
from tests.conftest import encoded, noise
from tests.faults.forms import BOUNDARY, form_of
from tests.support.running_service import Service

Seen = Callable[[str], None]
Request = tuple[str, str, bytes | None, str]
REQUESTS, WARM_UP, CONNECTIONS = 100_000, 5_000, 4
MEGABYTE = 2**20


def base64_of(picture: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(picture).decode()}


def asked(**fields: object) -> Request:
    return "POST", "/v1/gaze", json.dumps(fields).encode(), "application/json"


PICTURES = [
    encoded(noise(90 + 7 * seed, 60, seed=seed), kind) for seed, kind in enumerate(("PNG", "JPEG", "GIF", "BMP"))
]
GOOD: list[Request] = [
    *[("POST", "/v1/gaze", form_of(picture), BOUNDARY) for picture in PICTURES],
    *[asked(image=base64_of(picture), lists=["movements", "tools"], top_k=None) for picture in PICTURES],
    asked(images=[base64_of(picture) for picture in PICTURES], lists=["artists_by_name"]),
    ("GET", "/v1/lists", None, ""),
    ("GET", "/v1/lists/artists_by_name?limit=1000", None, ""),
    ("GET", "/v1/model", None, ""),
    ("GET", "/metrics", None, ""),
    ("GET", "/readyz", None, ""),
]
BAD: list[Request] = [
    ("POST", "/v1/gaze", b"{", "application/json"),
    ("POST", "/v1/gaze", b"x" * 300_000, "text/plain"),
    ("POST", "/v1/gaze", form_of(PICTURES[1][:-900]), BOUNDARY),
    ("POST", "/v1/gaze", form_of(b"<svg/>"), BOUNDARY),
    ("POST", "/v1/gaze", form_of(encoded(noise(40, 30), "TIFF")[:-50]), BOUNDARY),
    asked(image=base64_of(PICTURES[0]), lists=["nothing"]),
    asked(image={"url": "http://127.0.0.1/a.png"}, lists=["tools"]),
    asked(image=base64_of(PICTURES[0]), phrases={"a": [""]}),
    ("GET", "/nothing", None, ""),
    ("DELETE", "/v1/gaze", None, ""),
]


class Soak:
    """Callers on a few connections that ask at random, one in three times badly."""

    def __init__(self, service: Service) -> None:
        address = urlsplit(service.address)
        self._server = (str(address.hostname), int(address.port or 0))
        self.statuses: Counter[int] = Counter()
        self._counting = threading.Lock()

    def ask(self, number: int, seed: int) -> None:
        """Ask so many times, and see that good requests are answered and bad ones refused."""
        threads = [
            threading.Thread(target=self._ask, args=(number // CONNECTIONS, seed + k)) for k in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(self, number: int, seed: int) -> None:
        choice = random.Random(seed)
        connection = http.client.HTTPConnection(*self._server, timeout=60)
        statuses: Counter[int] = Counter()
        for _ in range(number):
            bad = choice.random() < 1 / 3
            method, path, body, media_type = choice.choice(BAD if bad else GOOD)
            connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status if (400 <= answer.status < 500) == bad else -answer.status] += 1
        connection.close()
        with self._counting:
            self.statuses += statuses


@pytest.mark.timed
@pytest.mark.fault(41)
def test_many_requests(service: Service, seen: Seen) -> None:
    soak = Soak(service)
    soak.ask(WARM_UP, 0)
    [worker] = [psutil.Process(pid) for pid in service.workers()]

    def state() -> tuple[int, int, int]:
        return worker.memory_info().rss // MEGABYTE, worker.num_fds(), worker.num_threads()

    curve = [state()]
    for step in range(10):
        soak.ask(REQUESTS // 10, 1000 * (step + 1))
        curve.append(state())
    memory, descriptors, threads = zip(*curve, strict=True)
    seen(
        f"MB after each 10,000: {memory}; descriptors {descriptors}; threads {threads}; statuses {dict(soak.statuses)}"
    )
    assert soak.statuses.total() == WARM_UP + REQUESTS
    assert all(status > 0 for status in soak.statuses), soak.statuses
    assert max(memory) - memory[0] < 50
    assert max(descriptors) - descriptors[0] <= 2 * CONNECTIONS
    assert max(threads) - threads[0] <= 4


@pytest.mark.timed
@pytest.mark.fault(42)
def test_many_phrases(service: Service, seen: Seen) -> None:
    address = urlsplit(service.address)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
    [worker] = [psutil.Process(pid) for pid in service.workers()]

    def ask(batch: int) -> None:
        phrases = [f"{batch} {number} a thing of some kind" for number in range(2_000)]
        method, path, body, media_type = asked(image=base64_of(PICTURES[0]), phrases={"own": phrases})
        connection.request(method, path, body, {"Content-Type": media_type})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        answer.read()

    ask(0)
    before = worker.memory_info().rss
    for batch in range(1, 51):
        ask(batch)
    grown = worker.memory_info().rss - before
    connection.close()
    seen(
        f"{grown / MEGABYTE:.0f} MB more after 100,000 phrases, {PHRASE_CACHE_BYTES // MEGABYTE} MB of them remembered"
    )
    assert grown < PHRASE_CACHE_BYTES + 50 * MEGABYTE
