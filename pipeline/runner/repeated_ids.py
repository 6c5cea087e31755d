"""Repeated ids: the partitions of sources -> the ids that several documents of a source have.

Hashes that recur come first (`recurring_hashes.py`); of the documents that have one, the ids
themselves are brought together by ranges of their hashes, and those that recur are saved by
partition. The process that runs a build holds a few ids to name, and nothing else by document.
"""

import json
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.arrays import Int64Array, Uint64Array
from pipeline.core.bins import NUM_BITS
from pipeline.core.cells import Cell, CellFormat, CellReader, publish_cells
from pipeline.core.errors import DocumentError
from pipeline.core.files import load_array
from pipeline.core.ragged import ByteStrings, offsets_of
from pipeline.dataset import State
from pipeline.dataset.mds import Pool
from pipeline.runner.inputs import BuildContext, PreparedSource
from pipeline.runner.number_buckets import Buckets
from pipeline.runner.recurring_hashes import STAGE, Recurring, find_recurring, id_hashes
from pipeline.runner.shuffle import load_table
from pipeline.runner.task_cache import PartitionOutput
from pipeline.runner.tasks.training_chunks import Chunks
from pipeline.runner.tasks.unique_ids import RepeatedIds, repeats_format
from pipeline.runner.threshold import each_of, in_groups

_IDS_NAMED = 5
_PLACES_NAMED = 10
# Documents that share ids and are looked at before they are refused.
_MANY = 1 << 20
# Documents of a bucket, with their ids some hundreds of bytes each.
_DOCUMENTS_AT_ONCE = 1 << 19
_PLACES: Mapping[str, np.dtype[Any]] = {
    "partitions": np.dtype("<u4"),
    "rows": np.dtype("<i8"),
    "lengths": np.dtype("<u4"),
    "ids": np.dtype("u1"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedId:
    """An id that recurs."""

    id: str
    places: Sequence[tuple[int, int]]
    """The first documents that have it, in order: number of the partition, first row."""
    count: int
    """How many documents have it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeats:
    """The ids that recur in a source."""

    count: int
    named: Sequence[NamedId]
    """The first of them, sorted by id."""
    ids: Mapping[str, tuple[RepeatedIds, ...]]
    """By partition that has such. Maybe not all, unless all were asked for."""

    def joined(self, later: "Repeats") -> "Repeats":
        """Return these with those that came up once these were dropped. Pure."""
        ids = {
            name: (*self.ids.get(name, ()), *later.ids.get(name, ()))
            for name in sorted({*self.ids, *later.ids})
        }
        return replace(later, ids=ids)


@dataclass(frozen=True, kw_only=True, slots=True)
class PlaceTask:
    """Some partitions of a source, and the hashes that recur in it."""

    parts: Sequence[Chunks]
    first: int
    """The number of the first partition in the source."""
    hashes: Path
    """Distinct, rising: uint64."""
    buckets: Buckets
    path: Path
    scratch: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class CompareTask:
    """One bucket of the documents of a source whose hashes recur."""

    paths: Sequence[Path]
    """What `save_places` left, by group of partitions."""
    firsts: Sequence[int]
    """The number of the first partition of each group."""
    number: int
    buckets: Buckets
    path: Path
    scratch: Path

    @property
    def form(self) -> CellFormat:
        return repeats_format(self.buckets.run, len(self.paths))


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """The ids of a bucket that recur."""

    count: int
    named: Sequence[NamedId]
    partitions: frozenset[int]
    """The numbers of those that have such an id."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Documents of a partition whose hashes recur."""

    hashes: Uint64Array
    partitions: Int64Array
    rows: Int64Array
    names: ByteStrings

    @classmethod
    def of(cls, part: Chunks, number: int, recurring: Uint64Array) -> "_Places":
        hashes, rows = id_hashes(part)
        nearest = np.minimum(np.searchsorted(recurring, hashes), len(recurring) - 1)
        found = np.flatnonzero(recurring[nearest] == hashes)
        names = ByteStrings(np.empty(0, np.uint8), np.zeros(1, np.int64))
        if len(found):
            names = Pool.open(part.out / part.folder).names(rows[found])
        return cls(hashes[found], np.full(len(found), number), rows[found], names)

    @classmethod
    def join(cls, parts: Sequence["_Places"]) -> "_Places":
        return cls(
            np.concatenate([one.hashes for one in parts]),
            np.concatenate([one.partitions for one in parts]),
            np.concatenate([one.rows for one in parts]),
            ByteStrings.concat([one.names for one in parts]),
        )

    def cell(self, chosen: Int64Array) -> Cell:
        names = self.names.take(chosen)
        return {
            "partitions": self.partitions[chosen],
            "rows": self.rows[chosen],
            "lengths": names.lengths(),
            "ids": names.values,
        }


def save_places(task: PlaceTask) -> None:
    """Save id and place of each document whose hash recurs, by ranges of hashes."""
    recurring = load_array(task.hashes)
    found = _Places.join(
        [_Places.of(part, number, recurring) for number, part in enumerate(task.parts, task.first)]
    )
    buckets = np.searchsorted(task.buckets.ends, found.hashes, side="right")
    order = np.argsort(buckets, kind="stable")
    bounds = np.searchsorted(buckets[order], np.arange(len(task.buckets) + 1)).tolist()
    cells = (found.cell(order[start:stop]) for start, stop in pairwise(bounds))
    publish_cells(task.path, task.scratch, _places_format(task.buckets), cells)


@dataclass(slots=True)
class _Seen:
    """The documents of an id, however many, as they come by partition and row."""

    count: int = 0
    places: list[tuple[int, int]] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)

    def add(self, place: tuple[int, int]) -> None:
        self.count += 1
        if self.count <= _PLACES_NAMED:
            self.places.append(place)
        if not self.partitions or self.partitions[-1] != place[0]:
            self.partitions.append(place[0])


def save_repeated(task: CompareTask) -> Compared:
    """Save the ids of a bucket that recur, by partition."""
    seen: defaultdict[bytes, _Seen] = defaultdict(_Seen)
    for id_, place in _documents(task):
        seen[id_].add(place)
    repeated = [(id_, one) for id_, one in sorted(seen.items()) if one.count > 1]
    entries = sorted(
        (partition, partition != one.partitions[0], id_)
        for id_, one in repeated
        for partition in one.partitions
    )
    partitions = [partition for partition, _, _ in entries]
    bounds = [*(bisect_left(partitions, first) for first in task.firsts), len(entries)]
    cells = (_entries(entries[start:stop]) for start, stop in pairwise(bounds))
    publish_cells(task.path, task.scratch, task.form, cells)
    return Compared(
        count=len(repeated),
        named=[
            NamedId(id=id_.decode(), places=one.places, count=one.count)
            for id_, one in repeated[:_IDS_NAMED]
        ],
        partitions=frozenset(partitions),
    )


def _documents(task: CompareTask) -> Iterator[tuple[bytes, tuple[int, int]]]:
    """Yield id and place of each document of a bucket, by partition and row."""
    for path in task.paths:
        with CellReader(path, _places_format(task.buckets)) as reader:
            [cell] = reader.read(task.number, task.number + 1)
        ids, bounds = cell["ids"].tobytes(), offsets_of(cell["lengths"]).tolist()
        places = zip(cell["partitions"].tolist(), cell["rows"].tolist(), strict=True)
        for (start, stop), place in zip(pairwise(bounds), places, strict=True):
            yield ids[start:stop], place


def _places_format(buckets: Buckets) -> CellFormat:
    return CellFormat(key=buckets.run, arrays=_PLACES, num_cells=len(buckets))


def _entries(entries: Sequence[tuple[int, bool, bytes]]) -> Cell:
    """Return a cell of `repeats_format`."""
    return {
        "partitions": np.array([partition for partition, _, _ in entries], np.uint32),
        "is_taken": np.array([is_taken for _, is_taken, _ in entries], np.bool_),
        "lengths": np.array([len(id_) for _, _, id_ in entries], np.uint32),
        "ids": np.frombuffer(b"".join(id_ for _, _, id_ in entries), np.uint8),
    }


def find_repeated_ids(
    context: BuildContext,
    parts: Mapping[str, Mapping[str, Chunks]],
    *,
    finds_all: bool = True,
    folder: str = "repeated",
) -> dict[str, Repeats]:
    """Return the ids that recur in each source that has such.

    parts: by source and partition. Unless `finds_all`, of very many ids only some are looked at.
    What is saved lies in a folder of `State.buckets`, which the caller removes.
    """
    groups = {source: _in_groups(own) for source, own in parts.items()}
    recurring = find_recurring(context, groups, None if finds_all else _MANY)
    places = {
        source: list(_place_tasks(context, source, groups[source], found))
        for source, found in recurring.items()
    }
    for _ in each_of(context.cluster, STAGE, save_places, places):
        pass
    tasks = {
        source: _compare_tasks(context, f"{folder}/{source}", own) for source, own in places.items()
    }
    compared: dict[str, list[Compared]] = {source: [] for source in tasks}
    for source, one in each_of(context.cluster, STAGE, save_repeated, tasks):
        compared[source].append(one)
    repeats = {
        source: _join(own, sorted(parts[source]), tasks[source]) for source, own in compared.items()
    }
    return {
        source: replace(own, count=found.num_hashes) if found.is_cut else own
        for source, own in repeats.items()
        for found in [recurring[source]]
        if own.count
    }


def _place_tasks(
    context: BuildContext,
    source: str,
    groups: Sequence[Mapping[str, Chunks]],
    recurring: Recurring,
) -> Iterator[PlaceTask]:
    # Few hashes are of few ids, and what is held of one does not grow with its documents.
    num_buckets = 1 if recurring.is_cut else -(-recurring.num_documents // _DOCUMENTS_AT_ONCE)
    first = 0
    for number, group in enumerate(groups):
        yield PlaceTask(
            parts=list(group.values()),
            first=first,
            hashes=recurring.path,
            buckets=Buckets.cut(context.run, 0, 1 << NUM_BITS, num_buckets),
            path=context.state.bucketed(f"places/{source}", number),
            scratch=context.state.scratch,
        )
        first += len(group)


def _compare_tasks(
    context: BuildContext, folder: str, places: Sequence[PlaceTask]
) -> list[CompareTask]:
    return [
        CompareTask(
            paths=[one.path for one in places],
            firsts=[one.first for one in places],
            number=number,
            buckets=places[0].buckets,
            path=context.state.bucketed(folder, number),
            scratch=context.state.scratch,
        )
        for number in range(len(places[0].buckets))
    ]


def _join(
    compared: Sequence[Compared], partitions: Sequence[str], tasks: Sequence[CompareTask]
) -> Repeats:
    """Join what recurs in each bucket; partitions: of the source, sorted."""
    return Repeats(
        count=sum(one.count for one in compared),
        named=sorted((named for one in compared for named in one.named), key=lambda one: one.id)[
            :_IDS_NAMED
        ],
        ids={
            partitions[number]: (
                RepeatedIds(
                    folder=tasks[0].path.parent,
                    num_files=len(tasks),
                    form=tasks[0].form,
                    group=bisect_right(tasks[0].firsts, number) - 1,
                    partition=number,
                ),
            )
            for number in sorted({number for one in compared for number in one.partitions})
        },
    )


def _in_groups(parts: Mapping[str, Chunks]) -> list[dict[str, Chunks]]:
    ordered = dict(sorted(parts.items()))
    sizes = [part.num_rows for part in ordered.values()]
    return [dict(group) for group in in_groups(list(ordered.items()), sizes)]


def duplicates_error(
    state: State, source: PreparedSource, records: Sequence[PartitionOutput], repeats: Repeats
) -> DocumentError:
    """Return the error that names some of the ids, and where they are."""
    ordered = sorted(records, key=lambda record: record.partition)

    def name(partition: int, row: int) -> str:
        record = ordered[partition]
        if not source.planned.source.origin.groups_files:
            return record.partition
        return record.inputs[int(load_table(state, record.folder)["file"][row])].path

    def names(one: NamedId) -> str:
        named = [name(*place) for place in one.places]
        more = one.count - len(named)
        return " and ".join([*named, *([f"{more:,} more places"] if more else [])])

    listed = "; ".join(
        f"{json.dumps(one.id, ensure_ascii=False)} in {names(one)}" for one in repeats.named
    )
    num_more = repeats.count - len(repeats.named)
    more = f"; and {num_more} more" if num_more else ""
    return DocumentError(
        f"sources.{source.name}: got documents that share an id, expected ids unique in a source: "
        f"{listed}{more}",
        "if files hold the same documents, leave one out with a narrower pattern; if each file"
        " counts its own, write `id: null` below `from` to make ids of file and row;"
        " `on_error: skip` keeps only the first document of each id",
        "duplicate_id",
    )
