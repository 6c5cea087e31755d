"""Our shards and the public MDS package's, each read by the other.

Needs the interpreter that `tests/oracle/setup.sh FOLDER` makes:
`ETTIN_ORACLE_PYTHON=FOLDER/bin/python python -m pytest -m oracle`.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import builds
from support.clusters import Build

from oracle.servant import Servant, open_servant
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.writer import Dtype, MdsWriter

_PYTHON = os.environ.get("ETTIN_ORACLE_PYTHON")

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(_PYTHON is None, reason="ETTIN_ORACLE_PYTHON names no interpreter"),
]


@pytest.fixture(scope="module")
def public() -> Iterator[Servant]:
    assert _PYTHON is not None
    with open_servant(Path(_PYTHON)) as servant:
        yield servant


def _read_ours(folder: Path) -> tuple[list[str], list[list[int]]]:
    pool = Pool.open(folder)
    rows = np.arange(int(pool.num_rows.sum()))
    lengths = pool.lengths()
    ids = np.split(pool.gather(rows, lengths), np.cumsum(lengths)[:-1])
    return pool.document_ids(rows), [part.tolist() for part in ids]


def _read_public(public: Servant, folder: Path, scratch: Path) -> tuple[list[str], list[list[int]]]:
    # Of a copy, since the public reader may delete what it has read.
    copy = scratch / f"copy-{folder.name}"
    shutil.copytree(folder, copy)
    rows = scratch / "read.npz"
    public.ask("read", folder=copy, rows=rows)
    loaded = np.load(rows)
    parts = np.split(loaded["ids"], loaded["offsets"][1:-1])
    return loaded["names"].tolist(), [part.tolist() for part in parts]


def test_the_public_reader_gives_the_rows_of_a_build_by_its_root_index(
    public: Servant, finished: Path, tmp_path: Path
) -> None:
    names, ids = _read_public(public, finished / "train", tmp_path)
    assert len(names) > 100
    assert (names, ids) == _read_ours(finished / "train")


def test_the_public_reader_gives_the_rows_of_each_source_and_partition(
    public: Servant, finished: Path, tmp_path: Path
) -> None:
    folders = [path.parent for path in sorted(finished.glob("train/*/**/index.json"))]
    assert len(folders) > 5
    for folder in folders:
        scratch = tmp_path / folder.relative_to(finished)
        scratch.mkdir(parents=True)
        assert _read_public(public, folder, scratch) == _read_ours(folder)


def test_the_public_reader_gives_ordered_shards_in_the_order_of_the_rows(
    public: Servant, small: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    builds.run_well("build", small, "--out", out, "--set", "order.format=mds")
    _, ids = _read_public(public, out / "order", tmp_path)
    files = sorted(finished.glob("order/checkpoint_*/*.parquet"))
    assert len(files) > 2
    assert ids == [row for file in files for row in pq.read_table(file)["input_ids"].to_pylist()]


@pytest.mark.parametrize("index_compression", [[], ["shards.index_compression=zstd"]])
def test_the_public_readers_read_published_headers_and_indexes(
    public: Servant, small: Path, build_here: Build, tmp_path: Path, index_compression: list[str]
) -> None:
    out = tmp_path / "out"
    build_here(small, out, "shards.header_compression=zstd", *index_compression)
    names, ids = _read_ours(out / "train")
    order = tmp_path / "order.npy"
    np.save(order, np.arange(len(names)))
    # Shard by shard; where the index names compressed shards, StreamingDataset deletes raw ones.
    answer = public.ask("get_items", folder=out / "train", order=order)
    assert answer["num_ids"] == sum(map(len, ids))
    if not index_compression:
        assert _read_public(public, out / "train", tmp_path) == (names, ids)


def test_streaming_deletes_shards_beside_an_index_that_names_compressed_ones(
    small: Path, build_here: Build, tmp_path: Path
) -> None:
    """What `docs/spec/mds.md` warns of."""
    published = ["shards.header_compression=zstd", "shards.index_compression=zstd"]
    folder = build_here(small, tmp_path / "out", *published) / "train"
    assert len(list(folder.rglob("*.mds"))) > 10
    assert _PYTHON is not None
    with open_servant(Path(_PYTHON)) as servant, pytest.raises(RuntimeError, match="read"):
        servant.ask("read", folder=folder, rows=tmp_path / "read.npz")
    assert list(folder.rglob("*.mds")) == []


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
@pytest.mark.parametrize("size_limit", [400, 1000, 4096, 1 << 16, 1 << 26])
def test_both_writers_write_the_same_bytes(
    public: Servant, tmp_path: Path, dtype: Dtype, size_limit: int
) -> None:
    random = np.random.default_rng(size_limit)
    # Around the lengths at which the stored length takes one byte more, and rows above the limit;
    # not the first, before which the public writer would put a shard without rows, and ours not.
    lengths = np.concatenate([[1], random.integers(1, 600, 300), [1, 255, 256, 257, 65535, 65536]])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = random.integers(0, 50368, offsets[-1]).astype(np.uint32)
    names = [f"document-{'é' * (row % 7)}-{row}" for row in range(len(lengths))]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    writer = MdsWriter(folder=ours, dtype=dtype, size_limit=size_limit)
    for start in range(0, len(names), 50):
        stop = min(start + 50, len(names))
        writer.write(
            [name.encode() for name in names[start:stop]],
            np.arange(stop - start),
            ids,
            offsets[start : stop + 1],
        )
    writer.finish()
    rows = tmp_path / "rows.npz"
    np.savez(rows, ids=ids, offsets=offsets, names=np.array(names))
    public.ask("write", rows=rows, folder=theirs, dtype=dtype, size_limit=size_limit)

    files = sorted(path.name for path in theirs.iterdir())
    assert files == sorted(path.name for path in ours.iterdir())
    for file in files:
        assert (ours / file).read_bytes() == (theirs / file).read_bytes(), file
    read_names, read_ids = _read_ours(theirs)
    assert read_names == names
    assert read_ids == [part.tolist() for part in np.split(ids, offsets[1:-1])]
