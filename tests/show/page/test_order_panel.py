"""The Order panel: what the strip shows, zoom, and what is estimated."""

from typing import Any

import pytest
from support.browsers import Watched

from pipeline.show.flow import Flow, Node, flow_picture


def percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def number(value: int) -> str:
    return f"{value:,}"


def test_the_strip_shows_every_source_and_every_column_of_the_answer(watched: Watched) -> None:
    page = watched.open("#order")
    assert page.locator("#name").inner_text().endswith("sample")
    about = watched.get("about")
    assert number(about["num_rows"]) in page.locator("#facts").inner_text()
    answer = watched.get("order", first=1, last=about["num_steps"], columns=240)
    totals = [sum(column["tokens"][at] for column in answer["columns"]) for at in range(6)]
    rows = watched.texts(".legend tbody tr")
    assert len(rows) == len(about["sources"])
    for name, total in zip(about["sources"], totals, strict=True):
        (row,) = (row for row in rows if row.startswith(name))
        assert percent(total / sum(totals)) in row
    assert "Every row is counted" in page.locator("#panel-order .lead").inner_text()
    page.locator(".as-table summary").click()
    page.locator(".as-table tbody tr").last.wait_for()
    lines = watched.texts(".as-table tbody tr")
    assert [int(line.split()[0]) for line in lines] == [
        column["first_step"] for column in answer["columns"]
    ]
    assert [line.split()[-2] for line in lines] == [
        str(column["repeated_rows"]) for column in answer["columns"]
    ]
    watched.picture("order-wide-light")


def test_keys_and_a_drag_zoom_and_a_click_opens_the_step(watched: Watched) -> None:
    page = watched.open("#order")
    page.keyboard.press("+")
    watched.wait("#order?first=7&last=17")
    page.keyboard.press("ArrowRight")
    watched.wait("#order?first=13&last=23")
    page.keyboard.press("0")
    watched.wait("#order")
    box = page.locator(".chart .u-over").first.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 4.5 / 23, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 9.5 / 23, middle, steps=3)
    page.mouse.up()
    watched.wait("#order?first=5&last=10")
    page.go_back()
    watched.wait("#order")
    page.mouse.click(box["x"] + box["width"] * 11.5 / 23, middle)
    watched.wait("#step?step=12")
    assert page.locator("#panel-step .lead").inner_text().startswith("Step 12:")


def test_a_source_is_shown_alone_with_its_band_and_layers_can_be_hidden(watched: Watched) -> None:
    page = watched.open("#order")
    page.locator(".legend button", has_text="prose").click()
    watched.wait("#order?source=prose")
    assert page.locator(".legend button[aria-pressed=true]").inner_text() == "prose"
    assert page.locator(".charts h3").first.inner_text() == "Share of prose"
    page.get_by_label("Lengths").uncheck()
    assert page.locator("[data-layer=lengths]").is_hidden()
    assert page.locator("[data-layer=repeats]").is_visible()
    page.locator(".chart .u-over").first.hover()
    assert "%" in watched.texts(".legend tbody td.here")[0]
    watched.picture("order-one-source")


def test_what_is_estimated_says_so_until_it_is_counted(watched: Watched) -> None:
    exact = watched.get("order", first=1, last=23, columns=240)
    sampled = {
        **exact,
        "is_sampled": True,
        "exact_done": 0.25,
        "columns": [{**one, "rows_read": 1, "repeated_rows": None} for one in exact["columns"]],
    }
    nothing = {"tokens": [0] * 6, "mean_length": None, "min_length": None, "max_length": None}
    sampled["columns"][7] |= {"rows_read": 0, **nothing}
    is_counted = False

    def answer(request: Any) -> Any:
        return exact if is_counted else sampled

    watched.answer_with("order", answer)
    page = watched.open("#order")
    assert page.locator(".sampled").inner_text() == (
        "Estimated from 22 of them, in 22 columns that are drawn up to the next; "
        "exact counts follow, 25 % are there."
    )
    assert " of 22 " in page.locator(".legend").inner_text()
    is_counted = True
    page.get_by_text("Every row is counted").wait_for()
    assert " of 23 " in page.locator(".legend").inner_text()


@pytest.mark.parametrize("num_sources", [10_000])
def test_many_sources_are_filtered_and_the_rest_is_one(watched: Watched, num_sources: int) -> None:
    names = [f"source-{at:05}" for at in range(num_sources)]
    shares = [1 / (at + 1) for at in range(64)]
    columns = [
        {
            **{"first_step": step, "last_step": step, "num_rows": 64, "rows_read": 64},
            **{"tokens": [round(one * 1000) for one in shares] + [5000], "rows": [1] * 65},
            **{"repeated_rows": 0, "later_chunks": 3, "min_length": 1, "max_length": 9},
            "mean_length": 4.0,
        }
        for step in range(1, 24)
    ]
    watched.answer_with("about", {**watched.get("about"), "sources": names})
    order = {**watched.get("order"), "shown": [*names[:64], "9,936 other sources"]}
    watched.answer_with("order", {**order, "columns": columns, "expected": []})
    one = watched.get("budget")["sources"][0]
    budgets = [{**one, "name": name, "drawn": num_sources - at} for at, name in enumerate(names)]
    drawn = Node("drawn")
    picture = flow_picture(Flow(Node(name, is_source=True), drawn, 9) for name in names)
    budget = {**watched.get("budget"), "sources": budgets, "picture": picture}
    watched.answer_with("budget", budget)
    page = watched.open("#order")
    assert len(watched.texts(".legend tbody tr:visible")) == 40
    assert "and 9,936 sources in the rest" in page.locator(".legend").inner_text()
    page.get_by_label("Filter sources").fill("00063")
    assert watched.texts(".legend tbody th:visible") == ["source-00063"]
    watched.open("#budget")
    assert watched.texts("table.budget tbody tr")[-1].startswith("9,950 more")
    assert page.locator(".flow").count() == 13
    page.locator("#panel-budget").get_by_label("Filter sources").fill("09999")
    assert [row.split()[0] for row in watched.texts("table.budget tbody tr")] == ["source-09999"]
    watched.picture("budget-many-sources")
