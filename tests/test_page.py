"""GET / and GET /docs: what people read; it names every list, and brings nothing from another host."""

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient

from service import __version__
from service.api.page import CONTENT_SECURITY_POLICY
from service.zero_shot.phrase_lists import PhraseList
from tests.conftest import REPOSITORY
from tests.support.problem_shape import checked_problem

LOADED = {
    ("link", "href"),
    ("script", "src"),
    ("img", "src"),
    ("form", "action"),
    ("iframe", "src"),
    ("object", "data"),
}


class Elements(HTMLParser):
    """The elements of a page, each with its attributes, and the page's text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def page(client: FlaskClient, path: str) -> Elements:
    response = client.get(path)
    assert (response.status_code, response.content_type) == (200, "text/html; charset=utf-8")
    return Elements(response.text)


@pytest.mark.parametrize("path", ["/", "/docs", "/static/gaze.css", "/static/page.js", "/static/none"])
def test_browser_is_told_to_load_nothing_from_elsewhere(client: FlaskClient, path: str) -> None:
    response = client.get(path, buffered=True)
    assert response.status_code == (404 if path.endswith("none") else 200)
    headers = response.headers
    assert headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cross-Origin-Opener-Policy"] == headers["Cross-Origin-Resource-Policy"] == "same-origin"
    denied = dict(each.split("=") for each in headers["Permissions-Policy"].split(", "))
    assert denied.keys() >= {"camera", "geolocation", "microphone"}
    assert set(denied.values()) == {"()"}
    directives = dict(each.split(" ", 1) for each in CONTENT_SECURITY_POLICY.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["frame-ancestors"] == "'none'"
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert not re.search(r"https?:|\*", CONTENT_SECURITY_POLICY)


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_every_asset_is_the_services_own_and_is_there(client: FlaskClient, path: str) -> None:
    assets = [
        value
        for tag, attributes in page(client, path).found
        for name, value in attributes.items()
        if (tag, name) in LOADED and value
    ]
    assert "static/gaze.css" in assets
    for asset in assets:
        assert asset == "data:," or client.get(f"/{asset}", buffered=True).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_nothing_is_inline_that_the_policy_forbids(client: FlaskClient, path: str) -> None:
    for tag, attributes in page(client, path).found:
        assert tag != "style"
        assert not any(name == "style" or name.startswith("on") for name in attributes)
        assert tag != "script" or attributes.get("src")


@pytest.mark.parametrize("asset", sorted(path.name for path in (REPOSITORY / "service" / "static").iterdir()))
def test_assets_name_no_other_host(client: FlaskClient, asset: str) -> None:
    response = client.get(f"/static/{asset}", buffered=True)
    assert response.status_code == 200
    assert response.content_type.startswith(("text/css", "text/javascript"))
    assert not re.search(r"//[a-z]|@import|\burl\(", response.text.replace("// ", ""))


def test_page_offers_every_list(client: FlaskClient, phrase_lists: dict[str, PhraseList]) -> None:
    shown = page(client, "/")
    boxes = [
        attributes["value"] for tag, attributes in shown.found if tag == "input" and attributes.get("name") == "lists"
    ]
    assert boxes == list(phrase_lists)
    for phrase_list in phrase_lists.values():
        assert phrase_list.title in shown.text
        assert f"{len(phrase_list.labels):,}" in shown.text


def test_page_says_what_a_probability_is_not(client: FlaskClient) -> None:
    text = " ".join(page(client, "/").text.split())
    assert "It is never the chance that a phrase is true." in text
    assert "biased" in text
    assert __version__ in text


def test_documentation_shows_every_call_status_and_schema(client: FlaskClient) -> None:
    document = client.get("/openapi.json").get_json()
    shown = page(client, "/docs")
    ids = {attributes["id"] for _, attributes in shown.found if "id" in attributes}
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            assert call["operationId"] in ids
            assert f"{method.upper()} {path}" in shown.text
            assert call["summary"] in shown.text
    for name in document["components"]["schemas"]:
        assert f"schema-{name}" in ids
    for code in ("unknown_list", "image_too_large", "url_not_allowed", "overloaded"):
        assert code in shown.text
    links = {attributes["href"] for tag, attributes in shown.found if tag == "a"}
    assert {link.removeprefix("#") for link in links if link and link.startswith("#")} <= ids


def test_documentation_escapes_what_it_shows(client: FlaskClient) -> None:
    tags = {tag for tag, _ in page(client, "/docs").found}
    assert tags <= {
        *("html", "head", "meta", "title", "link", "body", "main", "nav", "section", "h1", "h2", "h3", "p", "a", "ul"),
        *("li", "code", "pre", "table", "thead", "tbody", "tr", "th", "td", "header", "div", "span", "strong", "h4"),
        *(
            "form",
            "label",
            "input",
            "select",
            "option",
            "textarea",
            "button",
            "details",
            "summary",
            "script",
            "noscript",
        ),
        "footer",
    }


def test_a_range_that_an_asset_does_not_have_is_the_callers_error(client: FlaskClient) -> None:
    response = client.get("/static/gaze.css", headers={"Range": "bytes=99999999-"}, buffered=True)
    checked_problem(response.status_code, response.headers, response.data, "malformed_request")
    assert response.status_code == 400


def test_where_a_key_is_needed_the_page_names_no_list(
    make_client: Callable[..., FlaskClient], phrase_lists: dict[str, PhraseList]
) -> None:
    shown = page(make_client(api_keys="one"), "/")
    assert not [attributes for _, attributes in shown.found if attributes.get("name") == "lists"]
    assert "to those who have a key" in shown.text
    assert not [each.title for each in phrase_lists.values() if each.title in shown.text]
