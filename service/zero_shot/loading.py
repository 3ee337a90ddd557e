"""A classifier that is built in the background, and how far that is."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from service.errors import NotReady
from service.zero_shot.classifier import ZeroShotClassifier

Report = Callable[[str, int, int], None]
"""Called with the stage of a start, how much of it is done and how much there is."""

RETRY_SECONDS = 5


@dataclass(frozen=True)
class StartProgress:
    """What a start is at, and how far."""

    stage: str
    done: int
    total: int


class LoadingClassifier:
    """Builds a classifier in a thread, so that the process can answer that it is not ready yet.

    classifier: None until it is there; `on_ready` is called after that
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
        """Begin to build, and return at once."""
        self._thread.start()
        return self

    def wait(self) -> "LoadingClassifier":
        """Return once the building has ended, well or not."""
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
        except Exception as error:  # noqa: BLE001  # whatever it is, the process must not go on as if it could still become ready
            self.classifier = None
            self._progress = StartProgress("failed", 0, 1)
            self._on_failure(error)

    def _report(self, stage: str, done: int, total: int) -> None:
        self._progress = StartProgress(stage, done, total)
