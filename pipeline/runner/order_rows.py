"""Order rows: the sampled shards of a build, or any pool, -> ordered rows.

A build's partitions have tables of their rows; those of a foreign pool are made here.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from pathlib import Path
from types import MappingProxyType

import numpy as np

from pipeline.config import Replay
from pipeline.core.digest import FileDigest, fingerprint
from pipeline.core.ragged import offsets_of
from pipeline.dataset import TRAIN, OrderRecord, State
from pipeline.dataset.mds import Pool
from pipeline.runner.cluster import Cluster
from pipeline.runner.inputs import BuildContext
from pipeline.runner.shuffle import (
    PoolFolder,
    ShuffleJob,
    TableTask,
    save_stamps,
    shuffle_pool,
)
from pipeline.runner.task_cache import PartitionOutput
from pipeline.stages.tokenizer import Tokenizer
from pipeline.version import VERSION

FilesByFolder = Mapping[str, Sequence[tuple[str, int]]]
"""The input files that a folder of a pool was made from, in order, and the rows of each."""


def order_samples(
    context: BuildContext,
    samples: Mapping[str, Sequence[PartitionOutput]],
    partitions: Sequence[str],
    pool_digest: str,
) -> tuple[OrderRecord, dict[str, FileDigest]]:
    """Order all samples of a build and write them; return the manifest's `order`, and the files.

    partitions: `source/folder` of each, in the order of the pool.
    """
    mixture, tokenizer = context.mixture, context.tokenizer
    made = {record.folder: (source, record) for source, part in samples.items() for record in part}
    records = [made[f"{TRAIN}/{partition}"] for partition in partitions]
    num_samples = sum(record.chunks.drawn for _, record in records)
    spec = mixture.order
    if mixture.scale < 1:
        # A miniature keeps something, too: fewer rows than a step has are one step.
        batch_size = min(spec.global_batch_size, max(num_samples, 1))
        spec = replace(spec, global_batch_size=batch_size)
    # Their folders are not named after their files, and do not say which row is of which.
    grouped = {one.name for one in mixture.sources if one.origin.groups_files}
    files = {
        record.folder: [[one.path, one.num_chunks] for one in record.inputs]
        for source, record in records
        if source in grouped
    }
    key = {
        **({"files": files} if files else {}),
        "version": VERSION,
        "pool": pool_digest,
        "tokenizer": tokenizer.digest,
        "phase": mixture.phase,
        "order": mixture.declaration()["order"],
    }
    job = ShuffleJob(
        out=context.state.out,
        pool=context.state.out / TRAIN,
        run=context.run,
        key=fingerprint(key),
        stamp="",  # The key has the digest of every shard.
        num_samples=num_samples,
        id_bytes=2 if mixture.shards.dtype == "uint16" else 4,
        spec=spec,
        shards=mixture.shards,
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        hashes_all=context.hashes_all,
    )
    folders = [
        PoolFolder(
            table=record.folder,
            source=source,
            files=tuple(one.path for one in record.inputs),
            num_rows=record.chunks.drawn,
            num_bytes=sum(file.num_bytes for file in record.files.values()),
        )
        for source, record in records
    ]
    return shuffle_pool(
        job,
        context.cluster,
        phase=mixture.phase,
        folders=folders,
        tables=None,
        scatters=sum(one.num_bytes for one in folders) > context.memory_bytes,
        owner=mixture.fingerprint,
        # The published algorithms lose what they lost when they were published.
        allows_cut=spec.allow_cut or mixture.chunk.algorithm != "whole-v1",
    )


def order_pool(
    state: State,
    cluster: Cluster,
    folder: Path,
    declared: Replay,
    tokenizer: Tokenizer,
    *,
    identity: str,
    owner: str,
    memory_bytes: int,
    hashes_all: bool,
    files_by_folder: FilesByFolder = MappingProxyType({}),
) -> tuple[OrderRecord, dict[str, FileDigest]]:
    """Write the rows of a pool in order; return the manifest's `order`, and the files.

    identity: fingerprint of the pool and the declaration; owner: that of what the output is for;
    files_by_folder: what provenance names in place of a folder.
    """
    pool = Pool.open(folder)
    job = ShuffleJob(
        out=state.out,
        pool=folder,
        run=uuid.uuid4().hex,
        key=fingerprint([VERSION, tokenizer.digest, identity]),
        stamp=save_stamps(state, pool),
        num_samples=pool.num_samples,
        id_bytes=np.dtype(pool.narrowest).itemsize,
        spec=declared.order,
        shards=declared.shards,
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
        hashes_all=hashes_all,
    )
    folders, tables = split_pool(job, pool, files_by_folder)
    return shuffle_pool(
        job,
        cluster,
        phase=declared.phase,
        folders=folders,
        tables=tables,
        scatters=sum(shard.num_bytes for shard in pool.shards) > memory_bytes,
        owner=owner,
        allows_cut=True,
    )


def split_pool(
    job: ShuffleJob, pool: Pool, files_by_folder: FilesByFolder = MappingProxyType({})
) -> tuple[list[PoolFolder], list[TableTask]]:
    """Split a pool into what each file was made into, and these further where they are large."""
    parents = [shard.path.parent.relative_to(job.pool).as_posix() for shard in pool.shards]
    # A flat pool is one folder of its own name.
    names = [job.pool.name if name == "." else name for name in parents]
    sizes = [shard.num_bytes * job.id_bytes // shard.columns.item_bytes for shard in pool.shards]
    held = [*map(job.limits.held_bytes, sizes, pool.num_rows.tolist())]
    bounds = offsets_of(pool.num_rows).tolist()
    folders: list[PoolFolder] = []
    tasks: list[TableTask] = []
    num_files = 0
    for name, group in groupby(range(len(names)), key=names.__getitem__):
        shards = list(group)
        files, counts = zip(*files_by_folder.get(name, [(name, 0)]), strict=True)
        for first, stop in _runs(shards, held, job.limits.run_bytes):
            task = TableTask(
                job=job,
                table=f"pool/{first:08d}",
                first_file=num_files,
                shards=(first, stop),
                rows=(bounds[first], bounds[stop]),
                around=(bounds[shards[0]], bounds[shards[-1] + 1]),
                file_ends=tuple(accumulate(counts)) if len(files) > 1 else (),
            )
            tasks.append(task)
            source = name.partition("/")[0]
            folder = PoolFolder(
                table=task.table,
                source=source,
                files=files,
                num_rows=bounds[stop] - bounds[first],
                num_bytes=sum(sizes[first:stop]),
            )
            folders.append(folder)
            num_files += len(files)
    return folders, tasks


def _runs(shards: Sequence[int], sizes: Sequence[int], most: int) -> Iterator[tuple[int, int]]:
    """Split consecutive shards into runs of at most so many bytes, or of one shard. Pure."""
    first, total = shards[0], 0
    for shard in shards:
        if shard > first and total + sizes[shard] > most:
            yield first, shard
            first, total = shard, 0
        total += sizes[shard]
    yield first, shards[-1] + 1
