"""Budgets that cannot be met are reported before the long work, all at once and with reasons."""

import logging
from pathlib import Path

import pytest
from support import builds
from support.here import Here, run_here

from pipeline.config.load import load_mixture
from pipeline.core.errors import ConfigError
from pipeline.runner import check_budgets as module
from pipeline.runner import run, sampled_shards
from pipeline.runner.check_budgets import check_budgets
from pipeline.runner.plan import Plan, make_plan


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    for name in "abc":
        lines = builds.json_lines(builds.documents(name, 60, 100))
        (tmp_path / f"{name}.jsonl").write_bytes(lines)
    text = (
        "name: short\nchunk: {size: 64}\nsources:\n"
        "  a: {from: {path: a.jsonl}, tokens: 9k, filters: [length: {min_chars: 200}]}\n"
        "  b: {from: {path: b.jsonl}, tokens: 9k, max_repetition: 2}\n"
        "  c: {from: {path: c.jsonl}, tokens: 90, filters: [length: {min_chars: 200}]}\n"
        "order: {seed: 1, global_batch_size: 4, max_seq_len: 64}\n"
    )
    mixture = load_mixture(tmp_path / "short.yaml", text=text.encode())
    return make_plan(mixture, None, tmp_path)


def test_all_short_sources_are_named_with_what_became_of_the_rest(
    plan: Plan, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_DOUBTFUL_BYTES", 0)
    with caplog.at_level(logging.WARNING):
        check_budgets(plan)
    first, second = caplog.messages
    assert first.startswith("warning: sources.a: needs 9,000 tokens, has about ")
    assert "length/too_short" in first
    assert second.startswith("warning: sources.b: needs 9,000 tokens, has about ")
    assert second.endswith(", repetitions included")


def test_what_is_read_in_no_time_is_not_measured_first(
    plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    check_budgets(plan)
    assert caplog.messages == []


def test_a_build_reports_them_before_it_reads_everything(
    plan: Plan, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "_DOUBTFUL_BYTES", 0)
    known: list[int] = []
    run_here(monkeypatch, sampled_shards, Here(lambda: known.append(len(caplog.messages))))
    with pytest.raises(ConfigError, match=r"sources\.a\.tokens: needs 9,000 tokens, has "):
        run.build(plan.mixture, tmp_path / "out", workers=1, scheduler=None, report=lambda *_: None)
    assert known
    assert min(known) >= 2
