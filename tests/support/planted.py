"""Plants divergences: the pool of an output, changed by hand -> a published order or a pool.

Rows are taken as they are stored; a plant changes one thing and leaves all others, so that what is
found can be held against what was done.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.writer import MdsWriter, index_bytes
from pipeline.order import (
    PermutationKey,
    View,
    apply_view,
    load_permutation,
    save_permutation,
    view_lengths,
)

Ids = NDArray[np.uint32]
CLS_ID, SEP_ID = 50281, 50282
STEPS_PER_FILE = 100


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A pool in memory."""

    rows: tuple[Ids, ...]
    """Stored rows, in the pool's order."""
    partitions: tuple[str, ...]
    """By row the folder of its shard, below `train/`."""
    order: Mapping[str, Any]
    """What the mixture declares of the order."""

    @property
    def names(self) -> list[str]:
        """The partitions, in order."""
        return list(dict.fromkeys(self.partitions))

    def rows_of(self, partition: str) -> list[int]:
        """Return the numbers of the rows of a partition."""
        return [row for row, name in enumerate(self.partitions) if name == partition]

    def take(self, rows: Sequence[int]) -> "Planted":
        """Return the pool of some rows, in the order given."""
        return replace(
            self,
            rows=tuple(self.rows[row] for row in rows),
            partitions=tuple(self.partitions[row] for row in rows),
        )

    def without(self, rows: Sequence[int]) -> "Planted":
        """Return the pool without some rows."""
        left = set(rows)
        return self.take([row for row in range(len(self.rows)) if row not in left])

    def with_row(self, at: int, ids: Ids) -> "Planted":
        """Return the pool with one row more, of the partition that it is put into."""
        return replace(
            self,
            rows=(*self.rows[:at], ids, *self.rows[at:]),
            partitions=(*self.partitions[:at], self.partitions[at], *self.partitions[at:]),
        )

    def with_ids(self, row: int, ids: Ids) -> "Planted":
        """Return the pool with other ids in one row."""
        return replace(self, rows=(*self.rows[:row], ids, *self.rows[row + 1 :]))

    def with_partitions(self, names: Sequence[str]) -> "Planted":
        """Return the pool with its partitions under other names, in order."""
        new = dict(zip(self.names, names, strict=True))
        return replace(self, partitions=tuple(new[name] for name in self.partitions))

    def in_order(self, names: Sequence[str]) -> "Planted":
        """Return the pool with its partitions in another order."""
        return self.take([row for name in names for row in self.rows_of(name)])

    def remade(self, partition: str, other: "Planted") -> "Planted":
        """Return the pool with the rows of one partition taken from another pool."""
        first = self.rows_of(partition)[0]
        kept = self.without(self.rows_of(partition))
        made = [other.rows[row] for row in other.rows_of(partition)]
        return replace(
            kept,
            rows=(*kept.rows[:first], *made, *kept.rows[first:]),
            partitions=(
                *kept.partitions[:first], *[partition] * len(made), *kept.partitions[first:]
            ),
        )  # fmt: skip


def read(out: Path) -> Planted:
    """Read the pool of an output."""
    pool = Pool.open(out / "train")
    lengths = pool.lengths()
    ids = pool.gather(np.arange(len(lengths)), lengths)
    counts = pool.num_rows.tolist()
    manifest = json.loads((out / "manifest.json").read_bytes())
    return Planted(
        rows=tuple(np.split(ids, np.cumsum(lengths)[:-1])),
        partitions=tuple(
            shard.path.parent.relative_to(out / "train").as_posix()
            for shard, count in zip(pool.shards, counts, strict=True)
            for _ in range(count)
        ),
        order=manifest["mixture"]["declaration"]["order"],
    )


def rows_by_shard(out: Path) -> list[list[int]]:
    """Return the numbers of the rows of each shard of an output."""
    counts = Pool.open(out / "train").num_rows.tolist()
    stops = np.cumsum(counts).tolist()
    return [list(range(stop - count, stop)) for stop, count in zip(stops, counts, strict=True)]


def ordered(pool: Planted, *, seed: int | None = None, epoch: int | None = None) -> list[Ids]:
    """Return the rows of full steps in order, as declared or by another seed or epoch."""
    key = PermutationKey(
        algorithm=pool.order["algorithm"],
        num_samples=len(pool.rows),
        seed=pool.order["seed"] if seed is None else seed,
        epoch=pool.order["epoch"] if epoch is None else epoch,
    )
    batch = pool.order["global_batch_size"]
    with TemporaryDirectory() as folder:
        save_permutation(key, Path(folder), Path(folder, "scratch"))
        rows = load_permutation(key, Path(folder)).samples(0, len(pool.rows) // batch * batch)
    return [pool.rows[row] for row in rows.tolist()]


def viewed(rows: Sequence[Ids], view: View, max_seq_len: int) -> list[Ids]:
    """Return rows under a view."""
    lengths = np.array([len(row) for row in rows])
    has_cls = np.array([row[0] == CLS_ID for row in rows])
    has_sep = np.array([row[-1] == SEP_ID for row in rows])
    stops = np.cumsum(view_lengths(lengths, has_cls, has_sep, view, max_seq_len))
    offsets, view_offsets = np.array([0, *np.cumsum(lengths)]), np.array([0, *stops])
    ids = apply_view(np.concatenate(rows), offsets, view_offsets, view, CLS_ID, SEP_ID)
    return np.split(ids, stops[:-1])


def publish(
    folder: Path,
    rows: Sequence[NDArray[Any]],
    batch: int,
    *,
    dtype: str = "uint32",
    steps_per_window: int = 10**9,
) -> Path:
    """Write ordered rows as they are published: a folder a window, a file a hundred steps."""
    num_steps = len(rows) // batch
    for window, first in enumerate(range(0, num_steps, steps_per_window)):
        last = min(first + steps_per_window, num_steps)
        place = folder / f"checkpoint_{window + 1:06d}"
        place.mkdir(parents=True)
        for start in range(first, last, STEPS_PER_FILE):
            stop = min(start + STEPS_PER_FILE, last)
            name = f"steps_{start - first + 1:06d}_to_{stop - first:06d}.parquet"
            _write(place / name, rows[start * batch : stop * batch], batch, start - first, dtype)
    return folder


def _write(
    path: Path, rows: Sequence[NDArray[Any]], batch: int, first_step: int, dtype: str
) -> None:
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.int32)
    # As a cast does it: an id too large for a type wraps round.
    values = pa.array(np.concatenate(rows).astype(dtype))
    steps = pa.array(np.arange(len(rows)) // batch + first_step + 1)
    lists = pa.ListArray.from_arrays(pa.array(offsets), values)
    pq.write_table(pa.table({"input_ids": lists, "step": steps}), path, row_group_size=8 * batch)


def published(
    folder: Path,
    pool: Planted,
    *,
    seed: int | None = None,
    epoch: int | None = None,
    view: View | None = None,
    max_seq_len: int | None = None,
    dtype: str = "uint32",
    steps_per_window: int = 10**9,
    change: Callable[[list[Ids]], Sequence[NDArray[Any]]] = list,
) -> Path:
    """Publish the order of a pool; what is not given is as declared.

    `change`: what is done to the ordered rows at the end.
    """
    rows = viewed(
        ordered(pool, seed=seed, epoch=epoch),
        pool.order["view"] if view is None else view,
        pool.order["max_seq_len"] if max_seq_len is None else max_seq_len,
    )
    batch = pool.order["global_batch_size"]
    return publish(folder, change(rows), batch, dtype=dtype, steps_per_window=steps_per_window)


def published_pool(folder: Path, pool: Planted) -> Path:
    """Write a pool as MDS shards under one index, a folder a partition."""
    shards = []
    for name in pool.names:
        place = folder / name
        place.mkdir(parents=True)
        writer = MdsWriter(folder=place, dtype="uint32", size_limit=1 << 26)
        rows = [pool.rows[row] for row in pool.rows_of(name)]
        offsets = np.cumsum([0, *map(len, rows)])
        writer.write([b"-"], np.zeros(len(rows), np.int64), np.concatenate(rows), offsets)
        writer.finish()
        for shard in json.loads((place / "index.json").read_bytes())["shards"]:
            raw = shard["raw_data"]
            shards.append({**shard, "raw_data": {**raw, "basename": f"{name}/{raw['basename']}"}})
    index = {"version": 2, "shards": shards}
    (folder / "index.json").write_bytes(index_bytes(index, merged=True))
    return folder


def shuffled(rows: list[Ids], inside: int, seed: int = 5) -> list[Ids]:
    """Return rows shuffled within stretches of so many."""
    draw = np.random.default_rng(seed)
    return [
        rows[start + place]
        for start in range(0, len(rows), inside)
        for place in draw.permutation(min(inside, len(rows) - start)).tolist()
    ]


def rank_after_rank(rows: list[Ids], batch: int, ranks: int) -> list[Ids]:
    """Return the rows of each step, those of the first rank first."""
    return [
        rows[start + place]
        for start in range(0, len(rows), batch)
        for rank in range(ranks)
        for place in range(rank, batch, ranks)
    ]


def with_other_ids(rows: Sequence[Ids], change: Mapping[int, int]) -> list[Ids]:
    """Return rows with other ids, as another vocabulary has them. `change`: new id by old one."""
    table = np.arange(1 << 16, dtype=np.uint32)
    table[list(change)] = list(change.values())
    return [table[row] for row in rows]
