"""Estimate of memory: the most that the driver and each worker of a build hold at a time.

Constants are peaks measured by `tests.benchmarks.memory`; the rest grows with what it is named for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.config import Mixture
from pipeline.dataset import DIGEST_BYTES, ROWS_PER_NODE
from pipeline.runner.estimate_order import SHUFFLED_IN_MEMORY, OrderVolume, order_volume
from pipeline.runner.number_buckets import LARGEST
from pipeline.runner.shuffle import Layout, Limits
from pipeline.runner.source_volume import SourceVolume
from pipeline.stages.dedup import bucket_bytes

_MIB = 1 << 20
# Imports, compiled code and the tables of the tokenizer; the driver has a scheduler besides.
_WORKER_BYTES, _DRIVER_BYTES = 250 * _MIB, 310 * _MIB
# What filters of datatrove import and load.
_FILTER_BYTES = 130 * _MIB
# A block of documents in all its forms, and one shard.
_BLOCK_BYTES, _USUAL_SHARD = 180 * _MIB, 64 * _MIB
# Forms of the largest document that are held at once: text, ids, chunks, rows.
_COPIES_OF_DOCUMENT = 8
# Rows of a file of the order, some millions of ids at a time; as stored, what `ShardFiles` reads.
_ROWS_BYTES, _MOST_STORED_BYTES, _STORED_ROWS = 200 * _MIB, 64 * _MIB, 4096
_IDS_AT_ONCE = 4 << 20
# Of a row of provenance while it is sorted by document; 2^20 of them at a time.
_SORTED_ROW_BYTES, _SORTED_ROWS = 300, 1 << 20
# Of a sample while the published permutation is made; of the number of a text while two sources
# are compared, which is more than for the hash of an id.
_PERMUTED_BYTES, _NUMBER_BYTES = 12, 56
# Of rows that are laid out, a cell is a copy; of the pool, two shards are mapped or hashed.
_COPIES_OF_RUN, _SHARDS_BYTES = 1.1, 128 * _MIB
# A partition's records and tasks as Python has them; a step's digest and tokens.
_PARTITION_BYTES, _FILE_BYTES, _STEP_BYTES = 12_000, 600, 300


@dataclass(frozen=True, kw_only=True, slots=True)
class MemoryEstimate:
    """Bytes that processes hold at most."""

    driver_bytes: int
    worker_bytes: int
    """Each of them."""


def estimate_memory(
    mixture: Mixture, volumes: Sequence[SourceVolume], memory_bytes: int
) -> MemoryEstimate:
    """Add up what is held at a time; the driver holds nothing for each row or document.

    memory_bytes: of the build, of which dedup takes a quarter, at most 1 GiB.
    """
    rows = order_volume(mixture, volumes, memory_bytes)
    return MemoryEstimate(
        driver_bytes=round(
            _DRIVER_BYTES
            + _of_partitions(volumes, rows)
            + max(_of_order(mixture, rows), _of_dedup(mixture, volumes, memory_bytes))
        ),
        worker_bytes=round(
            _WORKER_BYTES
            + max(
                _of_documents(mixture, volumes),
                _of_ids(volumes),
                _of_laying_out(rows),
                _of_rows(rows),
                _of_sorting(rows),
            )
        ),
    )


def _of_partitions(volumes: Sequence[SourceVolume], rows: OrderVolume) -> float:
    """Records of all tasks, which the manifest is made of."""
    partitions = sum(one.num_partitions for one in volumes)
    files = sum(one.num_files or 0 for one in volumes)
    nodes = rows.num_rows / ROWS_PER_NODE * DIGEST_BYTES * 4
    return (
        partitions * _PARTITION_BYTES + files * _FILE_BYTES + rows.num_steps * _STEP_BYTES + nodes
    )


def _of_order(mixture: Mixture, rows: OrderVolume) -> float:
    """The published permutation is made in memory, or of blocks of it."""
    is_made = mixture.order.algorithm != "feistel-v1"
    return is_made * _PERMUTED_BYTES * min(rows.num_samples, SHUFFLED_IN_MEMORY)


def _of_dedup(mixture: Mixture, volumes: Sequence[SourceVolume], memory_bytes: int) -> float:
    """One bucket of keys; what is mapped for each document, 13 bytes, the kernel takes back."""
    if mixture.dedup is None:
        return 0
    return min(bucket_bytes(memory_bytes), sum(one.num_kept for one in volumes) * 24 * 5)


def _of_documents(mixture: Mixture, volumes: Sequence[SourceVolume]) -> float:
    """Documents of a file on their way to shards."""
    largest = max((one.sample.largest_bytes for one in volumes), default=0)
    shard = max(mixture.shards.size_limit - _USUAL_SHARD, 0)
    names = {filter_.name for one in volumes for filter_ in one.planned.source.filters}
    filters = _FILTER_BYTES if names - {"length", "regex", "python"} else 0
    return _BLOCK_BYTES + filters + 2 * shard + _COPIES_OF_DOCUMENT * largest


def _of_ids(volumes: Sequence[SourceVolume]) -> float:
    """One range of hashes of a source's ids, or of numbers of its texts."""
    return _NUMBER_BYTES * min(max((one.num_kept for one in volumes), default=0), LARGEST)


def _of_laying_out(rows: OrderVolume) -> float:
    """Rows of one task of the scatter, or of the sort."""
    if rows.layout is None:
        return 0
    return _SHARDS_BYTES + _COPIES_OF_RUN * _held(rows.layout, Limits().run_bytes)


def _of_rows(rows: OrderVolume) -> float:
    """Rows of a file of the order, read from the pool or gathered a window at a time."""
    ids = rows.num_tokens / max(len(rows.steps_by_file), 1)
    if rows.layout is None:
        part = rows.pool_bytes * _STORED_ROWS / max(rows.num_samples, _STORED_ROWS)
        stored = min(part, _MOST_STORED_BYTES)
    else:
        stored = _held(rows.layout, Limits().window_bytes)
    return stored + _ROWS_BYTES * min(ids / _IDS_AT_ONCE, 1)


def _held(layout: Layout, most: int) -> int:
    """Return what a task holds of rows that it takes by their bytes."""
    return min(Limits().held_bytes(layout.num_bytes, layout.num_rows), most)


def _of_sorting(rows: OrderVolume) -> float:
    return min(rows.num_rows, _SORTED_ROWS) * (_SORTED_ROW_BYTES + 3 * rows.name_bytes)
