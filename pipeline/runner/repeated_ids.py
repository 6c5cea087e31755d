"""Repeated ids: the partitions of sources -> the ids that several documents of a source have.

Hashes of ids are compared by ranges, through disk; only documents whose hashes recur are looked at
again, and their ids themselves compared. The driver holds those, and nothing of any other document.
"""

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pipeline.core.arrays import Int64Array, Uint64Array
from pipeline.core.bins import NUM_BITS
from pipeline.core.errors import DocumentError
from pipeline.core.seeds import mix_in_place
from pipeline.dataset import State
from pipeline.dataset.mds import Pool
from pipeline.runner.inputs import BuildContext, PreparedSource
from pipeline.runner.number_buckets import Buckets
from pipeline.runner.shuffle import load_table
from pipeline.runner.task_cache import PartitionOutput
from pipeline.runner.tasks.training_chunks import Chunks
from pipeline.runner.threshold import each_of, in_groups

_STAGE = "find repeated ids"
_IDS_NAMED = 5
_PLACES_NAMED = 10
# Documents that share ids and are looked up before they are refused: 200 bytes each.
_MANY = 1 << 20


class Place(NamedTuple):
    """A row of a partition, from 0."""

    partition: str
    row: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeats:
    """The ids that recur in a source."""

    count: int
    places: Mapping[str, Sequence[Place]]
    """By id, sorted: the first row of every document that has it, in order. Maybe not of all."""

    def joined(self, other: "Repeats") -> "Repeats":
        """Return the ids of both, each with the places of both. Pure."""
        places = {
            id_: sorted({*self.places.get(id_, ()), *other.places.get(id_, ())})
            for id_ in sorted({*self.places, *other.places})
        }
        return Repeats(count=len(places), places=places)


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
    """Of how many documents those that recur are all returned; None: of any number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recurring:
    """The hashes that recur."""

    hashes: Uint64Array
    """Distinct, rising; some of them where they are of too many documents."""
    count: int
    """How many they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceTask:
    """Some partitions of a source, and the hashes that recur in it."""

    parts: Mapping[str, Chunks]
    hashes: Uint64Array
    """Distinct, rising."""


def save_hashes(task: HashTask) -> None:
    """Save the hash of each document's id."""
    hashes = [_hashes(part)[0] for part in task.parts]
    task.buckets.save(task.path, task.scratch, np.concatenate(hashes))


def find_recurring(task: BucketTask) -> Recurring:
    """Return the hashes that recur in a bucket."""
    hashes = task.buckets.load(task.paths, task.number)
    hashes.sort()
    is_again = hashes[1:] == hashes[:-1]
    found = np.unique(hashes[1:][is_again])
    num_documents = np.count_nonzero(is_again) + len(found)
    is_cut = task.most is not None and num_documents > task.most
    return Recurring(hashes=found[:_IDS_NAMED] if is_cut else found, count=len(found))


def find_places(task: PlaceTask) -> list[tuple[str, Place]]:
    """Return id and place of each document whose hash recurs."""
    found = []
    for name, part in task.parts.items():
        hashes, rows = _hashes(part)
        nearest = np.minimum(np.searchsorted(task.hashes, hashes), len(task.hashes) - 1)
        own = rows[task.hashes[nearest] == hashes]
        if len(own):
            ids = Pool.open(part.out / part.folder).document_ids(own)
            found += [(id_, Place(name, row)) for id_, row in zip(ids, own.tolist(), strict=True)]
    return found


def find_repeated_ids(
    context: BuildContext,
    parts: Mapping[str, Mapping[str, Chunks]],
    *,
    finds_all: bool = True,
) -> dict[str, Repeats]:
    """Return the ids that recur in each source that has such.

    parts: by source and partition. Unless `finds_all`, of very many ids only some are looked up.
    """
    groups = {source: _in_groups(own) for source, own in parts.items()}
    recurring = _recurring(context, groups, None if finds_all else _MANY)
    tasks = {
        source: [PlaceTask(parts=group, hashes=found.hashes) for group in groups[source]]
        for source, found in recurring.items()
    }
    places: dict[str, defaultdict[str, list[Place]]] = {
        source: defaultdict(list) for source in tasks
    }
    for source, placed in each_of(context.cluster, _STAGE, find_places, tasks):
        for id_, place in placed:
            places[source][id_].append(place)
    repeats = {}
    for source, own in places.items():
        found = {id_: where for id_, where in sorted(own.items()) if len(where) > 1}
        if found:
            is_cut = len(recurring[source].hashes) < recurring[source].count
            count = recurring[source].count if is_cut else len(found)
            repeats[source] = Repeats(count=count, places=found)
    return repeats


def _recurring(
    context: BuildContext, groups: Mapping[str, Sequence[Mapping[str, Chunks]]], most: int | None
) -> dict[str, Recurring]:
    """Return the hashes that recur in each source that has such."""
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
    for _ in each_of(context.cluster, _STAGE, save_hashes, tasks):
        pass
    compared = {
        source: [
            BucketTask(
                buckets=own[0].buckets,
                number=number,
                paths=[task.path for task in own],
                most=None if most is None else most // len(own[0].buckets),
            )
            for number in range(len(own[0].buckets))
        ]
        for source, own in tasks.items()
        if own
    }
    found: dict[str, list[Recurring]] = {source: [] for source in compared}
    for source, recurring in each_of(context.cluster, _STAGE, find_recurring, compared):
        found[source].append(recurring)
    shutil.rmtree(state.buckets, ignore_errors=True)
    joined = {source: _join(own) for source, own in found.items()}
    return {source: recurring for source, recurring in joined.items() if recurring.count}


def _join(buckets: Sequence[Recurring]) -> Recurring:
    """Join what recurs in each bucket; of what is not whole, some hashes."""
    count = sum(one.count for one in buckets)
    hashes = np.concatenate([one.hashes for one in buckets])
    return Recurring(hashes=hashes if len(hashes) == count else hashes[:_IDS_NAMED], count=count)


def _in_groups(parts: Mapping[str, Chunks]) -> list[dict[str, Chunks]]:
    ordered = dict(sorted(parts.items()))
    sizes = [part.num_rows for part in ordered.values()]
    return [dict(group) for group in in_groups(list(ordered.items()), sizes)]


def _hashes(part: Chunks) -> tuple[Uint64Array, Int64Array]:
    """Return a hash of the id of each document, uniform, and its first row.

    Neighbouring rows of one id are one document. The hash in the table is not uniform in its first
    bits for short ids.
    """
    ids = np.ascontiguousarray(part.table()["document"])
    rows = np.flatnonzero(np.diff(ids, prepend=~ids[:1]))
    return mix_in_place(ids[rows]), rows


def duplicates_error(
    state: State, source: PreparedSource, records: Sequence[PartitionOutput], repeats: Repeats
) -> DocumentError:
    """Return the error that names some of the ids, and where they are."""
    by_partition = {record.partition: record for record in records}

    def name(place: Place) -> str:
        if not source.planned.source.origin.groups_files:
            return place.partition
        record = by_partition[place.partition]
        return record.inputs[int(load_table(state, record.folder)["file"][place.row])].path

    def names(places: Sequence[Place]) -> str:
        named = list(map(name, places[:_PLACES_NAMED]))
        more = len(places) - len(named)
        return " and ".join([*named, *([f"{more:,} more places"] if more else [])])

    named = list(repeats.places.items())[:_IDS_NAMED]
    listed = "; ".join(
        f"{json.dumps(id_, ensure_ascii=False)} in {names(places)}" for id_, places in named
    )
    more = f"; and {repeats.count - len(named)} more" if repeats.count > len(named) else ""
    return DocumentError(
        f"sources.{source.name}: got documents that share an id, expected ids unique in a source: "
        f"{listed}{more}",
        "if files hold the same documents, leave one out with a narrower pattern; if each file"
        " counts its own, write `id: null` below `from` to make ids of file and row;"
        " `on_error: skip` keeps only the first document of each id",
        "duplicate_id",
    )


def ids_by_partition(repeats: Repeats) -> dict[str, tuple[frozenset[str], frozenset[str]]]:
    """Return, by partition, its repeated ids, and those that an earlier partition has first."""
    ids: defaultdict[str, set[str]] = defaultdict(set)
    taken: defaultdict[str, set[str]] = defaultdict(set)
    for id_, places in repeats.places.items():
        for partition in {place.partition for place in places}:
            ids[partition].add(id_)
            if partition != places[0].partition:
                taken[partition].add(id_)
    return {name: (frozenset(own), frozenset(taken[name])) for name, own in ids.items()}
