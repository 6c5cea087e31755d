"""Reports in a browser that has no network and runs no script: read wide, on a phone, on paper."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from support import builds
from support.browsers import PHONE, WIDE

Read = Callable[..., Page]


@pytest.fixture(scope="module")
def report_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The report of a build of so many sources, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("reports")
    return cache(lambda number: _report(folder / str(number), number))


def _report(folder: Path, num_sources: int) -> Path:
    lines = [f"name: with-{num_sources}", "chunk: {size: 64}", "sources:"]
    (folder / "in").mkdir(parents=True)
    for number in range(num_sources):
        name = f"source-{number:03}"
        documents = builds.documents(name, 3 + number % 7, 120)
        (folder / "in" / f"{name}.jsonl").write_bytes(builds.json_lines(documents))
        lines.append(f"  {name}: {{from: {{path: in/{name}.jsonl}}, epochs: {1 + number % 3}}}")
    lines.append("order: {seed: 21, global_batch_size: 16, max_seq_len: 64, window_tokens: 20k}")
    mixture = builds.write_mixture(folder, "\n".join(lines))
    builds.run_well("build", mixture, "--out", folder / "out")
    report = folder / "report.html"
    builds.run_well("report", folder / "out", "--out", report, XDG_CACHE_HOME=str(folder))
    return report


@pytest.fixture
def read(
    browser: Browser, report_of: Callable[[int], Path], pictures: Path | None
) -> Iterator[Read]:
    """Open a report; a test fails for a request, or anything on the console."""
    faults: list[str] = []
    contexts = []

    def read_(num_sources: int, size: tuple[int, int] = WIDE, **settings: Any) -> Page:
        report = report_of(num_sources)
        given = {"java_script_enabled": False, "offline": True, **settings}
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **given)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda request: faults.append(request.url)
                if request.url != report.as_uri() else None)  # fmt: skip
        page.goto(report.as_uri())
        name = f"report-{num_sources}-{size[0]}-{settings.get('color_scheme', 'light')}"
        # A page of 200 sources is longer than a picture may be.
        if pictures is not None:
            page.screenshot(path=pictures / f"{name}.png", full_page=num_sources == 3)
        return page

    yield read_
    for context in contexts:
        context.close()
    assert faults == []


@pytest.mark.parametrize(
    ("num_sources", "size", "theme"),
    [(3, WIDE, "dark"), (3, PHONE, "light"), (200, WIDE, "light"), (200, PHONE, "dark")],
)
def test_a_report_is_read_without_network_and_script(
    read: Read,
    report_of: Callable[[int], Path],
    num_sources: int,
    size: tuple[int, int],
    theme: str,
) -> None:
    assert report_of(num_sources).stat().st_size < 3_000_000
    page = read(num_sources, size, color_scheme=theme)
    heads = ["Mixture", "Order", "Rows", "Digests", "How to reproduce"]
    assert page.locator("h2").all_inner_texts() == heads
    tables = page.locator("table")
    for table in (tables.nth(0), tables.nth(1)):
        rows = table.locator("tbody tr").all_inner_texts()
        assert len([row for row in rows if "source-" in row]) == num_sources
        drawn = [int(re.split(r"\t", row)[2].replace(",", "")) for row in rows]
        total = re.split(r"\t", table.locator("tfoot tr").inner_text())[2]
        assert sum(drawn) == int(total.replace(",", ""))
    assert page.locator("path.flow").count() >= min(num_sources, 13)
    assert page.locator(".samples li").count() == 8
    first, last = page.locator("svg.chart path").first.bounding_box(), page.viewport_size
    assert first is not None
    assert last is not None
    assert first["height"] > 20
    # Tables scroll in their boxes; the page itself is as wide as the window.
    width = page.locator("html").bounding_box()
    assert width is not None
    assert width["width"] == size[0]
    main = page.locator("main").bounding_box()
    assert main is not None
    assert main["x"] + main["width"] <= size[0]


@pytest.mark.parametrize("num_sources", [3, 200])
def test_a_report_is_printed_on_pages(read: Read, num_sources: int) -> None:
    data = read(num_sources).pdf(format="A4")
    pages = len(re.findall(rb"/Type\s*/Page\b", data))
    assert 3 <= pages <= (12 if num_sources == 3 else 45)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_report_has_no_serious_finding_of_axe(read: Read, theme: str) -> None:
    page = read(3, java_script_enabled=True, bypass_csp=True, color_scheme=theme)
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    page.evaluate(f"() => {{ {axe} }}")
    results: dict[str, Any] = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    serious = [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in results["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
