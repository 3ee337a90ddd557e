"""GET /livez, /readyz and /metrics: what supervisors and Prometheus ask."""

import threading

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from service.api import metrics
from service.api.schemas import Alive, Ready
from service.errors import ShuttingDown
from service.zero_shot.loading import LoadingClassifier


def health_blueprint(loading: LoadingClassifier, shutting_down: threading.Event) -> Blueprint:
    """Return the routes that say whether this process lives and is ready, and what it has done."""
    blueprint = Blueprint("health", __name__)

    @blueprint.get("/livez")
    def livez() -> Response:
        return Response(Alive().model_dump_json(), content_type="application/json")

    @blueprint.get("/readyz")
    def readyz() -> Response:
        if shutting_down.is_set():
            raise ShuttingDown(retry_after=1)
        loading.require()
        return Response(Ready().model_dump_json(), content_type="application/json")

    @blueprint.get("/metrics")
    def prometheus() -> Response:
        return Response(metrics.exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    return blueprint
