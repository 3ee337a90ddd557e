"""create_app(settings, ...) -> Flask: the routes, and what happens around every request."""

import re
import threading
import time
import uuid
from collections.abc import Mapping
from functools import partial

import structlog
from flask import Flask, Response, g, request
from flask.globals import request_ctx
from werkzeug.routing import RequestRedirect

from service.api import metrics, problems
from service.api.admission import Admission
from service.api.gaze import gaze_blueprint
from service.api.health import health_blueprint
from service.api.keys import require_key
from service.api.lists import lists_blueprint
from service.api.model import model_blueprint
from service.api.page import page_blueprint
from service.api.query import QueryLimits, discard_rest
from service.cores import available_cores
from service.errors import NotFound
from service.images.decode import ImageLimits
from service.images.fetch import FetchLimits, ImageFetcher
from service.settings import SLOTS, Settings
from service.zero_shot.loading import LoadingClassifier
from service.zero_shot.phrase_lists import PhraseList

log = structlog.get_logger()

FETCH_SECONDS = 15.0
"""How long one URL may take, from look-up to last byte."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class _Answer(Response):
    """A response that is not HTML unless it says so, as the one to OPTIONS does not."""

    default_mimetype = None


def create_app(
    settings: Settings,
    phrase_lists: Mapping[str, PhraseList],
    loading: LoadingClassifier,
    shutting_down: threading.Event,
) -> Flask:
    """Return the WSGI application that serves these lists with this classifier, ready or not yet."""
    app = Flask("service", static_folder="static", template_folder="templates")
    app.response_class = _Answer
    # Flask would answer a path with // in it with a redirect in HTML.
    app.url_map.merge_slashes = False
    served = dict(phrase_lists)
    fetcher = ImageFetcher(settings.fetch_policy, FetchLimits(settings.max_image_bytes, FETCH_SECONDS))
    admission = Admission(SLOTS, settings.request_timeout)
    app.register_blueprint(
        gaze_blueprint(
            loading=loading,
            served=served,
            fetcher=fetcher,
            admission=admission,
            query_limits=QueryLimits(settings.max_request_bytes, settings.max_phrases),
            image_limits=ImageLimits(settings.max_image_bytes, settings.max_image_pixels),
            cores=max(1, available_cores() // settings.workers),
            decode_fast=settings.decode == "fast",
        )
    )
    app.register_blueprint(lists_blueprint(served))
    app.register_blueprint(model_blueprint(loading))
    app.register_blueprint(health_blueprint(loading, shutting_down))
    app.register_blueprint(page_blueprint(served))
    problems.register(app)
    _around_every_request(app, settings.api_keys)
    return app


def _around_every_request(app: Flask, api_keys: tuple[str, ...]) -> None:
    @app.before_request
    def begin() -> None:
        g.started = time.monotonic()
        sent = request.headers.get("X-Request-ID", "")
        g.request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex
        require_key(request, api_keys)
        if isinstance(request.routing_exception, RequestRedirect):
            # 'GET http://host HTTP/1.1' names no path; Flask would answer with a redirect in HTML.
            raise NotFound

    @app.after_request
    def end(response: Response) -> Response:
        if response.status_code >= 400:
            # Once the answer is sent. The request itself is handed over: by then it is no longer the current one.
            response.call_on_close(partial(discard_rest, request_ctx.request))
        seconds = time.monotonic() - g.started
        response.headers["X-Request-ID"] = g.request_id
        response.headers["X-Content-Type-Options"] = "nosniff"
        stages: dict[str, float] = g.get("stages", {})
        if stages:
            response.headers["Server-Timing"] = ", ".join(f"{stage};dur={ms:.1f}" for stage, ms in stages.items())
        # The route, not the path: what is in a path or a query is the caller's own.
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.url_rule or request.method in ("GET", "HEAD", "POST") else "other"
        metrics.REQUESTS.labels(route, method, response.status_code, g.get("code", "")).inc()
        metrics.REQUEST_SECONDS.labels(route).observe(seconds)
        for stage, milliseconds in stages.items():
            if milliseconds:
                metrics.STAGE_SECONDS.labels(stage).observe(milliseconds / 1000)
        log.info(
            "request",
            request_id=g.request_id,
            method=method,
            route=route,
            status=response.status_code,
            code=g.get("code"),
            milliseconds=round(seconds * 1000, 1),
            stages={stage: round(ms, 1) for stage, ms in stages.items()} or None,
            images=g.get("images"),
            phrases=g.get("phrases"),
            client=request.remote_addr,
        )
        return response
