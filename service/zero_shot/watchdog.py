"""Watchdog: ends a process whose model does not answer any more, so that its supervisor starts another."""

import threading
import time
from collections.abc import Callable

import structlog

from service.zero_shot.loading import LoadingClassifier

log = structlog.get_logger()

LOOK_SECONDS = 1.0


class Watchdog:
    """Looks at the model's pulse in a thread of its own.

    It calls `end` once the model has been stuck for as long again as it took to call it so: until then /livez fails,
    and another supervisor may act. Looks are counted rather than seconds, because a process that was halted as a whole
    finds its pass stuck when it goes on, and is well a moment later.
    """

    def __init__(self, loading: LoadingClassifier, end: Callable[[], object]) -> None:
        self._loading = loading
        self._end = end
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> "Watchdog":
        """Begin to look, and return at once."""
        self._thread.start()
        return self

    def _run(self) -> None:
        looks = 0
        while True:
            time.sleep(LOOK_SECONDS)
            classifier = self._loading.classifier
            if classifier is None or not classifier.pulse.stuck:
                looks = 0
                continue
            looks += 1
            seconds = round(classifier.pulse.seconds_unanswered)
            if looks == 1:
                log.error("the model does not answer", seconds=seconds)
            if looks * LOOK_SECONDS >= classifier.pulse.patience:
                log.error("the process ends, because its model does not answer", seconds=seconds)
                self._end()
                return
