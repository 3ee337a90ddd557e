"""The page in a browser, for all: by keyboard, for screen readers, in dark and light, on a phone and a large screen."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import CIRCLE, RINGS, Complaints, Open, answered, choose, drawn, phrase, violations

pytest_plugins = ["tests.support.chromium"]


SMALL_TARGETS = """() => [...document.querySelectorAll("a, button, input, select, textarea, summary")]
    .filter((each) => each.checkVisibility() && !each.matches("footer a"))
    .map((each) => [each.outerHTML, each.getBoundingClientRect()])
    .filter(([, { width, height }]) => width < 24 || height < 24)
    .map(([html, { width, height }]) => `${html} ${width} x ${height}`)"""
"""What can be pressed and is smaller than 24 x 24 pixels; a link within a sentence may be (WCAG 2.2, 2.5.8)."""

AT_FOCUS = """() => {
    const { x, y, width, height } = document.activeElement.getBoundingClientRect();
    const seen = document.elementFromPoint(x + width / 2, y + height / 2);
    return seen !== null && (document.activeElement.contains(seen) || seen.contains(document.activeElement));
}"""
"""Whether the middle of what has the focus can be seen."""


def assert_good(page: Page) -> None:
    assert violations(page) == []
    assert page.evaluate(SMALL_TARGETS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def tab_to(page: Page, selector: str, key: str = "Tab") -> None:
    """Press a key until what it goes to has the focus."""
    for _ in range(60):
        page.keyboard.press(key)
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"the keyboard does not get to {selector}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_every_state_is_accessible_and_fits(
    open_page: Open, complaints: Complaints, tmp_path: Path, scheme: str, width: int
) -> None:
    page = open_page(width=width, color_scheme=scheme, reduced_motion="reduce")
    expect(page.locator("#demo")).to_be_visible()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(ground) < 60 if scheme == "dark" else min(ground) > 200
    assert_good(page)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#problem")).to_be_visible()
    page.get_by_text("How to ask").click()
    assert_good(page)
    choose(page, CIRCLE)
    expect(page.locator(".drop img")).to_be_visible()
    assert_good(page)
    page.get_by_label("Look nine times").check()
    page.get_by_label("One a line").fill(
        "a red circle\nthe longest of words, Donaudampfschifffahrtsgesellschaft\nstripes"
    )
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator(".phrase")).to_have_count(8)
    for explained in page.get_by_text("What these numbers say").all():
        explained.click()
    assert_good(page)
    phrase(page, "geometric abstract art").click()
    expect(page.locator("figure.hot")).to_be_visible()
    assert_good(page)
    page.get_by_role("button", name="Compare").click()
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.locator("input[type=file]").last.set_input_files(tmp_path / "broken.png")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("#problem")).to_contain_text("Second picture: This is no image")
    complaints.refused("415")
    assert_good(page)
    choose(page, CIRCLE, RINGS)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator(".phrase")).to_have_count(16)
    phrase(page, "geometric abstract art", 1).click()
    expect(page.locator("figure.hot")).to_be_visible()
    assert_good(page)


def test_the_whole_way_can_be_gone_with_the_keyboard_alone(page: Page) -> None:
    tab_to(page, "input[type=file]")
    picture = drawn(130, 130)
    page.locator(":focus").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": picture})
    expect(page.locator(".drop img")).to_be_visible()
    tab_to(page, "#find")
    page.keyboard.type("movements")
    expect(page.locator("#found")).to_have_text("1 found")
    tab_to(page, "input[value=movements]")
    page.keyboard.press("Space")
    expect(page.locator("#ticked")).to_have_text("0 of 10 ticked")
    tab_to(page, "#phrases")
    page.keyboard.type("a red circle\nstripes")
    tab_to(page, "#choices summary")
    page.keyboard.press("Enter")
    tab_to(page, "#stability")
    page.keyboard.press("Space")
    tab_to(page, ".ask")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Answer", exact=True)).to_be_focused()
    tab_to(page, ".phrase")
    expect(page.locator(".where")).to_have_text("“a red circle”: most at the top left.")
    expect(page.locator("figure.hot")).to_be_in_viewport()
    page.keyboard.press("Tab")
    expect(page.locator(".where")).to_contain_text("stripes")
    page.keyboard.press("Enter")
    expect(phrase(page, "stripes")).to_have_attribute("aria-pressed", "true")
    tab_to(page, "a")
    expect(page.locator(".where")).to_contain_text("stripes")
    page.keyboard.press("Escape")
    expect(page.locator("figure.hot")).to_have_count(0)


@pytest.mark.parametrize(("width", "pictures"), [(360, 1), (360, 2), (1440, 2)])
def test_what_has_the_focus_is_never_behind_the_picture(open_page: Open, width: int, pictures: int) -> None:
    page = open_page(width=width, height=800, reduced_motion="reduce")
    if pictures == 2:
        page.get_by_role("button", name="Compare").click()
    choose(page, *(CIRCLE, RINGS)[:pictures])
    page.get_by_role("checkbox", name="Surfaces").check()
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("heading", name="Answer", exact=True)).to_be_focused()
    stops = 0
    for key in ("Tab", "Shift+Tab"):
        tab_to(page, ".phrase", key)
        while page.evaluate("document.querySelector('#results').contains(document.activeElement)"):
            assert page.evaluate(AT_FOCUS), page.evaluate("document.activeElement.outerHTML")
            page.keyboard.press(key)
            stops += 1
    assert stops >= 2 * 10 * pictures


def test_a_screen_reader_is_told_what_the_answer_is(page: Page) -> None:
    answered(page, CIRCLE, phrases=("a red circle", "a circle"))
    expect(page.get_by_role("list", name="Your own phrases")).to_match_aria_snapshot("""
        - list "Your own phrases":
          - listitem:
            - text: "1"
            - button "a circle"
            - text: 75.1 % probability
            - paragraph: /similarity 0\\.438 lift .* ×/
          - listitem:
            - text: "2"
            - button "a red circle"
            - text: 24.9 % probability
            - paragraph: /similarity 0\\.417 lift over 10,000 ×/
    """)
    phrase(page, "a circle").press("Enter")
    expect(page.get_by_role("status").filter(has_text="“a circle”: most ")).to_be_visible()
    expect(page.get_by_role("button", name="a circle", pressed=True)).to_be_visible()


def test_headings_and_landmarks_tell_the_parts_of_the_page(page: Page) -> None:
    answered(page, CIRCLE)
    headings = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map((each) => `${each.tagName} ${each.textContent}`)"
    )
    assert headings == ["H1 Gaze", "H2 Answer", "H3 Your own phrases", "H2 What the numbers mean"]
    for role, name in (
        ("banner", None),
        ("main", None),
        ("contentinfo", None),
        ("region", "Pictures"),
        ("region", "Answer"),
    ):
        expect(page.get_by_role(role, name=name)).to_have_count(1)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_documentation_is_accessible_and_fits(open_page: Open, service: str, scheme: str) -> None:
    page = open_page(service + "/", width=360, color_scheme=scheme)
    page.goto(f"{service}/docs")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
