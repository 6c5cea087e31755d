"""A changed mixture where an earlier one was built: what is redone, and the bytes of it."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from support import builds
from support.work import counted

from pipeline.audit.verify.check_output import verify

MIXTURE = """\
name: changed
chunk: {size: 64MORE_CHUNK}
sources:
  a: {from: {path: "in/a-*.jsonl"}, tokens: 900}
  b: {from: {path: in/b.jsonl}}
  d: {from: {path: "in/d-*.jsonl"}, tokens: 700MORE}
MIXEDorder: {seed: 21, global_batch_size: 4, max_seq_len: 64, window_tokens: 1k}
"""
SHAPES = {
    "plain": {},
    "validation": {"MIXED": "validation: {fraction: 1/10}\n"},
    "first chunks for validation": {
        "MIXED": "validation: {algorithm: ettin-validation-v1, fraction: 1/10, seed: 3}\n"
    },
    "dedup": {"MIXED": "dedup: {}\n"},
    "scale": {"MIXED": "scale: 1/2\n"},
    "in sequence": {"MORE": ", sample: {algorithm: ettin-partitions-v2}"},
}
ADDED = "  c: {from: {path: in/c.jsonl}, epochs: 2}\n  d:"
NAMES = ("a-0", "a-1", "b", "c", "d-0", "d-1", "d-2")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the inputs of all mixtures."""
    (tmp_path / "in").mkdir()
    for name in NAMES:
        lines = builds.json_lines(builds.documents(name, 20, 90))
        (tmp_path / "in" / f"{name}.jsonl").write_bytes(lines)
    return tmp_path


def write(folder: Path, shape: str = "plain", *changes: tuple[str, str]) -> Path:
    """Write the mixture of a shape, changed in some places."""
    text = MIXTURE
    for word in ("MORE_CHUNK", "MORE", "MIXED"):
        text = text.replace(word, SHAPES[shape].get(word, ""))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return builds.write_mixture(folder, text)


def listing(out: Path) -> dict[str, str]:
    """Return the digests of all files, and the folders that are there."""
    folders = {f"{path.relative_to(out)}/": "" for path in out.rglob("*") if path.is_dir()}
    return {**folders, **builds.digests(out)}


def is_fresh(mixture: Path, out: Path) -> bool:
    """Tell whether an output is what a build from nothing makes."""
    fresh = out.with_name(f"{out.name}-fresh")
    counted(mixture, fresh)
    return builds.differences(listing(out), listing(fresh)) == []


SEED = ("seed: 21", "seed: 22")
BUDGET = ("tokens: 900", "tokens: 1000")
SOURCE = ("  d:", ADDED)


@pytest.mark.parametrize("is_finished", [True, False], ids=["finished", "stopped"])
@pytest.mark.parametrize(
    ("change", "chunk", "sample"),
    [(SEED, 0, 0), (BUDGET, 2, 2), (SOURCE, 1, 1)],
    ids=["seed", "budget", "source"],
)
def test_only_what_a_change_reaches_is_redone(
    change: tuple[str, str], chunk: int, sample: int, is_finished: bool, folder: Path
) -> None:
    out = folder / "out"
    counted(write(folder), out, before=None if is_finished else "index documents")
    changed = write(folder, "plain", change)
    made = counted(changed, out, updates=True)
    assert (made["chunk"], made["sample"]) == (chunk, sample)
    assert made["order"] > 0
    assert is_fresh(changed, out)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_folder_goes_from_mixture_to_mixture_and_back(shape: str, folder: Path) -> None:
    out, first = folder / "out", write(folder, shape)
    counted(first, out)
    before = listing(out)
    for change in (SEED, BUDGET, SOURCE):
        changed = write(folder, shape, change)
        counted(changed, out, updates=True)
        assert is_fresh(changed, out), change
        builds.run_well("verify", out)
        for path in folder.glob("out-fresh"):
            path.rename(folder / f"gone-{change[1][:3].strip()}-{shape}")
    counted(write(folder, shape), out, updates=True)
    assert builds.differences(listing(out), before) == []


def test_a_folder_goes_from_shape_to_shape(folder: Path) -> None:
    out = folder / "out"
    for number, shape in enumerate(["validation", "dedup", "plain", "in sequence", "scale"]):
        mixture = write(folder, shape)
        counted(mixture, out, updates=True)
        fresh = folder / f"fresh-{number}"
        counted(mixture, fresh)
        assert builds.differences(listing(out), listing(fresh)) == [], shape


def test_a_folder_goes_from_written_rows_to_those_of_the_pool_and_back(folder: Path) -> None:
    out = folder / "out"
    counted(write(folder), out)
    index = ("seed: 21", "seed: 21, rows: index")
    for number, changes in enumerate([(index,), (index, BUDGET), (SEED,)]):
        mixture = write(folder, "plain", *changes)
        assert "order all rows" in builds.run_well("plan", mixture, "--against", out)
        counted(mixture, out, updates=True)
        fresh = folder / f"fresh-{number}"
        counted(mixture, fresh)
        assert builds.differences(listing(out), listing(fresh)) == []


def test_a_tokenizer_of_before_goes(folder: Path) -> None:
    from support import miniature

    miniature.toy_tokenizer().save(str(folder / "toy.json"))
    out = folder / "out"
    change = ("chunk:", "tokenizer: {name: toy.json}\nchunk:")
    counted(write(folder, "plain", change), out)
    assert (out / "tokenizer.json").exists()
    mixture = write(folder)
    counted(mixture, out, updates=True)
    assert is_fresh(mixture, out)


@pytest.mark.parametrize("before", ["chunk", "sample", "order", "index documents"])
def test_an_update_that_stops_goes_on_without_being_told_again(before: str, folder: Path) -> None:
    out = folder / "out"
    counted(write(folder), out)
    changed = write(folder, "plain", BUDGET)
    counted(changed, out, before=before, updates=True)
    counted(changed, out, updates=before == "chunk")
    assert is_fresh(changed, out)


@pytest.mark.parametrize("before", ["chunk", "sample", "order", "index documents"])
def test_one_goes_back_from_a_stopped_update(before: str, folder: Path) -> None:
    out = folder / "out"
    counted(write(folder), out)
    was = listing(out)
    counted(write(folder, "plain", SOURCE, SEED), out, before=before, updates=True)
    assert verify(out) == ["manifest.json: is missing, since the build here is not finished"]
    made = counted(write(folder), out, updates=True)
    # Rows in another order took the place of the first.
    assert made == {"chunk": 0, "sample": 0, "order": int(before == "index documents")}
    assert builds.differences(listing(out), was) == []


def test_partitions_that_were_made_alone_are_kept(folder: Path) -> None:
    out = folder / "out"
    counted(write(folder), out, alone="b/b")
    assert counted(write(folder), out, updates=True)["chunk"] == 5
    assert is_fresh(write(folder), out)


def test_without_the_flag_it_is_refused_and_the_flag_named(folder: Path) -> None:
    out = folder / "out"
    counted(write(folder), out)
    before = listing(out)
    done = builds.run("build", write(folder, "plain", SEED), "--out", out)
    assert done.returncode == 2
    assert f"error: {out}: holds another mixture" in done.stderr
    assert "--update" in done.stderr
    stranger = folder / "stranger"
    stranger.mkdir()
    (stranger / "letter.txt").write_text("mine")
    done = builds.run("build", write(folder), "--out", stranger, "--update")
    assert done.returncode == 2
    assert "is not empty, and not an ettin-data build" in done.stderr
    assert listing(out) == before


# What is said beforehand


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ((), "chunk 0 of 6 partitions, sample 0 of 5 partitions, order nothing"),
        ((SEED,), "chunk 0 of 6 partitions, sample 0 of 5 partitions, order all rows"),
        ((BUDGET,), "chunk 2 of 6 partitions, sample 2 of 5 partitions, order all rows"),
        ((SOURCE,), "chunk 1 of 7 partitions, sample 1 of 6 partitions, order all rows"),
        (
            (("  b: {from: {path: in/b.jsonl}}\n", ""),),
            "chunk 0 of 5 partitions, sample 0 of 5 partitions, order all rows",
        ),
    ],
)
def test_what_is_redone_is_said_before_and_by_plan(
    changes: tuple[tuple[str, str], ...], said: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = folder / "out"
    counted(write(folder), out)
    before = listing(out)
    mixture = write(folder, "plain", *changes)
    assert f"against {out}: {said}\n" in builds.run_well("plan", mixture, "--against", out)
    told = json.loads(builds.run_well("plan", mixture, "--against", out, "--json"))["against"]
    assert listing(out) == before
    made = counted(mixture, out, updates=True)
    assert caplog.messages == [f"update: {said}"]
    assert told["redone"] == {stage: made[stage] for stage in ("chunk", "sample")}
    assert told["orders"] == (made["order"] > 0)


def test_a_holdout_of_first_chunks_is_decided_by_each_source_alone(folder: Path) -> None:
    out, shape = folder / "out", "first chunks for validation"
    counted(write(folder, shape), out)
    for change, chunk in ((BUDGET, 2), (SOURCE, 3)):
        changed = write(folder, shape, change)
        said = f"chunk {chunk} of {6 + (change is SOURCE)} partitions"
        assert said in builds.run_well("plan", changed, "--against", out)
        made = counted(changed, out, updates=True)
        assert (made["chunk"], made["sample"]) == (chunk, chunk)


def test_a_holdout_by_text_is_sampled_anew_as_a_whole_and_plan_says_so(folder: Path) -> None:
    out = folder / "out"
    counted(write(folder, "validation"), out)
    changed = write(folder, "validation", BUDGET)
    said = "chunk 6 of 6 partitions, sample 6 of 6 partitions, order all rows"
    assert said in builds.run_well("plan", changed, "--against", out)
    made = counted(changed, out, updates=True)
    assert (made["chunk"], made["sample"]) == (6, 6)


def test_what_a_scan_decides_is_said_as_a_bound(folder: Path) -> None:
    out = folder / "out"
    counted(write(folder, "dedup"), out)
    said = "scan at most 6 of 6 partitions, chunk at most 6 of 6 partitions, sample at most 5 of"
    mixture = write(folder, "dedup", SEED)
    assert said in builds.run_well("plan", mixture, "--against", out)
    assert counted(mixture, out, updates=True)["chunk"] == 0


def test_plan_refuses_what_is_no_output(folder: Path) -> None:
    done = builds.run("plan", write(folder), "--against", folder / "nowhere")
    assert done.returncode == 2
    assert "nowhere: got no output of a build" in done.stderr


# Killed


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_update_that_is_killed_at_random_goes_on_to_the_same_bytes(
    number: int, folder: Path
) -> None:
    out, draw = folder / "out", random.Random(number)
    for kills in range(3):
        mixture = write(folder, "plain", *([SEED, BUDGET, SOURCE][: kills + 1]))
        process = builds.start("build", mixture, "--out", out, "--update", "--workers", "1")
        while not (out / ".ettin" / "mixture.json").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 3))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    counted(mixture, out, updates=True)
    assert is_fresh(mixture, out)
