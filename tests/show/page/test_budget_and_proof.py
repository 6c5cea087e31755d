"""The Budget and Proof panels: figures of the manifest, and digests that lead to the root."""

from support.browsers import Watched


def test_the_budget_has_the_figures_of_every_source_and_a_picture_of_them(watched: Watched) -> None:
    page = watched.open("#budget")
    answer = watched.get("budget")
    assert (
        f"{answer['totals']['drawn']:,} tokens drawn" in page.locator("#panel-budget").inner_text()
    )
    rows = page.locator("table.budget tbody tr")
    assert rows.count() == len(answer["sources"])
    heads = [text.removesuffix(" ↓") for text in watched.texts("table.budget thead th")]
    for at in range(rows.count()):
        cells = rows.nth(at).locator("th, td")
        name = cells.nth(0).locator("bdi").first.inner_text()
        (one,) = (source for source in answer["sources"] if source["name"] == name)
        for key in ("documents", "available", "drawn"):
            cell = cells.nth(heads.index(key.capitalize()))
            assert cell.get_attribute("title") == f"{one[key]:,}"
    assert page.locator(".flow").count() == len(answer["flows"])
    titles = [text or "" for text in page.locator(".flow title").all_text_contents()]
    for flow in answer["flows"]:
        assert f"{flow['from']} → {flow['to']}: {flow['tokens']:,} tokens" in titles
    page.get_by_role("button", name="Source").click()
    names = watched.texts("table.budget tbody th bdi:first-of-type")
    assert names[0] == min(one["name"] for one in answer["sources"])
    watched.picture("budget-wide-light")


def test_dropped_documents_are_listed_by_reason(watched: Watched) -> None:
    answer = watched.get("budget")
    first, *rest = answer["sources"]
    dropped = {"length": {"documents": 3, "tokens": None}, "dedup": {"documents": 9, "tokens": 70}}
    watched.answer_with("budget", {**answer, "sources": [{**first, "dropped": dropped}, *rest]})
    watched.open("#budget")
    rows = [row.split() for row in watched.texts("table.small tbody tr")]
    assert [(row[0], row[1]) for row in rows] == [("dedup", "9"), ("length", "3")]
    assert rows[1][-2:] == ["not", "counted"]


def test_a_proof_shows_every_digest_of_the_path(watched: Watched) -> None:
    page = watched.open("#proof?row=17")
    answer = watched.get("proof", row=17)
    titles = [code.get_attribute("title") for code in page.locator(".path code").all()]
    neighbours = [one["digest"] for one in answer["path"]]
    assert titles == [
        answer["row_digest"], answer["node"]["digest"], *neighbours, answer["sequence_root"]
    ]  # fmt: skip
    assert answer["holds"]
    assert page.locator(".verdict.good b").first.inner_text() == "✓ Holds"
    published = page.locator(".verdict").nth(1).inner_text()
    assert published.lower().startswith(f"same as published: {answer['published']}")
    assert answer["published_why"] in published
    watched.picture("proof-wide-light")
    page.get_by_role("button", name=f"Copy digest {answer['sequence_root'][:12]}").click()
    page.get_by_role("status").get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == answer["sequence_root"]


def test_a_proof_that_does_not_hold_is_seen(watched: Watched) -> None:
    answer = {**watched.get("proof", row=17), "holds": False, "published": "no"}
    path = [{"side": "left", "digest": "ab" * 32}, {"side": "right", "digest": "cd" * 32}]
    watched.answer_with("proof", {**answer, "path": path})
    page = watched.open("#proof?row=17")
    assert watched.texts(".verdict.bad b") == ["✗ Does not hold", "Same as published: No"]
    titles = [code.get_attribute("title") for code in page.locator(".path code").all()]
    assert titles[2:-1] == [one["digest"] for one in path]
    assert page.locator(".merkle rect").count() == 2 + 2 + 2 + 1


def test_two_orders_are_compared_token_by_token(watched: Watched) -> None:
    page = watched.open("#proof?row=17")
    page.get_by_label("Another order").fill("sample")
    page.keyboard.press("Enter")
    watched.wait("#proof?row=17&with=sample")
    assert page.locator("#panel-proof .region").last.locator("b").inner_text() == "✓ The same"
    ours = watched.get("row", row=17)["tokens"]
    theirs = [{**one, "id": 7, "text": "other"} if at in (50, 51) else one
              for at, one in enumerate(ours)]  # fmt: skip
    different = {"same": False, "first_row": 17, "ours": ours, "theirs": theirs}
    watched.answer_with("compare", {**different, "explanation": ["the seeds differ"]})
    watched.open("#proof?row=17&with=elsewhere")
    assert page.locator(".verdict.bad b").inner_text() == "✗ They differ first at row 17"
    assert "the seeds differ" in page.locator(".explanation").inner_text()
    for side in ("This order", "The other"):
        box = page.get_by_role("region", name=side)
        assert box.locator(".differs").count() == 2
    assert page.get_by_role("region", name="The other").locator(".differs").first.inner_text() == (
        "other"
    )
    watched.picture("proof-compare")
