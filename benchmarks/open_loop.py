"""Callers that come when they come, whether or not the service keeps up, in a process of their own.

    python -m benchmarks.open_loop

reads one Crowd as JSON from standard input and writes one Outcome to standard output.
"""

import json
import os
import random
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

_REPOSITORY = Path(__file__).parent.parent
_PROBES = ("/livez", "/readyz", "/metrics")
_PROBE_PAUSE = 0.1
_TICK = 0.004
"""How long the callers rest between two looks at the clock and at what has come.

A wake for each of them, and for each answer, would cost cores that they share with the service. A request's time runs
from when it was to come until its answer is seen: it is longer than it was, by up to two rests, and never shorter.
"""

_NEVER_WAITING = int(socket.SOCK_STREAM) | int(socket.SOCK_NONBLOCK)


@dataclass(frozen=True)
class Crowd:
    """Requests to one server, each on a connection of its own.

    per_second: how many come a second on average, at random moments (a Poisson process); or 0, and
    callers:    how many ask again and again, each once it is answered
    patience:   seconds after which a request that is not answered counts as hung
    """

    host: str
    port: int
    head: str
    body_file: str
    seconds: float
    per_second: float = 0.0
    callers: int = 0
    patience: float = 70.0
    seed: int = 0


@dataclass
class Outcome:
    """What became of a crowd: seconds by kind of answer, and what was wrong.

    core_seconds: the processor time that the callers themselves took, on the cores that they share with the server
    """

    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    probes: list[float] = field(default_factory=list)
    hung: int = 0
    odd: list[str] = field(default_factory=list)
    seconds: float = 0.0
    core_seconds: float = 0.0

    @property
    def goodput(self) -> float:
        """Accepted requests a second."""
        return len(self.accepted) / self.seconds


def p99(seconds: list[float]) -> float:
    """Return what all but a hundredth took at most."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * 0.99))] if seconds else 0.0


def send(crowd: Crowd) -> Outcome:
    """Let a crowd come, from a process of its own."""
    finished = subprocess.run(  # this very module
        [sys.executable, "-m", "benchmarks.open_loop"],
        input=json.dumps(asdict(crowd)),
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    return Outcome(**json.loads(finished.stdout))


class _Request:
    """One request on its way, on a connection of its own.

    started: when it was to come, on time.perf_counter()'s clock
    """

    def __init__(self, server: tuple[str, int], sent: bytes, kind: str, started: float) -> None:
        self.kind = kind
        self.answer = bytearray()
        self.unsent = memoryview(sent)
        self.started = started
        self.socket = socket.socket(socket.AF_INET, _NEVER_WAITING)
        self.socket.connect_ex(server)

    def send(self) -> None:
        """Send what can be sent."""
        try:
            size = self.socket.send(self.unsent)
        except BlockingIOError:
            return
        self.unsent = self.unsent[size:]

    def receive(self, space: memoryview) -> bool:
        """Receive what has come, by way of some space, and say whether it was to the end."""
        try:
            while size := self.socket.recv_into(space):
                self.answer += space[:size]
        except BlockingIOError:
            return False
        return True


class _Sending:
    """A crowd on its way: plain sockets in one thread, so that it takes as little of the processor as it can."""

    def __init__(self, crowd: Crowd) -> None:
        body = Path(crowd.body_file).read_bytes()
        self._asked = f"{crowd.head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        self._crowd = crowd
        self._server = (crowd.host, crowd.port)
        self._poll = select.epoll()
        self._space = memoryview(bytearray(65536))
        self._under_way: dict[int, _Request] = {}
        self._outcome = Outcome(seconds=crowd.seconds)
        self._over = 0.0

    def run(self) -> Outcome:
        """Let all of them come, and wait for their answers."""
        moments = random.Random(self._crowd.seed)  # noqa: S311  # no secret
        begun = time.perf_counter()
        begun_with = time.process_time()
        self._over = begun + self._crowd.seconds
        for _ in range(self._crowd.callers):
            self._begin(self._asked, "caller", begun)
        rate = self._crowd.per_second
        next_one = begun + moments.expovariate(rate) if rate else self._over
        next_probe = begun
        while (now := time.perf_counter()) < self._over or self._under_way:
            while next_one <= now and next_one < self._over:
                self._begin(self._asked, "caller", next_one)
                next_one += moments.expovariate(rate)
            if next_probe <= now < self._over:
                for path in _PROBES:
                    self._begin(
                        f"GET {path} HTTP/1.1\r\nHost: gaze\r\nConnection: close\r\n\r\n".encode(), path, next_probe
                    )
                next_probe += _PROBE_PAUSE
            if now > self._over + self._crowd.patience:
                self._outcome.hung += len(self._under_way)
                break
            for descriptor, _ in self._poll.poll(0):
                self._go_on(self._under_way[descriptor])
            time.sleep(_TICK)
        self._outcome.core_seconds = time.process_time() - begun_with
        return self._outcome

    def _begin(self, sent: bytes, kind: str, started: float) -> None:
        request = _Request(self._server, sent, kind, started)
        descriptor = request.socket.fileno()
        self._under_way[descriptor] = request
        with suppress(OSError):  # where it is not yet connected, or not at all, the poll says so
            request.send()
        self._poll.register(descriptor, select.EPOLLOUT if request.unsent else select.EPOLLIN)

    def _go_on(self, request: _Request) -> None:
        try:
            if request.unsent:
                request.send()
                if not request.unsent:
                    self._poll.modify(request.socket.fileno(), select.EPOLLIN)
            elif request.receive(self._space):
                self._end(request, None)
        except ConnectionError as error:
            self._end(request, error)

    def _end(self, request: _Request, error: Exception | None) -> None:
        ended = time.perf_counter()
        del self._under_way[request.socket.fileno()]
        if error is not None:
            with suppress(OSError):
                request.answer += request.socket.recv(65536)
        request.socket.close()  # which ends the poll's interest in it
        self._count(request, ended - request.started, ended, error)
        if self._crowd.callers and request.kind == "caller" and ended < self._over:
            self._begin(self._asked, "caller", ended)

    def _count(self, request: _Request, seconds: float, ended: float, error: Exception | None) -> None:
        head, _, body = bytes(request.answer).partition(b"\r\n\r\n")
        status = head[9:12].decode("latin-1")
        if request.kind != "caller" and status == "200":
            self._outcome.probes.append(seconds)
        elif status == "200" and body.startswith(b'{"model"'):
            if ended <= self._over:
                self._outcome.accepted.append(seconds)
        elif request.kind == "caller" and status == "503" and _is_refusal(head, body):
            self._outcome.refused.append(seconds)
        else:
            self._outcome.odd.append(f"{request.kind}: {type(error).__name__} {head[:40]!r}")


def _is_refusal(head: bytes, body: bytes) -> bool:
    return b"application/problem+json" in head and b"Retry-After" in head and b'"code"' in body


def main() -> None:
    """Let the crowd of standard input come."""
    with suppress(PermissionError):
        os.nice(-10)  # callers are other machines: they do not wait for the service's processor
    print(json.dumps(asdict(_Sending(Crowd(**json.load(sys.stdin))).run())))


if __name__ == "__main__":
    main()
