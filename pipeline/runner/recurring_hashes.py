"""Recurring hashes: the partitions of sources -> the hashes of documents' ids that recur, in files.

Hashes are compared by ranges, through disk, so that no process holds all of a source.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.core.arrays import Int64Array, Uint64Array
from pipeline.core.bins import NUM_BITS
from pipeline.core.files import load_array, publish, publish_array, save_array
from pipeline.core.seeds import mix_in_place
from pipeline.runner.inputs import BuildContext
from pipeline.runner.number_buckets import Buckets
from pipeline.runner.tasks.training_chunks import Chunks
from pipeline.runner.threshold import each_of

STAGE = "find repeated ids"
_FEW = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class HashTask:
    """Some partitions of a source, and where their hashes go."""

    parts: Sequence[Chunks]
    buckets: Buckets
    path: Path
    scratch: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class BucketTask:
    """One bucket of the hashes of a source."""

    buckets: Buckets
    number: int
    paths: Sequence[Path]
    most: int | None
    """Of how many documents those that recur are all saved; None: of any number."""
    path: Path
    scratch: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Recurring:
    """The hashes that recur in a bucket, or in a source."""

    path: Path
    """Distinct, rising: uint64; a few of them where they are of too many documents."""
    num_saved: int
    num_hashes: int
    num_documents: int

    @property
    def is_cut(self) -> bool:
        """Whether only a few are saved."""
        return self.num_saved < self.num_hashes


def save_hashes(task: HashTask) -> None:
    """Save the hash of each document's id."""
    hashes = [id_hashes(part)[0] for part in task.parts]
    task.buckets.save(task.path, task.scratch, np.concatenate(hashes))


def save_recurring(task: BucketTask) -> Recurring:
    """Save the hashes that recur in a bucket."""
    hashes = task.buckets.load(task.paths, task.number)
    hashes.sort()
    is_again = hashes[1:] == hashes[:-1]
    found = np.unique(hashes[1:][is_again])
    num_documents = int(np.count_nonzero(is_again)) + len(found)
    is_cut = task.most is not None and num_documents > task.most
    saved = found[:_FEW] if is_cut else found
    with publish(task.path, task.scratch, syncs=False) as temporary:
        save_array(temporary, saved)
    return Recurring(
        path=task.path,
        num_saved=len(saved),
        num_hashes=len(found),
        num_documents=num_documents,
    )


def find_recurring(
    context: BuildContext,
    groups: Mapping[str, Sequence[Mapping[str, Chunks]]],
    most: int | None,
) -> dict[str, Recurring]:
    """Return the hashes that recur in each source that has such.

    groups: of partitions, by source. most: of how many documents all are saved; None: of any.
    """
    state = context.state
    tasks: dict[str, list[HashTask]] = {}
    for source, own in groups.items():
        count = sum(part.num_rows for group in own for part in group.values())
        buckets = Buckets.of(context.run, 0, 1 << NUM_BITS, count)
        tasks[source] = [
            HashTask(
                parts=list(group.values()),
                buckets=buckets,
                path=state.bucketed(f"ids/{source}", number),
                scratch=state.scratch,
            )
            for number, group in enumerate(own)
        ]
    for _ in each_of(context.cluster, STAGE, save_hashes, tasks):
        pass
    compared = {
        source: [
            BucketTask(
                buckets=own[0].buckets,
                number=number,
                paths=[task.path for task in own],
                most=None if most is None else most // len(own[0].buckets),
                path=state.bucketed(f"recurring/{source}", number),
                scratch=state.scratch,
            )
            for number in range(len(own[0].buckets))
        ]
        for source, own in tasks.items()
        if own
    }
    found: dict[str, list[Recurring]] = {source: [] for source in compared}
    for source, recurring in each_of(context.cluster, STAGE, save_recurring, compared):
        found[source].append(recurring)
    joined = {source: _join(context, source, own) for source, own in found.items()}
    return {source: recurring for source, recurring in joined.items() if recurring.num_hashes}


def _join(context: BuildContext, source: str, found: Sequence[Recurring]) -> Recurring:
    """Join what recurs in each bucket into one file; of what is not whole, a few hashes."""
    joined = Recurring(
        path=context.state.bucketed(f"recurring/{source}", len(found)),
        num_saved=sum(one.num_saved for one in found),
        num_hashes=sum(one.num_hashes for one in found),
        num_documents=sum(one.num_documents for one in found),
    )
    parts: Iterable[Uint64Array] = (load_array(one.path) for one in found if one.num_saved)
    if joined.is_cut:
        few = np.concatenate(list(parts))[:_FEW]
        parts, joined = [few], replace(joined, num_saved=len(few))
    dtype, scratch = np.dtype(np.uint64), context.state.scratch
    publish_array(joined.path, scratch, dtype, joined.num_saved, parts)
    return joined


def id_hashes(part: Chunks) -> tuple[Uint64Array, Int64Array]:
    """Return a hash of the id of each document, uniform, and its first row.

    Neighbouring rows of one id are one document. The hash in the table is not uniform in its first
    bits for short ids.
    """
    ids = np.ascontiguousarray(part.table()["document"])
    rows = np.flatnonzero(np.diff(ids, prepend=~ids[:1]))
    return mix_in_place(ids[rows]), rows
