"""Search for what costs most for its size: python -m fuzz.costs [--seconds 600] [--only PNG,json] [--seed 0].

Not crashes are looked for but seconds of the processor and bytes of memory. Candidates are changed and grown at random,
the dearest are kept, and their offspring is tried next. Prints a line for each format and body, and ends with 1 where
something costs more than a second or 100 MB for each 100 kB, or raises another error than the service's own; such files
are left in .fuzz/costs/.

A picture may have two megapixels here: what pixels cost is limited by GAZE_MAX_IMAGE_PIXELS, and what else costs is
looked for. It is decoded as a decoding process does it, and apart from that, where is_ordinary() lets it into the
process that answers, as that does.
"""

import argparse
import ctypes
import gc
import io
import multiprocessing
import multiprocessing.connection
import os
import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from flask import Flask, Request, g
from numpy.random import Generator

from fuzz.bombs import hand_made
from fuzz.growth import BODIES, FORMATS, grown_picture
from service.api.query import QueryLimits, read_explain_query, read_query
from service.api.reconcile.batch import queries_of, read_form
from service.bulk.sources import rows_of
from service.errors import GazeError
from service.iiif.document import parsed
from service.iiif.image_api import ImageInformation
from service.iiif.presentation import entries
from service.images.decode import ImageLimits, decode, is_ordinary

KEPT = Path(".fuzz/costs")
MOST_SECONDS = 1.0
MOST_BYTES = 100_000_000
EACH = 100_000
"""For each so many bytes sent, and for less."""

_GIVEN_UP = 10.0
_ADDRESS_SPACE = 8 * 1024**3
_POPULATION = 40
_PIXELS = 2_000_000


@dataclass(frozen=True)
class Cost:
    """What a candidate took: seconds of all processors, and bytes of memory at its peak."""

    seconds: float
    memory: int

    def over(self, size: int) -> float:
        """Return how many times as much it is as a file or body of this size may cost."""
        return max(self.seconds / MOST_SECONDS, self.memory / MOST_BYTES) / max(1.0, size / EACH)


# --- what is measured, in a process of its own ---

_APP = Flask("fuzz")
_QUERY_LIMITS = QueryLimits(64 * 1024**2, 2_000)
_IMAGE_LIMITS = ImageLimits(32 * 1024**2, _PIXELS)


def _request(media_type: str, body: bytes) -> Request:
    environ = {"REQUEST_METHOD": "POST", "CONTENT_TYPE": media_type, "CONTENT_LENGTH": str(len(body))}
    return Request({**environ, "wsgi.input": io.BytesIO(body)})


def _ask(media_type: str, body: bytes) -> None:
    for read in (read_query, read_explain_query):
        with suppress(GazeError):
            read(_request(media_type, body), _QUERY_LIMITS, time.monotonic() + 60)


def _reconcile(body: bytes) -> None:
    request = _request("application/x-www-form-urlencoded", body)
    with _APP.app_context():
        g.request_id = "-"  # of what is logged
        queries_of(read_form(request, _QUERY_LIMITS.max_bytes, time.monotonic() + 60))


def _read_iiif(body: bytes) -> None:
    with suppress(GazeError):
        deque(entries(parsed(body), "http://127.0.0.1/m"), maxlen=0)
    deque(ImageInformation.read(parsed(body), "http://127.0.0.1/a").requests(224), maxlen=0)


def _read_table(body: bytes) -> None:
    file = KEPT / f"{os.getpid()}.csv"
    file.write_bytes(body)
    try:
        deque(rows_of(file), maxlen=0)
    finally:
        file.unlink()


def _decode(body: bytes) -> None:
    decode(body, _IMAGE_LIMITS).rgb.load()


_READERS: dict[str, Callable[[bytes], None]] = {
    "json": partial(_ask, "application/json"),
    "form": partial(_ask, "multipart/form-data; boundary=b"),
    "queries": _reconcile,
    "iiif": _read_iiif,
    "table": _read_table,
}


def _measure(kind: str, ours: multiprocessing.connection.Connection) -> None:
    """Measure one candidate after the other."""
    for stream in (sys.stdout, sys.stderr):  # libraries write what they think of a file, and the service its log
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    read, libc = _READERS.get(kind, _decode), ctypes.CDLL(None)
    with suppress(GazeError):
        read(b"0")  # what is imported at first use is no candidate's
    gc.collect()
    gc.freeze()
    ours.send(None)
    while True:
        candidate = ours.recv_bytes()
        libc.malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        before, started = _resident("VmRSS"), time.process_time()
        try:
            read(candidate)
        except GazeError:
            pass
        except Exception as defect:
            (KEPT / f"{kind}-{type(defect).__name__}").write_bytes(candidate)
            raise
        ours.send((time.process_time() - started, _resident("VmHWM") - before))


def _resident(which: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    [line] = [line for line in lines if line.startswith(which)]
    return int(line.split()[1]) * 1024


class Meter:
    """Measures candidates of one kind in a process that is ended where one takes ten seconds, or ends it."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_measure, args=(self._kind, theirs), daemon=True)
        self._process.start()
        theirs.close()
        self._connection.recv()

    def cost(self, candidate: bytes) -> Cost:
        """Return what reading the candidate takes."""
        try:
            self._connection.send_bytes(candidate)
            if self._connection.poll(_GIVEN_UP):
                return Cost(*self._connection.recv())
        except (EOFError, OSError):
            pass
        self.close()
        self._start()
        return Cost(_GIVEN_UP, 0)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


# --- the search ---


@dataclass(frozen=True)
class Found:
    """A candidate, and what it cost."""

    candidate: bytes
    cost: Cost

    @property
    def over(self) -> float:
        """How many times as much it costs as it may."""
        return self.cost.over(len(self.candidate))


def search(kind: str, seconds: float, random: Generator, admitted: Callable[[bytes], bool]) -> tuple[int, Found]:
    """Return how many candidates of a kind were tried in so many seconds, and the dearest of those admitted."""
    if kind in BODIES:
        grow = BODIES[kind]
    else:

        def grow(parent: bytes | None, random: Generator) -> bytes:
            return grown_picture(kind, parent, random)

    meter, tried, ends = Meter(kind), 0, time.monotonic() + seconds
    kept: list[Found] = []
    known = [file for name, file in hand_made() if name.startswith(kind) and len(file) < 2 * EACH]
    try:
        while time.monotonic() < ends:
            parent = kept[int(random.integers(len(kept)))].candidate if kept and random.random() < 0.6 else None
            candidate = known.pop() if known else grow(parent, random)
            tried += 1
            if not admitted(candidate):
                continue
            found = Found(candidate, meter.cost(candidate))
            if found.over > 1:  # once more: a machine has other things to do
                again = Found(candidate, meter.cost(candidate))
                found = min(found, again, key=lambda each: each.over)
            kept = sorted([*kept, found], key=lambda each: each.over, reverse=True)[:_POPULATION]
    finally:
        meter.close()
    return tried, kept[0] if kept else Found(b"", Cost(0.0, 0))


def main() -> int:
    """Search each kind, and print a line for it."""
    parser = argparse.ArgumentParser(description="Search for what costs most for its size.")
    parser.add_argument("--seconds", type=float, default=600, help="for each format and body")
    parser.add_argument("--only", help="names of formats and bodies, comma-separated")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    kinds: list[tuple[str, str, Callable[[bytes], bool]]] = [(name, "", bool) for name in (*FORMATS, *BODIES)]
    kinds += [(name, ", ordinary", is_ordinary) for name in ("JPEG", "PNG")]
    wanted = options.only.split(",") if options.only else None
    KEPT.mkdir(parents=True, exist_ok=True)
    too_dear = False
    print("kind | tried | dearest: seconds | MB | bytes | of what it may cost")
    for number, (name, where, admitted) in enumerate(kinds):
        if wanted and name not in wanted:
            continue
        tried, found = search(name, options.seconds, np.random.default_rng([options.seed, number]), admitted)
        cost = found.cost
        print(
            f"{name}{where} | {tried} | {cost.seconds:.2f} | {cost.memory / 1e6:.0f} | {len(found.candidate)} | "
            f"{found.over:.2f}",
            flush=True,
        )
        (KEPT / f"{name}{where.replace(', ', '-')}").write_bytes(found.candidate)
        too_dear |= found.over > 1
    print("Too dear." if too_dear else "Nothing costs more than it may.")
    return 1 if too_dear else 0


if __name__ == "__main__":
    sys.exit(main())
