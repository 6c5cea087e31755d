"""Order: the drawn shards of a build -> its ordered rows."""

from typing import Any

from pipeline.core.digest import fingerprint
from pipeline.dataset import TRAIN
from pipeline.order import PermutationKey
from pipeline.runner.context import Site
from pipeline.runner.shuffle.shuffle import Ordering, write_order
from pipeline.runner.shuffle.tasks import Common, PoolFolder
from pipeline.runner.task_cache import TaskRecord
from pipeline.version import VERSION


def order_samples(
    site: Site, records: dict[str, list[TaskRecord]], pool_digest: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Order all samples and write them; return the manifest's part on it, and the files."""
    mixture, spec = site.mixture, site.mixture.order
    made = [(source, record) for source, part in sorted(records.items()) for record in part]
    num_samples = sum(record["chunks"]["drawn"] for _, record in made)
    batch_size = spec.global_batch_size
    if mixture.scale < 1:
        # Of a miniature something is left, too: fewer rows than a step has are one step.
        batch_size = min(batch_size, max(num_samples, 1))
    key = {
        "version": VERSION,
        "pool": pool_digest,
        "tokenizer": site.tokenizer.digest,
        "phase": mixture.phase,
        "order": mixture.declaration()["order"],
    }
    common = Common(
        out=site.state.out,
        pool=site.state.out / TRAIN,
        run=site.run,
        key=fingerprint(key),
        stamp="",  # The key has the digest of every shard.
        order=PermutationKey(
            algorithm=spec.algorithm, num_samples=num_samples, seed=spec.seed, epoch=spec.epoch
        ),
        batch_size=batch_size,
        num_rows=num_samples // batch_size * batch_size,
        view=spec.view,
        cls_id=site.tokenizer.cls_id,
        sep_id=site.tokenizer.sep_id,
        max_seq_len=spec.max_seq_len,
        format=spec.format,
        dtype=mixture.shards.dtype,
        size_limit=mixture.shards.size_limit,
    )
    folders = [
        PoolFolder(table=record["folder"], source=source, file=record["input"]["path"])
        for source, record in made
    ]
    num_bytes = sum(about["bytes"] for _, record in made for about in record["files"].values())
    ordering = Ordering(
        common=common,
        spec=spec,
        phase=mixture.phase,
        folders=folders,
        tables=None,
        scatters=num_bytes > site.memory_bytes,
        origin=mixture.fingerprint,
    )
    return write_order(ordering, site.engine)
