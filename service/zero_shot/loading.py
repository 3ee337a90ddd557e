"""A classifier that is loaded in the background, and the watchdog over its inference."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from service.errors import NotReady
from service.zero_shot.classifier import ZeroShotClassifier

log = structlog.get_logger()

Report = Callable[[str, int, int], None]
"""Called with the stage of the start-up, how much of it is done and how much there is."""

RETRY_SECONDS = 5
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class StartProgress:
    """The stage of the start-up, and how far it is."""

    stage: str
    done: int
    total: int


class LoadingClassifier:
    """Loads a classifier in a thread, so that meanwhile the process can answer that it is not ready.

    classifier: None until it is loaded; then `on_ready` is called
    """

    def __init__(
        self,
        build: Callable[[Report], ZeroShotClassifier],
        on_ready: Callable[[ZeroShotClassifier], None] = lambda _: None,
        on_failure: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._build = build
        self._on_ready = on_ready
        self._on_failure = on_failure
        self.classifier: ZeroShotClassifier | None = None
        self._progress = StartProgress("starting", 0, 1)
        self._thread = threading.Thread(target=self._run, name="loading", daemon=True)

    def start(self) -> "LoadingClassifier":
        """Begin to load, and return at once."""
        self._thread.start()
        return self

    def wait(self) -> "LoadingClassifier":
        """Return once loading has ended, well or not."""
        self._thread.join()
        return self

    def require(self) -> ZeroShotClassifier:
        """Return the classifier. Raises NotReady, which says how far the start is, while there is none."""
        classifier = self.classifier
        if classifier is None:
            at = self._progress
            raise NotReady(
                f"The service is still starting ({at.stage}). Try again after the time that Retry-After gives.",
                retry_after=RETRY_SECONDS,
                progress={"stage": at.stage, "done": at.done, "total": at.total},
            )
        return classifier

    def _run(self) -> None:
        try:
            self.classifier = self._build(self._report)
            self._on_ready(self.classifier)
        except Exception as error:  # noqa: BLE001  # whatever it is, this process will never be ready
            self.classifier = None
            self._progress = StartProgress("failed", 0, 1)
            self._on_failure(error)

    def _report(self, stage: str, done: int, total: int) -> None:
        self._progress = StartProgress(stage, done, total)


class Watchdog:
    """Ends the process if inference has stalled, so that its supervisor starts another.

    It polls the monitor in a thread, and calls `end` after the model has been stalled for another stall timeout: until
    then /livez fails, and a supervisor may act itself. Polls are counted rather than seconds, because a process that
    was suspended as a whole finds its pass stalled when it resumes, and is well a moment later.
    """

    def __init__(self, loading: LoadingClassifier, end: Callable[[], object]) -> None:
        self._loading = loading
        self._end = end
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> "Watchdog":
        """Begin to poll, and return at once."""
        self._thread.start()
        return self

    def _run(self) -> None:
        polls = 0
        while True:
            time.sleep(POLL_SECONDS)
            classifier = self._loading.classifier
            if classifier is None or not classifier.monitor.stalled:
                polls = 0
                continue
            polls += 1
            seconds = round(classifier.monitor.seconds_unanswered)
            if polls == 1:
                log.error("the model does not answer", seconds=seconds)
            if polls * POLL_SECONDS >= classifier.monitor.stall_timeout:
                log.error("the process ends, because its model does not answer", seconds=seconds)
                self._end()
                return
