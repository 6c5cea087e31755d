"""MDS shards for tests: rows of an id and token ids, written and read back."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from support.strategies import Row

from pipeline.dataset.mds.shard import Columns, MdsShard
from pipeline.dataset.mds.writer import Dtype, MdsWriter

LIMIT = 1 << 26


def write(
    folder: Path,
    written: Sequence[Row],
    *,
    dtype: Dtype = "uint32",
    size_limit: int = LIMIT,
    calls: Sequence[int] | None = None,
    header_compression: str | None = None,
    index_compression: str | None = None,
) -> dict[str, Any]:
    """Write rows, split over calls at the positions `calls`; return the index."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = MdsWriter(
        folder=folder,
        dtype=dtype,
        size_limit=size_limit,
        header_compression=header_compression,
        index_compression=index_compression,
    )
    for start, stop in pairwise(calls or [0, len(written)]):
        part = written[start:stop]
        documents = list(dict.fromkeys(row.id for row in part))
        writer.write(
            [document.encode() for document in documents],
            np.array([documents.index(row.id) for row in part], np.int64),
            np.array([id_ for row in part for id_ in row.ids], np.uint32),
            np.cumsum([0, *(len(row.ids) for row in part)]),
        )
    return writer.finish()


def read(folder: Path, index: dict[str, Any]) -> list[Row]:
    """Read all rows back through the memory-mapped reader."""
    found = []
    for about in index["shards"]:
        path = folder / about["raw_data"]["basename"]
        shard = MdsShard(path=path, columns=Columns.of(about, "index.json"))
        lengths = shard.lengths()
        assert len(lengths) == about["samples"]
        out = np.empty(int(lengths.sum()), np.uint32)
        shard.gather(np.arange(len(lengths)), lengths, out, np.cumsum(lengths) - lengths)
        ids = np.split(out, np.cumsum(lengths)[:-1])
        stored = shard.names(np.arange(len(lengths)))
        names = [stored[row].tobytes().decode() for row in range(len(stored))]
        found += [Row(name, part.tolist()) for name, part in zip(names, ids, strict=True)]
    return found
