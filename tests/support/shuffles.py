"""A shuffle of a small pool in this process, which may be stopped before any task."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support import builds
from support.mds import write
from support.strategies import Row

from pipeline.config.declaration import OrderSpec, ShardSpec
from pipeline.dataset.mds.pool import Pool
from pipeline.runner.cluster import Cluster, Tasks
from pipeline.runner.shuffle import Limits, PoolFolder, ShuffleJob, TableTask, shuffle_pool

CLS, SEP = 7, 8
ONE_PASS = Limits(run_bytes=200, window_bytes=100, row_bytes=0)
TWO_PASSES = Limits(run_bytes=200, window_bytes=100, row_bytes=0, one_level_tasks=1)


class Here(Cluster):
    """Runs tasks in this process, and may break off before one of them."""

    def __init__(
        self, breaks_before: int = -1, before: Callable[[str], None] = lambda stage: None
    ) -> None:
        self._left, self._before = breaks_before, before

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        """Run a function on every task."""
        self._before(stage)
        for task in tasks:
            if self._left == 0:
                raise KeyboardInterrupt
            self._left -= 1
            yield function(task)


def shuffled(
    pool: Path, out: Path, spec: OrderSpec, limits: Limits | None = None
) -> dict[str, Any]:
    """Return the arguments that shuffle a pool of one folder, on disk where there are limits."""
    num_samples = int(Pool.open(pool).num_rows.sum())
    job = ShuffleJob(
        out=out,
        pool=pool,
        run=str(out),
        key="key",
        stamp="",
        num_samples=num_samples,
        id_bytes=4,
        spec=spec,
        shards=ShardSpec(dtype="uint32", size_limit=1 << 16),
        cls_id=CLS,
        sep_id=SEP,
        hashes_all=False,
        limits=limits or Limits(),
    )
    ends, shards = [0, *Pool.open(pool).ends.tolist()], Pool.open(pool).shards
    # Every shard by itself where they are laid out, so that documents go on from one to the next.
    parts = list(pairwise(range(len(ends)))) if limits else [(0, len(ends) - 1)]
    tables = [
        TableTask(
            job=job,
            table=str(number),
            first_file=number,
            shards=part,
            rows=(ends[part[0]], ends[part[1]]),
            around=(0, num_samples),
        )
        for number, part in enumerate(parts)
    ]
    return {
        "job": job,
        "phase": "p",
        "folders": [
            PoolFolder(
                table=one.table,
                source="s",
                files=("f",),
                num_rows=one.rows[1] - one.rows[0],
                num_bytes=sum(shard.num_bytes for shard in shards[slice(*one.shards)]),
            )
            for one in tables
        ],
        "tables": tables,
        "scatters": limits is not None,
        "allows_cut": True,
        "owner": "o",
    }


def product(out: Path) -> dict[str, str]:
    """Return the digests of what is not state."""
    return {path: digest for path, digest in builds.digests(out).items() if path[0] != "."}


def stopped(folder: Path, limits: Limits, before: str | int) -> tuple[dict[str, Any], object]:
    """Stop a shuffle to `out` before a stage or so many tasks; return its arguments, and what it
    returns when it is not stopped, in memory, to `plain`."""

    def look(stage: str) -> None:
        if stage == before:
            raise KeyboardInterrupt

    written = [Row(f"d{number}", [CLS, *range(20, 20 + number % 20), SEP]) for number in range(40)]
    write(folder / "pool", written, size_limit=300)
    spec = OrderSpec(
        algorithm="ettin-pcg64dxsm-v1", global_batch_size=4, max_seq_len=80, seed=1, epoch=0,
        window_tokens=400,
    )  # fmt: skip
    plain = shuffle_pool(**shuffled(folder / "pool", folder / "plain", spec), cluster=Here())
    asked = shuffled(folder / "pool", folder / "out", spec, limits)
    with pytest.raises(KeyboardInterrupt):
        shuffle_pool(**asked, cluster=Here(before if isinstance(before, int) else -1, look))
    return asked, plain
