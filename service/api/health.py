"""GET /livez, /readyz and /metrics: what supervisors and Prometheus ask."""

import threading
import time
from collections.abc import Callable

import structlog
from flask import Blueprint, Response
from PIL import Image
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from service.api import metrics
from service.api.openapi.operation import Operation
from service.api.schemas.responses import Alive, Ready
from service.errors import NotReady, ShuttingDown
from service.images.isolation.decoder import Decoder
from service.zero_shot.batching import InferenceMonitor
from service.zero_shot.classifier import LoadingClassifier

log = structlog.get_logger()

TRIAL_SECONDS = 1.0
"""How long /readyz waits for an inference that it tries."""

_RETRY_SECONDS = 5


class Trial:
    """Tries something in a thread of its own, once at a time, so that one that hangs holds up nobody."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._began = 0.0

    def run(self, what: Callable[[], object]) -> None:
        """Return once it has ended, well or not, or after a second; if one runs already, a second after it began."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, args=(what,), name="trial", daemon=True)
                self._began = time.monotonic()
                self._thread.start()
            thread, until = self._thread, self._began + TRIAL_SECONDS
        thread.join(max(0.0, until - time.monotonic()))

    def _run(self, what: Callable[[], object]) -> None:
        try:
            what()
        except Exception as error:  # the monitor shows that it did not succeed; here is why
            log.error("a trial inference failed", exc_info=error)


def health_blueprint(loading: LoadingClassifier, decoder: Decoder, shutting_down: threading.Event) -> Blueprint:
    """Return the routes that say whether this process lives and is ready, and what it has done."""
    blueprint = Blueprint("health", __name__)
    trial = Trial()

    @blueprint.get("/livez")
    @Operation("It does.", Alive, errors=(NotReady,))
    def livez() -> Response:
        """Say that the process answers, and that no inference in it has hung or keeps failing."""
        if loading.classifier and loading.classifier.monitor.stalled:
            raise _unanswered(loading.classifier.monitor)
        return Response(Alive().model_dump_json(), content_type="application/json")

    @blueprint.get("/readyz")
    @Operation("They are.", Ready, errors=(NotReady, ShuttingDown))
    def readyz() -> Response:
        """Say whether the model has answered and the lists' text features are in memory."""
        if shutting_down.is_set():
            raise ShuttingDown(retry_after=1)
        classifier = loading.require()
        monitor = classifier.monitor
        # Long before it would count as silent, so that a slow model has the time to show that it answers.
        if monitor.seconds_since_success > monitor.stall_timeout / 2:
            trial.run(lambda: classifier.encode_image(Image.new("RGB", (64, 48), "grey")))
        if monitor.stalled or monitor.seconds_since_success > monitor.stall_timeout:
            raise _unanswered(monitor)
        if still := decoder.stalled_seconds:
            raise NotReady(f"No picture has been decoded for {still:.0f} seconds.", retry_after=_RETRY_SECONDS)
        return Response(Ready().model_dump_json(), content_type="application/json")

    @blueprint.get("/metrics", endpoint="metrics")
    @Operation("Prometheus' text format.", {CONTENT_TYPE_PLAIN_0_0_4: {"type": "string"}})
    def prometheus() -> Response:
        """Count requests, images and phrases, and measure latencies."""
        return Response(metrics.exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return blueprint


def _unanswered(monitor: InferenceMonitor) -> NotReady:
    return NotReady(
        f"The model last answered {monitor.seconds_since_success:.0f} seconds ago and does not answer now.",
        retry_after=_RETRY_SECONDS,
    )
