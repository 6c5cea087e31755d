"""The Search panel: from a sentence to the steps that saw it."""

from typing import Any

from support.browsers import Watched

SENTENCE = "The harmonic series diverges."


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


def test_what_is_found_is_counted_over_training_and_shown_in_its_context(watched: Watched) -> None:
    page = watched.open("#search?text=water")
    job: dict[str, Any] = watched.get("search", text="water", first=50)
    while job["done"] < 1:
        job = watched.get("search", text="water", first=50, job=job["job"])
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
    hit = {**row, "before": "by ", "match": "sea", "after": " and\nland"}
    over = [{"first_step": 1, "last_step": 23, "count": 1, "num_tokens": 100}]
    answer = {"text": "sea", "count": 1, "is_exact": False, "seconds": 2.5, "method": "scan"}
    asked: list[str] = []

    def respond(request: Any) -> Any:
        asked.append(request.url)
        done = [0.25, 0.75, 1][min(len(asked), 3) - 1]
        return {**answer, "job": "j1", "done": done, "rows": [hit], "over_time": over}

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


def test_what_is_nowhere_is_said_and_the_field_stays(watched: Watched) -> None:
    page = watched.open("#search?text=zyzzyva+nowhere")
    assert "No row of this order holds this text." in page.locator("#panel-search").inner_text()
    assert page.get_by_label("Text to search for").input_value() == "zyzzyva nowhere"
    assert page.locator(".hits").count() == 0
