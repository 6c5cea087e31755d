"""Tables of notebooks: every cell is text, whatever it holds, and values have one each."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import builds

from pipeline.config.load import load_mixture
from pipeline.core.html_table import html_table
from pipeline.core.shown import printable, without_secrets
from pipeline.dataset import read_manifest
from pipeline.runner import make_estimate, make_plan

HOSTILE = "<script>alert('x')</script>&\"\x1b[31m"
TAGS = {"p", "b", "br", "table", "thead", "tbody", "tr", "th", "td"}


class Read(HTMLParser):
    """Reads a table as a browser does."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.attributes: set[str] = set()
        self._in_cell = False
        self.outside = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._in_cell = tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.rows[-1][-1] += data
        else:
            self.outside += data


@given(st.text(), st.lists(st.lists(st.text(), min_size=2, max_size=2), max_size=5))
def test_every_cell_reads_as_it_was_written(title: str, rows: list[list[str]]) -> None:
    read = Read(html_table(title, [HOSTILE], ("a",), ("b",), rows))
    assert read.tags <= TAGS
    assert read.attributes <= {"style"}
    shown = [[printable(without_secrets(cell)) for cell in row] for row in rows]
    written = [[*map(_as_a_parser_reads, row)] for row in shown]
    assert [[*map(_as_a_parser_reads, row)] for row in read.rows] == [["a", "b"], *written]
    assert "<script>alert('x')</script>&\"\\u001b[31m" in read.outside


def _as_a_parser_reads(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def test_of_many_rows_the_rest_is_counted() -> None:
    read = Read(html_table("many", [], ("a",), (), ([str(number)] for number in range(1203))))
    assert len(read.rows) == 1 + 200 + 1
    assert read.rows[-1] == ["and 1,003 more"]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of two sources, one with a hostile category, and the mixture beside it."""
    folder = tmp_path_factory.mktemp("html")
    lines = builds.json_lines(builds.documents("letters", 8, 60))
    (folder / "a.jsonl").write_bytes(lines)
    (folder / "b.jsonl").write_bytes(lines)
    text = (
        "name: letters\nchunk: {size: 64}\nsources:\n"
        f"  a: {{category: {json.dumps(HOSTILE[:-5])}, from: {{path: a.jsonl}}}}\n"
        "  b: {from: {path: b.jsonl}, tokens: 100, filters: [length: {min_chars: 1}]}\n"
        "order: {seed: 21, global_batch_size: 4, max_seq_len: 64}\n"
    )
    builds.write_mixture(folder, text, "letters.yaml")
    builds.run_well("build", "letters.yaml", "--out", "out", cwd=folder)
    return folder / "out"


def test_a_mixture_a_plan_an_estimate_and_a_manifest_have_tables(output: Path) -> None:
    mixture = load_mixture(output.parent / "letters.yaml")
    plan = make_plan(mixture, None, output.parent / "raw")
    manifest = read_manifest(output / "manifest.json")
    shown = {
        value: Read(value._repr_html_())
        for value in map(_Held, (mixture, plan, make_estimate(plan, 1), manifest))
    }
    for read in shown.values():
        assert read.tags <= TAGS
        assert {row[0] for row in read.rows} - {"total"} == {"source", "a", "b"}
        assert len({len(row) for row in read.rows}) == 1
    of_mixture, of_plan, of_estimate, of_manifest = shown.values()
    *sources, total = of_estimate.rows[1:]
    lines = {row[0]: row[1:] for row in sources}
    assert of_mixture.rows[1][1] == of_plan.rows[1][1] == lines["a"][0] == HOSTILE[:-5]
    assert of_mixture.rows[2][2:] == ["path", "length", "100", "", "1"]
    assert of_plan.rows[2][3:5] == ["1", "1"]
    assert lines["b"][-1] == "100"
    for column in (-1, -2, -3):
        numbers = [int(row[column].replace(",", "")) for row in (*sources, total)]
        assert sum(numbers[:-1]) == numbers[-1]
    counted = manifest.sources["b"]
    assert of_manifest.rows[2][1:] == [
        f"{number:,}"
        for number in (
            counted.documents.kept, 0, counted.tokens.num_in, 100, counted.budget.drawn, 0,
        )
    ]  # fmt: skip
    assert manifest.order.ledger.sequence_root in of_manifest.outside


class _Held:
    """A value that need not be hashable."""

    def __init__(self, value: object) -> None:
        self._repr_html_ = value._repr_html_  # type: ignore[attr-defined]
