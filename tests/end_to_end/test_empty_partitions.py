"""Partitions that give no row for training: not reached, not drawn, held out whole, or empty."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support import builds
from support.here import Here, run_here
from support.outputs import num_tokens, read_rows

from pipeline.audit.verify import verify
from pipeline.config import load_mixture
from pipeline.core.errors import InputError
from pipeline.runner import make_plan, run, sampled_shards

MIXTURE = """\
name: empties
chunk: {algorithm: ettin-slice-v2, size: 64, min_size: 32, skip_below: 8, seed: 42}
sources:
  all: {from: {path: "in/all_*.jsonl"}}
  drawn: {from: {path: "in/drawn_*.jsonl"}, tokens: 500, sample: {algorithm: ettin-partitions-v1}}
  long: {from: {path: "in/long_*.jsonl"}, tokens: 700, sample: {first: long_2}}
sample: {algorithm: ettin-longest-first-v1, seed: 42}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64}
shards: {dtype: uint16, header_compression: zstd}
"""
TAIL = "-tokenized-chunked-64-32-8-backfill-nodups"
ETTIN = "validation={algorithm: ettin-validation-v1, fraction: 0.4, seed: 3}"


@pytest.fixture
def mixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files a source, each of which is enough; `all_3` has no document."""
    (tmp_path / "in").mkdir()
    for source in ("all", "drawn", "long"):
        for number in range(3):
            documents = builds.documents(f"{source}-{number}", 14, 400)
            path = tmp_path / f"in/{source}_{number}.jsonl"
            path.write_bytes(builds.json_lines(documents))
    (tmp_path / "in/all_3.jsonl").write_bytes(b"")
    run_here(monkeypatch, sampled_shards, Here())
    return builds.write_mixture(tmp_path, MIXTURE)


def build(mixture: Path, out: str, *settings: str) -> Path:
    declared = load_mixture(mixture, settings)
    folder = mixture.parent / out
    run.build(declared, folder, workers=1, scheduler=None, report=lambda *_: None)
    return folder


def partitions_of(out: Path, source: str) -> dict[str, dict[str, Any]]:
    made = json.loads((out / "manifest.json").read_bytes())["sources"][source]["partitions"]
    return {one["partition"]: one for one in made}


def folders(out: Path, source: str) -> list[str]:
    return sorted(path.name for path in (out / "train" / source).iterdir() if path.is_dir())


def of_index(out: Path) -> list[str]:
    shards = json.loads((out / "train/index.json").read_bytes())["shards"]
    return list(dict.fromkeys(one["raw_data"]["basename"].rpartition("/")[0] for one in shards))


def listed(mixture: Path, names: Sequence[str]) -> list[str]:
    (mixture.parent / "list.txt").write_text("\n".join(names))
    return ["order.partitions=listed", "order.listing=list.txt"]


def test_what_is_not_reached_or_not_drawn_has_no_folder_and_all_is_counted(mixture: Path) -> None:
    out = build(mixture, "out")
    assert folders(out, "long") == ["long_2"]
    assert len(folders(out, "drawn")) == 1
    # Where nothing is sampled, a file without documents has its empty folder.
    assert folders(out, "all") == [f"all_{number}{TAIL}" for number in range(4)]
    for source in ("all", "drawn", "long"):
        for name, one in partitions_of(out, source).items():
            tokens, has_rows = one["tokens"], one["chunks"]["drawn"] > 0
            assert tokens["in"] + tokens["added"] == tokens["written"] + tokens["discarded"]
            assert (tokens["written"] > 0) == (name != "all_3")
            if source != "all":
                assert has_rows == (one["folder"].rpartition("/")[2] in folders(out, source))
                assert any(path.startswith(one["folder"]) for path in one["files"]) == has_rows
    assert verify(out) == []
    before = builds.digests(out)
    build(mixture, "out")
    assert builds.digests(out) == before


def test_a_folder_that_is_held_out_whole_is_in_validation_alone_with_what_was_discarded(
    mixture: Path,
) -> None:
    out = build(mixture, "out", ETTIN.replace("0.4", "0.7"))
    held = folders(out / "validation", "all")
    whole = {
        name: one
        for name, one in partitions_of(out, "all").items()
        if one["chunks"]["validation"] == one["chunks"]["written"] > 0
    }
    assert whole
    assert {f"{name}{TAIL}" for name in whole} == {*held} - {*folders(out, "all")}
    for name, one in whole.items():
        folder = out / "validation/train/all" / f"{name}{TAIL}"
        stats = json.loads((folder / "stats.json").read_text())
        assert stats["total_tokens_skipped"] == one["tokens"]["discarded"]
        assert stats["total_tokens_written"] == one["tokens"]["validation"]
        assert num_tokens(read_rows(folder)) == one["tokens"]["validation"]
    # Of each partition one folder alone has what was discarded of it.
    skipped = sum(
        json.loads(path.read_text())["total_tokens_skipped"]
        for path in out.rglob("train/all/*/stats.json")
    )
    assert skipped == sum(one["tokens"]["discarded"] for one in partitions_of(out, "all").values())
    assert skipped > 0
    assert verify(out) == []


@pytest.mark.parametrize("validation", [(), (ETTIN,)], ids=["no holdout", "holdout"])
def test_a_listing_may_name_what_has_no_row_or_leave_it_out(
    mixture: Path, validation: tuple[str, ...]
) -> None:
    plain = build(mixture, "plain", *validation)
    with_rows = of_index(plain)
    made = make_plan(load_mixture(mixture, validation), None, mixture.parent / "raw").partitions
    assert len(with_rows) < len(made) == 10
    backwards = [*reversed(made)]
    for name, listing in {
        "whole": backwards,
        # An index names folders with shards alone; `all_3` has none, and is whole as it is.
        "short": [one for one in backwards if one in with_rows or "all_" in one],
    }.items():
        out = build(mixture, name, *validation, *listed(mixture, listing))
        assert of_index(out) == [one for one in backwards if one in with_rows]
        assert verify(out) == []
        ours, theirs = (builds.digests(one / "train") for one in (out, plain))
        differing = {Path(one).name for one in builds.differences(ours, theirs)}
        assert differing == {"index.json"}
        if validation:
            # What is held out whole may be unlisted, and then comes last.
            held = of_index(out / "validation")
            places = {one: place for place, one in enumerate(listing)}
            assert held == sorted(held, key=lambda one: places.get(one, len(places)))
            assert sorted(held) == sorted(of_index(plain / "validation"))


def test_a_listing_without_a_partition_that_has_rows_is_refused(mixture: Path) -> None:
    made = make_plan(load_mixture(mixture), None, mixture.parent / "raw").partitions
    left_out = [one for one in made if one != "long/long_2"]
    with pytest.raises(InputError) as raised:
        build(mixture, "out", *listed(mixture, left_out))
    assert raised.value.message == (
        "order.listing: list.txt: got no long/long_2; expected each partition that has rows once"
    )
    assert not (mixture.parent / "out/manifest.json").exists()
    # Of a source that is taken whole, it is known before anything is read.
    left_out = [one for one in made if one != f"all/all_1{TAIL}"]
    with pytest.raises(InputError, match=f"got no all/all_1{TAIL}; expected each partition once"):
        build(mixture, "other", *listed(mixture, left_out))
    assert not (mixture.parent / "other").exists()
    with pytest.raises(InputError, match=r"got long/long_9, which the mixture does not make"):
        build(mixture, "other", *listed(mixture, [*made, "long/long_9"]))


def test_documents_may_be_held_out_of_what_is_taken_longest_first(mixture: Path) -> None:
    """By validation-v1 from every file, also from those that training does not reach."""
    out = build(mixture, "out", "validation={fraction: 0.2}")
    held, taken = (
        {row.document for row in read_rows(out / part / "train" / "long")}
        for part in ("validation", ".")
    )
    assert held
    assert taken
    assert not held & taken
    parts = partitions_of(out, "long")
    assert sum(one["chunks"]["validation"] for one in parts.values()) == len(
        read_rows(out / "validation/train/long")
    )
    assert sum(one["tokens"]["drawn"] for one in parts.values()) >= 700
    assert folders(out, "long") == ["long_2"]
    assert verify(out) == []
    assert verify(out / "validation") == []
