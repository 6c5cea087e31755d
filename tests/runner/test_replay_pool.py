"""Replay: the rows of pools that others wrote, in order; the pool is left as it was."""

import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import builds
from support.mds import write
from support.strategies import Row

from pipeline.dataset.mds.writer import index_bytes, merge_indexes
from pipeline.order import pcg64dxsm_permutation

ON_DISK = ("--memory", "1")
FLAGS = (
    *("--set", "order.global_batch_size=4", "--set", "order.max_seq_len=16"),
    *("--set", "order.algorithm=ettin-pcg64dxsm-v1"),
)


def pool_rows(seed: int, count: int) -> list[Row]:
    """Return rows of documents of one to three chunks."""
    draw = np.random.default_rng(seed)
    names = np.repeat(np.arange(count), draw.integers(1, 4, count)).tolist()
    return [
        Row(f"{seed}-{name}", draw.integers(0, 60_000, draw.integers(1, 20)).tolist())
        for name in names
    ]


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, list[Row]]:
    """A pool as the published ones are: plain shards under an index that says zstd."""
    folder = tmp_path / "pool"
    parts, found = [], []
    for seed, name in enumerate(["books/books_0001", "books/books_0000", "arxiv/arxiv_0007"]):
        part = pool_rows(seed, 20)
        index = write(folder / name, part, dtype="uint16", size_limit=600)
        parts.append((name, index))
        found += part
    index = merge_indexes(parts)
    for shard in index["shards"]:
        raw = shard["raw_data"]
        shard["compression"] = "zstd"
        shard["zip_data"] = {**raw, "basename": raw["basename"] + ".zstd", "bytes": 99}
    (folder / "index.json").write_bytes(index_bytes(index, merged=True))
    return folder, found


def state_of(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return what can be seen of every file: when it was changed, its mode and its bytes."""
    return {
        str(path): (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("memory", [(), ON_DISK], ids=["in memory", "on disk"])
def test_a_published_pool_comes_out_in_order_and_stays_as_it_was(
    published: tuple[Path, list[Row]], tmp_path: Path, memory: tuple[str, ...]
) -> None:
    pool, rows = published
    before = state_of(pool)
    assert len(before) > 10
    out = tmp_path / "out"
    builds.run_well("order", pool, "--out", out, *FLAGS, *memory, "--workers", "1")
    assert state_of(pool) == before

    order = pcg64dxsm_permutation(len(rows), seed=21, epoch=0)
    order = order[: len(rows) // 4 * 4]
    found = pq.read_table(out / "order" / "checkpoint_000001")["input_ids"].to_pylist()
    assert found == [rows[row].ids for row in order.tolist()]
    origins = pq.read_table(out / "provenance" / "checkpoint_000001").to_pylist()
    assert [one["document"] for one in origins] == [rows[row].id for row in order.tolist()]
    assert {(one["source"], one["file"]) for one in origins} == {
        ("books", "books/books_0000"), ("books", "books/books_0001"), ("arxiv", "arxiv/arxiv_0007"),
    }  # fmt: skip
    chunks = [row.id for row in rows]
    for one, row in zip(origins, order.tolist(), strict=True):
        name = rows[row].id
        assert one["num_chunks"] == chunks.count(name)
        assert one["chunk"] == row - chunks.index(name)
    assert builds.run_well("verify", out).endswith("every file matches the manifest\n")
    again = builds.digests(out)
    builds.run_well("order", pool, "--out", out, *FLAGS)
    assert builds.digests(out) == again


def test_a_little_pool_is_put_in_order_without_workers(
    published: tuple[Path, list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("pipeline.runner.local_cluster.LocalWorkers")
    builds.run_well("order", published[0], "--out", tmp_path / "out", *FLAGS)


def test_ordered_shards_are_a_pool_in_the_order_of_its_index(
    published: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    pool, _ = published
    parquet, mds = tmp_path / "parquet", tmp_path / "mds"
    builds.run_well("order", pool, "--out", parquet, *FLAGS)
    builds.run_well("order", pool, "--out", mds, "--format", "mds", *FLAGS)
    told = builds.run_well("verify", mds, "--against", parquet)
    assert told.endswith("equal\n")
    assert builds.run_well("verify", parquet, "--against", mds / "order").endswith("equal\n")


def test_the_pool_of_a_build_gives_the_order_of_the_build(finished: Path, tmp_path: Path) -> None:
    builds.run_well(
        "order", finished / "train", "--out", tmp_path / "out",
        *(f"--set=order.{one}" for one in ("algorithm=ettin-pcg64dxsm-v1", "global_batch_size=16",
                                           "max_seq_len=128",
                                           "view=encoder", "window_tokens=100k")),
    )  # fmt: skip
    ours, theirs = (builds.digests(one / "order") for one in (tmp_path / "out", finished))
    # The table of steps also says what it belongs to.
    assert builds.differences(ours, theirs) == ["steps.parquet"]
    manifests = [
        json.loads((one / "manifest.json").read_bytes())["order"]
        for one in (tmp_path / "out", finished)
    ]
    for about in ("ledger", "root_sha256", "windows", "num_tokens_cut", "num_tokens_dropped"):
        assert manifests[0][about] == manifests[1][about]


def _remove_shard(pool: Path) -> None:
    (pool / "books/books_0000/shard.00000.mds").unlink()


def _pack_shard(pool: Path) -> None:
    path = pool / "books/books_0000/shard.00000.mds"
    path.rename(path.with_name("shard.00000.mds.zstd"))


def _shorten_shard(pool: Path) -> None:
    path = pool / "books/books_0000/shard.00000.mds"
    path.write_bytes(path.read_bytes()[:-5])


def _change_index(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def harm(pool: Path) -> None:
        index = json.loads((pool / "index.json").read_bytes())
        change(index)
        (pool / "index.json").write_text(json.dumps(index))

    return harm


def _one_row_more(index: dict[str, Any]) -> None:
    index["shards"][0]["samples"] += 1


def _other_columns(index: dict[str, Any]) -> None:
    index["shards"][0]["column_names"][1] = "labels"


HARMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "no shard": (_remove_shard, "books_0000/shard.00000.mds: is missing, and the index names it"),
    "packed alone": (_pack_shard, "books_0000/shard.00000.mds.zstd: broken compressed data: "),
    "short": (_shorten_shard, "books_0000/shard.00000.mds: got "),
    "another number of rows": (_change_index(_one_row_more), "by the index (-1)"),
    "other columns": (_change_index(_other_columns), "got columns id: str, labels: ndarray:uint16"),
    "no index": (lambda pool: (pool / "index.json").unlink(), "expected the index of MDS shards"),
    "half an index": (
        lambda pool: (pool / "index.json").write_text("{"), "index.json: is not an index of MDS sha"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HARMS)
def test_a_pool_that_cannot_be_read_is_one_clear_line(
    published: tuple[Path, list[Row]], tmp_path: Path, case: str
) -> None:
    pool, _ = published
    harm, expected = HARMS[case]
    harm(pool)
    done = builds.run("order", pool, "--out", tmp_path / "out", *FLAGS)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_an_output_and_its_pool_never_lie_in_one_another(
    published: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    pool, _ = published
    before = state_of(pool)
    (tmp_path / "beside").symlink_to(pool)
    (tmp_path / "other").mkdir()
    for out in (
        pool / "out",
        pool,
        tmp_path / "beside" / "out",
        tmp_path / "other" / ".." / "pool" / "out",
    ):
        done = builds.run("order", pool, "--out", out, *FLAGS)
        assert done.returncode == 2
        assert "lies in the pool" in done.stderr
    done = builds.run("order", pool, "--out", tmp_path, *FLAGS)
    assert done.returncode == 2
    assert "lies in --out" in done.stderr
    assert state_of(pool) == before


def test_a_pool_that_changed_is_ordered_again(
    published: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    """An index says nothing of what is in its shards."""
    pool, rows = published
    out = tmp_path / "out"
    builds.run_well("order", pool, "--out", out, *FLAGS)
    path = pool / "books/books_0001/shard.00000.mds"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    builds.run_well("order", pool, "--out", out, *FLAGS)
    [folder] = (out / "order").glob("checkpoint_*")
    found = pq.read_table(folder)["input_ids"].to_pylist()
    assert sum(ids not in [row.ids for row in rows] for ids in found) == 1
    fresh = tmp_path / "fresh"
    builds.run_well("order", pool, "--out", fresh, *FLAGS)
    assert builds.digests(out) == builds.digests(fresh)


@pytest.mark.parametrize(
    "number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in (1, 2, 3))]
)
def test_a_killed_order_goes_on_to_the_same_bytes(
    number: int, published: tuple[Path, list[Row]], tmp_path: Path
) -> None:
    """Killed on disk, it goes on there or in memory."""
    pool, _ = published
    fresh, out = tmp_path / "fresh", tmp_path / "out"
    builds.run_well("order", pool, "--out", fresh, *FLAGS)
    process = builds.start("order", pool, "--out", out, *FLAGS, *ON_DISK, "--workers", "2")
    stop = time.monotonic() + builds.SECONDS
    while not (out / ".ettin" / "mixture.json").exists() and time.monotonic() < stop:
        time.sleep(0.005)
    time.sleep(random.Random(number).uniform(0, 3))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    again = ON_DISK if number % 2 else ()
    builds.run_well("order", pool, "--out", out, *FLAGS, *again)
    assert builds.digests(out) == builds.digests(fresh)
