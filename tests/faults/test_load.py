"""More than the service can carry, and requests that nobody waits for any more."""

import json
import select
import socket
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from benchmarks.open_loop import Crowd, p99
from benchmarks.overload import overload
from benchmarks.pictures import LARGE, jpeg
from benchmarks.reference_clip import make_reference_clip
from service.limits.admission import SLOTS
from service.limits.threads import available_cores
from tests.conftest import CACHE, encoded
from tests.faults.answers import POST, assert_answers
from tests.faults.callers import answer_to, ask_patiently, question, wait_for
from tests.faults.forms import BOUNDARY, form_of
from tests.support.exposition import of, parsed
from tests.support.problem_shape import checked_problem
from tests.support.running_service import Service, served
from tests.support.wire import connect, exchange, read_answer

Seen = Callable[[str], None]


def costly() -> bytes:
    """Return a form with a picture of some 70 kilobytes that takes some 25 ms to decode and to resize."""
    return form_of(encoded(Image.new("RGB", (2400, 1800), "teal"), "JPEG"))


def crowd_for(service: Service, body: Path) -> Crowd:
    address = urlsplit(service.address)
    assert address.hostname
    assert address.port
    head = f"POST /v1/gaze HTTP/1.1\r\nHost: gaze\r\nContent-Type: {BOUNDARY}\r\n"
    return Crowd(address.hostname, address.port, head, str(body), 0.0)


# On the model that museums run, with a painting as museums keep it; and on the demo model, whose answers are so cheap
# that the callers, who are on the same cores here, take some hundredths of these while they are refused.
@pytest.mark.timed
@pytest.mark.fault(28, 31)
@pytest.mark.parametrize("model", ["full size", "demo"])
def test_ten_times_the_load(seen: Seen, tmp_path: Path, model: str) -> None:
    full_size = model == "full size"
    body = tmp_path / "body"
    body.write_bytes(form_of(jpeg(*LARGE)) if full_size else costly())
    named = str(make_reference_clip(tmp_path / "model")) if full_size else "demo"
    environment = {"GAZE_MODEL": named}
    # A folder of its own: the converted model has hundreds of megabytes.
    with served(tmp_path / "cache", tmp_path / "log", environment=environment) as service:
        asked = crowd_for(service.wait(), body)
        with served(tmp_path / "cache", tmp_path / "other log", environment=environment) as other:
            measured = overload(asked, crowd_for(other.wait(), body), seconds=60)
        assert service.lines("defect") == []
    seen(f"{model}: {measured.said()}")
    assert (measured.hung, measured.odd) == (0, [])
    assert measured.latency_grown <= 2
    assert p99(measured.refused) <= 0.050
    assert max(measured.probes) <= 0.100
    assert measured.goodput_kept >= 0.95, measured.said()
    assert measured.capacity_kept >= 0.95, measured.said()


@pytest.mark.timed
@pytest.mark.fault(49)
def test_more_workers_make_nobody_wait_longer(seen: Seen, tmp_path: Path) -> None:
    body, each = costly(), (1, 2, 4)
    took: dict[int, list[float]] = {workers: [] for workers in each}
    with ExitStack() as running:
        services = {
            workers: running.enter_context(
                served(
                    CACHE, tmp_path / f"log{workers}", environment={"GAZE_WORKERS": str(workers), "GAZE_THREADS": ""}
                )
            )
            for workers in each
        }
        for workers, service in services.items():
            service.wait()
            wait_for(lambda: len(service.lines("ready")) == workers, 30)  # noqa: B023  # it is called in this turn alone
            ask_patiently(service, body, BOUNDARY, 64, 2)
        for _ in range(6):  # by turns, since what else runs here comes and goes
            for workers, service in services.items():
                seconds, statuses = ask_patiently(service, body, BOUNDARY, 64, 8)
                assert set(statuses) == {200, 503}
                took[workers] += seconds
    alone = p99(took[1])
    seen("; ".join(f"{workers}: {len(took[workers])} accepted, p99 {p99(took[workers]):.3f} s" for workers in each))
    assert max(p99(took[workers]) for workers in each) <= 1.25 * alone


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@pytest.mark.fault(10)
def test_more_callers_than_are_kept_while_some_refused_ones_still_send(tmp_path: Path, seen: Seen) -> None:
    body, half = costly(), b"x" * 1000
    request = POST + f"Content-Type: {BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    sending = POST + f"Content-Type: {BOUNDARY}\r\nContent-Length: {10**6}\r\n\r\n".encode() + half
    with served(CACHE, tmp_path / "log") as service, ExitStack() as held:

        def sent(data: bytes) -> socket.socket:
            connection = held.enter_context(connect(service.address))
            connection.sendall(data)
            return connection

        [worker] = service.wait().workers()
        for _ in range(2 * SLOTS):
            sent(request)
        leaving = [sent(sending) for _ in range(SLOTS)]
        refused = 0
        for connection in leaving:
            connection.settimeout(0.5)
            with suppress(TimeoutError):
                answer = read_answer(connection)
                checked_problem(503, answer.headers, answer.body, "overloaded")
                refused += 1
        assert refused
        # They linger for five seconds, and count among those that the service parts with where they are too many.
        idle = [sent(b"") for _ in range(1100)]
        # Those who have places may not be answered yet.
        wait_for(lambda: answer_to(service, "/v1/gaze", question())[0] == 200, 5)
        assert_answers(service)
        parted = sum(is_closed(connection) for connection in idle)
        assert service.workers() == [worker]
        assert service.lines("defect") == []
    seen(f"{refused} refused that still send, {len(idle)} that say nothing: {parted} of these closed; uploads answered")
    assert parted >= 100


def hang_up(connection: socket.socket) -> None:
    """Close a connection, and let whatever still comes be refused."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def pictures(service: Service, outcome: str) -> int:
    """Return of how many pictures the service has counted that this became of them."""
    samples = parsed(exchange(service.address, b"GET /metrics HTTP/1.0\r\nHost: gaze\r\n\r\n").body.decode())
    return int(samples.get(of("gaze_images_total", source="upload", outcome=outcome), 0))


@pytest.mark.fault(29)
@pytest.mark.parametrize("gently", [True, False], ids=["closed", "reset"])
def test_callers_that_hang_up_in_the_queue(service: Service, seen: Seen, gently: bool) -> None:
    body = costly()
    request = POST + f"Content-Type: {BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    counted = {outcome: pictures(service, outcome) for outcome in ("caller_gone", "ranked")}
    before = len(service.lines("request"))
    connections = [connect(service.address) for _ in range(SLOTS)]
    for connection in connections:
        connection.sendall(request)
    time.sleep(0.02)  # the first are being decoded
    answered = 0
    # The last in the queue first: none of them gets on because others before it have gone.
    for connection in reversed(connections):
        answered += len(select.select([connection], [], [], 0)[0])
        connection.close() if gently else hang_up(connection)
    deadline = time.monotonic() + 20
    while len(lines := service.lines("request")[before:]) < SLOTS:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    undecoded, ranked = (pictures(service, outcome) - counted[outcome] for outcome in counted)
    gone = [line["code"] for line in lines].count("caller_gone")
    assert_answers(service)
    assert gone == SLOTS - ranked
    assert gone >= SLOTS // 2
    # Neither decoding nor encoding is stopped in the middle: as many as there are cores may be in each when their
    # callers go, and as many between the two.
    assert undecoded >= SLOTS - answered - 3 * available_cores()
    seen(
        f"{gone} of {SLOTS} never encoded, {undecoded} never decoded, {answered} answered before, "
        f"{'closed' if gently else 'reset'}"
    )


@pytest.mark.fault(46)
def test_answers_belong_to_their_requests(service: Service, seen: Seen) -> None:
    colours = ("red", "green", "blue", "white", "black", "yellow")
    bodies = {colour: form_of(encoded(Image.new("RGB", (90, 60), colour))) for colour in colours}

    def ask(colour: str) -> str:
        body = bodies[colour]
        head = POST + f"Content-Type: {BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with connect(service.address) as connection:
            connection.sendall(head + body)
            answer = read_answer(connection)
            assert answer.status == 200
            [result] = json.loads(answer.body)["results"]
            return json.dumps(result)

    alone = {colour: ask(colour) for colour in colours}
    assert len(set(alone.values())) == len(colours)
    asked = [colours[number % len(colours)] for number in range(300)]
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(ask, asked))
    assert answers == [alone[colour] for colour in asked]
    seen("300 answers of 8 callers at once, each as alone")
