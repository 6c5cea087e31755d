"""Estimate of the disk: what each stage of a build leaves there, until when, and the peak of it.

Each function stands for one stage and returns the terms of what it writes. Fixed sizes are those of
the formats; what depends on text was measured (`measure_output`).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log10

from pipeline.config import Mixture
from pipeline.dataset import ROWS_PER_NODE, chunk_folder
from pipeline.runner.estimate_order import (
    ARRAY_BYTES,
    NODE_BYTES,
    OrderVolume,
    Stage,
    Term,
    heads_bytes,
    order_terms,
    order_volume,
    shard_row_bytes,
)
from pipeline.runner.measure_output import OutputCosts
from pipeline.runner.number_buckets import LARGEST
from pipeline.runner.source_volume import SourceVolume


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskEstimate:
    """What lies in the output folder; pulled files are beside it."""

    peak_bytes: int
    peak_files: int
    output_bytes: int
    output_files: int
    bytes_by_kind: Mapping[str, int]
    """Of all terms, whether or not they are there at the peak."""


# What a shard begins with.
_SHARD_BYTES = 228
# What an index says of a shard, less its name and dtype; statistics.
_INDEX_ENTRY_BYTES = 302
_STATS_BYTES = 275
# A partition's record, less its paths and files; each file there, less its path.
_RECORD_BYTES = 760
_FILE_BYTES = 156
_MANIFEST_BYTES = 4400
_SCAN_BYTES, _SCAN_FILE_BYTES, _BAND_BYTES = 20, 1800, 8
_DROP_BYTES = 6
# Rows and partitions whose ids are hashed at a time.
_GROUP_ROWS, _GROUP_SIZE = 1 << 22, 256


def estimate_disk(
    mixture: Mixture, volumes: Sequence[SourceVolume], costs: OutputCosts, memory_bytes: int
) -> DiskEstimate:
    """Add up what stages leave. memory_bytes: of the build; a larger pool is scattered. Pure."""
    terms = [
        term for stage in (_scan, _chunk, _sample, _tables) for one in volumes
        for term in stage(mixture, one, costs)
    ]  # fmt: skip
    terms += _compare(mixture, volumes)
    rows = order_volume(mixture, volumes, memory_bytes)
    terms += order_terms(mixture, rows, costs)
    if mixture.validation is not None:
        terms += _holdout(mixture, volumes, costs, memory_bytes)
    terms += _finish(volumes, terms, rows)
    at = {
        stage: [
            term for term in terms
            if term.written <= stage and (term.until is None or stage <= term.until)
        ]
        for stage in Stage
    }  # fmt: skip
    kept = [term for term in terms if term.until is None]
    by_kind: defaultdict[str, float] = defaultdict(float)
    for term in terms:
        by_kind[term.what] += term.num_bytes
    return DiskEstimate(
        peak_bytes=round(max(sum(term.num_bytes for term in there) for there in at.values())),
        peak_files=round(max(sum(term.num_files for term in there) for there in at.values())),
        output_bytes=round(sum(term.num_bytes for term in kept)),
        output_files=round(sum(term.num_files for term in kept)),
        bytes_by_kind={what: round(size) for what, size in by_kind.items()},
    )


def _scan(mixture: Mixture, one: SourceVolume, costs: OutputCosts) -> Iterator[Term]:
    """A table of the documents of each file, what filters drop, and what is to be dropped."""
    if mixture.dedup is None and mixture.decontaminate is None:
        return
    files, minhash = one.num_files or 1, mixture.dedup.minhash if mixture.dedup else None
    bands = 0 if minhash is None else minhash.num_bands
    table = float(files * (_SCAN_FILE_BYTES + 120 * bands))
    table += one.num_kept * (_SCAN_BYTES + _BAND_BYTES * bands)
    num_dropped = max(one.num_documents - one.num_kept, 0)
    lists = 2 * files * ARRAY_BYTES + 2 * num_dropped * _DROP_BYTES
    yield Term(what="scans", num_bytes=table + lists, num_files=3 * files, written=Stage.SCAN)
    yield _records("scans", files, 0, 0, Stage.SCAN)
    # Of all documents 13 bytes, and of one key at a time 24 more.
    yield Term(
        what="comparison of documents", num_bytes=37 * one.num_kept, num_files=4,
        written=Stage.SCAN, until=Stage.SCAN,
    )  # fmt: skip


def _chunk(mixture: Mixture, one: SourceVolume, costs: OutputCosts) -> Iterator[Term]:
    """Shards of all chunks: the product, or in the state of a source until it is sampled."""
    is_sampled, ways = one.planned.is_sampled, 1 if mixture.validation_chunk is None else 2
    num_bytes, num_files = _shards(mixture, one, one.num_chunks, one.num_partitions)
    yield Term(
        what="chunks" if is_sampled else "shards",
        num_bytes=ways * num_bytes if is_sampled else num_bytes,
        num_files=ways * num_files if is_sampled else num_files,
        written=Stage.CHUNK,
        until=Stage.SAMPLE if is_sampled else None,
    )
    yield _records(
        "partitions", one.num_partitions, num_files, _name_bytes(mixture, one), Stage.CHUNK
    )
    if mixture.validation is not None and mixture.validation.algorithm == "validation-v1":
        yield _arrays(
            "digests of texts", one.num_partitions, one.num_kept * 16, Stage.CHUNK, Stage.SAMPLE
        )
    dropped = one.part * one.sample.dropped_bytes * float(mixture.keep_dropped or 0)
    if mixture.keep_dropped:
        # zstd takes text to about a third.
        yield Term(
            what="dropped documents", num_bytes=dropped / 3, num_files=one.num_partitions,
            written=Stage.CHUNK, until=None,
        )  # fmt: skip


def _compare(mixture: Mixture, volumes: Sequence[SourceVolume]) -> Iterator[Term]:
    """A hash of the id of each document, by ranges, until those that recur are found."""
    if mixture.chunk.algorithm == "ettin-line-v1":
        return
    for one in volumes:
        groups = max(ceil(one.num_chunks / _GROUP_ROWS), ceil(one.num_partitions / _GROUP_SIZE))
        buckets = ceil(one.num_chunks / LARGEST)
        yield Term(
            what="hashes of ids",
            num_bytes=8 * one.num_kept + heads_bytes(groups, buckets, 1),
            num_files=groups,
            written=Stage.COMPARE,
            until=Stage.COMPARE,
        )


def _sample(mixture: Mixture, one: SourceVolume, costs: OutputCosts) -> Iterator[Term]:
    """Shards of the sampled chunks and of the holdout, and which chunks these are."""
    if not one.planned.is_sampled:
        return
    num_bytes, num_files = _shards(mixture, one, one.drawn_chunks, one.num_partitions)
    yield Term(
        what="shards", num_bytes=num_bytes, num_files=num_files, written=Stage.SAMPLE, until=None
    )
    # Of the published rule, whole partitions are held out and one in part.
    held = one.num_partitions
    if mixture.validation is not None and mixture.validation.algorithm != "validation-v1":
        held = min(held, ceil(one.held_part * held))
    if one.held_chunks:
        num_bytes, num_held = _shards(mixture, one, one.held_chunks, held)
        yield Term(
            what="holdout",
            num_bytes=num_bytes,
            num_files=num_held,
            written=Stage.SAMPLE,
            until=None,
        )
        num_files += num_held
    yield Term(
        what="which chunks are sampled",
        num_bytes=costs.drawn.of(one.num_partitions, one.drawn_chunks),
        num_files=one.num_partitions,
        written=Stage.SAMPLE,
        until=None,
    )
    yield _records(
        "samples", one.num_partitions, num_files, _name_bytes(mixture, one), Stage.SAMPLE
    )


def _tables(mixture: Mixture, one: SourceVolume, costs: OutputCosts) -> Iterator[Term]:
    """A table of the rows of each folder of shards: of all chunks, and of those sampled."""
    ways = 1 if mixture.validation_chunk is None else 2
    until = Stage.SAMPLE if one.planned.is_sampled else Stage.FINISH
    num_bytes = ways * one.num_chunks * _ROW_BYTES
    yield _arrays("tables", ways * one.num_partitions, num_bytes, Stage.CHUNK, until)
    if one.planned.is_sampled:
        yield _arrays("tables", one.num_partitions, one.drawn_chunks * _ROW_BYTES, Stage.SAMPLE)


# `dataset.mds.shard.ROW_DTYPE`.
_ROW_BYTES = 26


def _holdout(
    mixture: Mixture, volumes: Sequence[SourceVolume], costs: OutputCosts, memory_bytes: int
) -> Iterator[Term]:
    """The holdout is an output like any other, with a state of its own until it is finished."""
    rows = order_volume(mixture, volumes, memory_bytes, held=True)
    mixture = replace(mixture, order=replace(mixture.order, rows="written"))
    for term in order_terms(mixture, rows, costs):
        # Its state is gone before the build's manifest is written.
        until = None if term.until is None else Stage.HOLDOUT
        yield Term(
            what="holdout", num_bytes=term.num_bytes, num_files=term.num_files,
            written=Stage.HOLDOUT, until=until,
        )  # fmt: skip
    num_partitions = sum(one.num_partitions for one in volumes)
    yield Term(
        what="holdout", num_bytes=num_partitions * 2 * ARRAY_BYTES + rows.num_samples * _ROW_BYTES,
        num_files=num_partitions, written=Stage.HOLDOUT, until=Stage.HOLDOUT,
    )  # fmt: skip
    yield Term(
        what="holdout", num_bytes=_MANIFEST_BYTES + num_partitions * 900, num_files=1,
        written=Stage.HOLDOUT, until=None,
    )  # fmt: skip


def _finish(
    volumes: Sequence[SourceVolume], terms: Sequence[Term], rows: OrderVolume
) -> Iterator[Term]:
    """Indexes of all shards, twice, and the manifest, which names every file and partition."""
    shards = sum(term.num_files for term in terms if term.what == "shards")
    partitions = sum(one.num_partitions for one in volumes)
    num_shards = max(shards - 3 * partitions, partitions)
    yield Term(
        what="indexes", num_bytes=2 * num_shards * (_INDEX_ENTRY_BYTES + 60),
        num_files=len(volumes) + 1, written=Stage.ORDER, until=None,
    )  # fmt: skip
    files = sum(term.num_files for term in terms if term.until is None)
    nodes = rows.num_rows / ROWS_PER_NODE * NODE_BYTES
    # Files that share a partition are listed there.
    others = sum(max((one.num_files or 0) - one.num_partitions, 0) for one in volumes)
    size = _MANIFEST_BYTES + files * 190 + partitions * 925 + others * 200
    size += nodes + 1000 * len(volumes)
    yield Term(what="manifest", num_bytes=size, num_files=1, written=Stage.FINISH, until=None)


def _shards(
    mixture: Mixture, one: SourceVolume, num_chunks: float, num_partitions: int
) -> tuple[float, float]:
    """Return bytes and files of folders of shards: shards, their index, and statistics."""
    each = shard_row_bytes(mixture, one)
    of_partition = num_chunks / max(num_partitions, 1)
    shards = max(1, ceil(of_partition * each / (mixture.shards.size_limit - _SHARD_BYTES)))
    retokenized = mixture.chunk.algorithm in ("ettin-line-v1", "ettin-retokenize-v1")
    # A list of all chunks by thousands of their tokens.
    digits = log10(max(of_partition, 10)) + 1.9
    stats = 60 if retokenized else _STATS_BYTES + 120 + of_partition * digits
    fixed = shards * (_SHARD_BYTES + _INDEX_ENTRY_BYTES) + stats + 30
    num_files = shards + (2 if retokenized else 3)
    return num_chunks * each + num_partitions * fixed, num_partitions * num_files


def _arrays(
    what: str, num_arrays: float, num_bytes: float, written: Stage, until: Stage = Stage.FINISH
) -> Term:
    """Arrays in numpy's format."""
    return Term(
        what=what, num_bytes=num_bytes + num_arrays * ARRAY_BYTES, num_files=num_arrays,
        written=written, until=until,
    )  # fmt: skip


def _records(what: str, number: float, files: float, name_bytes: float, written: Stage) -> Term:
    """Records of tasks, each of which names the files that it has written."""
    return Term(
        what=f"records of {what}",
        num_bytes=number * _RECORD_BYTES + files * (_FILE_BYTES + name_bytes),
        num_files=0,  # They are lines of one log a process.
        written=written,
    )


def _name_bytes(mixture: Mixture, one: SourceVolume) -> float:
    """Return the bytes of the path of a file of a partition."""
    partitions = [*one.planned.partitions][:1000] or [one.name]
    names = [len(chunk_folder(partition, mixture.chunk)) for partition in partitions]
    return len("train//shard.00000.mds") + len(one.name) + sum(names) / len(names)
