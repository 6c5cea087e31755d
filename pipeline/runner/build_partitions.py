"""Build partitions: the input files of all sources -> one folder of chunks each.

Ids that recur in a source are found over all partitions that were written. Of each, the document
that comes first by partition and row is kept, whichever was read first.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from pipeline.core.arrays import Int64Array, Uint64Array
from pipeline.core.errors import DocumentError
from pipeline.dataset.mds import Pool
from pipeline.runner.inputs import BuildContext, PreparedSource
from pipeline.runner.shuffle import load_table
from pipeline.runner.task_cache import PartitionOutput
from pipeline.runner.tasks.make_partition import make_partition
from pipeline.runner.tasks.partition_task import PartitionTask
from pipeline.sources import SKIP_HINT

_IDS_NAMED = 5
Result = TypeVar("Result")


class _OfSource(Protocol):
    @property
    def source(self) -> str: ...


def build_partitions(
    context: BuildContext, sources: Sequence[PreparedSource]
) -> dict[str, list[PartitionOutput]]:
    """Chunk every partition; return their records by source.

    Raises: DocumentError where ids recur in a source, unless bad documents are skipped.
    """
    tasks = [task for source in sources for task in partition_tasks(context, source)]
    records = context.cluster.map("chunk", make_partition, tasks)
    chunked = by_source(tasks, records)
    again = []
    for name, made in chunked.items():
        repeated = find_repeated_ids(
            {
                record.partition: WrittenPartition(
                    folder=context.state.out / record.folder,
                    hashes=load_table(context.state, record.folder)["document"],
                )
                for record in made
            }
        )
        if repeated and context.mixture.on_error == "stop":
            raise _duplicates_error(name, repeated)
        if repeated:
            again += [
                _without_repeats(task, record, repeated)
                for task, record in zip(tasks, records, strict=True)
                if task.source == name
            ]
    made_again = context.cluster.map("drop repeated ids", make_partition, again)
    return {**chunked, **by_source(again, made_again)}


def partition_tasks(context: BuildContext, source: PreparedSource) -> list[PartitionTask]:
    """Return the task of each input file of a source."""
    mixture = context.mixture
    return [
        PartitionTask(
            out=context.state.out,
            folder=source.planned.chunks_folder(one.file, mixture),
            input=one,
            tokenizer=mixture.tokenizer,
            tokenizer_digest=context.tokenizer.digest,
            chunk=mixture.chunk,
            shards=mixture.shards,
            skips_bad=mixture.on_error == "skip",
            keep_dropped=mixture.keep_dropped,
            saves_digests=mixture.validation is not None,
        )
        for one in source.inputs
    ]


def by_source(tasks: Sequence[_OfSource], results: Sequence[Result]) -> dict[str, list[Result]]:
    """Group the results of tasks by source, in the order of the tasks."""
    found: dict[str, list[Result]] = {task.source: [] for task in tasks}
    for task, result in zip(tasks, results, strict=True):
        found[task.source].append(result)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenPartition:
    """The rows of one partition."""

    folder: Path
    """Where its shards lie."""
    hashes: Uint64Array
    """uint64 [num_rows], hash of the id of each row's document; a document's rows are adjacent."""


def find_repeated_ids(partitions: Mapping[str, WrittenPartition]) -> dict[str, list[str]]:
    """Return each id that recurs, with the partition of every document that has it, in order.

    Hashes only find candidates; the ids themselves are read and compared.
    """
    names = sorted(partitions)
    firsts = {name: _document_starts(partitions[name].hashes) for name in names}
    hashes = np.concatenate([partitions[name].hashes[firsts[name]] for name in names])
    owners = np.repeat(np.arange(len(names)), [len(firsts[name]) for name in names])
    rows = np.concatenate([firsts[name] for name in names])
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    candidates = np.sort(order[np.union1d(same, same + 1)])
    found: defaultdict[str, list[str]] = defaultdict(list)
    for owner in np.unique(owners[candidates]).tolist():
        pool = Pool.open(partitions[names[owner]].folder)
        for id_ in pool.document_ids(rows[candidates[owners[candidates] == owner]]):
            found[id_].append(names[owner])
    return {id_: where for id_, where in sorted(found.items()) if len(where) > 1}


def _document_starts(hashes: Uint64Array) -> Int64Array:
    return np.flatnonzero(np.diff(hashes, prepend=~hashes[:1]))


def _without_repeats(
    task: PartitionTask, record: PartitionOutput, repeated: Mapping[str, list[str]]
) -> PartitionTask:
    here = task.input.file.partition
    mine = {id_: where for id_, where in repeated.items() if here in where}
    return replace(
        task,
        input=replace(task.input, read_before=record.input.sha256),
        repeated_ids=frozenset(mine),
        taken_ids=frozenset(id_ for id_, where in mine.items() if where[0] != here),
    )


def _duplicates_error(source: str, repeated: Mapping[str, list[str]]) -> DocumentError:
    named = "; ".join(
        f"{json.dumps(id_, ensure_ascii=False)} in {' and '.join(where)}"
        for id_, where in list(repeated.items())[:_IDS_NAMED]
    )
    more = f"; and {len(repeated) - _IDS_NAMED} more" if len(repeated) > _IDS_NAMED else ""
    return DocumentError(
        f"sources.{source}: got documents that share an id, expected ids unique in a source: "
        f"{named}{more}",
        f"write `id: null` below `from` to make ids; {SKIP_HINT}",
        "duplicate_id",
    )
