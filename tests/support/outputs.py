"""What an output holds, read back as plain values."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zstandard

from pipeline.dataset.mds.pool import Pool


class Row(NamedTuple):
    """A row of a shard."""

    document: str
    ids: tuple[int, ...]


def read_rows(folder: Path) -> list[Row]:
    """Return all rows below the index of a folder."""
    pool = Pool.open(folder)
    lengths = pool.lengths()
    every = np.arange(len(lengths))
    if not len(every):
        return []
    ids = np.split(pool.gather(every, lengths), np.cumsum(lengths)[:-1])
    return [
        Row(document, tuple(part.tolist()))
        for document, part in zip(pool.document_ids(every), ids, strict=True)
    ]


def read_dropped(out: Path, source: str) -> list[dict[str, Any]]:
    """Return the dropped documents of a source that were kept."""
    return [
        json.loads(line)
        for path in sorted((out / "dropped" / source).glob("*.jsonl.zst"))
        for line in zstandard.ZstdDecompressor()
        .stream_reader(path.read_bytes())
        .readall()
        .split(b"\n")
        if line
    ]


def num_tokens(rows: list[Row]) -> int:
    return sum(len(row.ids) for row in rows)
