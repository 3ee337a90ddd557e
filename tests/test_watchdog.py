"""The watchdog ends a process whose model does not answer, not too early, and no other."""

import threading
import time

import pytest
from structlog.testing import capture_logs

from service.zero_shot.classifier import LoadingClassifier, Report, Watchdog, ZeroShotClassifier
from tests.support.held_model import SECONDS, HeldModel, wait_until, with_stall_timeout

POLL_SECONDS = 0.01
STALL_TIMEOUT = 0.6
SILENT = "the model does not answer"
ENDS = "the process ends, because its model does not answer"


class Process:
    """A process that a watchdog looks after, and that only counts how often it is ended."""

    def __init__(self, loading: LoadingClassifier) -> None:
        self.ends = 0
        self._ended = threading.Event()
        self._watchdog = Watchdog(loading, self._end).start()

    def _end(self) -> None:
        self.ends += 1
        self._ended.set()

    def wait_for_end(self) -> None:
        """Return once it was ended, for good."""
        assert self._ended.wait(SECONDS)
        self._watchdog._thread.join(SECONDS)
        assert not self._watchdog._thread.is_alive()
        assert self.ends == 1


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> HeldModel:
    monkeypatch.setattr("service.zero_shot.classifier.WATCHDOG_SECONDS", POLL_SECONDS)
    return with_stall_timeout(monkeypatch, STALL_TIMEOUT)


def test_a_process_whose_model_hangs_is_ended_after_twice_the_patience(model: HeldModel) -> None:
    with capture_logs() as logs:
        process = Process(model.loading)
        began = time.monotonic()
        model.hang_with_a_caller()
        process.wait_for_end()
        assert time.monotonic() - began >= 2 * STALL_TIMEOUT - POLL_SECONDS
    assert [(line["log_level"], line["event"]) for line in logs] == [("error", SILENT), ("error", ENDS)]
    model.go_on()


def test_a_process_whose_model_fails_again_and_again_is_ended(model: HeldModel) -> None:
    process = Process(model.loading)
    model.error = RuntimeError("out of order")
    for _ in range(2):
        with pytest.raises(RuntimeError):
            model.answer()
    process.wait_for_end()


def test_a_process_that_was_halted_as_a_whole_has_time_to_answer(model: HeldModel) -> None:
    # As if halted: to the first look, the pass is long overdue.
    model.hang_with_a_caller()
    time.sleep(3 * STALL_TIMEOUT)
    with capture_logs() as logs:
        process = Process(model.loading)
        began = time.monotonic()
        process.wait_for_end()
        assert time.monotonic() - began >= STALL_TIMEOUT - POLL_SECONDS
    assert all(line["seconds"] >= 1 for line in logs)
    model.go_on()


def test_a_process_whose_model_answers_late_time_and_again_goes_on(model: HeldModel) -> None:
    with capture_logs() as logs:
        process = Process(model.loading)
        for _ in range(4):
            before = len(logs)
            model.hang_with_a_caller()
            wait_until(lambda: model.monitor.stalled)
            time.sleep(STALL_TIMEOUT / 2)  # less than it is given, and four times that is more
            assert len(logs) == before + 1
            model.go_on()
            time.sleep(5 * POLL_SECONDS)
    assert {line["event"] for line in logs} == {SILENT}
    assert process.ends == 0
    model.hang_with_a_caller()
    process.wait_for_end()
    model.go_on()


def test_a_model_that_has_nothing_to_do_or_is_not_there_yet_is_left_alone(model: HeldModel) -> None:
    loaded = threading.Event()

    def build(_report: Report) -> ZeroShotClassifier:
        assert loaded.wait(SECONDS)
        return model.classifier

    with capture_logs() as logs:
        loading = LoadingClassifier(build).start()
        process = Process(loading)
        time.sleep(3 * STALL_TIMEOUT)
        loaded.set()
        loading.wait()
        time.sleep(3 * STALL_TIMEOUT)
        assert logs == []
        assert process.ends == 0
    model.hang_with_a_caller()
    process.wait_for_end()
    model.go_on()
