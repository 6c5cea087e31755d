"""A golden order in the browser: what each panel shows is what the reference chain made."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser
from support import builds
from support.browsers import PHONE, Open, Watched, opening, serving
from support.paths import SHARED

from pipeline.show import Shown, budget_view, document_view, order_view, search_view, step_view

GOLDEN = SHARED / "golden" / "slice-1024"
ORDER = GOLDEN / "order" / "encoder"
PANELS = ("order", "step", "document", "search", "budget", "proof")

pytestmark = pytest.mark.skipif(
    not GOLDEN.is_dir(), reason=f"the reference chain's outputs do not lie at {GOLDEN}"
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """The golden, built from its mixture: of its own rows alone most panels would be empty."""
    out = tmp_path_factory.mktemp("golden") / "out"
    builds.run_well("build", GOLDEN / "mixture.yaml", "--out", out)
    return Shown.open(out)


@pytest.fixture(scope="module")
def golden_address(browser: Browser, library: Shown) -> Iterator[str]:
    with serving(Path(library.where), Path(library.where).parent) as address:
        yield address


@pytest.fixture
def open_golden(browser: Browser, golden_address: str, pictures: Path | None) -> Iterator[Open]:
    with opening(browser, golden_address, pictures) as open_:
        yield open_


@pytest.fixture
def golden(open_golden: Open) -> Watched:
    return open_golden()


def reference() -> dict[str, Any]:
    """What the reference chain says of its order."""
    content: dict[str, Any] = json.loads((ORDER.parent / "golden.json").read_bytes())
    return content["encoder"]


def rows() -> list[list[int]]:
    """The rows that the reference chain wrote."""
    return pq.read_table(ORDER / "checkpoint_000001")["input_ids"].to_pylist()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
def test_every_panel_is_a_click_away(open_golden: Open, size: str, theme: str) -> None:
    watched = open_golden(PHONE, theme) if size == "phone" else open_golden(theme=theme)
    page = watched.open("#order")
    for panel in PANELS:
        page.locator(f"#panels a[data-panel={panel}]").click()
        watched.wait(f"#{panel}")
        assert page.locator(f"#panel-{panel}").is_visible()
        assert page.locator(f"#panel-{panel} .problem").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        watched.picture(f"golden-{panel}-{size}-{theme}")


def test_shares_are_those_of_the_order(golden: Watched, library: Shown) -> None:
    golden.open("#order")
    answer = order_view(library)
    assert f"{reference()['steps'] * 32:,} rows" in golden.texts("#panel-order .lead")[0]
    sums = np.sum([one["tokens"] for one in answer["columns"]], axis=0)
    lines = golden.texts(".legend tbody tr")
    assert len(lines) == len(library.sources) == 3
    for source, share in zip(library.sources, sums / sums.sum(), strict=True):
        assert any(line.startswith(source) and f"{share * 100:.1f} %" in line for line in lines)


def test_steps_have_the_rows_and_digests_of_the_reference(golden: Watched, library: Shown) -> None:
    written, digests = rows(), reference()["step_sha256"]
    for step in (1, 40, reference()["steps"]):
        page = golden.open(f"#step?step={step}")
        shown = page.locator("#panel-step .lead code").get_attribute("title")
        assert shown == digests[step - 1]
        answer = step_view(library, step=step)
        lines = golden.texts(".row-list li")
        for line, row, ids in zip(lines, answer["rows"], written[32 * step - 32 :], strict=False):
            assert line.startswith(f"{row['row']:,} {row['source']} {len(ids):,} tokens")
        assert len(lines) == 32


def test_a_row_has_the_ids_of_the_reference(golden: Watched) -> None:
    for row in (0, 777, len(rows()) - 1):
        page = golden.open(f"#step?row={row}")
        ids = rows()[row]
        tokens = page.get_by_role("region", name="Text of the row").locator(".token")
        assert tokens.count() == len(ids)
        for place in (0, 1, len(ids) // 2, len(ids) - 1):
            tokens.nth(place).click()
            saying = page.locator(".saying:visible").inner_text()
            assert f"Token {place:,} · id {ids[place]}" in saying


def test_a_document_and_a_text_are_found_where_the_library_finds_them(
    golden: Watched, library: Shown
) -> None:
    row = step_view(library, step=7)["rows"][3]
    page = golden.open(f"#step?step=7&row={row['row']}")
    page.locator(".row .facts-list a", has_text=row["document"]).click()
    page.locator("#panel-document table tbody tr").first.wait_for()
    answer = document_view(library, document=row["document"], source=row["source"])
    lines = [line.replace(",", "").split() for line in golden.texts("#panel-document tbody tr")]
    assert [[int(line[0]), int(line[1])] for line in lines] == [
        [one["row"], one["step"]] for one in answer["rows"]
    ]
    page.keyboard.press("/")
    page.keyboard.type("Moby Dick")
    page.keyboard.press("Enter")
    golden.wait("#search?text=Moby+Dick")
    found = search_view(library, text="Moby Dick")
    assert page.locator("#panel-search .big").inner_text() == f"{found['count']:,}"
    assert found["count"] > 10
    for hit, one in zip(golden.texts(".hits li"), found["rows"], strict=True):
        assert f"row {one['row']:,}" in hit


def test_budgets_and_proofs_are_those_of_the_manifest(golden: Watched, library: Shown) -> None:
    page = golden.open("#budget")
    answer = budget_view(library)
    drawn = f"{answer['totals']['drawn']:,} tokens drawn"
    assert drawn in page.locator("#panel-budget").inner_text()
    assert page.locator("table.budget tbody tr").count() == 3
    page = golden.open("#proof?row=777")
    root = page.locator(".path code").last.get_attribute("title")
    assert root == library.ledger.sequence_root
    assert page.locator(".verdict.good b").first.inner_text() == "✓ Holds"


def test_the_order_is_the_one_that_the_reference_wrote(golden: Watched) -> None:
    page = golden.open("#proof?row=777")
    page.get_by_label("Another order").fill(str(ORDER))
    page.keyboard.press("Enter")
    page.get_by_text("✓ The same").wait_for()
