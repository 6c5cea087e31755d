"""`ettin-data cache`: what is there, what is damaged, and what goes."""

import json
import os
from pathlib import Path

import pytest
from support import builds
from support.work import counted

MIXTURE = """\
name: listed
chunk: {size: 64}
sources:
  a: {from: {path: in/a.jsonl}}
  b: {from: {path: in/b.jsonl}}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64}
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache with two partitions."""
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        lines = builds.json_lines(builds.documents(name, 10, 60))
        (tmp_path / "in" / f"{name}.jsonl").write_bytes(lines)
    counted(builds.write_mixture(tmp_path, MIXTURE), tmp_path / "out", cache=tmp_path / "cache")
    return tmp_path / "cache"


def listed(*arguments: str | Path) -> list[dict[str, object]]:
    found = json.loads(builds.run_well("cache", *arguments, "--json"))["entries"]
    assert isinstance(found, list)
    return found


def test_a_list_says_what_is_there(cache: Path) -> None:
    shown = builds.run_well("cache", "list", cache)
    assert f"{cache}: 2 partitions, " in shown
    assert "a/a, whole-v1 at 64" in shown
    found = listed("list", cache)
    assert sorted(str(one["about"]) for one in found) == [
        "a/a, whole-v1 at 64",
        "b/b, whole-v1 at 64",
    ]
    for one in found:
        assert one["files"] == 4
        assert one["bytes"] == sum(
            path.stat().st_size for path in cache.glob(f"chunks/*/{one['key']}/*/*")
        )


def test_verify_finds_damage_and_prune_removes_it(cache: Path) -> None:
    assert "2 partitions, 0 damaged" in builds.run_well("cache", "verify", cache)
    [shard, _] = sorted(cache.rglob("shard.00000.mds"))
    data = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(data[:-1])
    done = builds.run("cache", "verify", cache)
    assert done.returncode == 1
    key = shard.parents[1].name
    assert f"damaged: {key}: got damaged shards/shard.00000.mds\n" in done.stdout
    done = builds.run("cache", "verify", cache, "--json", "--json-progress")
    assert json.loads(done.stdout)["damaged"] == {key: "got damaged shards/shard.00000.mds"}
    last = json.loads(done.stderr.splitlines()[-1])
    num_bytes = sum(int(str(one["bytes"])) for one in listed("list", cache))
    assert [last[key] for key in ("unit", "done", "total")] == ["partitions", 2, 2]
    assert last["bytes"] == num_bytes > 0
    (shard.parents[1] / "entry.json").unlink()
    (shard.parents[1] / "entry.json").write_text("{}")
    assert [one["damaged"] for one in listed("prune", cache, "--older-than", "1d")] == [True]
    assert builds.run_well("cache", "verify", cache)


def test_prune_by_age_and_size(cache: Path) -> None:
    [old, new] = sorted(cache.rglob("entry.json"))
    os.utime(old, (10**9, 10**9))
    assert listed("prune", cache, "--larger-than", "1GB") == []
    assert [one["key"] for one in listed("prune", cache, "--older-than", "30d")] == [
        old.parent.name
    ]
    shown = builds.run_well("cache", "prune", cache, "--larger-than", "1")
    assert f"{cache}: 1 partitions, " in shown
    assert not new.exists()
    assert builds.run_well("cache", "list", cache) == f"{cache}: 0 partitions, 0B, there\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("list", "nowhere"), "nowhere: got no chunks of a build"),
        (("prune", "chunks"), "cache prune: expected --older-than or --larger-than"),
        (("list", "nowhere", "--older-than", "1d"), "unrecognized arguments: --older-than 1d"),
        (("prune", "nowhere", "--older-than", "soon"), "got 'soon', expected a time such as 30d"),
        (("prune", "nowhere", "--larger-than", "100G"), 'got "100G"'),
    ],
)
def test_misuse_is_refused(arguments: tuple[str, ...], error: str, tmp_path: Path) -> None:
    (tmp_path / "chunks" / "chunks").mkdir(parents=True)
    done = builds.run("cache", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert error in done.stderr
