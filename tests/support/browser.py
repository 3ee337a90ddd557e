"""What a person does with the page in a browser. The browser itself is in tests/support/chromium.py."""

import io
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from playwright.sync_api import Locator, Page, Route, expect

from tests.conftest import REPOSITORY, encoded

EXAMPLES = REPOSITORY / "examples"
CIRCLE = EXAMPLES / "red-circle-on-blue.png"
RINGS = EXAMPLES / "rings.png"

KEY = "a-key-of-this-test"
"""What the service that wants a key wants."""

Open = Callable[..., Page]
"""Opens the page anew: (address, width=, height=, and what else Chromium is to be like)."""

_REFUSED = "Failed to load resource: "

expect.set_options(timeout=30_000)


class Complaints(list[str]):
    """What the browser complained of, and where it went that is not the service."""

    def take(self, complaint: str, harmless: bool = False) -> None:
        """Note what is not harmless."""
        if not harmless:
            self.append(complaint)

    def refused(self, *reasons: str) -> None:
        """Assert that Chromium said so often that a request failed, and why; strike it out."""
        said = [each.removeprefix(_REFUSED) for each in self if each.startswith(_REFUSED)]
        assert len(said) == len(reasons), said
        for each, reason in zip(said, reasons, strict=True):
            assert reason in each
        self[:] = [each for each in self if not each.startswith(_REFUSED)]


def choose(page: Page, *pictures: Path | bytes) -> None:
    """Choose a file for each picture there is on the page."""
    for place, picture in enumerate(pictures):
        chooser = page.locator("input[type=file]").nth(place)
        if isinstance(picture, bytes):
            chooser.set_input_files({"name": f"drawn-{place + 1}.png", "mimeType": "image/png", "buffer": picture})
        else:
            chooser.set_input_files(picture)


def ask(page: Page, *phrases: str) -> None:
    """Ask for these phrases alone, and wait for the answer."""
    tick(page)
    page.get_by_label("One a line").fill("\n".join(phrases))
    press_ask(page)


def tick(page: Page, *titles: str) -> None:
    """Tick the lists of these titles, and no other."""
    for ticked in page.locator("#lists li:has(:checked) .title").all_inner_texts():
        if ticked not in titles:
            page.get_by_role("checkbox", name=ticked).uncheck()
    for title in titles:
        page.get_by_role("checkbox", name=title).check()


def press_ask(page: Page) -> None:
    """Ask, and wait for the answer."""
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("heading", name="Answer", exact=True)).to_be_focused()


def answered(page: Page, *pictures: Path | bytes, phrases: tuple[str, ...] = ("a red circle", "stripes")) -> None:
    """Ask about one picture or two, and wait for the answer."""
    if len(pictures) > 1:
        page.get_by_role("button", name="Compare with a second picture").click()
    choose(page, *pictures)
    ask(page, *phrases)


def phrase(page: Page, name: str, place: int = 0) -> Locator:
    """Return the button of a phrase, in the answer about the first picture or the second."""
    return page.locator(".ranking").nth(place).get_by_role("button", name=name, exact=True)


def drawn(x: int, y: int, radius: int = 80, size: tuple[int, int] = (480, 480)) -> bytes:
    """Return a picture of a red circle on white as PNG."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), fill="red")
    return encoded(image)


def size_of(picture: bytes) -> tuple[int, int]:
    """Return the width and the height of a picture."""
    with Image.open(io.BytesIO(picture)) as image:
        return image.size


class Held:
    """Requests for a path, held back from the service until they are let go."""

    def __init__(self, page: Page, path: str) -> None:
        self.routes: list[Route] = []
        self._page = page
        page.route(f"**{path}", self._hold)

    def _hold(self, route: Route) -> None:
        self.routes.append(route)

    def wait(self, count: int) -> None:
        """Return once so many have come."""
        while len(self.routes) < count:
            self._page.wait_for_timeout(20)
        assert len(self.routes) == count

    def let_go(self, place: int) -> None:
        """Let one go on to the service."""
        self.routes[place].continue_()


AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page) -> list[str]:
    """Return what axe-core finds wrong with the page as it is, and where."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    found: dict[str, Any] = page.evaluate(
        "(tags) => axe.run(document, { runOnly: tags, resultTypes: ['violations'] })", RULES
    )
    assert len(found["passes"]) > 10
    return [f"{each['id']}: {node['html']}" for each in found["violations"] for node in each["nodes"]]
