"""Shares build the bytes of the tokens that they come to."""

from pathlib import Path

import pytest
from support import builds
from support.here import Here, run_here

from pipeline.config.load import load_mixture
from pipeline.runner import run, sampled_shards

MIXTURE = """\
name: shared
chunk: {size: 64}
sources:
  a: {from: {path: a.jsonl}, BUDGET_A}
  b: {from: {path: b.jsonl}, BUDGET_B}
order: {seed: 1, global_batch_size: 4, max_seq_len: 64}
"""


def test_shares_build_the_same_bytes_as_their_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_here(monkeypatch, sampled_shards, Here())
    for name in "ab":
        lines = builds.json_lines(builds.documents(name, 40, 100))
        (tmp_path / f"{name}.jsonl").write_bytes(lines)
    outputs = []
    for budgets in (("share: 2/3", "share: 1/3"), ("tokens: 667", "tokens: 333")):
        text = MIXTURE.replace("BUDGET_A", budgets[0]).replace("BUDGET_B", budgets[1])
        text += "tokens: 1000\n" if "share:" in text else ""
        mixture = load_mixture(tmp_path / "m.yaml", text=text.encode())
        out = tmp_path / f"out-{len(outputs)}"
        run.build(mixture, out, workers=1, scheduler=None, report=lambda *_: None)
        outputs.append(builds.digests(out / "train") | builds.digests(out / "order"))
        outputs.append({"manifest": (out / "manifest.json").read_text()})
    assert outputs[:2] == outputs[2:]
