"""The Step and Document panels: rows as text, what models are given, and ways through an order."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

from support.browsers import Watched


def text_of(tokens: list[dict[str, Any]]) -> str:
    """What tokens are shown as, without spaces: the page has marks for some of these."""
    return "".join("".join(one["text"].split()) for one in tokens)


def shown_tokens(watched: Watched, label: str) -> str:
    text = watched.page.get_by_role("region", name=label).text_content() or ""
    return "".join(text.split()).replace("↵", "").replace("→", "").replace("·", "")


def test_a_step_lists_its_rows_and_shows_the_chosen_one_as_text(watched: Watched) -> None:
    page = watched.open("#step?step=3")
    answer = watched.get("step", step=3)
    lead = page.locator("#panel-step .lead").inner_text()
    assert answer["sha256"][:12] in lead
    assert f"First checkpoint that saw it: {answer['checkpoint']}." in lead
    rows = watched.texts(".row-list li")
    assert len(rows) == answer["num_rows"] == 16
    for text, row in zip(rows, answer["rows"], strict=True):
        assert text.startswith(f"{row['row']} {row['source']} {row['num_tokens']:,} tokens")
        assert " ".join(row["start"].split()[:3]) in text.replace("↵ ", "")
    page.locator(".row-list a").nth(5).click()
    watched.wait("#step?step=3&row=37")
    row = watched.get("row", row=37)
    assert shown_tokens(watched, "Text of the row") == text_of(row["tokens"]).replace("·", "")
    assert page.locator(".row-list a[aria-current]").inner_text().startswith("37")
    facts = " ".join(watched.texts(".row .facts-list div"))
    assert row["source"] in facts
    assert row["document"] in facts
    page.locator(".tokens .token").nth(3).click()
    token = row["tokens"][3]
    assert f"Token 3 · id {token['id']}" in page.locator(".saying:visible").inner_text()
    watched.picture("step-wide-light")


def test_of_many_sources_the_largest_have_their_colours_in_every_panel(watched: Watched) -> None:
    about = watched.get("about")
    many = [*about["sources"], *(f"small-{at}" for at in range(6))]
    watched.answer_with("about", {**about, "sources": many})
    page = watched.open("#step?step=1")
    colours = {f"source-{at + 1}": name for at, name in enumerate(about["largest"])}
    for item in page.locator(".row-list li").all():
        swatch = item.locator(".swatch").get_attribute("class") or ""
        assert colours[swatch.split()[-1]] in item.inner_text()


def test_what_an_encoder_and_a_decoder_get_is_shown_with_its_masks(watched: Watched) -> None:
    page = watched.open("#step?step=3&row=37")
    row = watched.get("row", row=37)
    page.get_by_role("tab", name="To an encoder").click()
    assert page.locator(".token-box .masked").count() == len(row["encoder"]["masked"]) > 0
    tokens = row["encoder"]["tokens"]
    assert shown_tokens(watched, "What an encoder gets") == text_of(tokens).replace("·", "")
    page.locator(".token-box .masked").first.click()
    assert "to be predicted" in page.locator(".saying:visible").inner_text()
    watched.picture("step-encoder")
    page.keyboard.press("Tab")
    page.get_by_role("tab", name="To an encoder").press("ArrowRight")
    assert page.get_by_role("tab", name="To a decoder").get_attribute("aria-selected") == "true"
    given = page.get_by_role("region", name="What a decoder gets").locator(".token")
    assert given.count() == len(row["decoder"]["ids"])


def test_of_a_long_row_the_first_tokens_are_shown_and_what_was_borrowed(watched: Watched) -> None:
    row = watched.get("row", row=37)
    tokens = [{"id": 7, "text": " a", "kind": "word"}] * 9000
    long = {**row, "tokens": tokens, "num_tokens": 9500, "num_tokens_cut": 500, "borrowed": 3}
    watched.answer_with("row", long)
    page = watched.open("#step?step=3&row=37")
    text = page.get_by_role("region", name="Text of the row")
    assert text.locator(".token").count() == 8192
    assert text.locator(".borrowed").count() == 3
    assert text.locator(".token").nth(2).get_attribute("class") == "token word  borrowed"
    assert "500 tokens more are not listed." in page.locator("#panel-step .row").inner_text()
    page.get_by_role("button", name="Show all 9,000 tokens").click()
    assert text.locator(".token").count() == 9000
    watched.open("#step?step=3&row=37&at=8500-8502")
    assert text.locator(".token").count() == 8502
    assert text.locator(".found").count() == 2


def test_of_a_long_step_the_rows_around_are_listed_and_others_read_when_asked_for(
    watched: Watched,
) -> None:
    short = watched.get("step", step=3)
    row = short["rows"][0]
    long = {**short, "first_row": 1000, "num_rows": 2000}
    asked: list[str] = []

    def respond(request: Any) -> Any:
        query = urlsplit(request.url).query
        asked.append(query)
        given = {key: int(one) for key, (one,) in parse_qs(query).items()}
        first = given.get("first", 1000)
        numbers = range(max(first, 1000), min(first + given["rows"], 3000))
        return {**long, "rows": [{**row, "row": one, "start": f"text {one}"} for one in numbers]}

    watched.answer_with("step", respond)
    watched.answer_with("row", watched.get("row", row=37))
    page = watched.open("#step?step=3")
    rows = page.locator(".row-list a")
    assert rows.count() == 256
    watched.open("#step?step=3&row=2900")
    assert asked[-1] == "step=3&first=2772&rows=256"
    assert rows.count() == 3000 - 2772
    assert (page.locator(".row-list a[aria-current]").text_content() or "").startswith("2,900")
    assert page.locator(".row-list a[aria-current]").evaluate(
        """one => {
          const [row, list] = [one, one.closest("ol")].map((it) => it.getBoundingClientRect());
          return row.top >= list.top && row.bottom <= list.bottom;
        }"""
    )
    page.get_by_role("button", name="Earlier rows (1,772)").click()
    page.get_by_role("button", name="Earlier rows (1,516)").wait_for()
    assert (page.locator(".row-list a:focus").text_content() or "").startswith("2,771")
    assert asked[-1] == "step=3&first=2516&rows=256"
    page.get_by_label("Filter rows").fill("text 1")
    page.locator(".row-list a", has_text="1,999").wait_for()
    page.get_by_text("are being read").wait_for(state="detached")
    assert rows.count() == 1000
    assert len(asked) == len(set(asked)) == 9
    page.get_by_label("Filter rows").fill("")
    assert rows.count() == 2000
    page.get_by_label("Filter rows").blur()
    page.keyboard.press("ArrowDown")
    watched.wait("#step?step=3&row=2901")
    assert len(asked) == 9


def test_keys_and_fields_go_to_steps_rows_and_checkpoints(watched: Watched) -> None:
    page = watched.open("#step?step=3")
    page.keyboard.press("ArrowRight")
    watched.wait("#step?step=4")
    page.keyboard.press("ArrowDown")
    watched.wait("#step?step=4&row=49")
    page.keyboard.press("ArrowLeft")
    watched.wait("#step?step=3")
    page.get_by_label("Row", exact=True).first.fill("100")
    page.keyboard.press("Enter")
    watched.wait("#step?row=100")
    assert page.locator("#panel-step .lead").inner_text().startswith("Step 7:")
    checkpoint = watched.get("about")["checkpoints"][0]
    page.get_by_label("Checkpoint").select_option(label=checkpoint["name"])
    watched.wait(f"#step?step={checkpoint['last_step']}")
    page.get_by_label("Filter rows").fill("no such text")
    assert watched.texts(".row-list li") == [
        "No row has this in its source, document or beginning."
    ]


def test_a_document_shows_its_chunks_steps_and_record(watched: Watched) -> None:
    step = watched.get("step", step=3)
    row = next(row for row in step["rows"] if row["num_chunks"] > 1)
    watched.open(f"#step?step=3&row={row['row']}")
    page = watched.page
    cuts = watched.texts(".row .cut")
    assert any(cut.startswith("✂") for cut in cuts)
    page.locator(".row .facts-list a", has_text=row["document"]).click()
    watched.wait(f"#document?source={row['source']}&document={row['document']}")
    answer = watched.get("document", source=row["source"], document=row["document"])
    lines = [line.split() for line in watched.texts("#panel-document table tbody tr")]
    assert [(int(line[0]), int(line[1])) for line in lines] == [
        (one["row"], one["step"]) for one in answer["rows"]
    ]
    assert page.locator(".chunks li").count() == row["num_chunks"]
    seen = f"; first checkpoint that saw it: {answer['rows'][0]['checkpoint']}."
    assert seen in page.locator("#panel-document").inner_text()
    assert page.locator(".when a").count() == len(answer["rows"])
    text = page.locator(".record").text_content() or ""
    assert text.split() == answer["record"]["text"].split()[: len(text.split())]
    assert len(text) > 1000
    watched.picture("document-wide-light")
    page.locator("#panel-document tbody a").first.click()
    first = answer["rows"][0]
    watched.wait(f"#step?step={first['step']}&row={first['row']}")
    assert page.locator("#panel-step .row h3").inner_text() == f"Row {first['row']}"


def test_a_document_is_named_by_hand_and_what_is_missing_is_said(watched: Watched) -> None:
    page = watched.open("#document")
    assert "Name a document" in page.locator("#panel-document .empty").inner_text()
    page.get_by_role("combobox", name="Source").fill("prose")
    page.get_by_role("textbox", name="Document").fill("prose-0007")
    page.keyboard.press("Enter")
    watched.wait("#document?source=prose&document=prose-0007")
    answer = watched.get("document", source="prose", document="prose-0007")
    cut = {
        **answer,
        "num_missing": 2,
        "missing_chunks": [1, 2],
        "record": None,
        "record_problem": "is gone",
    }
    watched.answer_with("document", cut)
    watched.open("#document?source=prose&document=other")
    assert "2 chunks in no row" in page.locator("#panel-document").inner_text()
    assert page.locator(".chunks .missing").count() == 2
    assert page.locator("#panel-document .problem").inner_text() == "is gone"
