"""The page in a browser: how a question is made, and what is said where one cannot be asked."""

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.support.browser import (
    CIRCLE,
    EXAMPLES,
    KEY,
    RINGS,
    Complaints,
    Held,
    Open,
    answered,
    ask,
    choose,
    press_ask,
    tick,
)
from tests.support.origin import Origin, http

pytest_plugins = ["tests.support.chromium"]


def drag(page: Page, onto: str, **data: Any) -> None:
    """Drag something from outside the browser over an element, and drop it there."""
    box = page.locator(onto).bounding_box()
    assert box
    devtools = page.context.new_cdp_session(page)
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 20}
    carried = {"items": [], "dragOperationsMask": 1, **data}

    def move(kind: str) -> None:
        devtools.send("Input.dispatchDragEvent", {"type": kind, **place, "data": carried})

    # What the page says to a dragOver reaches the browser later; a drop before that is dropped nowhere. A hand waits.
    move("dragEnter")
    move("dragOver")
    expect(page.locator(".drop.over")).to_have_count(1)
    move("dragOver")
    move("drop")


def copy_picture(page: Page, text: str | None = None) -> None:
    """Put a picture of 40 x 30 pixels into the clipboard, with a text beside it or without."""
    page.evaluate(
        """async (text) => {
            const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 30 });
            const items = { "image/png": await new Promise((done) => canvas.toBlob(done)) };
            if (text) items["text/plain"] = new Blob([text], { type: "text/plain" });
            await navigator.clipboard.write([new ClipboardItem(items)]);
        }""",
        text,
    )


@pytest.mark.parametrize("onto", ["h1", "#phrases"])
def test_a_picture_may_be_dropped_anywhere(page: Page, onto: str) -> None:
    drag(page, onto, files=[str(RINGS)])
    expect(page.get_by_role("img", name="rings.png")).to_be_visible()
    ask(page, "rings", "stripes")
    expect(page.locator("figure .name")).to_have_text("rings.png")


def test_a_picture_that_is_dragged_over_the_page_shows_where_it_would_go(page: Page) -> None:
    devtools = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(RINGS)], "dragOperationsMask": 1}
    devtools.send("Input.dispatchDragEvent", {"type": "dragEnter", "x": 30, "y": 30, "data": data})
    devtools.send("Input.dispatchDragEvent", {"type": "dragOver", "x": 30, "y": 30, "data": data})
    expect(page.locator(".drop.over")).to_have_count(1)
    page.dispatch_event("h1", "dragleave")  # as when the pointer leaves the window, which DevTools do not bring about
    expect(page.locator(".drop.over")).to_have_count(0)


def test_what_is_dropped_and_is_no_picture_is_refused_in_words(page: Page) -> None:
    drag(page, ".drop", files=[str(EXAMPLES.parent / "README.md")])
    expect(page.get_by_role("alert").filter(has_text="README.md is no picture.")).to_be_visible()
    choose(page, RINGS)
    expect(page.get_by_text("is no picture")).to_have_count(0)


def test_a_link_that_is_dropped_is_linked(page: Page) -> None:
    drag(page, ".drop", items=[{"mimeType": "text/uri-list", "data": "http://museum.example/a.jpg"}])
    expect(page.get_by_label("or link one")).to_have_value("http://museum.example/a.jpg")


@pytest.mark.parametrize("focused", ["body", "#phrases"])
def test_a_picture_may_be_pasted(page: Page, focused: str) -> None:
    copy_picture(page)
    page.locator(focused).focus()
    page.keyboard.press("ControlOrMeta+v")
    expect(page.locator(".drop img")).to_be_visible()
    ask(page, "a circle")
    expect(page.locator("figure .size")).to_have_text("40 × 30")


@pytest.mark.parametrize("with_picture", [False, True])
def test_a_text_that_is_pasted_into_a_field_goes_there(page: Page, with_picture: bool) -> None:
    if with_picture:
        copy_picture(page, "a bridge")
    else:
        page.evaluate("navigator.clipboard.writeText('a bridge')")
    page.get_by_label("One a line").focus()
    page.keyboard.press("ControlOrMeta+v")
    expect(page.get_by_label("One a line")).to_have_value("a bridge")
    expect(page.locator(".drop img")).to_be_hidden()


def test_of_two_pictures_the_one_that_lacks_is_pasted(page: Page) -> None:
    page.get_by_role("button", name="Compare").click()
    page.locator("input[type=file]").last.set_input_files(RINGS)
    copy_picture(page)
    page.get_by_label("Find a list").focus()
    page.keyboard.press("ControlOrMeta+v")
    expect(page.get_by_role("group", name="First picture").locator("img")).to_be_visible()
    expect(page.get_by_role("group", name="Second picture").get_by_role("img", name="rings.png")).to_be_visible()


def test_a_linked_picture_is_fetched_by_the_service_and_shown_as_the_model_saw_it(page: Page) -> None:
    with Origin({"/a/circle.png": http(CIRCLE.read_bytes(), "Content-Type: image/png")}) as origin:
        page.get_by_label("or link one").fill(f"http://{origin.address}/a/circle.png")
        ask(page, "a red circle", "stripes")
        expect(page.get_by_role("img", name="circle.png, as the model saw it")).to_be_visible()
        assert {request.partition("\r\n")[0] for request in origin.requests} == {"GET /a/circle.png HTTP/1.1"}
        assert not any("Sec-Fetch" in request for request in origin.requests)  # which every browser sends
        shown = page.evaluate(
            "[document.querySelector('figure img')].map((img) => [img.naturalWidth, img.naturalHeight])"
        )
        assert shown == [[224, 224]]
        page.get_by_role("button", name="a red circle").hover()
        expect(page.locator("figure.hot")).to_be_visible()


def test_a_linked_picture_that_could_not_be_shown_at_first_is_shown_with_its_first_heat_map(
    page: Page, complaints: Complaints
) -> None:
    page.route("**/v1/explain", lambda route: route.abort(), times=1)
    with Origin({"/circle.png": http(CIRCLE.read_bytes())}) as origin:
        page.get_by_label("or link one").fill(f"http://{origin.address}/circle.png")
        ask(page, "a red circle", "stripes")
        expect(page.locator(".where")).to_have_text("The service could not be reached. Try again in a moment.")
        expect(page.locator("figure img")).to_be_hidden()
        complaints.refused("net::ERR_FAILED")
        page.get_by_role("button", name="a red circle").focus()
        expect(page.get_by_role("img", name="circle.png, as the model saw it", exact=True)).to_be_visible()
        expect(page.locator("figure.hot canvas")).to_be_visible()


def test_of_a_link_that_gives_another_picture_every_time_no_other_is_shown(page: Page) -> None:
    pictures = [http(each.read_bytes()) for each in (RINGS, CIRCLE)]
    with Origin({"/any.png": lambda connection: connection.sendall(pictures.pop())}) as origin:
        page.get_by_label("or link one").fill(f"http://{origin.address}/any.png")
        ask(page, "a red circle", "stripes")
        expect(page.locator(".where")).to_have_text("The picture at this address has changed; ask again.")
        expect(page.locator("figure img")).to_be_hidden()
        assert pictures == []


def test_a_picture_that_the_browser_cannot_show_is_shown_as_the_model_saw_it(page: Page, tmp_path: Path) -> None:
    with Image.open(CIRCLE) as image:
        image.save(tmp_path / "circle.tiff")
    choose(page, tmp_path / "circle.tiff")
    expect(page.get_by_text("Your browser cannot show this file")).to_be_visible()
    ask(page, "a red circle", "stripes")
    expect(page.get_by_role("img", name="circle.tiff, as the model saw it")).to_be_visible()


def test_a_picture_may_be_removed(page: Page) -> None:
    answered(page, RINGS)
    page.get_by_role("button", name="Remove").click()
    expect(page.locator(".drop img")).to_be_hidden()
    expect(page.locator("input[type=file]")).to_be_focused()
    expect(page.locator("#answer")).to_be_hidden()


def test_lists_are_searched_by_what_they_are_called_and_what_they_are_about(page: Page) -> None:
    for sought, found in (
        ("materials", ["Painting materials", "Sculpture materials"]),
        ("PRINT", ["Printing techniques", "Surfaces"]),
        ("how drawn", []),
    ):
        page.get_by_label("Find a list").fill(sought)
        expect(page.locator("#found")).to_have_text(f"{len(found)} found")
        expect(page.locator("#lists li:visible .title")).to_have_text(found)
        page.keyboard.press("Enter")
    page.get_by_label("Find a list").fill("")
    expect(page.locator("#problem")).to_have_text("")  # nothing was asked
    expect(page.locator("#lists li:visible")).to_have_count(10)
    expect(page.locator("#found")).to_have_text("")


def test_ticked_lists_and_own_phrases_are_asked_for(page: Page) -> None:
    choose(page, CIRCLE)
    tick(page, "Surfaces", "Qualities")
    expect(page.locator("#ticked")).to_have_text("2 of 10 ticked")
    page.get_by_label("One a line").fill("  a red circle\n\na grid\na red circle\n")
    press_ask(page)
    expect(page.locator("#results h3")).to_have_text(["Surfaces", "Qualities", "Your own phrases"])
    expect(page.locator(".heads span:first-child")).to_have_text(["5 of 19 phrases", "5 of 7 phrases", "all 2 phrases"])
    expect(page.get_by_role("list", name="Your own phrases").get_by_role("button")).to_have_text(
        ["a red circle", "a grid"]
    )


def test_how_to_ask_is_asked(page: Page) -> None:
    choose(page, CIRCLE)
    page.get_by_text("How to ask").click()
    page.get_by_label("Phrases to show").fill("7")
    page.get_by_label("What of the picture counts").select_option("pad")
    page.get_by_label("Rank by").select_option("lift")
    page.get_by_label("Say how far").uncheck()
    page.get_by_label("Look nine times").check()
    press_ask(page)
    page.get_by_role("button", name="Copy curl").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    fields = re.findall(r"--form-string '(.*?)'", page.evaluate("navigator.clipboard.readText()"))
    assert fields == ["lists=movements", "top_k=7", "fit=pad", "rank_by=lift", "include=stability"]
    expect(page.locator(".heads span:first-child")).to_have_text("7 of 193 phrases, by lift")


def test_what_a_question_lacks_is_said_and_nothing_is_sent(page: Page) -> None:
    page.route("**/v1/gaze", lambda route: pytest.fail(f"asked for {route.request.url}"))
    problem = page.locator("#problem")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(problem).to_have_text("Picture: drop, paste, choose or link one first.")
    choose(page, RINGS)
    expect(problem).to_be_hidden()
    tick(page)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(problem).to_have_text("Tick a list, or type phrases of your own.")
    page.get_by_label("One a line").fill("rings")
    page.get_by_text("How to ask").click()
    for count in ("0", "101", "", "2.5"):
        page.get_by_label("Phrases to show").fill(count)
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(problem).to_have_text("How to ask: of each list, 1 to 100 phrases can be shown.")
    page.get_by_role("button", name="Compare").click()
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(problem).to_have_text("Second picture: drop, paste, choose or link one first.")


def test_a_broken_picture_is_refused_in_the_services_words(page: Page, complaints: Complaints) -> None:
    choose(page, b"no picture")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#problem")).to_contain_text("This is no image in a format that is read: JPEG, PNG")
    expect(page.locator("#status")).to_have_text("")
    complaints.refused("415")
    choose(page, RINGS)
    press_ask(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_an_address_that_is_none_is_refused_in_the_services_words(page: Page, complaints: Complaints) -> None:
    page.get_by_label("or link one").fill("ftp://museum.example/a.jpg")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#problem")).to_have_text("Only http and https URLs are fetched.")
    complaints.refused("422")


def test_of_what_is_wrong_with_a_question_the_sentence_is_shown(page: Page, complaints: Complaints) -> None:
    choose(page, RINGS)
    page.get_by_label("One a line").fill("a" * 1001)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#problem")).to_have_text("String should have at most 1000 characters")
    complaints.refused("422")


def test_a_service_that_cannot_be_reached_is_said_and_may_be_asked_again(page: Page, complaints: Complaints) -> None:
    choose(page, RINGS)
    page.context.set_offline(True)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#problem")).to_have_text("The service could not be reached. Try again in a moment.")
    complaints.refused("net::ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(False)
    press_ask(page)


def test_an_answer_that_is_no_json_is_said_to_be_unreadable(page: Page, complaints: Complaints) -> None:
    page.route(
        "**/v1/gaze", lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad gateway</h1>")
    )
    choose(page, RINGS)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#problem")).to_have_text("The answer could not be read (status 502). Try again in a moment.")
    complaints.refused("502")


def test_a_key_is_asked_for_where_one_is_needed(open_page: Open, keyed_service: str, complaints: Complaints) -> None:
    page = open_page(keyed_service)
    choose(page, RINGS)
    problem, key = page.locator("#problem"), page.get_by_label("Key of this service")
    page.get_by_label("One a line").fill("geometric abstract art\nrings")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(problem).to_have_text("This service needs a key: type it, and ask again.")
    expect(key).to_be_focused()
    page.keyboard.type("another")
    page.keyboard.press("Enter")
    expect(problem).to_have_text("The service does not know this key.")
    key.fill(KEY)
    press_ask(page)
    expect(problem).to_be_hidden()
    expect(page.locator("#demo")).to_be_visible()
    page.get_by_role("button", name="geometric abstract art").focus()
    expect(page.locator("figure.hot")).to_be_visible()
    page.get_by_role("button", name="Copy curl").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert '-H "Authorization: Bearer $GAZE_KEY"' in copied
    assert KEY not in copied + page.url
    assert {each.partition(": ")[2] for each in complaints} == {
        "the server responded with a status of 401 (UNAUTHORIZED)"
    }
    complaints.clear()


def test_lists_are_named_once_there_is_a_key(
    open_page: Open, keyed_service: str, complaints: Complaints, service: str
) -> None:
    page = open_page(f"{keyed_service}/#lists=surfaces,tools&phrase=stripes")
    key, items = page.get_by_label("Key of this service"), page.locator("#lists li")
    expect(key).to_be_visible()
    assert "movements" not in page.content().lower()
    expect(items).to_have_count(0)
    key.fill("another")
    key.press("Tab")
    page.wait_for_load_state("networkidle")
    expect(items).to_have_count(0)
    key.fill(KEY)
    key.press("Tab")
    expect(items).to_have_count(10)
    expect(page.locator("#ticked")).to_have_text("2 of 10 ticked")
    expect(page.locator("#wanted")).to_have_count(0)
    ticked = page.locator("#lists :checked").evaluate_all("(boxes) => boxes.map((box) => box.value)")
    assert ticked == ["surfaces", "tools"]
    named = [" ".join(text.split()) for text in items.all_text_contents()]
    page.get_by_label("Find a list").fill("movements")
    expect(page.locator("#found")).to_have_text("1 found")
    choose(page, RINGS)
    press_ask(page)
    expect(page.locator("#problem")).to_be_hidden()
    complaints.clear()  # of the requests without a key and with a wrong one
    assert named == [" ".join(text.split()) for text in open_page(service).locator("#lists li").all_text_contents()]


def test_the_demo_model_is_said_to_answer_before_and_with_an_answer(page: Page) -> None:
    expect(page.get_by_text("The demo model answers here.")).to_be_visible()
    answered(page, RINGS)
    expect(page.locator("#warnings")).to_contain_text("The demo model answered.")
    expect(page.get_by_text("not the chance that it is true")).to_be_visible()


def test_the_question_is_kept_in_the_address_without_the_picture(open_page: Open, service: str) -> None:
    page = open_page()
    choose(page, RINGS)
    tick(page, "Surfaces", "Qualities")
    page.get_by_label("One a line").fill("a bridge & a river\nBrücke #1")
    page.get_by_text("How to ask").click()
    page.get_by_label("Phrases to show").fill("3")
    page.get_by_label("What of the picture counts").select_option("stretch")
    page.get_by_label("Rank by").select_option("lift")
    page.get_by_label("Look nine times").check()
    page.get_by_label("Say how far").uncheck()
    assert "rings" not in page.url
    again = open_page(page.url)
    expect(again.get_by_label("One a line")).to_have_value("a bridge & a river\nBrücke #1")
    expect(again.locator("#lists li:has(:checked) .title")).to_have_text(["Surfaces", "Qualities"])
    expect(again.locator("#ticked")).to_have_text("2 of 10 ticked")
    assert again.evaluate("['top_k', 'fit', 'rank_by'].map((id) => document.getElementById(id).value)") == [
        "3",
        "stretch",
        "lift",
    ]
    assert again.evaluate("['doubt', 'stability'].map((id) => document.getElementById(id).checked)") == [False, True]
    expect(again.locator(".drop img")).to_be_hidden()


def test_what_the_address_says_and_the_page_has_not_counts_for_nothing(open_page: Open, service: str) -> None:
    page = open_page(f"{service}/#lists=qualities,gone&phrase=a+river&top_k=900&fit=bent&rank_by=&doubt=maybe&more=1")
    expect(page.locator("#lists li:has(:checked) .title")).to_have_text(["Qualities"])
    expect(page.get_by_label("One a line")).to_have_value("a river")
    chosen = page.evaluate("['top_k', 'fit', 'rank_by'].map((id) => document.getElementById(id).value)")
    assert chosen == ["5", "", "probability"]
    page.evaluate("location.hash = 'lists=surfaces'")
    expect(page.locator("#lists li:has(:checked) .title")).to_have_text(["Surfaces"])
    expect(page.get_by_label("One a line")).to_have_value("")


def test_who_asks_anew_gets_the_new_answer_alone(page: Page) -> None:
    choose(page, CIRCLE)
    tick(page)
    page.get_by_label("One a line").fill("a red circle")
    held = Held(page, "/v1/gaze")
    page.get_by_role("button", name="Ask", exact=True).click()
    held.wait(1)
    expect(page.locator("#status")).to_have_text("Looking …")
    page.get_by_label("One a line").fill("a grid")
    with page.expect_event("requestfailed") as given_up:
        page.get_by_role("button", name="Ask", exact=True).click()
    assert given_up.value.failure == "net::ERR_ABORTED"
    held.wait(2)
    held.let_go(1)
    expect(page.locator(".phrase")).to_have_text(["a grid"])
    expect(page.locator("#status")).to_have_text("")


def test_another_picture_ends_the_question_about_the_one_before(page: Page) -> None:
    choose(page, CIRCLE)
    held = Held(page, "/v1/gaze")
    page.get_by_role("button", name="Ask", exact=True).click()
    held.wait(1)
    with page.expect_event("requestfailed"):
        choose(page, RINGS)
    expect(page.locator("#status")).to_have_text("")


def test_comparing_is_taken_back_by_a_second_press(page: Page) -> None:
    answered(page, CIRCLE, RINGS)
    expect(page.locator("figure")).to_have_count(2)
    page.get_by_role("button", name="Ask about one picture only").click()
    expect(page.locator("#answer")).to_be_hidden()
    expect(page.locator(".picture")).to_have_count(1)
    expect(page.get_by_role("group", name="Picture").get_by_role("img", name="red-circle-on-blue.png")).to_be_visible()
    press_ask(page)
    expect(page.locator("figure")).to_have_count(1)
    page.get_by_role("button", name="Compare").click()
    expect(page.get_by_role("group", name="Second picture").locator("img")).to_be_hidden()
