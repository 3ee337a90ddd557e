"""GET /, /docs and /openapi.json: what people read; no asset comes from another host."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template

from service import __version__
from service.api.openapi.document import document
from service.api.openapi.operation import HTML, JSON, Operation
from service.zero_shot.phrase_lists import PhraseList

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
"""On all that a browser shows: nothing of it runs elsewhere, or in another page's frame."""


def page_blueprint(served: Mapping[str, PhraseList], *, has_keys: bool) -> Blueprint:
    """Return the routes for people: the page, the documentation, and the OpenAPI document behind it.

    has_keys: whether callers need a key; then the page has no lists, and asks for them once it has one
    """
    blueprint = Blueprint("page", "service", static_folder="static", static_url_path="/static")

    @cache
    def described() -> dict[str, Any]:
        # Of all routes, once the first caller asks: here the app does not have them all.
        return document(current_app)

    @blueprint.get("/openapi.json")
    @Operation("OpenAPI 3.1.", {JSON: {"type": "object"}})
    def openapi() -> Response:
        """This document."""  # noqa: D401  # a summary
        return jsonify(described())

    @blueprint.get("/docs")
    @Operation("A page.", HTML)
    def docs() -> Response:
        """This documentation, to read."""  # noqa: D401
        return _page(render_template("docs.html", api=described()))

    @blueprint.get("/")
    @Operation("A page.", HTML)
    def page() -> Response:
        """The web page."""  # noqa: D401
        return _page(render_template("page.html", lists=() if has_keys else served.values(), version=__version__))

    @blueprint.after_request
    def secure(response: Response) -> Response:
        response.headers.update(SECURITY_HEADERS)
        return response

    return blueprint


def _page(html: str) -> Response:
    return Response(html, content_type="text/html; charset=utf-8")
