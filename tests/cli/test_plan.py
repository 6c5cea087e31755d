"""`ettin-data plan`: text and JSON."""

import json
import re
from pathlib import Path

import pytest
from support.commands import call

from pipeline.cli.shown_progress import COMPILING


def test_a_plan_is_printed_as_text_or_json(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "plan", small)
    assert (code, err.removeprefix(f"{COMPILING}\n")) == (0, "")
    assert "9,000" in out
    assert "5/2 epochs" in out
    code, out, err = call(capsys, "plan", small, "--json", "--set", "sources.prose.tokens=8k")
    assert (code, err.removeprefix(f"{COMPILING}\n")) == (0, "")
    sources = {source["source"]: source for source in json.loads(out)["sources"]}
    assert sources["prose"]["asked"] == "8,000 tokens"
    assert sources["prose"]["num_files"] == 4
    assert sources["tables"]["num_documents"] == 50


def test_plan_prints_a_cost_for_what_has_a_price(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "$" not in call(capsys, "plan", small)[1]
    out = call(capsys, "plan", small, "--price-core-hour", "0.05", "--price-tb-month", "8e10")[1]
    assert re.search(r"^cost: ~\$[0-9,.]+ for ", out, re.MULTILINE)
    little = call(capsys, "plan", small, "--price-tb-month", "1")[1]
    assert "cost: ~$0.01 for " in little
    content = json.loads(call(capsys, "plan", small, "--json", "--price-tb-month", "8e10")[1])
    assert content["outlook"]["dollars"] > 0
    code, _, err = call(capsys, "plan", small, "--price-core-hour", "free")
    assert code == 2
    assert "got 'free', expected dollars" in err


def test_plan_prints_what_is_assumed_how_surely_and_why(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixture = small.with_name("assuming.yaml")
    mixture.write_text(
        f"extends: {small.name}\n"
        "assumptions:\n"
        "  - A sentence.\n"
        "  - {says: Rows are slices., confidence: 0.75, because: [org/set/train, the card]}\n"
    )
    folded = call(capsys, "plan", mixture)[1]
    assert folded.endswith("\nassumed: 2 things; see --assumptions\n")
    out = call(capsys, "plan", mixture, "--assumptions")[1]
    assert out.endswith(
        "assumed: A sentence.\n"
        "assumed (75%): Rows are slices.\n"
        "  because: org/set/train\n"
        "  because: the card\n"
    )
    assert json.loads(call(capsys, "plan", mixture, "--json")[1])["assumptions"] == [
        {"says": "A sentence.", "confidence": None, "because": []},
        {"says": "Rows are slices.", "confidence": 0.75, "because": ["org/set/train", "the card"]},
    ]


def test_plan_says_when_a_copy_of_the_rows_is_large(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "order.rows" not in call(capsys, "plan", small)[1]
    large = call(capsys, "plan", "ettin-extension")[1]
    assert re.search(r"order\.rows: ~2\d\d\S*GiB are a second copy of the rows, in order", large)
    without = call(capsys, "plan", "ettin-extension", "--set", "order.rows=index")[1]
    assert "order.rows: index: rows are read from the pool in order, and not written" in without
    sizes = [float(re.findall(r"~([\d.]+)GiB in [\d,]+ files at the end", out)[0])
             for out in (large, without)]  # fmt: skip
    assert sizes[1] < 0.75 * sizes[0]


def test_a_filter_that_drops_every_document_is_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.jsonl").write_text('{"id": "a", "text": "some text"}\n')
    (tmp_path / "m.yaml").write_text(
        "name: m\nchunk: {size: 64}\n"
        "sources: {p: {from: {path: p.jsonl}, filters: [{length: {min_chars: 1000}}]}}\n"
        "order: {seed: 21, global_batch_size: 2, max_seq_len: 64}\n"
    )
    code, out, _ = call(capsys, "plan", tmp_path / "m.yaml")
    assert code == 0
    assert re.search(r"^ p +length/too_short +1 +100\.0 $", out, re.MULTILINE)
    assert "not measured" not in out
