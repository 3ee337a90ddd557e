"""The reconciliation service in a browser, asked by a page of another host, as the reconciliation test bench is one.

What that page sends, and checks of what it gets, is in tests/test_reconcile.py. Here a real browser decides whether the
page may send it, and may read the answer.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Error

from tests.conftest import encoded, noise, serving
from tests.support.origin import Origin, http

pytest_plugins = ["tests.support.chromium"]

ASK = """async ([endpoint, picture]) => {
    const read = async (url, sent) => (await fetch(url, sent)).json();
    const queries = [{ type: "surfaces", limit: 3, conditions: [{ matchType: "name", propertyValue: picture }] }];
    const headers = { "Content-Type": "application/json", "Accept-Language": "en" };
    const manifest = await read(endpoint);
    const matched = await read(`${endpoint}/match`, { method: "POST", headers, body: JSON.stringify({ queries }) });
    const [{ candidates }] = matched.results;
    return {
        manifest,
        candidates,
        types: await read(`${endpoint}/suggest/type?prefix=sur`),
        terms: await read(`${endpoint}/suggest/entity?prefix=${candidates[0].name}`),
        preview: await (await fetch(`${endpoint}/preview?id=${candidates[0].id}`)).text(),
    };
}"""
"""What the test bench asks in the order of its tabs: with a preflight for what is no plain form."""


@pytest.fixture(scope="module")
def bench() -> Iterator[Origin]:
    """Another host, with a page and a picture."""
    page, picture = http(b"<!DOCTYPE html><title>A bench</title>"), http(encoded(noise(64, 48)))
    with Origin({"/": page, "/favicon.ico": page, "/picture.png": picture}) as host:
        yield host


@pytest.mark.parametrize("allowed", [True, False], ids=["an allowed page", "any other"])
def test_a_page_of_another_host(browser: Browser, bench: Origin, allowed: bool) -> None:
    origins = f"http://{bench.address}" if allowed else "http://127.0.0.1:1"
    with (
        serving(GAZE_MODEL="demo", GAZE_URL_FETCH="127.0.0.1/32", GAZE_CORS_ORIGINS=origins) as service,
        browser.new_page() as page,
    ):
        page.goto(f"http://{bench.address}/")
        asked = [f"{service}/v1/reconcile/1.0-draft", f"http://{bench.address}/picture.png"]
        if not allowed:
            with pytest.raises(Error, match="Failed to fetch"):
                page.evaluate(ASK, asked)
            return
        seen: dict[str, Any] = page.evaluate(ASK, asked)
    assert "1.0-draft" in seen["manifest"]["versions"]
    assert len(seen["candidates"]) == 3
    assert not any(candidate["match"] for candidate in seen["candidates"])
    assert [found["id"] for found in seen["types"]["result"]] == ["surfaces"]
    assert seen["candidates"][0]["id"] in [found["id"] for found in seen["terms"]["result"]]
    assert seen["candidates"][0]["name"] in seen["preview"]
