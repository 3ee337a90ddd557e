"""The documentation in a browser: every call has an example, which is answered when tried there, and in a shell."""

import json
import os
import re
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, Route, expect
from werkzeug.serving import make_server

from service.app import create_app
from service.settings import Settings
from service.zero_shot.classifier import LoadingClassifier, Report, ZeroShotClassifier
from service.zero_shot.phrase_lists import PhraseList
from tests.conftest import REPOSITORY
from tests.support.browser import KEY, Complaints, Held, Open, violations
from tests.support.openapi_reader import document_of_built_in_lists

pytest_plugins = ["tests.support.chromium"]

OPERATIONS = [call for methods in document_of_built_in_lists()["paths"].values() for call in methods.values()]
CALLS = [call["operationId"] for call in OPERATIONS]
BODIES = {call["operationId"]: call["requestBody"]["content"] for call in OPERATIONS if "requestBody" in call}
CHOICES = [
    (call, name) for call, body in BODIES.items() for name in body.get("application/json", {}).get("examples", ())
]
OK = re.compile(r"^Status 200 in [\d,]+ ms\.$")


@pytest.fixture
def docs(page: Page, service: str) -> Page:
    page.goto(f"{service}/docs")
    return page


@pytest.fixture
def unready(
    classifier: ZeroShotClassifier, phrase_lists: Mapping[str, PhraseList]
) -> Iterator[tuple[str, Callable[[], object]]]:
    """The address of a service whose model is not there yet, and what lets it come."""
    go_on = threading.Event()

    def build(report: Report) -> ZeroShotClassifier:
        report("encoding the lists", 640, 7165)
        assert go_on.wait(60)
        return classifier

    loading = LoadingClassifier(build).start()
    app = create_app(Settings(model="demo", url_fetch="off"), phrase_lists, loading, threading.Event())
    server = make_server("127.0.0.1", 0, app, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()

    def come() -> None:
        go_on.set()
        loading.wait()

    yield f"http://127.0.0.1:{server.port}", come
    come()
    server.shutdown()
    serving.join()
    server.server_close()


def attempt(page: Page, call: str) -> Locator:
    """Try a call, and return what is said of its answer."""
    page.locator(f"#{call}").get_by_role("button", name="Try").click()
    return page.locator(f"#{call} .tried").get_by_role("status")


def tried(page: Page, call: str) -> str:
    """Try a call that is answered, and return the body that is shown."""
    expect(attempt(page, call)).to_have_text(OK)
    return page.get_by_label(f"Body of the answer, {call}", exact=True).inner_text()


def command(page: Page, call: str) -> str:
    """Return the command that does the same as the form."""
    return page.locator(f"#{call} form .command code").inner_text()


def run(command: str, folder: Path, **variables: str) -> tuple[str, str]:
    """Run a command from the root of the repository, and return the status of the answer and its body."""
    body = folder / "body"
    body.write_text("")
    status = subprocess.run(
        ["bash", "-c", f"{command} -sS -o '{body}' -w '%{{http_code}}'"],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return status, body.read_text()


@pytest.mark.parametrize("call", CALLS)
def test_every_call_is_answered_when_it_is_tried(docs: Page, call: str) -> None:
    assert tried(docs, call)


@pytest.mark.parametrize(("call", "name"), CHOICES)
def test_every_example_can_be_chosen_and_is_answered(docs: Page, tmp_path: Path, call: str, name: str) -> None:
    section = docs.locator(f"#{call}")
    section.get_by_label("Example").select_option(label=name)
    body = section.get_by_label("Body, application/json").input_value()
    described = json.load(urllib.request.urlopen(docs.url.replace("/docs", "/openapi.json")))["paths"]
    (examples,) = (
        operation["requestBody"]["content"]["application/json"]["examples"]
        for methods in described.values()
        for operation in methods.values()
        if operation["operationId"] == call
    )
    assert json.loads(body) == examples[name]["value"]
    assert tried(docs, call)
    assert body in command(docs, call)
    assert run(command(docs, call), tmp_path)[0] == "200"


def test_every_command_is_answered_in_a_shell(docs: Page, tmp_path: Path) -> None:
    commands = docs.locator(".command code").all_inner_texts()
    assert len(commands) == len(CALLS) + sum("multipart/form-data" in body for body in BODIES.values())
    assert sum("-F image=@examples/" in each for each in commands) == 2
    for each in commands:
        assert (each, run(each, tmp_path)[0]) == (each, "200")


def test_command_asks_the_same_as_the_form_whatever_is_typed(docs: Page, tmp_path: Path) -> None:
    form = docs.locator("#gaze form")
    body = json.loads(form.get_by_label("Body, application/json").input_value())
    body["phrases"] = {"odd": ["it's red", '"$HOME" `id` \\ !!', "@a\n'b'", "café ☕", "[ 1, 2 ]"]}
    form.get_by_label("Body, application/json").fill(json.dumps(body, indent=1))
    shown = json.loads(tried(docs, "gaze"))
    labels = [each["label"] for each in shown["results"][0]["lists"]["odd"]["predictions"]]
    assert sorted(labels) == sorted(body["phrases"]["odd"])
    status, answer = run(command(docs, "gaze"), tmp_path)
    assert (status, json.loads(answer)) == ("200", shown)


def test_command_reads_no_file_that_a_body_names(docs: Page, complaints: Complaints, tmp_path: Path) -> None:
    text = docs.locator("#gaze form textarea")
    (tmp_path / "question.json").write_text(text.input_value())
    text.fill(f"@{tmp_path}/question.json")
    expect(attempt(docs, "gaze")).to_contain_text("Status 400 in")
    assert run(command(docs, "gaze"), tmp_path)[0] == "400"
    complaints.refused("400")


def test_parameters_are_sent(docs: Page, service: str, tmp_path: Path) -> None:
    form = docs.locator("#list form")
    for name, value in (("name", "surfaces"), ("offset", "2"), ("limit", "3")):
        form.get_by_label(name, exact=True).fill(value)
    shown = json.loads(tried(docs, "list"))
    with urllib.request.urlopen(f"{service}/v1/lists/surfaces") as answer:
        assert shown["items"] == json.load(answer)["items"][2:5]
    status, body = run(command(docs, "list"), tmp_path)
    assert (status, json.loads(body)) == ("200", shown)


def test_parameters_that_are_left_empty_are_not_sent(docs: Page) -> None:
    docs.locator("#list").get_by_label("offset", exact=True).clear()
    docs.locator("#list").get_by_label("limit", exact=True).clear()
    assert json.loads(tried(docs, "list"))["items"]
    assert command(docs, "list").endswith("/v1/lists/movements'")


def test_a_parameter_stays_within_its_part_of_the_path(docs: Page, complaints: Complaints, tmp_path: Path) -> None:
    docs.locator("#list").get_by_label("name", exact=True).fill("a/b?c#d $&'{e}")
    expect(attempt(docs, "list")).to_contain_text("Status 404 in")
    assert "/v1/lists/a%2Fb%3Fc%23d%20%24%26'\\''%7Be%7D?offset=0" in command(docs, "list")
    assert run(command(docs, "list"), tmp_path)[0] == "404"
    complaints.refused("404")


def test_enter_in_a_parameter_tries_the_call(docs: Page) -> None:
    docs.locator("#list").get_by_label("limit", exact=True).press("Enter")
    expect(docs.locator("#list .tried").get_by_role("status")).to_have_text(OK)


def test_etag_of_an_answer_can_be_sent_back(docs: Page, tmp_path: Path) -> None:
    tried(docs, "list")
    told = docs.locator("#list .body .about").inner_text()
    (etag,) = re.findall(r'^ETag: (".+")$', told, re.MULTILINE)
    docs.locator("#list").get_by_label("If-None-Match").fill(etag)
    expect(attempt(docs, "list")).to_have_text(re.compile(r"^Status 304 in [\d,]+ ms\.$"))
    expect(docs.locator("#list .tried pre")).to_be_hidden()
    expect(docs.locator("#list .trouble")).to_have_count(0)
    assert run(command(docs, "list"), tmp_path) == ("304", "")


@pytest.mark.parametrize(
    ("call", "body"),
    [
        ("gaze", '{"image": '),
        ("gaze", '{"image": {"base64": "AAAA"}, "lists": ["movement"]}'),
        ("gaze", '{"image": {"base64": "AAAA"}, "lists": ["movements"]}'),
        ("explain", "{}"),
    ],
)
def test_problem_is_shown_in_its_own_words(
    docs: Page, service: str, complaints: Complaints, call: str, body: str
) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(
            urllib.request.Request(f"{service}/v1/{call}", body.encode(), {"Content-Type": "application/json"})
        )
    with refusal.value as answer:
        problem = json.load(answer)
    docs.locator(f"#{call} form textarea").fill(body)
    said = attempt(docs, call)
    expect(said).to_contain_text(f"Status {problem['status']} in")
    expect(said).to_contain_text(problem["detail"])
    for each in problem.get("errors", ()):
        expect(said).to_contain_text(f"{each['pointer']}: {each['detail']}")
    expect(docs.locator(f"#{call} .trouble")).to_be_visible()
    shown = json.loads(docs.locator(f"#{call} .tried code").inner_text())
    assert {**shown, "request_id": ""} == {**problem, "request_id": ""}
    complaints.refused(str(problem["status"]))
    docs.locator(f"#{call} form select").select_option(index=0)
    tried(docs, call)
    expect(docs.locator(f"#{call} .trouble")).to_have_count(0)


def test_model_that_is_not_there_yet_is_a_problem_as_well(
    open_page: Open, unready: tuple[str, Callable[[], object]], complaints: Complaints
) -> None:
    address, come = unready
    page = open_page(address)
    page.wait_for_load_state("networkidle")
    page.goto(f"{address}/docs")
    said = attempt(page, "model")
    expect(said).to_contain_text(re.compile(r"^Status 503 in [\d,]+ ms\. \w+"))
    expect(page.locator("#model .body .about")).to_contain_text("Retry-After: ")
    assert json.loads(page.locator("#model .tried code").inner_text())["code"] == "not_ready"
    complaints.refused("503", "503")
    come()
    assert json.loads(tried(page, "model"))["demo"]


def test_service_that_is_gone_is_said_to_be(docs: Page, complaints: Complaints) -> None:
    tried(docs, "model")
    docs.context.set_offline(True)
    expect(attempt(docs, "model")).to_contain_text("No answer came")
    expect(docs.locator("#model .tried pre")).to_be_hidden()
    complaints.refused("ERR_INTERNET_DISCONNECTED")


def test_key_is_sent_along_and_in_no_command(
    open_page: Open, keyed_service: str, complaints: Complaints, tmp_path: Path
) -> None:
    page = open_page(keyed_service)
    page.wait_for_load_state("networkidle")
    page.goto(f"{keyed_service}/docs")
    expect(attempt(page, "lists")).to_contain_text("Status 401 in")
    assert run(command(page, "lists"), tmp_path)[0] == "401"
    complaints.refused("401", "401")
    page.get_by_label("Key of this service").fill(KEY)
    assert tried(page, "lists")
    assert tried(page, "gaze")
    assert KEY not in page.content()
    for each in page.locator(".command code").all_inner_texts():
        assert run(each, tmp_path, GAZE_KEY=KEY)[0] == "200"


def test_service_under_a_path_is_asked_there(open_page: Open, service: str) -> None:
    def without_prefix(route: Route) -> None:
        route.continue_(url=route.request.url.replace("/museum/gaze/", "/"))

    page = open_page()
    page.wait_for_load_state("networkidle")
    page.route("**/museum/gaze/**", without_prefix)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{service}/museum/gaze/docs#list")
    for call in CALLS:
        assert tried(page, call)
    assert len(asked) > len(CALLS)
    assert all(each.startswith(f"{service}/museum/gaze/") for each in asked)
    for each in page.locator(".command code").all_inner_texts():
        assert f"'{service}/museum/gaze/" in each


def test_long_body_is_cut_and_that_is_said(docs: Page) -> None:
    note = docs.locator("#list .tried .note")
    docs.locator("#list").get_by_label("limit", exact=True).fill("10000")
    whole = tried(docs, "list")
    assert len(whole) == 20_000
    expect(note).to_have_text(re.compile(r"^Only the first 20,000 of \d\d,\d{3} characters are shown\.$"))
    docs.locator("#list").get_by_label("limit", exact=True).fill("3")
    assert whole.startswith(tried(docs, "list").partition("},")[0])
    expect(note).to_be_hidden()


def test_numbers_of_a_heat_map_are_one_line_a_row(docs: Page) -> None:
    docs.locator("#explain form textarea").evaluate("text => { text.value = text.value.replace('true', 'false') }")
    shown = tried(docs, "explain")
    values = json.loads(shown)["maps"][0]["values"]
    rows = re.findall(r"^ +\[ [\d.,e -]+ \],?$", shown, re.MULTILINE)
    assert len(rows) == 2 * len(values)
    assert json.loads(rows[0].rstrip(",")) == values[0]


def test_text_is_shown_as_it_is(docs: Page) -> None:
    assert re.search(r"\n# TYPE gaze_[a-z_]+ (gauge|counter|histogram)\n", tried(docs, "metrics"))
    assert tried(docs, "page").startswith("<!doctype html>\n")
    told = docs.locator("#page .body .about").inner_text().splitlines()
    assert told[0] == "Content-Type: text/html; charset=utf-8"
    assert told[-1].startswith("X-Request-ID: ")


def test_last_try_is_the_one_that_is_shown(docs: Page) -> None:
    held = Held(docs, "/v1/lists/movements?*")
    attempt(docs, "list")
    held.wait(1)
    docs.locator("#list").get_by_label("name", exact=True).fill("surfaces")
    assert json.loads(tried(docs, "list"))["name"] == "surfaces"
    held.let_go(0)
    docs.wait_for_timeout(200)
    expect(docs.locator("#list .tried").get_by_role("status")).to_have_text(OK)
    assert json.loads(docs.locator("#list .tried code").inner_text())["name"] == "surfaces"


def test_command_can_be_copied(docs: Page) -> None:
    docs.get_by_role("button", name="Copy the curl command, gaze, with a file").click()
    expect(docs.locator("#gaze > .command").get_by_role("status")).to_have_text("Copied.")
    copied = docs.evaluate("navigator.clipboard.readText()")
    assert copied == docs.locator("#gaze > .command code").inner_text()
    assert copied.startswith("curl 'http://127.0.0.1:")


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_documentation_is_accessible(
    open_page: Open, service: str, complaints: Complaints, scheme: str, width: int
) -> None:
    page = open_page(width=width, color_scheme=scheme)
    page.goto(f"{service}/docs")
    page.locator("#explain textarea").fill("{}")
    expect(attempt(page, "explain")).to_contain_text("Status 422 in")
    complaints.refused("422")
    page.locator("#list").get_by_label("limit", exact=True).fill("10000")
    for call in ("gaze", "list", "metrics"):
        tried(page, call)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_navigation_leads_to_every_call(docs: Page) -> None:
    links = docs.get_by_role("navigation", name="Calls")
    headings = docs.locator(".call h3").all_inner_texts()
    assert len(headings) == len(CALLS)
    for heading in headings:
        links.get_by_role("link", name=heading, exact=True).click()
        expect(docs.get_by_role("heading", name=heading, exact=True)).to_be_in_viewport()


def test_documentation_can_be_read_without_javascript(open_page: Open, service: str) -> None:
    page = open_page(java_script_enabled=False)
    page.goto(f"{service}/docs")
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.locator("#gaze").get_by_label("Body, application/json")).to_have_value(re.compile('"a {} square"'))
    expect(page.get_by_role("button", name="Try").first).to_be_hidden()
