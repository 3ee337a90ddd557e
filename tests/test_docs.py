"""The documentation is a site without broken links, on any screen, and says of the code what is so."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from playwright.sync_api import Page, expect

from docs.reference import PAGES
from service.errors import GazeError
from service.settings import PREFIX, Settings
from tests.conftest import REPOSITORY
from tests.support.browser import Open, violations
from tests.support.documented import spans
from tests.support.openapi_reader import document_of_built_in_lists
from tests.support.site_reader import broken_links, foreign_assets

pytest_plugins = ["tests.support.chromium"]

DOCS = REPOSITORY / "docs"
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
SERVICE = REPOSITORY / "service"
NAMES = sorted(page.stem for page in DOCS.glob("*.md"))
SEEN = ("index", "trust", "settings", "deploy", "architecture")
"""Pages with all that others consist of: text, tables, code, pictures."""

OF_THE_THEME = frozenset(("aria-dialog-name", "landmark-unique"))
"""What axe says of the theme's own frame: its search and its buttons to copy have no names of their own."""


def build(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join((str(REPOSITORY), os.environ.get("PYTHONPATH", "")))
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder), *options],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": path, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    built = build(folder)
    assert built.returncode == 0, built.stderr
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_at(address: str, open_address: Open) -> Callable[..., Page]:
    """Open a page of the site by its name: open_at(name, width=, height=)."""

    def open_at(name: str, **screen: int) -> Page:
        page: Page = open_address(address, **screen)
        page.goto(f"{address}/{name}.html")
        return page

    return open_at


# --- what the pages say is so ---


@pytest.mark.parametrize(("name", "page"), PAGES.items())
def test_pages_from_the_code_are_up_to_date(name: str, page: Callable[[], str]) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == page(), "make docs writes it anew"


def test_every_setting_and_error_has_its_place() -> None:
    settings = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (GAZE_\w+)$", settings, re.MULTILINE) == [
        PREFIX + name.upper() for name in Settings.model_fields
    ]
    assert all(field.description and field.description.endswith(".") for field in Settings.model_fields.values())
    errors = re.findall(r"^\| (\d+) \| `(\w+)`", (DOCS / "errors.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {(int(status), code) for status, code in errors} == {
        (kind.status, kind.code) for kind in GazeError.__subclasses__()
    }


def test_routes_are_those_of_the_openapi_document() -> None:
    page = (DOCS / "http-api.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:GET|POST) (/[^`]*)`", page))
    routes = {path for path in document_of_built_in_lists()["paths"] if not path.startswith("/v1/reconcile/")}
    assert named == routes


def test_map_names_every_package_and_module_at_the_top() -> None:
    packages = {f"{each.parent.relative_to(SERVICE)}/" for each in SERVICE.rglob("*/__init__.py")}
    modules = {each.name for each in SERVICE.glob("[a-z]*.py")}
    rows = [line for line in ARCHITECTURE.splitlines() if line.startswith("| ")]
    named = {span for row in rows for span in re.findall(r"`([^`]+)`", row.split(" | ")[0])}
    assert packages | modules <= named
    assert {f"service/{each}" for each in packages if each.count("/") == 1} <= set(spans(README))


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    named = re.findall(r"`((?:[\w-]+/)*[\w-]+(?:/|\.py))`", page.read_text(encoding="utf-8"))
    for name in named:
        assert (SERVICE / name).exists() or (REPOSITORY / name).exists() or name in OF_READERS, name


def test_classes_and_functions_of_the_architecture_page_are_there() -> None:
    source = "".join(each.read_text(encoding="utf-8") for each in SERVICE.rglob("*.py"))
    named = {name for span in spans(ARCHITECTURE) if "/" not in span for name in re.findall(r"\b_?[A-Za-z_]+\b", span)}
    in_code = {name for name in named if re.match(r"_|[A-Z]+[a-z_]", name) and not name.startswith("GAZE_")}
    assert len(in_code) > 10
    assert [name for name in sorted(in_code) if not re.search(rf"\b{name}\b", source)] == []


OF_READERS = {".bench/", "scans/"}
"""Folders that are made, or are a reader's own."""


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


# --- the site ---


def test_no_link_or_anchor_leads_nowhere(site: Path) -> None:
    assert broken_links(site) == []


def test_a_broken_link_and_anchor_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html"><a href="c.html#there"><a href="c.html#not"><img src="d.png">')
    (tmp_path / "c.html").write_text('<p id="there"><a href="https://museum.example/x"><a href="a.html">')
    assert broken_links(tmp_path) == ["a.html: b.html", "a.html: c.html#not", "a.html: d.png"]


def test_a_page_with_a_broken_link_or_anchor_is_not_built(tmp_path: Path) -> None:
    config = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    config = config.partition("\nnav:")[0].replace("docs/hooks.py", str(DOCS / "hooks.py"))
    (tmp_path / "docs").mkdir()
    (tmp_path / "mkdocs.yml").write_text(config)
    for text, why in (("[a](nowhere.md)", "nowhere.md"), ("[a](#nothing)", "#nothing")):
        (tmp_path / "docs" / "index.md").write_text(f"# A page\n\n{text}\n")
        built = build(tmp_path / "site", "--config-file", str(tmp_path / "mkdocs.yml"))
        assert built.returncode != 0
        assert why in built.stderr


def test_nothing_is_loaded_from_another_host(site: Path) -> None:
    assert foreign_assets(site) == []


def test_every_page_can_be_reached_and_found(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    for name in NAMES:
        assert f'href="{name}.html"' in index or name == "index", name
    assert '"location":"settings.html#gaze_workers"' in (site / "search" / "search_index.json").read_text("utf-8")


def test_a_phone_shows_every_page_without_scrolling_sideways(address: str, open_address: Open) -> None:
    page: Page = open_address(address, width=390, height=844)
    for name in NAMES:
        page.goto(f"{address}/{name}.html")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        expect(page.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_axe_finds_nothing_wrong_with_pages(width: int, height: int, address: str, open_address: Open) -> None:
    page: Page = open_address(address, width=width, height=height)
    for name in SEEN:
        page.goto(f"{address}/{name}.html")
        found = violations(page)
        assert [each for each in found if each.partition(":")[0] not in OF_THE_THEME] == [], name


def test_keyboard_skips_to_the_text(open_at: Callable[..., Page]) -> None:
    page = open_at("index")
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to content")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#gaze"


def test_keyboard_searches_and_goes_to_what_is_found(open_at: Callable[..., Page]) -> None:
    page = open_at("index")
    page.keyboard.press("/")
    expect(page.get_by_role("textbox", name="Search")).to_be_focused()
    page.keyboard.type("sighup")
    found = page.locator(".md-search-result__link").first
    expect(found).to_contain_text("Health and signals")
    page.wait_for_timeout(1_000)  # results are listed anew after each letter
    page.keyboard.press("ArrowDown")
    expect(found).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/operation\.html"))
    expect(page.get_by_role("heading", name="SIGHUP")).to_be_visible()
