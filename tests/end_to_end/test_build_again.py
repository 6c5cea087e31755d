"""Builds into a folder that was built into before, since when something has changed or failed.

What comes is to the byte what a fresh build makes.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import builds, miniature
from support.clusters import Build
from support.here import Here, run_here

from pipeline.config.load import load_mixture
from pipeline.core.errors import InputError, OutputError
from pipeline.runner import sampled_shards
from pipeline.runner.run import build

ORDER = "order: {seed: 21, global_batch_size: 16, max_seq_len: 128}\n"
HELD_OUT = f"""\
name: again
chunk: {{size: 128}}
sources:
  a: {{from: {{path: in/a.jsonl}}}}
  b: {{from: {{path: in/b.jsonl}}}}
validation: {{fraction: 0.1}}
{ORDER}"""
BUDGET = f"""\
name: again
chunk: {{size: 128}}
sources:
  s: {{from: {{path: in/*.jsonl}}, tokens: 6000}}
{ORDER}"""
WHOLE = f"""\
name: again
chunk: {{size: 128}}
sources:
  a: {{from: {{path: in/a.jsonl}}}}
{ORDER}"""
DECODED = f"""\
name: again
chunk: {{size: 128}}
sources:
  books:
    from: {{path: in/*.mds, text: input_ids, id: null, decode: {{tokenizer: toy.json}}}}
{ORDER}"""


def write(folder: Path, name: str, *documents: list[dict[str, str]]) -> None:
    """Write documents below the folder of a mixture."""
    path = folder / "in" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(map(builds.json_lines, documents)))


def write_shared(folder: Path) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Write two files of which the second has all texts that the first has, or is to have."""
    before, after = (builds.documents(name, 30, 200) for name in ("before", "after"))
    write(folder, "a", before)
    write(folder, "b", before, after, builds.documents("b", 10, 200))
    return before, after


def stale(mixture: Path, out: Path, build_here: Build) -> Sequence[str]:
    """Build again, into the folder and into a new one; return the files that differ."""
    build_here(mixture, out)
    fresh = build_here(mixture, out.with_name("fresh"))
    return builds.differences(builds.digests(out), builds.digests(fresh))


def test_samples_are_looked_for_where_all_were_made(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path, name, builds.documents(name, 30, 200))
    mixture, out = load_mixture(builds.write_mixture(tmp_path, BUDGET)), tmp_path / "out"

    def stages() -> list[str]:
        seen: list[str] = []
        build(mixture, out, workers=None, scheduler=None, report=lambda name, *_: seen.append(name))
        return [name for name in dict.fromkeys(seen) if "sample" in name]

    assert stages() == ["sample"]
    assert stages() == ["look for samples"]


# One input changed


def fail_in_the_second_sample(mixture: Path, out: Path, partition: str) -> None:
    """Build until the chunks of a partition are gone, which the one worker comes to at last."""

    def report(stage: str, done: int, total: int, *_: object) -> None:
        if stage == "sample" and not done:
            [chunks] = out.glob(f".ettin/chunks/*/{partition}-*")
            shutil.rmtree(chunks)

    with pytest.raises(InputError, match=partition):
        build(load_mixture(mixture), out, workers=1, scheduler=None, report=report)
    assert not (out / "manifest.json").exists()


@pytest.mark.parametrize(
    ("content", "of_a", "of_b"),
    [(HELD_OUT, "a", "b"), pytest.param(BUDGET, "s", "s", marks=pytest.mark.slow)],
    ids=["what is set aside of two sources", "the budget of two files"],
)
def test_after_a_failure_draws_from_other_inputs_are_made_anew(
    content: str, of_a: str, of_b: str, build_here: Build, tmp_path: Path
) -> None:
    _, after = write_shared(tmp_path)
    if content == BUDGET:
        write(tmp_path, "b", builds.documents("b", 60, 200))
    mixture, out = builds.write_mixture(tmp_path, content), tmp_path / "out"
    build_here(mixture, out)
    before = builds.digests(out)
    write(tmp_path, "a", after)
    fail_in_the_second_sample(mixture, out, "b")
    drawn = builds.differences(builds.digests(out / "train"), _below(before, "train/"))
    assert any(path.startswith(f"{of_a}/a-") for path in drawn), "the first was drawn anew"
    assert not any(path.startswith(f"{of_b}/b-") for path in drawn), "the second was not"
    assert stale(mixture, out, build_here) == []


def _below(digests: dict[str, str], start: str) -> dict[str, str]:
    return {
        path.removeprefix(start): digest
        for path, digest in digests.items()
        if path.startswith(start)
    }


# The tokenizer of from.decode changed


def swap_letters(tokenizer: Path) -> None:
    """Let two letters stand for each other's ids."""
    content = json.loads(tokenizer.read_bytes())
    vocabulary = content["model"]["vocab"]
    vocabulary["a"], vocabulary["e"] = vocabulary["e"], vocabulary["a"]
    tokenizer.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "more",
    [pytest.param("", marks=pytest.mark.slow), "dedup: {}\n"],
    ids=["alone", "with dedup"],
)
def test_a_tokenizer_that_decodes_otherwise_makes_all_partitions_anew(
    more: str, build_here: Build, tmp_path: Path
) -> None:
    toy = miniature.toy_tokenizer()
    (tmp_path / "in").mkdir()
    for name in ("one", "two"):
        texts = [one["text"] for one in builds.documents(name, 20, 200)]
        rows = [toy.encode(text).ids for text in texts]
        (tmp_path / "in" / f"{name}.mds").write_bytes(miniature.mds(rows))
    toy.save(str(tmp_path / "toy.json"))
    mixture, out = builds.write_mixture(tmp_path, DECODED + more), tmp_path / "out"
    before = builds.digests(build_here(mixture, out))
    swap_letters(tmp_path / "toy.json")
    assert stale(mixture, out, build_here) == []
    changed = builds.differences(builds.digests(out), before)
    for name in ("one", "two"):
        assert any(path.startswith(f"train/books/{name}-") for path in changed)


# The manifest of validation


@pytest.mark.parametrize("harm", [pytest.param("cut", marks=pytest.mark.slow), "gone"])
def test_a_manifest_of_validation_that_was_lost_is_made_again(
    harm: str, build_here: Build, tmp_path: Path
) -> None:
    write_shared(tmp_path)
    mixture, out = builds.write_mixture(tmp_path, HELD_OUT), tmp_path / "out"
    before = builds.digests(build_here(mixture, out))
    path = out / "validation" / "manifest.json"
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        path.unlink()
    build_here(mixture, out)
    assert builds.differences(builds.digests(out), before) == []


def test_what_fails_once_validation_is_whole_is_told_as_it_is(
    build_here: Build, scheduler: str, tmp_path: Path
) -> None:
    write_shared(tmp_path)
    mixture, out = builds.write_mixture(tmp_path, HELD_OUT), tmp_path / "out"
    validation = out / "validation"

    def report(stage: str, done: int, total: int, *_: object) -> None:
        # As the rows of validation are put in order, nothing else is still to write.
        scratch = out / ".ettin" / "tmp"
        if any((validation / "order").glob("*")) and scratch.is_dir():
            scratch.rmdir()
            scratch.touch()

    with pytest.raises(OSError, match=r"out/\.ettin/tmp"):
        build(load_mixture(mixture), out, workers=1, scheduler=scheduler, report=report)
    assert json.loads((validation / "manifest.json").read_bytes())["files"]
    assert not (out / "manifest.json").exists()
    assert stale(mixture, out, build_here) == []


# Work that is damaged while a build goes on


@pytest.mark.parametrize("kind", ["tables", "chunks"])
def test_work_that_is_damaged_before_it_is_read_is_said_and_made_again(
    kind: str, build_here: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_shared(tmp_path)
    mixture, out = builds.write_mixture(tmp_path, HELD_OUT), tmp_path / "out"
    plain = builds.digests(build_here(mixture, tmp_path / "plain"))

    def damage() -> None:
        made = sorted((out / ".ettin" / kind).rglob("*.npy" if kind == "tables" else "*.mds"))
        if not made:
            return
        cluster.between = lambda: None
        path = made[-1]
        data = bytearray(path.read_bytes())
        # Of a table some row, of a shard its last id.
        data[len(data) // 2 if kind == "tables" else -3] ^= 1
        path.write_bytes(data)

    cluster = Here(damage)
    with monkeypatch.context() as patch:
        run_here(patch, sampled_shards, cluster)
        with pytest.raises(OutputError, match=rf"\.ettin/{kind}/.*: got damaged work"):
            build(load_mixture(mixture), out, workers=1, scheduler=None, report=lambda *_: None)
    assert not (out / "manifest.json").exists()
    build_here(mixture, out)
    assert builds.differences(builds.digests(out), plain) == []


def test_an_order_that_was_read_from_a_damaged_shard_is_made_again(
    build_here: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "a", builds.documents("a", 60, 300))
    mixture, out = builds.write_mixture(tmp_path, WHOLE), tmp_path / "out"
    plain = builds.digests(build_here(mixture, tmp_path / "plain"))

    def damage_and_stop() -> None:
        if any(out.glob("order/*/*")):
            raise KeyboardInterrupt
        for path in out.rglob("train/*/*/*.mds"):
            data = bytearray(path.read_bytes())
            data[-3] ^= 1
            path.write_bytes(data)

    with monkeypatch.context() as patch:
        run_here(patch, sampled_shards, Here(damage_and_stop))
        with pytest.raises(KeyboardInterrupt):
            build(load_mixture(mixture), out, workers=1, scheduler=None, report=lambda *_: None)
    build_here(mixture, out)
    assert builds.differences(builds.digests(out), plain) == []
