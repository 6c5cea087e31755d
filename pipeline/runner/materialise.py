"""Materialise: an output whose rows lie in its pool alone -> the same output with rows in order.

Until the last of them is written and compared with the ledger, the manifest stays that of before,
so the order can be read meanwhile. A run that was stopped goes on.
"""

import uuid
from dataclasses import replace
from pathlib import Path
from typing import Unpack

import numpy as np

from pipeline.config import OrderSpec, ShardSpec
from pipeline.core.errors import InputError, MismatchError
from pipeline.core.json_record import Absent
from pipeline.dataset import (
    MANIFEST,
    Manifest,
    State,
    open_order_pool,
    read_manifest,
    without_rows,
)
from pipeline.dataset.mds import INDEX_NAME, MdsRows
from pipeline.runner.build_options import ClusterOptions
from pipeline.runner.open_cluster import open_cluster
from pipeline.runner.order_rows import split_pool
from pipeline.runner.output_lock import finish, lock_output
from pipeline.runner.shuffle import ShuffleJob, save_stamps, write_rows


def materialise(out: Path, **options: Unpack[ClusterOptions]) -> Manifest:
    """Write the rows of an output that has none; return its manifest, that of a build that did.

    Raises: InputError for an output that has rows, or whose pool is gone; MismatchError when the
    pool is another.
    """
    out = out.absolute()
    manifest = read_manifest(out / MANIFEST)
    fingerprint = manifest.mixture.fingerprint
    if isinstance(manifest.order.pool, Absent):
        if not State(out=out).root.exists():
            raise InputError(
                f"{out}: got an order whose rows are written, expected one without rows"
            )
        # A run that was stopped when it had written all.
        with lock_output(out, fingerprint) as state:
            return finish(state, manifest)
    rows = open_order_pool(out, manifest)
    num_bytes, memory_bytes = manifest.order.pool.num_bytes, options.get("memory_bytes")
    with lock_output(out, fingerprint, adds_to_finished=True) as state:
        cluster_of = open_cluster(
            options["workers"],
            options["scheduler"],
            options["report"],
            options.get("tls"),
            num_bytes,
            folders=[state.root],
            files=[Path(rows.where) / INDEX_NAME],
            retried=options.get("retried"),
        )
        job = _job(state, manifest, rows, hashes_all=options.get("hashes_all", False))
        folders, tables = split_pool(job, rows.pool)
        with cluster_of as cluster:
            if memory_bytes is None:
                memory_bytes = cluster.memory_bytes()
            made = write_rows(
                job,
                cluster,
                phase=manifest.mixture.declaration["phase"],
                folders=folders,
                tables=tables,
                scatters=num_bytes > memory_bytes,
                allows_cut=True,
            )
        if made.ledger.describe() != manifest.order.ledger:
            raise MismatchError(
                f"{job.pool}: got other rows than those of the ledger: the pool was changed after"
                " the order was made",
                "get the pool again, and run the same command again",
            )
        kept = without_rows(manifest)
        return finish(state, replace(kept, files={**kept.files, **made.files}))


def _job(state: State, manifest: Manifest, rows: MdsRows, *, hashes_all: bool) -> ShuffleJob:
    """Return what writes the rows of an order, and not again where they come from."""
    declared, order = manifest.mixture.declaration, manifest.order
    of_order = {**declared["order"], "global_batch_size": manifest.num_rows_per_step}
    for name in ("partitions", "listing"):
        # The index of the pool has that order.
        of_order.pop(name, None)
    return ShuffleJob(
        out=state.out,
        pool=Path(rows.where),
        run=uuid.uuid4().hex,
        key=order.key,
        stamp=save_stamps(state, rows.pool),
        num_samples=order.num_samples,
        id_bytes=np.dtype(rows.pool.narrowest).itemsize,
        spec=OrderSpec(**of_order),
        shards=ShardSpec(**declared["shards"]),
        cls_id=manifest.tokenizer.cls_id,
        sep_id=manifest.tokenizer.sep_id,
        hashes_all=hashes_all,
        writes_provenance=False,
    )
