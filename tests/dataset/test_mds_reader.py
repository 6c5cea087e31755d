"""Rows in order from MDS shards under an index."""

import json
from pathlib import Path

import pytest
from support.mds import write as write_mds
from support.order_server import serve
from support.orders import open_rows
from support.parquet import Ids, made, read
from support.strategies import Row

from pipeline.core.errors import InputError, NotFoundError
from pipeline.dataset.mds.reader import MdsRows


def pool(folder: Path, num_rows: int) -> list[Ids]:
    """Write MDS shards of a few rows each; return the rows."""
    folder.mkdir(parents=True)
    rows = made(num_rows)
    write_mds(
        folder, [Row(str(i), ids) for i, ids in enumerate(rows)], dtype="uint16", size_limit=500
    )
    return rows


def zipped(folder: Path) -> None:
    """Make an index say that its shards are compressed, as published ones do."""
    index = json.loads((folder / "index.json").read_bytes())
    for shard in index["shards"]:
        name = f"{shard['raw_data']['basename']}.zstd"
        shard.update(compression="zstd", zip_data={"basename": name, "bytes": 1, "hashes": {}})
    (folder / "index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("says_zstd", [False, True])
def test_shards_are_read_in_the_order_of_their_index_and_left_as_they_are(
    tmp_path: Path, says_zstd: bool
) -> None:
    rows = pool(tmp_path / "pool", 200)
    if says_zstd:
        zipped(tmp_path / "pool")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "pool").iterdir()}
    assert len(before) > 5
    source = open_rows(tmp_path / "pool")
    assert isinstance(source, MdsRows)
    assert (source.num_rows, source.dtype) == (200, "uint16")
    assert read(source) == rows
    for start, stop in ((0, 0), (3, 4), (17, 120), (199, 200)):
        assert read(source, start, stop) == rows[start:stop]
    with pytest.raises(NotFoundError, match="got rows 5 to 201, expected a range within 0 to 200"):
        read(source, 5, 201)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "pool").iterdir()} == before


def test_a_block_of_shards_is_bounded(tmp_path: Path) -> None:
    rows = [Row("a", [1] * 300_000) for _ in range(9)]
    write_mds(tmp_path, rows, dtype="uint16", size_limit=1 << 30)
    blocks = list(open_rows(tmp_path).read(1, 9))
    assert max(len(block.values) for block in blocks) <= 1 << 20
    assert sum(len(block) for block in blocks) == 8


def test_a_shard_that_is_not_there_is_told(tmp_path: Path) -> None:
    pool(tmp_path / "pool", 100)
    zipped(tmp_path / "pool")
    shard = tmp_path / "pool/shard.00001.mds"
    shard.rename(tmp_path / "pool/shard.00001.mds.zstd")
    with pytest.raises(InputError, match=r"shard\.00001\.mds\.zstd: broken compressed data"):
        read(open_rows(tmp_path / "pool"))
    (tmp_path / "pool/shard.00001.mds.zstd").unlink()
    with pytest.raises(InputError, match=r"shard\.00001\.mds: "):
        read(open_rows(tmp_path / "pool"))


def test_a_shard_of_other_rows_than_its_index_says_is_told(tmp_path: Path) -> None:
    pool(tmp_path / "pool", 100)
    index = json.loads((tmp_path / "pool/index.json").read_bytes())
    index["shards"][0]["samples"] += 1
    (tmp_path / "pool/index.json").write_text(json.dumps(index))
    with pytest.raises(
        InputError, match=r"shard.00000\.mds: got .* rows, expected .* by the index"
    ):
        read(open_rows(tmp_path / "pool"))


def test_remote_shards_are_read_as_those_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pool(tmp_path / "pool", 100)
    with serve(tmp_path / "pool") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        remote = open_rows(server.where())
        assert isinstance(remote, MdsRows)
        assert read(remote) == rows
        assert read(remote, 17, 60) == rows[17:60]
