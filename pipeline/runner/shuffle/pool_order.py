"""A pool that stands by itself -> its rows in order.

The pool is only read. Its tables are made here, folder by folder, since nobody has counted its rows
before.
"""

import uuid
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import Replay
from pipeline.core.digest import fingerprint
from pipeline.dataset import State
from pipeline.dataset.mds import Pool
from pipeline.order import PermutationKey
from pipeline.runner.cluster import Cluster
from pipeline.runner.shuffle.scatter import IDS_AT_ONCE
from pipeline.runner.shuffle.shuffle import Ordering, write_order
from pipeline.runner.shuffle.tasks import Common, PoolFolder, TableTask
from pipeline.stages.tokenizer import Tokenizer
from pipeline.version import VERSION


def order_pool(
    state: State,
    engine: Cluster,
    pool: Path,
    declared: Replay,
    tokenizer: Tokenizer,
    identity: str,
    origin: str,
    memory_bytes: int,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the rows of a pool in order; return the manifest's part on it, and the files.

    `identity`: fingerprint of the pool and the declaration. `origin`: that of what the output is
    for, by which its folder is known again. A pool of more than `memory_bytes` is
    laid out by position first.
    """
    opened = Pool.open(pool)
    common = _common(state, pool, opened, declared, tokenizer, identity)
    folders, tables = _split(common, opened)
    num_bytes = sum(shard.path.stat().st_size for shard in opened.shards)
    ordering = Ordering(
        common=common,
        spec=declared.order,
        phase=declared.phase,
        folders=folders,
        tables=tables,
        scatters=num_bytes > memory_bytes,
        origin=origin,
    )
    return write_order(ordering, engine)


def _common(
    state: State,
    pool: Path,
    opened: Pool,
    declared: Replay,
    tokenizer: Tokenizer,
    identity: str,
) -> Common:
    spec = declared.order
    num_samples = int(opened.num_rows.sum())
    return Common(
        out=state.out,
        pool=pool,
        run=uuid.uuid4().hex,
        key=fingerprint([VERSION, tokenizer.digest, identity]),
        stamp=_stamp(opened),
        order=PermutationKey(
            algorithm=spec.algorithm, num_samples=num_samples, seed=spec.seed, epoch=spec.epoch
        ),
        batch_size=spec.global_batch_size,
        num_rows=num_samples // spec.global_batch_size * spec.global_batch_size,
        view=spec.view,
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        max_seq_len=spec.max_seq_len,
        format=spec.format,
        dtype=declared.shards.dtype,
        size_limit=declared.shards.size_limit,
    )


def _stamp(pool: Pool) -> str:
    stats = [shard.path.stat() for shard in pool.shards]
    return fingerprint([[one.st_size, one.st_mtime_ns] for one in stats])


def _split(common: Common, pool: Pool) -> tuple[list[PoolFolder], list[TableTask]]:
    """Split a pool into folders, each what one file was made into, and these if they are large."""
    parents = [shard.path.parent.relative_to(common.pool).as_posix() for shard in pool.shards]
    # A flat pool is one folder of its own name.
    names = [common.pool.name if name == "." else name for name in parents]
    sizes = [shard.path.stat().st_size // shard.columns.item_bytes for shard in pool.shards]
    ends = np.concatenate([[0], pool.ends]).tolist()
    folders: list[PoolFolder] = []
    tasks: list[TableTask] = []
    for name, group in groupby(range(len(names)), key=names.__getitem__):
        shards = list(group)
        around = ends[shards[0]], ends[shards[-1] + 1]
        for first, stop in _parts(shards, sizes):
            table = f"pool/{first:08d}"
            task = TableTask(
                common=common,
                table=table,
                folder=len(folders),
                shards=(first, stop),
                rows=(ends[first], ends[stop]),
                around=around,
            )
            tasks.append(task)
            folders.append(PoolFolder(table=table, source=name.partition("/")[0], file=name))
    return folders, tasks


def _parts(shards: list[int], sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Split consecutive shards into runs of as many ids as are laid out at a time."""
    first, total = shards[0], 0
    for shard in shards:
        if shard > first and total + sizes[shard] > IDS_AT_ONCE:
            yield first, shard
            first, total = shard, 0
        total += sizes[shard]
    yield first, shards[-1] + 1
