"""What Prometheus may know: requests, latencies by stage, images, phrases, model."""

import os
from pathlib import Path

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from service.api.metric_files import unchanged
from service.zero_shot.backends.base import ModelDescription

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 60.0)

REQUESTS = Counter("gaze_requests_total", "Requests answered.", ["route", "method", "status", "code"])
REQUEST_SECONDS = Histogram(
    "gaze_request_seconds", "From a request's start to its answer.", ["route"], buckets=_SECONDS
)
STAGE_SECONDS = Histogram(
    "gaze_stage_seconds", "Time that POST /v1/gaze spent on one stage of one request.", ["stage"], buckets=_SECONDS
)
IMAGES = Counter("gaze_images_total", "Images, by where they came from and how it ended.", ["source", "outcome"])
PHRASES = Counter("gaze_phrases_total", "Phrases ranked, over all images and lists.")
IN_FLIGHT = Gauge("gaze_in_flight", "Requests to POST /v1/gaze under way.", multiprocess_mode="livesum")
READY = Gauge("gaze_ready", "Processes whose model has answered.", multiprocess_mode="livesum")
MODEL = Gauge(
    "gaze_model_info",
    "1, with the model that answers as labels.",
    ["id", "revision", "backend", "precision", "device"],
    multiprocess_mode="livemax",
)


def describe_model(model: ModelDescription) -> None:
    """Publish which model answers, and that it is loaded."""
    MODEL.labels(model.id, model.revision or "", model.backend, model.precision, model.device).set(1)
    READY.set(1)


def exposition() -> bytes:
    """Return all metrics, over all of gunicorn's workers, in Prometheus' text format."""
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        with unchanged(Path(folder)):
            return generate_latest(registry)
    return generate_latest(REGISTRY)
