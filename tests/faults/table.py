"""The table of faults, and what the tests saw of each: one line a row."""

from collections import defaultdict
from collections.abc import Callable, Generator

import pytest

FAULTS: dict[int, tuple[str, str]] = {
    1: ("malformed JSON, bad UTF-8, very deep, NaN, a number of 5,000 digits", "400 or 422"),
    2: ("no or a wrong Content-Type; Content-Encoding", "415"),
    3: ("Content-Length over the limit", "413, before the body is read"),
    4: ("chunked body over the limit", "413, not cut short and answered"),
    5: ("base64: bad alphabet, white space, data URI, empty", "422, or decoded"),
    6: ("no or unknown list, too many or broken phrases", "404 or 422"),
    7: ("two image sources, none, 33 images", "422"),
    8: ("5,000 parts of a form; file names with paths and line ends", "413; the name is no path"),
    9: ("Content-Length with Transfer-Encoding; two Host headers", "400, connection closed"),
    10: ("twice as many slow heads as threads", "closed within 10 s; health answers"),
    11: ("bodies of a byte a second", "closed at the deadline; health answers"),
    12: ("text, SVG, PDF, EPS, HTML called an image", "415"),
    13: ("small files of huge pictures; 10,000 frames", "422, under 50 MB more; first frame"),
    14: ("truncated JPEG", "422"),
    15: ("CMYK, 16 bits, palette, 1 bit, LAB, EXIF, ICC", "the pixels that a person sees"),
    16: ("1x1; 1x50,000", "an answer, or 422"),
    17: ("a thousand odd and broken files; mutations", "200 or 4xx within 10 s; no worker dies"),
    18: ("a decoder that hangs or dies", "422 within the deadline; the next is answered"),
    19: ("other schemes, credentials, other ports", "422; no secret in the log"),
    20: ("private and special addresses in every spelling", "422; no socket is opened"),
    21: ("names with a public and a private address; names that change", "422; the vetted address is used"),
    22: ("redirects to such addresses, 11 of them, a loop", "422, 502"),
    23: ("endless body; a wrong length; gzip bomb", "502 or 413 at the cap; what is more than announced is left"),
    24: ("a byte a second; DNS that hangs; TLS that stalls", "504 at one deadline"),
    25: ("bad certificate, wrong name, 404, 500, reset", "502"),
    26: ("a museum's own network, allowed", "200; metadata stays refused"),
    27: ("HTTP_PROXY in the environment", "ignored"),
    28: ("ten times the load for a minute", "503 within 50 ms; goodput and latency kept"),
    29: ("the deadline passes in the queue; the caller hangs up", "never computed"),
    30: ("every URL slot stuck on a dead host", "uploads are answered as before"),
    31: ("health and metrics under that load", "under 100 ms"),
    32: ("one bad image among 32", "its own error; the others as if alone"),
    33: ("CUDA out of memory", "split once, else 503; the next is answered"),
    34: ("a worker is killed", "its own requests fail; ready within 10 s"),
    35: ("model missing, corrupt, unsuitable; hub unreachable", "one sentence, an exit code, no loop"),
    36: ("text features corrupt, cut short, of another model", "ignored, rebuilt, logged"),
    37: ("cache disk full or read-only; read-only root", "answers all the same"),
    38: ("two processes start on one empty cache", "the files are whole"),
    39: ("inference hangs", "liveness fails"),
    40: ("SIGTERM and SIGHUP under load", "503 on readiness; nothing lost; out within 30 s"),
    41: ("100,000 mixed requests, a third bad", "under 50 MB more; descriptors and threads flat"),
    42: ("100,000 different phrases", "the phrase cache keeps its bound"),
    43: ("no key, a wrong one, one that is not ASCII", "401; two keys during a rotation"),
    44: ("one client floods; a made-up X-Forwarded-For", "429 for that client alone"),
    45: ("line ends or 10 kB in X-Request-ID", "replaced; one log line"),
    46: ("two callers at once", "never each other's answer"),
    47: ("SIGHUP with a broken list, or a model that is gone", "the old workers go on; the log says why; nothing lost"),
    48: ("bodies of 60 MB without a key, or over the quota", "401 or 429 before the body is read"),
    49: ("64 callers, 1, 2 and 4 workers", "as many places in all; accepted p99 within 1.25 x"),
    61: ("profiles, metadata and filters that cost seconds a kilobyte", "422 in time; other pictures within 1 s"),
    62: ("bodies that grow 50-fold when parsed", "refused before; under 100 MB more; health within 1 s"),
    63: ("a foreign page in a visitor's browser; a foreign Host", "403; 421"),
    64: ("56 callers that do not read answers of megabytes", "others are answered as before; memory bounded"),
    65: ("a decoder that was taken over", "no key, file, socket or process; 422"),
}
"""By number: the fault, and what the caller must get."""


class _Seen:
    def __init__(self) -> None:
        self.said: defaultdict[int, list[str]] = defaultdict(list)
        self.outcomes: defaultdict[int, list[str]] = defaultdict(list)


_SEEN = pytest.StashKey[_Seen]()
_ROWS = pytest.StashKey[tuple[int, ...]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_SEEN] = _Seen()
    config.addinivalue_line("markers", "fault(number, ...): the rows of the table that the test brings about")
    config.addinivalue_line("markers", "timed: takes minutes, or measures time under load")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        rows = tuple(row for marker in item.iter_markers("fault") for row in marker.args)
        assert rows, f"{item.nodeid} names no row of the table"
        assert all(row in FAULTS for row in rows), item.nodeid
        item.stash[_ROWS] = rows


@pytest.fixture
def seen(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Note what a test saw, in a few words, for its rows of the table."""
    kept = request.config.stash[_SEEN]

    def note(what: str) -> None:
        for row in request.node.stash[_ROWS]:
            if what not in kept.said[row]:
                kept.said[row].append(what)

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" or report.outcome != "passed":
        for row in item.stash[_ROWS]:
            item.config.stash[_SEEN].outcomes[row].append(report.outcome)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    kept = config.stash[_SEEN]
    terminalreporter.section("faults: number | fault | expected | seen | passed")
    for row, (fault, expected) in FAULTS.items():
        outcomes = kept.outcomes[row]
        verdict = "not run" if not outcomes else "yes" if set(outcomes) == {"passed"} else "NO"
        seen_of_it = "; ".join(kept.said[row]) or f"{outcomes.count('passed')} of {len(outcomes)} tests passed"
        terminalreporter.line(f"{row:2} | {fault} | {expected} | {seen_of_it} | {verdict}")
    passed = sum(set(kept.outcomes[row]) == {"passed"} for row in FAULTS)
    terminalreporter.line(f"{passed} of {len(FAULTS)} rows passed.")
