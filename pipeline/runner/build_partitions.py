"""Build partitions: the input files of all sources -> a folder of chunks for each partition.

Of the documents of a source that share an id, the first by partition and row is kept.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from pipeline.config import MAX_BAD
from pipeline.core.arrays import Uint64Array
from pipeline.core.errors import DocumentError
from pipeline.dataset import State
from pipeline.dataset.mds import Pool
from pipeline.runner.inputs import BuildContext, PreparedSource
from pipeline.runner.shuffle import load_table
from pipeline.runner.task_cache import PartitionOutput
from pipeline.runner.tasks.holdout_chunks import HoldoutChunks
from pipeline.runner.tasks.make_partition import PartitionTask, make_partition
from pipeline.runner.tasks.read_documents import check_unreadable

_IDS_NAMED = 5
_UNREADABLE = ("invalid_utf8", "too_large", "undecodable", "unencodable")
Result = TypeVar("Result")


class Place(NamedTuple):
    """A row of a partition, from 0."""

    partition: str
    row: int


def build_partitions(
    context: BuildContext, sources: Sequence[PreparedSource]
) -> dict[str, list[PartitionOutput]]:
    """Chunk every partition; return their records by source.

    Raises: DocumentError where ids recur in a source, unless bad documents are skipped.
    """
    state = context.state
    tasks = [task for source in sources for task in partition_tasks(context, source)]
    records = by_source(sources, context.cluster.map("chunk", make_partition, tasks))
    for source in sources:
        check_files_of_text(source, records[source.name])
    if context.mixture.chunk.algorithm == "ettin-line-v1":
        return records  # Lines of one document share its id.
    sources_again, again = [], []
    for source in sources:
        made = {record.partition: record.folder for record in records[source.name]}
        repeated = find_repeated_ids(
            {name: state.out / folder for name, folder in made.items()},
            {
                # Copied, or it would hold the whole table.
                name: load_table(state, folder)["document"].copy()
                for name, folder in made.items()
            },
        )
        if repeated and context.mixture.on_error == "stop":
            raise _duplicates_error(state, source, records[source.name], repeated)
        if repeated:
            sources_again.append(source)
            again += [
                _without_repeats(task, record, repeated)
                for task, record in zip(
                    partition_tasks(context, source), records[source.name], strict=True
                )
            ]
    made_again = context.cluster.map("drop repeated ids", make_partition, again)
    return {**records, **by_source(sources_again, made_again)}


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


def find_repeated_ids(
    folders: Mapping[str, Path], hashes_by_partition: Mapping[str, Uint64Array]
) -> dict[str, list[Place]]:
    """Return each id that recurs, with the first row of every document that has it, in order.

    folders: of each partition's shards. hashes_by_partition: uint64 [num_rows], hash of the id of
    each row's document, which finds candidates; the ids themselves are compared.
    """
    names = sorted(folders)
    parts = [hashes_by_partition[name] for name in names]
    firsts = [np.flatnonzero(np.diff(part, prepend=~part[:1])) for part in parts]
    hashes = np.concatenate([part[first] for part, first in zip(parts, firsts, strict=True)])
    owners = np.repeat(np.arange(len(names)), list(map(len, firsts)))
    rows = np.concatenate(firsts)
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    candidates = np.sort(order[np.union1d(same, same + 1)])
    found: defaultdict[str, list[Place]] = defaultdict(list)
    for owner in np.unique(owners[candidates]).tolist():
        pool = Pool.open(folders[names[owner]])
        own = rows[candidates[owners[candidates] == owner]]
        for id_, row in zip(pool.document_ids(own), own.tolist(), strict=True):
            found[id_].append(Place(names[owner], row))
    return {id_: where for id_, where in sorted(found.items()) if len(where) > 1}


def _without_repeats(
    task: PartitionTask, record: PartitionOutput, repeated: Mapping[str, list[Place]]
) -> PartitionTask:
    here = task.partition
    mine = {
        id_: where for id_, where in repeated.items() if any(one.partition == here for one in where)
    }
    return replace(
        task,
        inputs=tuple(
            replace(one, read_before=read.sha256)
            for one, read in zip(task.inputs, record.inputs, strict=True)
        ),
        repeated_ids=frozenset(mine),
        taken_ids=frozenset(id_ for id_, where in mine.items() if where[0].partition != here),
    )


def _duplicates_error(
    state: State,
    source: PreparedSource,
    records: Sequence[PartitionOutput],
    repeated: Mapping[str, list[Place]],
) -> DocumentError:
    by_partition = {record.partition: record for record in records}

    def name(place: Place) -> str:
        if not source.planned.source.origin.groups_files:
            return place.partition
        record = by_partition[place.partition]
        return record.inputs[int(load_table(state, record.folder)["file"][place.row])].path

    named = "; ".join(
        f"{json.dumps(id_, ensure_ascii=False)} in {' and '.join(map(name, where))}"
        for id_, where in list(repeated.items())[:_IDS_NAMED]
    )
    more = f"; and {len(repeated) - _IDS_NAMED} more" if len(repeated) > _IDS_NAMED else ""
    return DocumentError(
        f"sources.{source.name}: got documents that share an id, expected ids unique in a source: "
        f"{named}{more}",
        "if files hold the same documents, leave one out with a narrower pattern; if each file"
        " counts its own, write `id: null` below `from` to make ids of file and row;"
        " `on_error: skip` keeps only the first document of each id",
        "duplicate_id",
    )
