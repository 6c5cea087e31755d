"""Reading the page by keyboard, screen reader and phone, in the dark, on paper and in trouble."""

from importlib.resources import files
from typing import Any

import pytest
from support.browsers import PHONE, WIDE, Open, Watched

PANELS = {
    "order": "#order",
    "step": "#step?step=3&row=37",
    "document": "#document?source=prose&document=prose-0007",
    "search": "#search?text=water",
    "budget": "#budget",
    "proof": "#proof?row=17&with=sample",
}


@pytest.mark.parametrize(("theme", "size"), [("light", WIDE), ("dark", PHONE)])
def test_no_panel_has_a_serious_finding_of_axe(
    open_page: Open, theme: str, size: tuple[int, int]
) -> None:
    watched = open_page(size, theme)
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    found = []
    for name, view in PANELS.items():
        page = watched.open(view)
        page.evaluate(f"() => {{ if (!window.axe) {{ {axe} }} }}")
        results: dict[str, Any] = page.evaluate("axe.run({ resultTypes: ['violations'] })")
        assert results["passes"]
        found += [
            (name, one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
            for one in results["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        watched.picture(f"{name}-{'phone' if size == PHONE else 'wide'}-{theme}")
    assert found == []


def test_no_panel_is_wider_than_a_phone(open_page: Open) -> None:
    watched = open_page(PHONE)
    for name, view in PANELS.items():
        page = watched.open(view)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0], name
        watched.picture(f"{name}-phone-light")


def test_the_panels_fit_into_their_bar(open_page: Open) -> None:
    """A pixel more and there is a bar to scroll it by."""
    page = open_page().open("#order")
    assert page.locator("#panels").evaluate("bar => bar.scrollHeight <= bar.clientHeight")


def test_everything_is_reached_by_keys_and_the_focus_is_seen(watched: Watched) -> None:
    page = watched.open("#order")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the panel"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    seen = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        focus = page.locator(":focus")
        seen.add(focus.evaluate("one => one.ariaLabel ?? one.textContent"))
        outline = "one => getComputedStyle(one).outlineStyle + getComputedStyle(one).outlineWidth"
        assert focus.evaluate(outline) == "solid2px"
    assert {"First step", "Zoom in", "Earlier steps"} <= seen
    page.keyboard.press("5")
    watched.wait("#budget")
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()


def test_the_theme_is_the_systems_until_one_is_chosen(open_page: Open) -> None:
    watched = open_page(WIDE, "dark")
    page = watched.open("#budget")
    back = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(back)
    page.get_by_role("button", name="Theme: Auto").click()
    light = page.evaluate(back)
    assert dark != light
    page.reload()
    watched.wait("#budget")
    assert page.evaluate(back) == light
    page.keyboard.press("t")
    assert page.evaluate(back) == dark


def test_what_fails_is_said_in_its_panel_and_the_others_go_on(watched: Watched) -> None:
    watched.refused_ok = True
    page = watched.open("#step?step=9999")
    assert "9999" in page.locator("#panel-step .problem").inner_text()
    page.get_by_role("spinbutton", name="Step").fill("2")
    page.keyboard.press("Enter")
    watched.wait("#step?step=2")
    assert page.locator("#panel-step .problem").count() == 0
    error = {"error": "shard.00012.mds: sha256 is 3fa9", "hint": "build it again"}
    watched.answer_with("row", error, status=409)
    watched.open("#step?step=3")
    assert watched.texts("#panel-step .row .problem p") == [
        error["error"], f"Hint: {error['hint']}"
    ]  # fmt: skip
    assert page.locator(".row-list li").count() == 16
    watched.picture("damaged-row")


def test_damaged_parts_are_named_above_the_panels(watched: Watched) -> None:
    about = {**watched.get("about"), "state": "damaged", "problems": ["order/steps.parquet: gone"]}
    watched.answer_with("about", about)
    page = watched.open("#order")
    page.locator("#problems summary").click()
    assert page.locator("#problems li").inner_text() == "order/steps.parquet: gone"
    assert page.locator(".state").inner_text() == "damaged"


def test_the_command_and_the_python_call_are_copied_as_answered(watched: Watched) -> None:
    page = watched.open("#budget")
    answer = watched.get("budget")
    for name, key in (("Copy command", "command"), ("Copy Python", "python")):
        button = page.locator("#panel-budget").get_by_role("button", name=name)
        button.click()
        button.get_by_text("Copied").wait_for()
        assert page.evaluate("navigator.clipboard.readText()") == answer[key]


def test_paper_has_the_panel_without_its_controls(watched: Watched) -> None:
    page = watched.open("#step?step=3&row=37")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator("nav").is_hidden()
    assert page.locator("#panel-step .controls").is_hidden()
    assert page.locator(".tokens:visible").count() == 1
    back = "getComputedStyle(document.documentElement).backgroundColor"
    assert page.evaluate(back) == "rgb(251, 250, 248)"
