"""Decoders that cost all they can, and decoders that were taken over; and what other callers see meanwhile."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fuzz.bombs import costly
from fuzz.seeds import picture
from tests.conftest import CACHE, encoded
from tests.faults.callers import status_of
from tests.faults.images import DEADLINE_SECONDS, ask, ranked, refused
from tests.faults.starting import GUNICORN
from tests.support.hostile_decoder import REACH, saying
from tests.support.running_service import Service, served

Seen = Callable[[str], None]
CALLERS = 2
OTHERS_SECONDS = 1.0


@pytest.mark.fault(61)
@pytest.mark.parametrize(("name", "file"), [pytest.param(*each, id=each[0]) for each in costly()])
def test_pictures_that_cost_seconds_a_kilobyte(service: Service, seen: Seen, name: str, file: bytes) -> None:
    ordinary = [encoded(picture("RGB"), file_format) for file_format in ("JPEG", "PNG")]
    expected = [ranked(service, each) for each in ordinary]
    took: list[float] = []
    statuses: list[int] = []

    def send() -> None:
        begun = time.monotonic()
        statuses.append(ask(service, file).status)
        took.append(time.monotonic() - begun)

    threads = [threading.Thread(target=send) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    slowest = slowest_health = 0.0
    while any(thread.is_alive() for thread in threads):
        for each, before in zip(ordinary, expected, strict=True):
            begun = time.monotonic()
            assert ranked(service, each) == before
            slowest = max(slowest, time.monotonic() - begun)
        for path in ("/livez", "/readyz"):
            begun = time.monotonic()
            assert status_of(service, path) == 200
            slowest_health = max(slowest_health, time.monotonic() - begun)
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 422, 503}
    assert max(took) < DEADLINE_SECONDS
    assert slowest < OTHERS_SECONDS
    assert slowest_health < OTHERS_SECONDS
    seen(
        f"{name}, {len(file) / 1000:.0f} kB: {sorted(statuses)} after {max(took):.1f} s, "
        f"others {slowest:.2f} s, health {slowest_health:.2f} s"
    )


@pytest.mark.fault(65)
def test_a_decoder_that_was_taken_over(tmp_path: Path, seen: Seen) -> None:
    command = [*GUNICORN, "tests.faults.taken_over:app"]
    environment = {"GAZE_API_KEYS": "", "HF_TOKEN": "secret", "HF_HUB_OFFLINE": "1"}
    gif, png = encoded(picture("RGB"), "GIF"), encoded(picture("RGB"))
    with served(CACHE, tmp_path / "log", command=command, environment=environment) as started:
        service = started.wait()
        workers = service.workers()
        before = ranked(service, gif), ranked(service, png)
        problem = refused(service, REACH, 422, "undecodable_image")
        assert problem["detail"] == "Reached: nothing."
        for said in (b"no JSON", b"{}", b'{"needed": -1}', b'{"error": "internal_error", "detail": "No."}'):
            refused(service, saying(said), 422, "undecodable_image")
        assert (ranked(service, gif), ranked(service, png)) == before
        assert service.workers() == workers
        assert service.lines("defect") == []
        assert not service.lines("decoders are less closed off than they could be")
    seen("reached nothing; 422, the next answered")
