"""Pool record: what an order without rows of its own leaves, so that they are found in the pool.

A permutation that is not computed is a file of the output. Of a foreign pool the manifest has no
more than digest and size, since it may lie elsewhere on each machine; a file beside it says where.
"""

import os
import shutil

from pipeline.core.digest import FileDigest, sha256_file
from pipeline.core.files import publish
from pipeline.core.mirrored import total_bytes
from pipeline.dataset import ORDER, POOL_PLACE, PoolRecord
from pipeline.dataset.mds import INDEX_NAME, Pool
from pipeline.order import permutation_file
from pipeline.runner.shuffle.jobs import ShuffleJob


def publish_permutation(job: ShuffleJob) -> dict[str, FileDigest]:
    """Publish the file that the permutation is loaded from, if there is one; return it."""
    name = permutation_file(job.permutation_key)
    if name is None:
        return {}
    path = job.out / ORDER / name
    with publish(path, job.state.scratch) as temporary:
        shutil.copyfile(job.state.orders / name, temporary)
    return {f"{ORDER}/{name}": FileDigest.of(path)}


def describe_pool(job: ShuffleJob) -> PoolRecord:
    """Return the pool as the manifest stores it; publish where it lies, unless in the output."""
    is_own = job.pool.is_relative_to(job.out)
    if not is_own:
        with publish(job.out / POOL_PLACE, job.state.scratch) as temporary:
            temporary.write_bytes(os.fsencode(job.pool) + b"\n")
    shards = Pool.open(job.pool).shards
    return PoolRecord(
        folder=job.pool.relative_to(job.out).as_posix() if is_own else None,
        index_sha256=sha256_file(job.pool / INDEX_NAME),
        num_bytes=total_bytes(job.pool, (shard.path for shard in shards)),
    )
