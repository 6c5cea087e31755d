"""Samples: sources -> the drawn shards of every partition.

All partitions of all sources are chunked in one go; then the sources that have a budget or
repetitions are drawn from. Ids that recur in a source are found over all that was written.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from pipeline import sample
from pipeline.build.drawing import DrawTask, StandingTask, draw_partition, standing_draw
from pipeline.build.duplicates import WrittenPartition, find_repeated_ids
from pipeline.build.partition import PartitionTask, make_partition
from pipeline.build.site import Site
from pipeline.digest import fingerprint
from pipeline.errors import DocumentError
from pipeline.ordering.table import load_table
from pipeline.plan import PlannedSource
from pipeline.sources.read import SKIP_HINT
from pipeline.task import Record

_IDS_NAMED = 5
Result = TypeVar("Result")


class _OfSource(Protocol):
    @property
    def source(self) -> str: ...


def make_samples(site: Site, sources: tuple[PlannedSource, ...]) -> dict[str, list[Record]]:
    """Make the drawn shards of all sources; return their records, sorted by folder."""
    drawn_before = _standing_draws(site, [one for one in sources if one.is_sampled])
    to_chunk = [one for one in sources if one.source.name not in drawn_before]
    chunked = _chunk(site, to_chunk)
    draws = [
        task
        for planned in to_chunk
        if planned.is_sampled
        for task in _draw_tasks(site, planned, chunked[planned.source.name])
    ]
    drawn = _by_source(draws, site.engine.map("draw", draw_partition, draws))
    records = {**chunked, **drawn_before, **drawn}
    return {
        name: sorted(records[name], key=lambda record: str(record["folder"]))
        for name in sorted(records)
    }


def _chunk(site: Site, sources: list[PlannedSource]) -> dict[str, list[Record]]:
    """Chunk every partition; where ids recur in a source, refuse or drop the later ones."""
    tasks = [task for planned in sources for task in _partition_tasks(site, planned)]
    records = _by_source(tasks, site.engine.map("chunk", make_partition, tasks))
    again = []
    for name, made in records.items():
        repeated = find_repeated_ids(
            {
                record["partition"]: WrittenPartition(
                    folder=site.state.out / record["folder"],
                    hashes=load_table(site.state, record["folder"])["document"],
                )
                for record in made
            }
        )
        if repeated and site.mixture.on_error == "stop":
            raise _duplicates_error(name, repeated)
        if repeated:
            again += [_without_repeats(task, repeated) for task in tasks if task.source == name]
    if again:
        made_again = site.engine.map("drop repeated ids", make_partition, again)
        records.update(_by_source(again, made_again))
    return records


def _partition_tasks(site: Site, planned: PlannedSource) -> list[PartitionTask]:
    return [
        PartitionTask(
            out=site.state.out,
            folder=planned.chunks_folder(file, site.mixture),
            source=planned.source.name,
            file=file,
            origin=planned.source.origin,
            tokenizer=site.mixture.tokenizer,
            tokenizer_digest=site.tokenizer.digest,
            mixture_folder=site.mixture_folder,
            chunk=site.mixture.chunk,
            shards=site.mixture.shards,
            skips_bad=site.mixture.on_error == "skip",
        )
        for file in planned.files
    ]


def _standing_draws(site: Site, sources: list[PlannedSource]) -> dict[str, list[Record]]:
    """Return the earlier draws of those sources of which every partition still stands."""
    tasks = [
        StandingTask(
            out=site.state.out,
            source=planned.source.name,
            file=file,
            key=_draw_key(site, planned),
            cls_id=site.tokenizer.cls_id,
            sep_id=site.tokenizer.sep_id,
        )
        for planned in sources
        for file in planned.files
    ]
    found = _by_source(tasks, site.engine.map("look for draws", standing_draw, tasks))
    return {
        name: [record for record in records if record is not None]
        for name, records in found.items()
        if None not in records
    }


def _draw_tasks(site: Site, planned: PlannedSource, records: list[Record]) -> list[DrawTask]:
    """Choose among all chunks of a source."""
    source = planned.source
    tables = {one["partition"]: load_table(site.state, one["folder"]) for one in records}
    lengths = {name: table["length"].astype(np.int64) for name, table in tables.items()}
    available = sum(int(part.sum()) for part in lengths.values())
    whole, beyond = sample.target_tokens(source.name, available, source.tokens, source.epochs)
    drawn = sample.draw(source.name, lengths, beyond, site.mixture.sample.seed)
    by_partition = {record["partition"]: record for record in records}
    return [
        DrawTask(
            out=site.state.out,
            folder=planned.folder(file, site.mixture),
            source=source.name,
            key=_draw_key(site, planned),
            chunks=by_partition[file.partition],
            num_repetitions=whole,
            drawn=drawn[file.partition],
            shards=site.mixture.shards,
            cls_id=site.tokenizer.cls_id,
            sep_id=site.tokenizer.sep_id,
        )
        for file in planned.files
    ]


def _draw_key(site: Site, planned: PlannedSource) -> str:
    declared = site.mixture.declaration()
    return fingerprint(
        {
            "partitions": [task.key for task in _partition_tasks(site, planned)],
            "source": declared["sources"][planned.source.name],
            "sample": declared["sample"],
        }
    )


def _by_source(tasks: Sequence[_OfSource], results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {task.source: [] for task in tasks}
    for task, result in zip(tasks, results, strict=True):
        found[task.source].append(result)
    return found


def _without_repeats(task: PartitionTask, repeated: dict[str, list[str]]) -> PartitionTask:
    here = task.file.partition
    mine = {id_: where for id_, where in repeated.items() if here in where}
    return replace(
        task,
        repeated_ids=frozenset(mine),
        taken_ids=frozenset(id_ for id_, where in mine.items() if where[0] != here),
    )


def _duplicates_error(source: str, repeated: dict[str, list[str]]) -> DocumentError:
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
