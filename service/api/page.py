"""GET /, /docs and /openapi.json: what people read; no asset comes from another host."""

from collections.abc import Mapping

from flask import Blueprint, Response, jsonify, render_template

from service import __version__
from service.api.openapi.document import document
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
    described = document(served)

    @blueprint.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(described)

    @blueprint.get("/docs")
    def docs() -> Response:
        return _page(render_template("docs.html", api=described))

    @blueprint.get("/")
    def page() -> Response:
        return _page(render_template("page.html", lists=() if has_keys else served.values(), version=__version__))

    @blueprint.after_request
    def secure(response: Response) -> Response:
        response.headers.update(SECURITY_HEADERS)
        return response

    return blueprint


def _page(html: str) -> Response:
    return Response(html, content_type="text/html; charset=utf-8")
