"""One mixture and one set of inputs give the same bytes, wherever and however they are built."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support import builds
from support.clusters import Build

SHARD = "train/long/long_0-tokenized-chunked-128-64-16-backfill-nodups/shard.00003.mds"
ROWS = "order/checkpoint_000002/steps_000001_to_000053.parquet"


def _same(out: Path, expected: dict[str, str]) -> None:
    assert builds.differences(builds.digests(out), expected) == []
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.json",
        "order",
        "provenance",
        "train",
    ]


def test_the_small_build_has_what_the_other_tests_rely_on(finished: Path) -> None:
    manifest = json.loads((finished / "manifest.json").read_bytes())
    assert len(manifest["order"]["windows"]) > 1
    assert SHARD in manifest["files"]
    assert ROWS in manifest["files"]
    assert manifest["sources"]["prose"]["documents"]["dropped"] == {
        "duplicate_id": 2,
        "invalid_json": 1,
        "no_text": 1,
    }
    assert manifest["sources"]["notes"]["documents"]["dropped"] == {
        "empty_text": 1,
        "only_special_tokens": 1,
    }


def test_two_workers_give_the_bytes_of_one(
    small: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    builds.run_well("build", small, "--out", tmp_path / "out", "--workers", "2")
    _same(tmp_path / "out", expected)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_rows_laid_out_on_disk_give_the_bytes_of_those_in_memory(
    workers: str, small: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    out = tmp_path / "out"
    builds.run_well("build", small, "--out", out, "--workers", workers, "--memory", "1")
    _same(out, expected)


def test_a_cluster_of_the_users_gives_the_same_bytes(
    small: Path, scheduler: str, tmp_path: Path, expected: dict[str, str]
) -> None:
    builds.run_well("build", small, "--out", tmp_path / "out", "--scheduler", scheduler)
    _same(tmp_path / "out", expected)


def test_files_made_in_another_order_give_the_same_bytes(
    tmp_path: Path, build_here: Build, expected: dict[str, str]
) -> None:
    mixture = builds.write_inputs(tmp_path / "elsewhere", backwards=True)
    _same(build_here(mixture, tmp_path / "out"), expected)


def test_globs_in_another_order_give_the_same_bytes(
    small: Path, tmp_path: Path, build_here: Build, expected: dict[str, str]
) -> None:
    turned = builds.MIXTURE.replace(
        '["in/prose/*.json.gz", in/more/letters.jsonl]',
        '[in/more/*.jsonl, "in/prose/*.json.gz", in/more/letters.jsonl, "in/prose/*.json.gz"]',
    ).replace("in/more/*.jsonl, ", "")
    assert turned != builds.MIXTURE
    mixture = builds.write_mixture(small.parent, turned, "turned.yaml")
    _same(build_here(mixture, tmp_path / "out"), expected)


def test_sources_and_keys_in_another_order_give_the_same_bytes(
    small: Path, tmp_path: Path, build_here: Build, expected: dict[str, str]
) -> None:
    import yaml  # type: ignore[import-untyped,unused-ignore]

    declared = yaml.safe_load(builds.MIXTURE)
    declared["sources"] = dict(reversed(declared["sources"].items()))
    turned = yaml.safe_dump(dict(reversed(declared.items())), sort_keys=False)
    mixture = builds.write_mixture(small.parent, "# turned\n" + turned, "reversed.yaml")
    _same(build_here(mixture, tmp_path / "out"), expected)


@pytest.mark.parametrize(
    "seed", [*(pytest.param(seed, marks=pytest.mark.slow) for seed in "01"), "random"]
)
def test_hash_seeds_change_no_byte(
    seed: str, small: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    """From another folder, too, and into one of another name that is given relative to it."""
    builds.run_well(
        "build", os.path.relpath(small, tmp_path), "--out", f"named-{seed}", "--workers", "2",
        cwd=tmp_path, PYTHONHASHSEED=seed,
    )  # fmt: skip
    _same(tmp_path / f"named-{seed}", expected)


def test_building_again_touches_the_manifest_alone(
    small: Path, finished: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    before = {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()}
    builds.run_well("build", small, "--out", out)
    after = {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()}
    assert {path for path in before if before[path] != after[path]} == {out / "manifest.json"}
    _same(out, expected)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _turn_into_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)
    (path / "inside" / "file").write_text("")


@pytest.mark.parametrize(
    "damaged",
    [
        [SHARD],
        [f"{Path(SHARD).parent}/index.json"],
        [f"{Path(SHARD).parent}/stats.json"],
        ["train/notes/notes-tokenized-chunked-128-64-16-backfill-nodups/shard.00000.mds"],
        ["train/prose/prose_1-tokenized-chunked-128-64-16-backfill-nodups/shard.00000.mds"],
        ["train/index.json", "train/notes/index.json"],
        ["order/steps.parquet"],
        [ROWS],
        ["provenance/checkpoint_000002/steps_000001_to_000053.parquet"],
        ["provenance/documents/documents_000000_of_000001.parquet"],
        ["provenance/drawn/prose/letters.parquet"],
        ["manifest.json"],
        ["manifest.json", SHARD, "train/index.json"],
        [SHARD, "order/steps.parquet", ROWS],
    ],
    ids=lambda damaged: "+".join(Path(name).name for name in damaged),
)
def test_building_again_mends_damage(
    damaged: list[str], small: Path, finished: Path, tmp_path: Path, build_here: Build,
    expected: dict[str, str],
) -> None:  # fmt: skip
    out = shutil.copytree(finished, tmp_path / "out")
    for harm in (_flip, _truncate, Path.unlink, _turn_into_folder):
        for name in damaged:
            harm(out / name)
        assert builds.differences(builds.digests(out), expected) != []
        build_here(small, out)
        _same(out, expected)


def test_folders_lost_or_turned_into_files_are_made_again(
    small: Path, finished: Path, tmp_path: Path, build_here: Build, expected: dict[str, str]
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    shutil.rmtree(out / "train" / "long")
    shutil.rmtree(out / Path("train/notes/notes-tokenized-chunked-128-64-16-backfill-nodups"))
    (out / "train/notes/notes-tokenized-chunked-128-64-16-backfill-nodups").write_text("a file")
    (out / "train" / "stranger").mkdir()
    (out / "order" / "stranger").symlink_to(tmp_path)
    (out / "train" / "stranger.mds").write_text("left by an earlier build")
    build_here(small, out)
    _same(out, expected)


def test_an_input_that_changed_is_read_again(tmp_path: Path, build_here: Build) -> None:
    mixture = builds.write_inputs(tmp_path / "a")
    out = build_here(mixture, tmp_path / "out")
    before = builds.digests(out)
    for name, lines in (
        ("long/long-0.jsonl", builds.documents("other", 5, 300)),
        ("more/letters.jsonl", builds.documents("other letters", 30, 200)),
    ):
        (tmp_path / "a" / "in" / name).write_bytes(builds.json_lines(lines))
    build_here(mixture, out)
    changed = builds.differences(before, builds.digests(out))
    assert SHARD in changed
    assert any(name.startswith("train/prose/") for name in changed)
    assert not any(name.startswith(("train/tables/", "train/notes/")) for name in changed)
    _same(out, builds.digests(build_here(mixture, tmp_path / "fresh")))


def test_what_a_setting_overrides_is_recorded(
    small: Path, tmp_path: Path, build_here: Build, finished: Path
) -> None:
    out = build_here(small, tmp_path / "out", "order.view=decoder")
    manifest = json.loads((out / "manifest.json").read_bytes())
    assert manifest["mixture"]["overrides"] == ["order.view=decoder"]
    assert manifest["mixture"]["declaration"]["order"]["view"] == "decoder"
    assert manifest["order"]["view"] == "decoder"
    original = json.loads((finished / "manifest.json").read_bytes())
    assert manifest["mixture"]["fingerprint"] != original["mixture"]["fingerprint"]
    assert original["mixture"]["overrides"] == []


def test_no_partition_shares_a_name_with_its_source_folder_by_accident(
    tmp_path: Path, build_here: Build
) -> None:
    """The longest name that a file may have still fits all that is added to it."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"{'n' * 150}.txt").write_text("A document.")
    mixture = builds.write_mixture(
        tmp_path,
        "name: n\nchunk: {algorithm: ettin-slice-v1, size: 8999, min_size: 8997, skip_below: 0, "
        "seed: 1}\nsources: {s: {from: {path: in/*.txt}}}\n"
        "order: {seed: 1, global_batch_size: 1, max_seq_len: 10}\n",
    )
    out = build_here(mixture, tmp_path / "out")
    assert any(path.name.startswith("n" * 150) for path in (out / "train" / "s").iterdir())


def test_a_full_disk_is_one_clear_line_and_room_lets_it_go_on(
    small: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk is not permitted here")
    try:
        done = builds.run("build", small, "--out", disk / "out", "--workers", "1")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "the disk is full\nhint: make room and run the same command again" in done.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", disk], check=True)
        builds.run_well("build", small, "--out", disk / "out", "--workers", "1")
        _same(disk / "out", expected)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_source_that_was_moved_and_linked_stays(
    finished: Path, small: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    source = sorted(path for path in (out / "train").iterdir() if path.is_dir())[0]
    elsewhere = tmp_path / "elsewhere"
    source.rename(elsewhere)
    source.symlink_to(elsewhere)
    builds.run_well("build", small, "--out", out)
    assert source.is_symlink()
    assert builds.digests(elsewhere) == builds.digests(finished / "train" / source.name)
