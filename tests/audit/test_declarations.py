"""Declarations: what two builds were declared to do differently is named by kind."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.clusters import Build
from support.manifests import read_content

from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.comparison import Finding
from pipeline.audit.verify.explain.declarations import declared_differences


def test_declared_differences_are_found_without_a_guess(
    finished: Path, small: Path, tmp_path: Path, build_here: Build
) -> None:
    inputs = shutil.copytree(small.parent, tmp_path / "inputs")
    long = inputs / "in" / "long" / "long-0.jsonl"
    long.write_bytes(b"".join(long.read_bytes().splitlines(keepends=True)[:-1]))
    other = build_here(inputs / small.name, tmp_path / "out", "order.seed=22")
    for what in (str(other), str(other / "manifest.json")):
        report = verify_against(finished, what)
        assert not report.equal
        found: dict[str, Finding] = {}
        for finding in report.findings:
            found.setdefault(finding.kind, finding)  # What was declared comes first.
        assert found["seed"].text == "order.seed is 21 here, 22 there"
        count = json.loads((other / "manifest.json").read_bytes())["order"]["num_samples"]
        assert found["row count"].evidence == {"ours": 2699, "theirs": count}
        assert f"({count - 2699:+,}): train/long/long_0-" in found["row count"].text
        declared = [f for f in report.findings if f.kind == "partition" and "folder" in f.evidence]
        assert declared[0].evidence["what"] == "other input"
        assert "long_0-" in declared[0].text


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> list[Finding]:
    return declared_differences(read_content(ours), read_content(theirs))


@pytest.mark.parametrize(
    ("path", "value", "kind", "text"),
    [
        ("tokenizer.sha256", "00", "tokenizer", None),
        ("declaration.tokenizer.add_prefix_space", False, "prefix space", "true here, false there"),
        ("declaration.chunk.size", 256, "chunk algorithm", "chunk.size is 128 here, 256 there"),
        ("declaration.chunk.algorithm", "whole-v1", "chunk algorithm", None),
        ("declaration.shards.dtype", "uint16", "dtype", "uint32 here, uint16 there"),
        ("declaration.order.seed", 22, "seed", None),
        ("declaration.order.epoch", 3, "epoch", None),
        ("declaration.order.view", "stored", "view", None),
        ("declaration.order.algorithm", "feistel-v1", "order algorithm", None),
        ("declaration.sources.prose.tokens", 10_000, "mixture", "9,000 here, 10,000 there"),
        ("declaration.sources.prose", None, "mixture", "declared here, nothing there"),
        ("declaration.sources.prose.category", "poems", None, None),
        ("declaration.name", "large", None, None),
        ("declaration.order.window_tokens", 7, None, None),
        ("declaration.shards.header_compression", "zstd", None, None),
        ("declaration.sample.algorithm", "ettin-longest-first-v1", "mixture", "keyed-v1 here"),
    ],
)
def test_each_declaration_has_its_kind_of_finding(
    finished: Path, path: str, value: object, kind: str | None, text: str | None
) -> None:
    ours = json.loads((finished / "manifest.json").read_bytes())
    theirs = json.loads((finished / "manifest.json").read_bytes())
    *keys, last = path.split(".")
    holder = theirs["mixture"] if keys[0] == "declaration" else theirs
    for key in keys:
        holder = holder[key]
    assert holder.get(last) != value
    holder[last] = value
    found = _differences(ours, theirs)
    assert [finding.kind for finding in found] == ([] if kind is None else [kind])
    assert text is None or text in found[0].text


def test_of_partitions_made_otherwise_none_is_named_where_the_chunks_are_other(
    finished: Path,
) -> None:
    ours = json.loads((finished / "manifest.json").read_bytes())
    theirs = json.loads((finished / "manifest.json").read_bytes())
    for path, about in theirs["files"].items():
        if path.endswith(".mds"):
            about["sha256"] = "00"
    found = _differences(ours, theirs)
    assert [finding.kind for finding in found] == ["partition"] * 9
    assert "made differently from the same bytes" in found[0].text
    theirs["mixture"]["declaration"]["chunk"]["size"] = 256
    assert [finding.kind for finding in _differences(ours, theirs)] == ["chunk algorithm"]
    theirs["sources"]["long"]["partitions"][0]["input"]["sha256"] = "00"
    found = _differences(ours, theirs)
    assert [finding.kind for finding in found] == ["chunk algorithm", "partition"]
    assert found[1].evidence["what"] == "other input"


def test_what_does_not_change_rows_is_no_finding(viewed: dict[str, Path]) -> None:
    report = verify_against(viewed["stored"], str(viewed["decoder"] / "manifest.json"))
    assert report.equal
    assert [finding.kind for finding in report.findings] == ["view"]
