"""create_app(settings, ...) -> Flask: the routes, and what happens around every request."""

import threading
from collections.abc import Mapping

from flask import Flask, Response, request
from werkzeug.routing import RequestRedirect

from service.api import problems
from service.api.access.browsers import PREFLIGHT, PROBES, CorsPolicy, ForeignPages
from service.api.access.callers import Access
from service.api.address import address_of
from service.api.documents import context_blueprint
from service.api.explain import explain_blueprint
from service.api.gaze import gaze_blueprint
from service.api.health import health_blueprint
from service.api.images import ImageServices
from service.api.lists import lists_blueprint
from service.api.model import model_blueprint
from service.api.page import page_blueprint
from service.api.query import QueryLimits
from service.api.reconcile.manifest import STABLE
from service.api.reconcile.views import reconcile_blueprint
from service.api.request_context import RequestContext, current_request
from service.errors import NotFound
from service.images.decode import ImageLimits
from service.images.loader import ImageLoader
from service.limits.admission import FETCH_SLOTS, SLOTS, Admission
from service.limits.threads import available_cores
from service.settings import Settings
from service.zero_shot.classifier import LoadingClassifier
from service.zero_shot.phrase_lists import PhraseList


class _Answer(Response):
    """A response that is not HTML unless it says so, as the one to OPTIONS does not."""

    default_mimetype = None


def create_app(
    settings: Settings,
    phrase_lists: Mapping[str, PhraseList],
    loading: LoadingClassifier,
    shutting_down: threading.Event,
    admission: Admission | None = None,
    *,
    access: Access | None = None,
) -> Flask:
    """Return the WSGI application that serves these lists with this classifier, ready or not yet.

    admission, access: those of the worker that the app runs in, where it has some
    """
    app = Flask("service", static_folder=None, template_folder="templates")
    app.response_class = _Answer
    # Flask would answer a path with // in it with a redirect in HTML.
    app.url_map.merge_slashes = False
    served = dict(phrase_lists)
    image_limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    cores = max(1, available_cores() // settings.workers)
    services = ImageServices(
        loader=ImageLoader.create(image_limits, settings.fetch_policy, cores, fast=settings.decode == "fast"),
        admission=admission or Admission(SLOTS, FETCH_SLOTS),
        cores=cores,
    )
    query_limits = QueryLimits(settings.max_request_bytes, settings.max_phrases)
    address = address_of(settings.public_url)
    app.register_blueprint(
        gaze_blueprint(
            loading=loading,
            served=served,
            services=services,
            query_limits=query_limits,
            address=address,
        )
    )
    app.register_blueprint(explain_blueprint(loading=loading, services=services, query_limits=query_limits))
    app.register_blueprint(
        reconcile_blueprint(
            loading=loading,
            served=served,
            services=services,
            query_limits=query_limits,
            address=address,
        )
    )
    app.register_blueprint(lists_blueprint(served))
    app.register_blueprint(model_blueprint(loading))
    app.register_blueprint(health_blueprint(loading, services.loader.decoder, shutting_down))
    app.register_blueprint(context_blueprint(address))
    app.register_blueprint(page_blueprint(served, has_keys=bool(settings.api_keys)))
    problems.register(app)
    access = access or Access(settings.api_keys, settings.rate_limit, settings.trusted_proxies)
    pages = ForeignPages.where_open(settings.api_keys, settings.hosts, settings.cors_origins, settings.public_url)
    _around_every_request(app, access, pages, settings.cors_origins, settings.request_timeout)
    return app


def _ranks_by_get() -> bool:
    """Say whether a request is a batch of version 0.2 of the Reconciliation API, as it may come by GET."""
    return request.path.rstrip("/") == STABLE and "queries" in request.args


def _around_every_request(
    app: Flask, access: Access, pages: ForeignPages | None, cors: CorsPolicy, seconds: float
) -> None:
    @app.before_request
    def begin() -> Response | None:
        ranks_by_get = _ranks_by_get()
        client = access.client(request.remote_addr, request.headers.get("X-Forwarded-For", ""))
        context = RequestContext.begin(request.environ, str(client) if client else None, seconds)
        context.headers = cors.headers(request.headers.get("Origin"))
        if pages and request.path not in PROBES:
            pages.require_own(request.method, request.scheme, request.headers.get, is_costly=ranks_by_get)
        if cors.grants(
            request.method, request.headers.get("Origin"), request.headers.get("Access-Control-Request-Method")
        ):
            # A browser sends it without the key.
            return _Answer(status=204, headers=PREFLIGHT)
        access.require(
            request.path,
            request.headers.get("Authorization", ""),
            client,
            counted=request.environ.get("gaze.counted", False),
        )
        if isinstance(request.routing_exception, RequestRedirect):
            # 'GET http://host HTTP/1.1' names no path; Flask would answer with a redirect in HTML.
            raise NotFound
        return None

    @app.after_request
    def end(response: Response) -> Response:
        # The route, not the path: what is in a path or a query is the caller's own.
        route = request.url_rule.rule if request.url_rule else "none"
        method = request.method if request.url_rule or request.method in ("GET", "HEAD", "POST") else "other"
        current_request().finish(response, method, route)
        return response
