"""Shards and indexes that speak of compression, as published ones do, hold the same rows."""

import json
from pathlib import Path

import numpy as np
import pytest
from support import builds
from support.clusters import Build

from pipeline.audit.verify import verify
from pipeline.dataset.open import open as open_order

PUBLISHED = ("shards.header_compression=zstd", "shards.index_compression=zstd")


@pytest.fixture(scope="module")
def published(build_here: Build, small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_here(small, tmp_path_factory.mktemp("published") / "out", *PUBLISHED)


def test_every_index_names_compressed_shards_and_every_header_says_so(published: Path) -> None:
    indexes = sorted(published.glob("train/**/index.json"))
    assert len(indexes) > 8
    for path in indexes:
        shards = json.loads(path.read_bytes())["shards"]
        assert shards
        for shard in shards:
            raw = path.parent / shard["raw_data"]["basename"]
            assert shard["compression"] == "zstd"
            assert shard["zip_data"]["basename"] == f"{shard['raw_data']['basename']}.zstd"
            assert b'"compression": "zstd"' in raw.read_bytes()[:4096]
            assert not raw.with_name(f"{raw.name}.zstd").exists()


def test_all_that_reads_an_output_reads_this_one(
    published: Path, finished: Path, small: Path, tmp_path: Path
) -> None:
    assert verify(published) == []
    one, other = (builds.digests(folder / "order") for folder in (published, finished))
    assert one.keys() == other.keys()
    assert builds.differences(one, other) == ["steps.parquet"], "which names the mixture"
    pools = [open_order(folder / "train").rows for folder in (published, finished)]
    num_rows = pools[0].num_rows
    assert num_rows == pools[1].num_rows > 500
    for ours, theirs in zip(*(pool.read(0, num_rows) for pool in pools), strict=True):
        assert np.array_equal(ours.values, theirs.values)
        assert np.array_equal(ours.offsets, theirs.offsets)
    # The pool in order again, by its merged index.
    out = tmp_path / "again"
    spelled = ("algorithm=ettin-pcg64dxsm-v1", "seed=21", "global_batch_size=16",
               "max_seq_len=128", "view=encoder", "window_tokens=100k")  # fmt: skip
    settings = [part for one in spelled for part in ("--set", f"order.{one}")]
    builds.run_well("order", published / "train", "--out", out, *settings)
    assert builds.run("verify", out, "--against", published).returncode == 0


def test_ordered_shards_are_safe_to_train_from(
    build_here: Build, small: Path, tmp_path: Path
) -> None:
    """Their index names no compressed shards, beside which the public reader deletes raw ones."""
    out = build_here(small, tmp_path / "out", *PUBLISHED, "order.format=mds")
    shards = json.loads((out / "order" / "index.json").read_bytes())["shards"]
    assert len(shards) > 3
    for shard in shards:
        assert shard["compression"] is shard["zip_data"] is None
        header = (out / "order" / shard["raw_data"]["basename"]).read_bytes()[:4096]
        assert b'"compression": "zstd"' in header
