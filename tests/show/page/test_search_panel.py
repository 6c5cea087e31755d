"""The Search panel: from a sentence to the steps that saw it."""

from typing import Any

from support.browsers import Watched

SENTENCE = "The harmonic series diverges."
IS_SEEN = """one => {
  const [a, b] = [one, one.closest(".tokens")].map((one) => one.getBoundingClientRect());
  return a.top >= b.top && a.bottom <= b.bottom && a.top >= 0 && a.bottom <= innerHeight;
}"""


def test_somebody_who_types_a_sentence_finds_the_steps_that_saw_it(watched: Watched) -> None:
    page = watched.open("#order")
    page.keyboard.press("/")
    page.keyboard.type(SENTENCE)
    page.keyboard.press("Enter")
    page.locator("#panel-search .lead", has_text=" in ").wait_for()
    found = watched.texts(".hits li")
    assert len(found) == 1
    assert SENTENCE in found[0]
    step = page.locator(".hits a").first
    number = int(step.inner_text())
    answer = watched.get("step", step=number)
    assert any(row["start"].startswith(SENTENCE) for row in answer["rows"])
    watched.picture("search-sentence")
    step.click()
    watched.wait(f"#step?step={number}")
    assert any(SENTENCE in row for row in watched.texts(".row-list li"))


def found_of(watched: Watched, text: str, first: int) -> dict[str, Any]:
    """Return the answer of a search once it is done."""
    job: dict[str, Any] = watched.get("search", text=text, first=first)
    while job["done"] < 1:
        job = watched.get("search", text=text, first=first, job=job["job"])
    return job


def test_the_row_of_a_hit_opens_at_the_place_which_is_marked(watched: Watched) -> None:
    page = watched.open("#search?text=sea&first=1000")
    hits = found_of(watched, "sea", 1000)["rows"]
    at, hit = max(enumerate(hits), key=lambda one: one[1]["offset"])
    assert hit["offset"] > 200
    assert {*page.locator(".hits mark").all_inner_texts()} == {"sea"}
    page.locator(".hits .where").nth(at).locator("a").nth(1).click()
    place = f"{hit['offset']}-{hit['stop']}"
    watched.wait(f"#step?step={hit['step']}&row={hit['row']}&at={place}")
    found = page.locator(".tokens .found")
    assert "".join(found.all_text_contents()).strip() == "sea"
    assert found.first.evaluate(IS_SEEN)
    assert "abc what was searched for" in watched.texts(".token-legend li")
    watched.picture("step-found")
    other = page.locator(".row-list a").first
    view = other.get_attribute("href") or ""
    assert f"row={hit['row']}" not in view
    other.click()
    watched.wait(view)
    assert found.count() == 0


def test_a_first_search_says_what_is_done_and_leaves_one_field_filled(watched: Watched) -> None:
    page = watched.open("#search")
    page.route("**/api/search?*", lambda route: None)
    page.get_by_label("Search the order for a text").fill("water")
    page.keyboard.press("Enter")
    assert page.locator("#panel-search .waiting").inner_text() == "Reading the rows of the order …"
    assert page.get_by_label("Search the order for a text").input_value() == ""
    assert page.get_by_label("Text to search for").input_value() == "water"


def test_what_is_found_is_counted_over_training_and_shown_in_its_context(watched: Watched) -> None:
    page = watched.open("#search?text=water")
    job = found_of(watched, "water", 50)
    assert job["count"] > 1
    assert page.locator("#panel-search .big").inner_text() == str(job["count"])
    hits = watched.texts(".hits li")
    assert len(hits) == min(job["count"], 50)
    for hit, row in zip(hits, job["rows"], strict=True):
        assert f"row {row['row']:,}" in hit
        assert row["match"].strip() in hit
    page.locator("#panel-search .as-table summary").click()
    lines = [line.split() for line in watched.texts("#panel-search .as-table tbody tr")]
    assert sum(int(line[-2]) for line in lines) == job["count"]
    assert page.locator("#over-time canvas").count() == 1
    watched.picture("search-wide-light")


def test_a_scan_shows_how_far_it_is_and_what_it_found_so_far(watched: Watched) -> None:
    row = {"row": 5, "step": 1, "offset": 3, "source": "prose", "document": "a"}
    hit = {**row, "stop": 4, "before": "by ", "match": "sea", "after": " and\nland"}
    over = [{"first_step": 1, "last_step": 23, "count": 1, "num_tokens": 100}]
    answer = {"text": "sea", "count": 1, "is_exact": False, "seconds": 2.5, "method": "scan"}
    asked: list[str] = []

    def respond(request: Any) -> Any:
        asked.append(request.url)
        done = [0.25, 0.75, 1][min(len(asked), 3) - 1]
        return {
            **answer,
            "job": "j1",
            "done": done,
            "rows": [hit],
            "over_time": over,
            "problems": ["a file is gone"],
        }

    watched.answer_with("search", respond)
    page = watched.page
    page.goto(watched.address + "#search?text=sea")
    page.locator("progress").wait_for()
    assert " so far, " in page.locator("#panel-search .lead").inner_text()
    watched.wait("#search?text=sea")
    assert page.locator("progress").count() == 0
    assert "2.5 s by reading rows" in page.locator("#panel-search .lead").inner_text()
    assert ["job=" in url for url in asked] == [False, True, True]
    assert "and↵land" in watched.texts(".hits li")[0]
    assert watched.texts("#panel-search .problem") == ["a file is gone"]


def test_what_is_nowhere_is_said_and_the_field_stays(watched: Watched) -> None:
    page = watched.open("#search?text=zyzzyva+nowhere")
    assert "No row of this order holds this text." in page.locator("#panel-search").inner_text()
    assert page.get_by_label("Text to search for").input_value() == "zyzzyva nowhere"
    assert page.locator(".hits").count() == 0
