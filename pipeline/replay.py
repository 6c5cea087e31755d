"""Replay: any MDS pool with an index -> its rows in order, as a trainer that reads it sees them.

The pool is read and never written to. What comes out is an output like that of a build, without
shards of its own.
"""

import uuid
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np

from pipeline.claim import claim, finish, unpack_manifest
from pipeline.digest import fingerprint, sha256_file
from pipeline.engine import Report, open_engine
from pipeline.errors import InputError
from pipeline.layout import State
from pipeline.manifest import FORMAT, Manifest
from pipeline.mixture import Replay
from pipeline.ordering.scatter import IDS_AT_ONCE
from pipeline.ordering.stage import Ordering, default_memory_bytes, write_order
from pipeline.ordering.values import Common, PoolFolder, TableTask
from pipeline.orders import OrderKey
from pipeline.shards.mds import INDEX_NAME
from pipeline.shards.pool import Pool
from pipeline.tokenizer import Tokenizer, load
from pipeline.version import VERSION


def replay(
    pool: Path,
    out: Path,
    declared: Replay,
    *,
    workers: int,
    scheduler: str | None,
    report: Report,
    memory_bytes: int | None = None,
) -> Manifest:
    """Write the rows of a pool in order into a folder; return its manifest, also written there.

    `memory_bytes`: as for `build`.

    Raises: PipelineError of the kind that says what to do next; then nothing half-written is left,
    and another run goes on from what is done.
    """
    pool = pool.resolve()
    if out.resolve().is_relative_to(pool):
        raise InputError(f"--out {out}: lies in the pool {pool}, which is never written to")
    if pool.is_relative_to(out.resolve()):
        raise InputError(f"{pool}: lies in --out {out}, where only what is made stays")
    opened = Pool.open(pool)
    declaration = {**declared.declaration(), "pool": sha256_file(pool / INDEX_NAME)}
    tokenizer = load(
        declared.tokenizer.name,
        add_prefix_space=declared.tokenizer.add_prefix_space,
        revision=declared.tokenizer.revision,
        folder=Path.cwd(),
    )
    identity = fingerprint(declaration)
    with claim(out.absolute(), identity) as state:
        with open_engine(workers, scheduler, report) as engine:
            unpack_manifest(state)
            common = _common(state, pool, opened, declared, tokenizer, identity)
            num_bytes = sum(shard.path.stat().st_size for shard in opened.shards)
            memory = default_memory_bytes() if memory_bytes is None else memory_bytes
            folders, tables = _split(common, opened)
            ordering = Ordering(
                common=common,
                spec=declared.order,
                phase=declared.phase,
                folders=folders,
                tables=tables,
                scatters=num_bytes > memory,
                origin=identity,
            )
            order, files = write_order(ordering, engine)
        manifest = {
            "format": FORMAT,
            "code": f"ettin-data {VERSION}",
            "mixture": {
                "name": pool.name,
                "fingerprint": identity,
                "declaration": declaration,
                "overrides": list(declared.overrides),
            },
            "tokenizer": tokenizer.describe(),
            "sources": {},
            "order": order,
            "files": files,
        }
        return finish(state, manifest)


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
        order=OrderKey(
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
