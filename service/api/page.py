"""GET /, /docs and /openapi.json: what people read; no asset comes from another host."""

from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, render_template

from service import __version__
from service.api.openapi import document
from service.zero_shot.phrase_lists import PhraseList

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def page_blueprint(served: Mapping[str, PhraseList]) -> Blueprint:
    """Return the routes for people: the page, the documentation, and the OpenAPI document behind it."""
    blueprint = Blueprint("page", __name__)
    described = document(served)

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(described)

    @blueprint.get("/docs")
    def docs() -> Response:
        return _page(render_template("docs.html", api=described))

    @blueprint.get("/")
    def page() -> Response:
        return _page(render_template("page.html", lists=served.values(), version=__version__))

    return blueprint


def _page(html: str) -> Response:
    response = Response(html, content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
