"""The parts of the benchmarks on which their figures stand."""

import http.server
import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from flask.testing import FlaskClient
from PIL import Image

from benchmarks.against import quartiles
from benchmarks.callers import Load, run
from benchmarks.machine import Machine
from benchmarks.pictures import SMALL, jpeg
from benchmarks.processes import MeasuredProcess, Memory, ProcessFailed, family, memory_of, require_free
from benchmarks.questions import Question, gaze_phrases, gaze_upload
from benchmarks.report import MARK, write_below_mark
from benchmarks.table import duration, megabytes, rate, ratio, table
from benchmarks.targets import Target
from benchmarks.timing import Times, percentile
from tests.conftest import REPOSITORY
from tests.support.gaze_command import environment_of

MEGABYTE = 1024**2


@pytest.fixture
def echo() -> Iterator[http.server.ThreadingHTTPServer]:
    """A server that answers every POST with 200 and what was sent, but /broken with 500; it counts connections."""

    class Echo(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        connections: ClassVar[set[object]] = set()

        def do_POST(self) -> None:
            self.connections.add(self.client_address)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(500 if self.path == "/broken" else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("percent", "expected"), [(1, 1.0), (50, 5.0), (51, 6.0), (95, 10.0), (90, 9.0), (100, 10.0), (0, 1.0)]
)
def test_a_percentile_is_a_value_that_was_measured(percent: float, expected: float) -> None:
    assert percentile([7, 1, 10, 3, 9, 2, 6, 4, 8, 5], percent) == expected


def test_times_sum_up_what_was_measured() -> None:
    assert Times.of([0.4, 0.1, 0.2, 0.3]) == Times(median=0.25, lowest=0.1, highest=0.4, percentile_95=0.4, count=4)


def test_figures_replace_the_last_ones_and_leave_what_was_written_by_hand(tmp_path: Path) -> None:
    page = tmp_path / "performance.md"
    page.write_text(f"# Performance\n\nBy hand.\n\n{MARK}\n## Old\n")
    write_below_mark(page, "## New\n")
    assert page.read_text() == f"# Performance\n\nBy hand.\n\n{MARK}\n## New\n"
    page.write_text("# Performance\n")
    with pytest.raises(ValueError, match="has lost the line"):
        write_below_mark(page, "## New\n")


def test_performance_page_has_a_place_for_figures() -> None:
    assert (REPOSITORY / "docs" / "performance.md").read_text(encoding="utf-8").count(MARK) == 1


def test_a_table_is_markdown_with_bars_escaped() -> None:
    assert table(["what", "time"], [["a|b", "1 s"]]) == "| what | time |\n| --- | ---: |\n| a\\|b | 1 s |"


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (duration(0.000_123_4), "0.12 ms"),
        (duration(0.045_67), "45.7 ms"),
        (duration(0.999_4), "999 ms"),
        (duration(0.999_6), "1.00 s"),
        (duration(80.4), "80.4 s"),
        (duration(1234), "1,234 s"),
        (ratio(1.149), "1.15 ×"),
        (ratio(612.4), "612 ×"),
        (rate(18.66), "18.7/s"),
        (megabytes(1_083_700_000), "1,084 MB"),
    ],
)
def test_numbers_have_three_digits_and_their_unit(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    ("relation", "measured", "met", "verdict"),
    [("≥", 2.0, True, "yes"), ("≥", 1.999, False, "no"), ("≤", 2.0, True, "yes"), ("≤", None, None, "not measured")],
)
def test_a_target_is_met_missed_or_not_measured(
    relation: str, measured: float | None, met: bool | None, verdict: str
) -> None:
    target = Target("speed", "≥" if relation == "≥" else "≤", 2.0, measured)
    assert target.met is met
    assert target.cells()[3] == verdict


def test_memory_is_that_of_a_process_and_its_children(tmp_path: Path) -> None:
    hold = f"held = bytearray(b'x') * {100 * MEGABYTE}"
    child = f"{hold}; print('held', flush=True); import time; time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with MeasuredProcess([sys.executable, "-c", parent], environment_of(), tmp_path / "log") as process:
        process.wait_for_log("held", 1, 30)
        with process.peak_memory(seconds_between=0.01) as peak:
            parent_pid, child_pid = process.pids
            alone = memory_of([parent_pid])
            both = process.memory()
    for whole, part in ((both.rss, alone.rss), (both.pss, alone.pss)):
        assert 100 * MEGABYTE < whole - part < 150 * MEGABYTE
    assert peak[0].rss >= both.rss > both.pss
    # Both ended with the block; what has ended holds nothing.
    assert memory_of([parent_pid, child_pid]) == Memory(0, 0)
    assert family(child_pid) == [child_pid]


def test_a_process_that_ends_too_early_is_told_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such model')"]
    with (
        MeasuredProcess(command, environment_of(), tmp_path / "log") as process,
        pytest.raises(ProcessFailed, match=r"exit code 1: no such model"),
    ):
        process.wait_until_ready(1, "/readyz", 30)


def test_a_port_that_something_else_listens_on_is_refused(echo: http.server.ThreadingHTTPServer) -> None:
    with pytest.raises(ProcessFailed, match=f"something else listens on port {echo.server_port}"):
        require_free(echo.server_port)


def test_each_caller_keeps_its_connection_and_only_the_time_after_the_warm_up_counts(
    echo: http.server.ThreadingHTTPServer,
) -> None:
    question = Question(echo.server_port, "/", "text/plain", b"x" * 1000)
    load = Load.from_json(Load(question, callers=3, warm_up=0.2, seconds=2.0).to_json())
    assert load.question == question
    answered = run(load)
    assert len(echo.RequestHandlerClass.connections) == 3  # type: ignore[attr-defined]
    assert answered.per_second == len(answered.latencies) / 2.0
    # Three callers that ask all the time wait, together, three times as long as the load lasts.
    assert sum(answered.latencies) == pytest.approx(6.0, rel=0.25)


def test_a_load_with_a_failed_request_is_worth_nothing(echo: http.server.ThreadingHTTPServer) -> None:
    question = Question(echo.server_port, "/broken", "text/plain", b"told back")
    with pytest.raises(RuntimeError, match="500: told back"):
        run(Load(question, callers=2, warm_up=0.0, seconds=5.0))


def test_gaze_understands_both_forms_of_a_question(client: FlaskClient) -> None:
    picture = jpeg(64, 48)
    upload, own = gaze_upload(0, picture, "surfaces"), gaze_phrases(0, picture, ["a circle", "a square"])
    answers = [
        client.post(question.path, data=question.body, content_type=question.content_type).get_json()["results"][0]
        for question in (upload, own)
    ]
    assert [set(answer["lists"]) for answer in answers] == [{"surfaces"}, {"own"}]
    assert answers[0]["image"]["sha256"] == answers[1]["image"]["sha256"]


def test_rounds_are_compared_with_each_other_so_that_a_slow_one_is_slow_for_both() -> None:
    assert quartiles([10.0, 5.0, 8.1, 12.0, 9.0], [10.0, 5.0, 9.0, 10.0, 10.0]) == pytest.approx([0.9, 1.0, 1.0])


def test_pictures_are_of_their_size_and_the_same_each_time() -> None:
    picture = jpeg(*SMALL)
    assert picture == jpeg(*SMALL)
    with Image.open(io.BytesIO(picture)) as image:
        assert (image.size, image.mode, image.format) == (SMALL, "RGB", "JPEG")


def test_the_machine_is_described() -> None:
    machine = Machine.here()
    assert machine.processor
    assert machine.cores >= 1
    assert 0 <= machine.busy <= 1
    assert machine.memory > 100 * MEGABYTE


def test_the_parts_that_there_are_are_named_where_another_is_asked_for() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "speed"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "there is no part speed; there are compared, throughput, floor, growth, start, memory" in ended.stderr
