"""The page in Chromium, which is watched: what it asks of other hosts, and what it complains of, fails the test.

A plugin of pytest, so that tests get these fixtures by name; what they import is in tests/support/browser.py.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.conftest import serving
from tests.support.browser import KEY, Complaints, Open

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP *.example 127.0.0.1, MAP gaze.internal 127.0.0.1",
)


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    """The address of a service that fetches from loopback."""
    with serving(GAZE_MODEL="demo", GAZE_URL_FETCH="127.0.0.0/8") as address:
        yield address


@pytest.fixture(scope="session")
def keyed_service() -> Iterator[str]:
    """The address of a service that wants a key."""
    with serving(GAZE_MODEL="demo", GAZE_URL_FETCH="off", GAZE_API_KEYS=KEY) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser for the tests of a module, and no longer: while it runs, nothing else here can use asyncio."""
    with sync_playwright() as playwright:
        # The system's, or else the one that Playwright brought.
        chromium = shutil.which("chromium") or playwright.chromium.executable_path
        if not (Path(chromium).exists() or os.environ.get("CI")):
            pytest.skip("there is no Chromium here: apt install chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> Iterator[Complaints]:
    """What the browser complains of in this test, of which nothing may be left at its end."""
    complaints = Complaints()
    yield complaints
    assert complaints == []


@pytest.fixture
def open_address(browser: Browser, complaints: Complaints) -> Iterator[Open]:
    """Open an address: open_address(address, width=, height=, and what else Chromium is to be like)."""
    with ExitStack() as contexts:

        def open_address(address: str, *, width: int = 1440, height: int = 900, **options: Any) -> Page:
            options.setdefault("permissions", ["clipboard-read", "clipboard-write"])
            context = browser.new_context(viewport={"width": width, "height": height}, **options)
            contexts.callback(context.close)
            page = context.new_page()
            own = (address.partition("/#")[0].rstrip("/") + "/", f"blob:{address}", "data:")
            page.on("console", lambda message: complaints.take(message.text, message.type not in ("error", "warning")))
            page.on("pageerror", lambda error: complaints.take(str(error)))
            page.on("request", lambda request: complaints.take(request.url, request.url.startswith(own)))
            page.goto(address)
            return page

        yield open_address


@pytest.fixture
def open_page(open_address: Open, service: str) -> Open:
    """Open the service's page anew: open_page(address, and what open_address() takes)."""

    def open_page(address: str = service, **options: Any) -> Page:
        return open_address(address, **options)

    return open_page


@pytest.fixture
def page(open_page: Open) -> Page:
    """The page, as it is on a large screen."""
    return open_page()
