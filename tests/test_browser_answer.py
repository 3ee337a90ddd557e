"""The page in a browser: the answer as bars, heat maps on the picture, two pictures side by side, and copies."""

import csv
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.conftest import encoded
from tests.support.browser import (
    CIRCLE,
    RINGS,
    Complaints,
    Held,
    Open,
    answered,
    ask,
    choose,
    drawn,
    phrase,
    press_ask,
    tick,
)
from tests.support.origin import Origin, http

pytest_plugins = ["tests.support.chromium"]

HOTTEST = """() => {
    const canvas = document.querySelector(".hot canvas");
    const { width, height, data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let hottest = 0;
    for (let pixel = 0; pixel < width * height; pixel++) {
        if (data[4 * pixel + 3] > data[4 * hottest + 3]) hottest = pixel;
    }
    const [on, of] = [canvas, document.querySelector(".hot img")].map((each) => each.getBoundingClientRect());
    const column = (hottest % width) + 0.5, row = Math.floor(hottest / width) + 0.5;
    return [
        (on.x + (on.width * column) / width - of.x) / of.width,
        (on.y + (on.height * row) / height - of.y) / of.height,
        data[4 * hottest + 3],
    ];
}"""
"""Where the hottest pixel of a heat map lies, as shares of the picture's sides, and how opaque it is."""

REGION = """() => {
    const [on, of] = ["canvas", "img"].map((name) => document.querySelector(`.hot ${name}`).getBoundingClientRect());
    return [(on.x - of.x) / of.width, (on.y - of.y) / of.height, on.width / of.width, on.height / of.height];
}"""
"""Where a heat map lies, as shares of the picture's sides: left, top, width, height."""


def copied(page: Page, what: str) -> str:
    """Copy, and return what is in the clipboard."""
    page.evaluate("navigator.clipboard.writeText('')")
    page.get_by_role("button", name=f"Copy {what}").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    text: str = page.evaluate("navigator.clipboard.readText()")
    return text


def rankings(answer: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return every phrase of an answer's first picture with the name of its list."""
    lists = answer["results"][0]["lists"]
    return [(name, each) for name, ranked in lists.items() for each in ranked["predictions"]]


def test_an_answer_is_shown_as_bars_with_all_that_it_says(page: Page) -> None:
    choose(page, CIRCLE)
    page.get_by_label("One a line").fill("a red circle\na circle\na circle that is red\na grid")
    page.get_by_text("How to ask").click()
    page.get_by_label("Look nine times").check()
    with page.expect_response("**/v1/gaze") as response:
        press_ask(page)
    told = rankings(response.value.json())
    assert len(told) == 9
    items = page.locator("#results li")
    expect(items).to_have_count(9)
    for item, (_, each) in zip(items.all(), told, strict=True):
        expect(item.locator(".rank")).to_have_text(str(each["rank"]))
        expect(item.get_by_role("button")).to_have_text(each["label"])
        expect(item).to_contain_text(f"similarity {each['similarity']:.3f}".replace("-", "−"))
        expect(item).to_contain_text("lift ")
        ranks = each["stability"]["pictures"]["rank"]
        beyond = "in all looks" if ranks["lowest"] == ranks["highest"] else f"to {ranks['highest']}"
        expect(item).to_contain_text(f"rank {ranks['lowest']} {beyond}")
        filled = item.evaluate(
            "(li) => { const bar = li.querySelector('.bar'); return bar.firstChild.offsetWidth / bar.offsetWidth; }"
        )
        assert filled == pytest.approx(each["probability"], abs=0.01)
        link = item.get_by_role("link")
        if each["uri"]:
            expect(link).to_have_attribute("href", each["uri"])
            expect(link).to_have_accessible_name(f"authority record of {each['label']}, in a new tab")
        else:
            expect(link).to_have_count(0)


def test_numbers_are_rounded_so_that_they_do_not_mislead(page: Page) -> None:
    answered(page, CIRCLE, phrases=("a red circle", "a circle", "a blue square"))
    percents = page.locator(".percent").all_inner_texts()
    assert [each.split("\n")[0] for each in percents] == ["75.1 %", "24.9 %", "< 0.1 %"]
    said = page.locator(".doubts").all_inner_texts()
    assert ["lift over 10,000 ×" in each for each in said] == [False, True, False]
    assert "lift under 0.01 ×" in said[2]
    answered(page, CIRCLE, phrases=("a red circle", "a grid"))
    expect(page.locator(".percent").first).to_contain_text("> 99.9 %")


def test_doubt_is_explained_where_it_appears(page: Page) -> None:
    answered(page, encoded(Image.new("RGB", (64, 64), "grey")), phrases=("a grid", "a grid", "a Grid", "a circle"))
    expect(page.get_by_text("Probably none of these")).to_be_visible()
    tied = page.locator("#results li", has_text="near tie with")
    expect(tied.first).to_contain_text("near tie with a ")
    expect(page.get_by_text("order is not to be trusted").first).to_be_hidden()
    page.get_by_text("What these numbers say").click()
    expect(page.locator(".list dt")).to_have_text(["Probability", "Similarity", "Lift", "Near tie"])
    expect(page.locator(".list dd").last).to_be_visible()


def test_a_phrase_is_a_near_tie_with_those_alone_that_are_as_similar(page: Page) -> None:
    choose(page, CIRCLE)
    tick(page, "Art movements")
    page.get_by_text("How to ask").click()
    page.get_by_label("Phrases to show").fill("100")
    with page.expect_response("**/v1/gaze") as response:
        press_ask(page)
    ranked = response.value.json()["results"][0]["lists"]["movements"]
    shown, least = ranked["predictions"], ranked["certainty"]["near_tie_similarity"]
    said, chained = [], []
    for each in shown:
        group = [other for other in shown if other is not each and other["near_tie_group"] == each["near_tie_group"]]
        tied = [other["label"] for other in group if abs(other["similarity"] - each["similarity"]) < least]
        said.append(
            ["", f"near tie with {tied[0]}" if tied else "", f"near tie with {len(tied)} others"][min(len(tied), 2)]
        )
        chained.append(len(tied) < len(group))
    assert any(chained)
    told = page.locator(".doubts").all_inner_texts()
    assert [(re.findall("near tie with .*", each) or [""])[0] for each in told] == said
    page.get_by_text("What these numbers say").click()
    expect(page.locator(".list dd").last).to_have_text(
        f"Phrases whose similarities differ by less than {least}; their order is not to be trusted."
    )


def test_near_ties_are_explained_only_where_one_of_two_pictures_has_some(page: Page) -> None:
    answered(page, CIRCLE, RINGS, phrases=("a red circle", "rings"))
    page.get_by_text("What these numbers say").click()
    expect(page.locator(".list dt")).to_have_text(["Probability", "Similarity", "Lift"])


def test_of_a_ranking_by_lift_the_ranks_of_all_looks_are_said_to_be_by_probability(page: Page) -> None:
    page.get_by_text("How to ask").click()
    page.get_by_label("Rank by").select_option("lift")
    page.get_by_label("Look nine times").check()
    answered(page, CIRCLE)
    expect(page.locator(".doubts")).to_contain_text(["by probability: rank ", "by probability: rank "])


def test_a_list_of_a_hundred_phrases_is_shown_and_explained(page: Page) -> None:
    choose(page, CIRCLE)
    tick(page, "Artists by name")
    page.get_by_text("How to ask").click()
    page.get_by_label("Phrases to show").fill("100")
    press_ask(page)
    expect(page.locator("#results li")).to_have_count(100)
    page.locator(".phrase").nth(2).hover()
    expect(page.locator("figure.hot")).to_be_visible()
    button = page.locator(".phrase").nth(99)
    button.focus()  # which counts for more than a pointer that rests
    expect(page.locator(".where")).to_contain_text(f"“{button.inner_text()}”: ")
    expect(page.locator("figure.hot")).to_be_in_viewport()


@pytest.mark.parametrize(
    ("x", "y", "where"),
    [(130, 130, "at the top left"), (350, 350, "at the bottom right")],
)
def test_a_phrase_pointed_at_lights_up_where_it_is(page: Page, x: int, y: int, where: str) -> None:
    answered(page, drawn(x, y))
    expect(page.locator("figure.hot")).to_have_count(0)
    phrase(page, "a red circle").hover()
    expect(page.locator("figure.hot canvas")).to_have_css("opacity", "1")
    expect(page.locator(".where")).to_have_text(f"“a red circle”: most {where}.")
    across, down, opacity = page.evaluate(HOTTEST)
    assert opacity > 150
    assert abs(across * 480 - x) < 80
    assert abs(down * 480 - y) < 80


@pytest.mark.parametrize(
    ("size", "fit", "region"),
    [
        ((960, 480), "crop", [0.25, 0, 0.5, 1]),
        ((960, 480), "pad", [0, -0.5, 1, 2]),
        ((960, 480), "stretch", [0, 0, 1, 1]),
        ((3584, 64), "pad", [0, -27.5, 1, 56]),
        ((50, 4000), "crop", [0, 0.49375, 1, 0.0125]),
    ],
)
def test_a_heat_map_lies_on_what_the_model_saw(
    page: Page, size: tuple[int, int], fit: str, region: list[float]
) -> None:
    choose(page, drawn(size[0] // 2, size[1] // 2, size=size))
    page.get_by_text("How to ask").click()
    page.get_by_label("What of the picture counts").select_option(fit)
    ask(page, "a red circle", "a grid")
    phrase(page, "a grid").click()
    expect(page.locator("figure.hot")).to_be_visible()
    assert page.evaluate(REGION) == pytest.approx(region, rel=0.02, abs=0.02)
    shown = page.locator("figure img").bounding_box()
    assert shown
    assert shown["width"] / shown["height"] == pytest.approx(size[0] / size[1], rel=0.1)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_map_without_heat_is_said_to_be_so(page: Page) -> None:
    answered(page, encoded(Image.new("RGB", (300, 300), "white")))
    phrase(page, "stripes").focus()
    expect(page.locator(".where")).to_have_text("“stripes”: no part of the picture stands out.")


def test_a_press_keeps_a_heat_map_while_others_are_pointed_at(page: Page) -> None:
    answered(page, CIRCLE)
    circle, stripes, where = phrase(page, "a red circle"), phrase(page, "stripes"), page.locator(".where")
    circle.click()
    expect(circle).to_have_attribute("aria-pressed", "true")
    stripes.hover()
    expect(where).to_contain_text("stripes")
    page.get_by_role("heading", name="Answer", exact=True).hover()
    expect(where).to_contain_text("a red circle")
    stripes.click()
    expect(circle).to_have_attribute("aria-pressed", "false")
    expect(where).to_contain_text("stripes")
    stripes.click()
    expect(stripes).to_have_attribute("aria-pressed", "false")
    expect(page.locator("figure.hot")).to_have_count(0)


def test_the_pointer_may_leave_a_phrase_for_the_picture(page: Page) -> None:
    answered(page, CIRCLE)
    phrase(page, "a red circle").hover()
    expect(page.locator("figure.hot")).to_be_visible()
    page.locator("figure img").hover()
    page.locator(".list h3").hover()
    expect(page.locator("figure.hot")).to_be_visible()
    page.get_by_role("heading", name="Answer", exact=True).hover()
    expect(page.locator("figure.hot")).to_have_count(0)


@pytest.mark.parametrize("how", ["Escape", "button"])
def test_a_heat_map_can_be_hidden(page: Page, how: str) -> None:
    answered(page, CIRCLE)
    phrase(page, "a red circle").click()
    hide = page.get_by_role("button", name="Hide heat map")
    expect(hide).to_be_visible()
    if how == "Escape":
        page.keyboard.press("Escape")
    else:
        hide.click()
        expect(page.locator("figure")).to_be_focused()
    expect(page.locator("figure.hot")).to_have_count(0)
    expect(hide).to_be_hidden()
    expect(page.locator(".where")).to_have_text("")
    expect(page.locator("[aria-pressed=true]")).to_have_count(0)


def test_a_tap_shows_a_heat_map_and_keeps_it(open_page: Open) -> None:
    page = open_page(width=360, height=740, has_touch=True, is_mobile=True)
    answered(page, CIRCLE)
    phrase(page, "a red circle").tap()
    expect(page.locator("figure.hot")).to_be_in_viewport()
    page.get_by_text("all 2 phrases").tap()
    expect(page.locator(".where")).to_contain_text("a red circle")
    phrase(page, "stripes").tap()
    expect(page.locator(".where")).to_contain_text("stripes")
    phrase(page, "stripes").tap()
    expect(page.locator("figure.hot")).to_have_count(0)


def test_no_map_shows_that_comes_after_the_pointer_went_on(page: Page) -> None:
    choose(page, CIRCLE)
    tick(page, "Art movements")
    page.get_by_text("How to ask").click()
    page.get_by_label("Phrases to show").fill("40")
    press_ask(page)
    first, last = page.locator(".phrase").first, page.locator(".phrase").last
    last.focus()
    expect(page.locator("figure.hot")).to_be_visible()
    held = Held(page, "/v1/explain")
    first.focus()
    held.wait(1)
    expect(page.locator(".where")).to_have_text(f"“{first.inner_text()}”: looking where …")
    expect(page.locator("figure.hot")).to_have_count(0)
    last.focus()
    expect(page.locator("figure.hot")).to_be_visible()
    page.evaluate(
        """() => {
            window.said = [];
            const note = ({ addedNodes }) => said.push(...[...addedNodes].map((each) => each.textContent));
            const observer = new MutationObserver((changes) => changes.forEach(note));
            observer.observe(document.querySelector(".where"), { childList: true });
        }"""
    )
    held.let_go(0)
    second = page.locator(".phrase").nth(1)
    second.focus()
    expect(page.locator(".where")).to_contain_text(f"“{second.inner_text()}”: most ")
    held.wait(1)
    said = page.evaluate("said")
    assert any(second.inner_text() in each for each in said)
    assert not any(first.inner_text() in each for each in said)


def test_a_map_that_cannot_be_had_is_said_and_may_be_asked_for_again(page: Page, complaints: Complaints) -> None:
    answered(page, CIRCLE)
    page.context.set_offline(True)
    phrase(page, "a red circle").focus()
    expect(page.locator(".where")).to_have_text("The service could not be reached. Try again in a moment.")
    complaints.refused("net::ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(False)
    phrase(page, "stripes").focus()
    expect(page.locator("figure.hot")).to_be_visible()


def test_one_map_is_asked_for_at_a_time_and_none_that_nobody_wants_any_more(page: Page) -> None:
    answered(page, CIRCLE, RINGS, phrases=("a red circle", "rings"))
    held = Held(page, "/v1/explain")
    phrase(page, "a red circle", 0).click()
    held.wait(1)
    phrase(page, "rings", 1).click()
    expect(page.locator(".where").last).to_have_text("“rings”: looking where …")
    page.wait_for_timeout(300)
    held.wait(1)
    page.keyboard.press("Escape")
    with page.expect_response("**/v1/explain"):
        held.let_go(0)
    page.wait_for_timeout(300)
    held.wait(1)
    phrase(page, "rings", 1).click()
    held.wait(2)
    held.let_go(1)
    expect(page.locator("figure.hot .name")).to_have_text("Second picture: rings.png")


def test_a_service_with_too_much_to_do_is_asked_for_a_map_once_more(page: Page, complaints: Complaints) -> None:
    answered(page, CIRCLE)
    busy = {"status": 503, "headers": {"Retry-After": "1"}, "json": {"detail": "The service has too much to do."}}
    page.route("**/v1/explain", lambda route: route.fulfill(**busy), times=3)
    phrase(page, "a red circle").focus()
    expect(page.locator(".where")).to_have_text("The service has too much to do.")
    phrase(page, "stripes").focus()
    expect(page.locator("figure.hot")).to_be_visible()
    complaints.refused("503", "503", "503")


def test_two_pictures_are_answered_side_by_side_on_the_same_lists(page: Page) -> None:
    answered(page, CIRCLE, RINGS, phrases=("a red circle", "rings"))
    expect(page.locator("figure .name")).to_have_text(
        ["First picture: red-circle-on-blue.png", "Second picture: rings.png"]
    )
    expect(page.get_by_role("list", name="Your own phrases, First picture").get_by_role("button").first).to_have_text(
        "a red circle"
    )
    expect(page.get_by_role("list", name="Your own phrases, Second picture").get_by_role("button").first).to_have_text(
        "rings"
    )
    # The rankings move down as the pictures above them come.
    page.wait_for_function("() => [...document.querySelectorAll('figure img')].every((image) => image.complete)")
    left, right = (ranking.bounding_box() for ranking in page.locator(".ranking").all())
    assert left
    assert right
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]
    phrase(page, "rings", 1).click()
    expect(page.locator("figure.hot .name")).to_have_text("Second picture: rings.png")
    phrase(page, "a red circle", 0).click()
    expect(page.locator("figure.hot")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.locator("figure.hot")).to_have_count(0)


def test_of_two_pictures_the_good_one_is_answered(page: Page, complaints: Complaints) -> None:
    answered(page, b"no picture", RINGS)
    expect(page.locator("#problem")).to_contain_text("First picture: This is no image")
    expect(page.locator("figure .name")).to_have_text("Second picture: rings.png")
    complaints.refused("415")


def test_json_is_the_answer(page: Page) -> None:
    choose(page, CIRCLE)
    with page.expect_response("**/v1/gaze") as response:
        press_ask(page)
    assert json.loads(copied(page, "JSON")) == response.value.json()
    answered(page, CIRCLE, RINGS)
    assert [each["results"][0]["image"]["name"] for each in json.loads(copied(page, "JSON"))] == [
        CIRCLE.name,
        RINGS.name,
    ]


def test_csv_says_what_the_answer_says_and_is_no_formula(page: Page) -> None:
    phrases = ("=1+1", "-2", "@a", "＝3", 'a "red" circle, in\tblue', "a grid")
    answered(page, CIRCLE, RINGS, phrases=phrases)
    answers = json.loads(copied(page, "JSON"))
    text = copied(page, "CSV")
    assert text.count("\r\n") == 11
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    told = [
        (answer["results"][0]["image"]["name"], name, each) for answer in answers for name, each in rankings(answer)
    ]
    assert len(told) == 10
    for row, (picture, name, each) in zip(rows, told, strict=True):
        guarded = f"'{each['label']}" if each["label"][0] in "=-@＝" else each["label"]
        assert (row["picture"], row["list"], row["label"], row["phrase"]) == (picture, name, guarded, guarded)
        assert (int(row["rank"]), int(row["near_tie_group"])) == (each["rank"], each["near_tie_group"])
        for number in ("probability", "similarity", "lift"):
            assert float(row[number]) == each[number]
        assert row["uri"] == (each["uri"] or "")


def test_csv_calls_a_picture_without_a_name_as_the_page_does(page: Page, complaints: Complaints) -> None:
    page.get_by_role("button", name="Compare").click()
    choose(page, b"no picture")
    with Origin({"/": http(CIRCLE.read_bytes())}) as origin:
        page.get_by_role("group", name="Second picture").get_by_label("or link one").fill(f"http://{origin.address}/")
        ask(page, "a red circle")
        expect(page.get_by_role("img", name="as the model saw it")).to_be_visible()
    complaints.refused("415")
    rows = list(csv.DictReader(io.StringIO(copied(page, "CSV"), newline="")))
    assert [(row["picture"], row["label"]) for row in rows] == [("Second picture", "a red circle")]


def test_curl_gets_the_same_answer(page: Page, tmp_path: Path) -> None:
    pictures = [tmp_path / 'it\'s a "circle", red.png', tmp_path / "rings.png"]
    for copy, original in zip(pictures, (CIRCLE, RINGS), strict=True):
        copy.write_bytes(original.read_bytes())
    page.get_by_role("button", name="Compare").click()
    choose(page, *pictures)
    tick(page, "Surfaces", "Qualities")
    page.get_by_label("One a line").fill("it's $HOME; a `grid`\n@circle <a>")
    press_ask(page)
    command = copied(page, "curl").replace("curl ", "curl --silent --show-error --noproxy '*' ")
    ran = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    ended = json.JSONDecoder()
    first, end = ended.raw_decode(ran.stdout)
    second, _ = ended.raw_decode(ran.stdout[end:].strip())
    for told, shown in zip((first, second), json.loads(copied(page, "JSON")), strict=True):
        assert told["results"][0]["image"] == shown["results"][0]["image"]
        assert [(name, each["label"]) for name, each in rankings(told)] == [
            (name, each["label"]) for name, each in rankings(shown)
        ]
        for (_, one), (_, other) in zip(rankings(told), rankings(shown), strict=True):
            assert one["probability"] == pytest.approx(other["probability"], rel=1e-3, abs=1e-9)
            assert one["lift"] == pytest.approx(other["lift"], rel=1e-2)


def test_a_page_without_https_can_copy_too(open_page: Open, service: str, complaints: Complaints) -> None:
    page = open_page(service.replace("127.0.0.1", "gaze.internal"), permissions=[])
    assert page.evaluate("[isSecureContext, navigator.clipboard]") == [False, None]
    assert [each[:37] for each in complaints] == ["The Cross-Origin-Opener-Policy header"]  # is for https alone
    complaints.clear()
    answered(page, CIRCLE)
    page.get_by_role("button", name="Copy curl").click()
    expect(page.locator("#copied")).to_have_text("Copied.")
    page.get_by_label("One a line").fill("")
    page.keyboard.press("ControlOrMeta+v")
    expect(page.get_by_label("One a line")).to_have_value(
        "curl -F 'image=@\"red-circle-on-blue.png\"' --form-string 'phrases=a red circle' "
        "--form-string 'phrases=stripes' --form-string 'top_k=5' "
        f"--form-string 'include=certainty,lift,none_of_these' '{page.url.partition('#')[0]}v1/gaze'"
    )
