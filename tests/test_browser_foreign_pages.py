"""Pages of other sites in a real browser: what they send gets nothing done, and what they ask is not told them.

A hosts map makes their names lead to this machine. What was done is read from the service's own log and from the host
of the picture, because such a page itself learns nothing.
"""

import http.client
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.conftest import CACHE, encoded, free_port, noise
from tests.support.browser import CIRCLE, ask, choose
from tests.support.origin import Origin
from tests.support.origin import http as answer_of
from tests.support.running_service import Service, served

pytest_plugins = ["tests.support.chromium"]

FETCHES = """async ([service, picture]) => {
    const form = new FormData();
    form.append("image_url", picture);
    form.append("lists", "movements");
    const queries = JSON.stringify({ a: { query: picture } });
    const sent = [
        ["/v1/gaze", form],
        ["/v1/explain", form],
        ["/v1/gaze", new Blob([JSON.stringify({ image: { url: picture }, lists: ["movements"] })])],
        ["/v1/reconcile/0.2", new URLSearchParams({ queries })],
    ];
    for (const [path, body] of sent) await fetch(service + path, { method: "POST", mode: "no-cors", body });
    navigator.sendBeacon(service + "/v1/gaze", form);
    await fetch(`${service}/v1/reconcile/0.2?${new URLSearchParams({ queries })}`, { mode: "no-cors" });
    return sent.length + 2;
}"""

ELEMENTS = """async ([service, picture]) => {
    const queries = new URLSearchParams({ queries: JSON.stringify({ a: { query: picture } }) });
    const url = `${service}/v1/reconcile/0.2?${queries}`;
    const made = [];
    for (const [name, attribute] of [["img", "src"], ["script", "src"], ["iframe", "src"], ["link", "href"]]) {
        for (const policy of ["", "no-referrer"]) {
            const element = document.createElement(name);
            element.referrerPolicy = policy;
            element.rel = "stylesheet";
            element[attribute] = `${url}&${made.length}`;
            made.push(new Promise((done) => { element.onload = element.onerror = done; }));
            document.body.append(element);
        }
    }
    await Promise.all(made);
    return made.length;
}"""

FORMS = """async ([service, picture]) => {
    const queries = JSON.stringify({ a: { query: picture } });
    const fields = { image_url: picture, lists: "movements" };
    const forms = [
        ["/v1/gaze", "multipart/form-data", fields, "", "post"],
        ["/v1/gaze", "multipart/form-data", fields, "allow-forms", "post"],
        ["/v1/reconcile/0.2", "application/x-www-form-urlencoded", { queries }, "", "post"],
        ["/v1/reconcile/0.2", "application/x-www-form-urlencoded", { queries }, "", "get"],
    ];
    for (const [path, type, named, sandbox, method] of forms) {
        const frame = document.createElement("iframe");
        if (sandbox) frame.setAttribute("sandbox", `${sandbox} allow-scripts`);
        const inputs = Object.entries(named).map(([name, value]) => `<input name="${name}" value='${value}'>`);
        const form = `<form method="${method}" action="${service}${path}" enctype="${type}">${inputs.join("")}</form>`;
        frame.srcdoc = `${form}<script>document.forms[0].submit()</` + "script>";
        document.body.append(frame);
    }
    return forms.length;
}"""

READ = """async (picture) => {
    const form = new FormData();
    form.append("image_url", picture);
    form.append("lists", "movements");
    const queries = new URLSearchParams({ queries: JSON.stringify({ a: { query: picture } }) });
    const told = [];
    for (const path of ["/", "/v1/lists", "/v1/lists/movements", "/v1/model", "/openapi.json", "/v1/reconcile/0.2"]) {
        told.push(await fetch(path));
    }
    told.push(await fetch("/v1/gaze", { method: "POST", body: form }));
    told.push(await fetch("/v1/reconcile/0.2", { method: "POST", body: queries }));
    return Promise.all(told.map(async (each) => [each.status, await each.text()]));
}"""

RANK = """async ([service, picture]) => {
    const form = new FormData();
    form.append("image_url", picture);
    form.append("lists", "movements");
    const response = await fetch(service + "/v1/gaze", { method: "POST", body: form });
    return (await response.json()).results[0].lists.movements.count;
}"""


@pytest.fixture
def other() -> Iterator[Origin]:
    """Another host, with a page and a picture that the service could fetch."""
    page, picture = answer_of(b"<!DOCTYPE html><title>Another</title><body>"), answer_of(encoded(noise(64, 48)))
    with Origin({"/": page, "/favicon.ico": page, "/picture.png": picture}) as host:
        yield host


Start = Callable[..., AbstractContextManager[Service]]


@pytest.fixture
def service_with(tmp_path: Path) -> Start:
    """Start a service with these settings, which fetches from this machine."""

    @contextmanager
    def start(**environment: str) -> Iterator[Service]:
        with served(CACHE, tmp_path / "log", environment={"GAZE_URL_FETCH": "127.0.0.1/32", **environment}) as service:
            yield service.wait()

    return start


def asked_for_work(service: Service) -> list[tuple[str, int]]:
    """Return the methods and the statuses of what was asked under /v1/."""
    return [(line["method"], line["status"]) for line in service.lines("request") if "/v1/" in line["route"]]


def fetched(other: Origin) -> bool:
    return any("/picture.png" in request for request in other.requests)


# The first says where a request comes from in Sec-Fetch-Site as well; the second is plain http to another machine.
@pytest.mark.parametrize(
    "way",
    [
        ("evil.example", "127.0.0.1"),
        ("evil.example", "gaze.internal"),
        ("127.0.0.1", "127.0.0.1"),
        ("gaze.internal", "gaze.internal"),
    ],
    ids=["another site", "another site, plain", "another port", "another port, plain"],
)
@pytest.mark.parametrize("attack", [FETCHES, ELEMENTS, FORMS], ids=["fetch", "elements", "forms"])
def test_a_page_of_another_origin(
    browser: Browser,
    service_with: Start,
    other: Origin,
    attack: str,
    way: tuple[str, str],
) -> None:
    site, name = way
    with service_with() as service, browser.new_page() as page:
        page.goto(f"http://{site}:{other.port}/")
        target = service.address.replace("127.0.0.1", name)
        count = page.evaluate(attack, [target, f"http://{other.address}/picture.png"])
        deadline = time.monotonic() + 20
        while len(asked_for_work(service)) < count and time.monotonic() < deadline:
            page.wait_for_timeout(50)
        came = asked_for_work(service)
    assert len(came) == count, "not all of it came"
    assert {status for _, status in came} == {403}
    assert not fetched(other)


def test_a_page_whose_name_was_made_to_lead_here(browser: Browser, service_with: Start, other: Origin) -> None:
    port = free_port()
    with (
        service_with() as service,
        proxied(service, port, attack=b"<!DOCTYPE html><title>An attack</title>"),
        browser.new_page() as page,
    ):
        page.goto(f"http://rebound.example:{port}/attack")
        expect(page).to_have_title("An attack")
        told = page.evaluate(READ, f"http://{other.address}/picture.png")
        came = asked_for_work(service)
    assert {status for status, _ in told} == {421}
    assert not any("movements" in text for _, text in told)
    assert {status for _, status in came} == {421}
    assert not fetched(other)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "gaze.internal"])
def test_the_services_own_page(browser: Browser, service_with: Start, other: Origin, name: str) -> None:
    with service_with() as service, browser.new_page() as page:
        page.goto(service.address.replace("127.0.0.1", name))
        choose(page, CIRCLE)
        ask(page, "a red circle", "stripes")
        expect(page.locator(".phrase")).to_have_count(2)
        assert page.evaluate(RANK, ["", f"http://{other.address}/picture.png"]) == 193


def test_a_page_whose_origin_is_named(browser: Browser, service_with: Start, other: Origin) -> None:
    refine = f"http://refine.example:{other.port}"
    with service_with(GAZE_CORS_ORIGINS=refine) as service, browser.new_page() as page:
        page.goto(refine)
        assert page.evaluate(RANK, [service.address, f"http://{other.address}/picture.png"]) == 193


@pytest.mark.parametrize("host", [None, "gaze"], ids=["Host is kept", "Host is the proxy's own"])
def test_the_page_behind_a_proxy(browser: Browser, service_with: Start, host: str | None) -> None:
    port = free_port()
    public = f"http://gaze.museum.example:{port}"
    with service_with(GAZE_PUBLIC_URL=public) as service, proxied(service, port, host), browser.new_page() as page:
        page.goto(public)
        choose(page, CIRCLE)
        ask(page, "a red circle", "stripes")
        expect(page.locator(".phrase")).to_have_count(2)


@contextmanager
def proxied(service: Service, port: int, host: str | None = None, attack: bytes | None = None) -> Iterator[None]:
    """Pass requests on from a port of loopback to a service, with their own Host or another.

    attack: a page at /attack: what the host of that name had answered before its name was made to lead here
    """
    target = urlsplit(service.address)

    class Proxy(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if attack and self.path == "/attack":
                self.send_response_only(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(attack)))
                self.end_headers()
                self.wfile.write(attack)
                return
            connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = dict(self.headers.items()) | ({"Host": host} if host else {})
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read()
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                if name not in ("Connection", "Transfer-Encoding", "Content-Length"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        do_POST = do_GET  # noqa: N815  # http.server's name

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
