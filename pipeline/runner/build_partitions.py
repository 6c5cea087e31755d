"""Build partitions: the input files of all sources -> a folder of chunks for each partition.

Of the documents of a source that share an id, the first by partition and row is kept.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import TypeVar

from pipeline.config import MAX_BAD
from pipeline.core.mirrored import remove_folder
from pipeline.runner.inputs import BuildContext, PreparedSource, input_bytes
from pipeline.runner.parts import say_missing
from pipeline.runner.repeated_ids import Repeats, duplicates_error, find_repeated_ids
from pipeline.runner.task_cache import PartitionOutput
from pipeline.runner.tasks.holdout_chunks import HoldoutChunks
from pipeline.runner.tasks.make_partition import make_partition
from pipeline.runner.tasks.partition_task import PartitionTask
from pipeline.runner.tasks.read_documents import check_unreadable
from pipeline.runner.tasks.training_chunks import Chunks

_UNREADABLE = ("invalid_utf8", "too_large", "undecodable", "unencodable")
Result = TypeVar("Result")


def build_partitions(
    context: BuildContext, sources: Sequence[PreparedSource]
) -> dict[str, list[PartitionOutput]]:
    """Chunk every partition; return their records by source.

    Raises: DocumentError where ids recur in a source, unless bad documents are skipped.
    """
    tasks = [task for source in sources for task in partition_tasks(context, source)]
    say_missing(context.state, tasks)
    records = by_source(
        sources, context.cluster.map_by_size("chunk", make_partition, tasks, input_bytes)
    )
    for source in sources:
        check_files_of_text(source, records[source.name])
    try:
        repeats = find_repeats(context, sources, records)
        return {**records, **without_repeats(context, sources, records, repeats)}
    finally:
        remove_folder(context.state.buckets)


def find_repeats(
    context: BuildContext,
    sources: Sequence[PreparedSource],
    records: Mapping[str, Sequence[PartitionOutput]],
    folder: str = "repeated",
) -> dict[str, Repeats]:
    """Return the ids that recur in each source that has such, of which documents are to be dropped.

    folder: as for `find_repeated_ids`. Raises: DocumentError where there are any, unless bad
    documents are skipped.
    """
    if context.mixture.chunk.algorithm == "ettin-line-v1":
        return {}  # Lines of one document share its id.
    state, skips = context.state, context.mixture.on_error == "skip"
    parts = {
        source.name: {
            record.partition: Chunks(
                out=state.out, folder=record.folder, num_rows=record.chunks.written
            )
            for record in records[source.name]
        }
        for source in sources
    }
    repeats = find_repeated_ids(context, parts, finds_all=skips, folder=folder)
    found = [source for source in sources if source.name in repeats]
    if found and not skips:
        [first, *_] = found
        raise duplicates_error(state, first, records[first.name], repeats[first.name])
    return repeats


def without_repeats(
    context: BuildContext,
    sources: Sequence[PreparedSource],
    records: Mapping[str, Sequence[PartitionOutput]],
    repeats: Mapping[str, Repeats],
) -> dict[str, list[PartitionOutput]]:
    """Make the sources with repeated ids again, with the first document of each; return records."""
    found = [source for source in sources if source.name in repeats]
    again = [
        task
        for source in found
        for task in _without_repeats(context, source, records[source.name], repeats[source.name])
    ]
    made = context.cluster.map_by_size("drop repeated ids", make_partition, again, input_bytes)
    return by_source(found, made)


def check_files_of_text(source: PreparedSource, records: Sequence[PartitionOutput]) -> None:
    """Refuse files that are a document each if too many cannot be read, as one file of many is.

    Raises: InputError.
    """
    bad: Counter[str] = Counter()
    num_in, max_bad = 0, MAX_BAD
    for record in records:
        inputs = source.inputs[record.partition]
        if all(one.file.is_one_document for one in inputs):
            num_in, max_bad = num_in + record.documents.num_in, inputs[0].max_bad
            bad.update({name: record.documents.dropped.get(name, 0) for name in _UNREADABLE})
    check_unreadable(
        f"sources.{source.name}",
        +bad,
        num_in,
        max_bad,
        hint="look at the files: they may be of another kind, or in another encoding",
        spares_few=True,
    )


def partition_tasks(context: BuildContext, source: PreparedSource) -> list[PartitionTask]:
    """Return the task of each partition of a source."""
    mixture, shards = context.mixture, context.mixture.shards
    if source.planned.is_sampled:
        # Only read again, so the size of compressed shards is not needed.
        shards = replace(shards, index_compression=None)
    return [
        PartitionTask(
            out=context.state.out,
            folder=source.planned.chunks_folder(partition, mixture),
            partition=partition,
            inputs=inputs,
            tokenizer=mixture.tokenizer,
            tokenizer_digest=context.tokenizer.digest,
            chunk=mixture.chunk,
            shards=shards,
            skips_bad=mixture.on_error == "skip",
            keep_dropped=mixture.keep_dropped,
            saves_digests=mixture.validation is not None
            and mixture.validation.algorithm == "validation-v1",
            hashes_all=context.hashes_all,
            cache=context.cache,
            holdout=None
            if mixture.validation_chunk is None
            else HoldoutChunks(
                chunk=mixture.validation_chunk,
                folder=source.planned.holdout_folder(partition, mixture),
            ),
        )
        for partition, inputs in source.inputs.items()
    ]


def by_source(
    sources: Sequence[PreparedSource], results: Sequence[Result]
) -> dict[str, list[Result]]:
    """Group the results of one task for each partition by source."""
    left = iter(results)
    return {source.name: list(islice(left, len(source.inputs))) for source in sources}


def _without_repeats(
    context: BuildContext,
    source: PreparedSource,
    records: Sequence[PartitionOutput],
    repeats: Repeats,
) -> list[PartitionTask]:
    """Return the tasks of a source that keep the first document of each repeated id."""
    tasks = []
    for task, record in zip(partition_tasks(context, source), records, strict=True):
        inputs = tuple(
            replace(one, read_before=read.sha256)
            for one, read in zip(task.inputs, record.inputs, strict=True)
        )
        tasks.append(replace(task, inputs=inputs, repeats=repeats.ids.get(task.partition, ())))
    return tasks
