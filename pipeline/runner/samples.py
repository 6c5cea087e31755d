"""Samples: sources -> the drawn shards of every partition.

All partitions of all sources are chunked in one go; then the sources that have a budget,
repetitions or documents for validation are drawn from. Ids that recur in a source are found over
all that was written.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from pipeline.config import to_plain
from pipeline.core.arrays import BoolArray
from pipeline.core.digest import fingerprint
from pipeline.core.errors import DocumentError
from pipeline.runner.context import Site
from pipeline.runner.holdout_split import set_aside
from pipeline.runner.inputs import PreparedSource
from pipeline.runner.shuffle.row_table import Table, load_table
from pipeline.runner.task_cache import TaskRecord
from pipeline.runner.tasks.partition_task import PartitionTask
from pipeline.runner.tasks.repeated_ids import WrittenPartition, find_repeated_ids
from pipeline.runner.tasks.sample import DrawTask, StandingTask, draw_partition, standing_draw
from pipeline.runner.tasks.tokenize_partition import make_partition
from pipeline.sources import SKIP_HINT
from pipeline.stages import sampling

_IDS_NAMED = 5
Result = TypeVar("Result")


class _OfSource(Protocol):
    @property
    def source(self) -> str: ...


def make_samples(site: Site, sources: Sequence[PreparedSource]) -> dict[str, list[TaskRecord]]:
    """Make the drawn shards of all sources; return their records, sorted by folder."""
    drawn_before = _standing_draws(site, [one for one in sources if one.planned.is_sampled])
    to_chunk = [one for one in sources if one.name not in drawn_before]
    chunked = _chunk(site, to_chunk)
    draws = _draw_tasks(site, [one for one in to_chunk if one.planned.is_sampled], chunked)
    drawn = _by_source(draws, site.engine.map("draw", draw_partition, draws))
    records = {**chunked, **drawn_before, **drawn}
    return {
        name: sorted(records[name], key=lambda record: str(record["folder"]))
        for name in sorted(records)
    }


def _chunk(site: Site, sources: Sequence[PreparedSource]) -> dict[str, list[TaskRecord]]:
    """Chunk every partition; where ids recur in a source, refuse or drop the later ones."""
    tasks = [task for one in sources for task in _partition_tasks(site, one)]
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


def _partition_tasks(site: Site, source: PreparedSource) -> list[PartitionTask]:
    mixture = site.mixture
    return [
        PartitionTask(
            out=site.state.out,
            folder=source.planned.chunks_folder(one.file, mixture),
            input=one,
            tokenizer=mixture.tokenizer,
            tokenizer_digest=site.tokenizer.digest,
            mixture_folder=site.mixture_folder,
            chunk=mixture.chunk,
            shards=mixture.shards,
            skips_bad=mixture.on_error == "skip",
            keep_dropped=mixture.keep_dropped,
            saves_digests=mixture.validation is not None,
        )
        for one in source.inputs
    ]


def _standing_draws(site: Site, sources: Sequence[PreparedSource]) -> dict[str, list[TaskRecord]]:
    """Return the earlier draws of those sources of which every partition still stands.

    What is decided together must have been decided from the same inputs, and stands as a whole.
    """
    keys = {source.name: _draw_key(site, source) for source in sources}
    tasks = [
        StandingTask(
            out=site.state.out,
            input=one,
            key=keys[source.name],
            cls_id=site.tokenizer.cls_id,
            sep_id=site.tokenizer.sep_id,
        )
        for source in sources
        for one in source.inputs
    ]
    found = _by_source(tasks, site.engine.map("look for draws", standing_draw, tasks))
    whole = {
        name: [record for record in records if record is not None]
        for name, records in found.items()
        if None not in records
    }
    together = _together(site, whole)
    standing = {
        name: records
        for name, records in whole.items()
        if all(record["together"] == together[name] for record in records)
    }
    # Where documents are set aside, all sources decide together which.
    is_whole = len(standing) == len(sources)
    return standing if is_whole or site.mixture.validation is None else {}


def _together(site: Site, records: Mapping[str, Sequence[TaskRecord]]) -> dict[str, str]:
    """Return, by source, the fingerprint of the inputs from which its draws are decided.

    Those of the source; where documents are set aside, those of all sources.
    """
    inputs = {
        name: sorted([one["partition"], one["input"]["sha256"]] for one in made)
        for name, made in records.items()
    }
    if site.mixture.validation is not None:
        return dict.fromkeys(inputs, fingerprint(inputs))
    return {name: fingerprint(of_source) for name, of_source in inputs.items()}


def _draw_tasks(
    site: Site, sources: Sequence[PreparedSource], chunked: dict[str, list[TaskRecord]]
) -> list[DrawTask]:
    """Choose among all chunks of the sources: first for validation, then to meet the budgets."""
    tables = {
        source.name: {
            record["partition"]: load_table(site.state, record["folder"])
            for record in chunked[source.name]
        }
        for source in sources
    }
    records = {one.name: chunked[one.name] for one in sources}
    aside = set_aside(site, tables, records)
    together = _together(site, records)
    return [
        task
        for one in sources
        for task in _draws_of(
            site, one, together[one.name], records[one.name], tables[one.name], aside[one.name]
        )
    ]


def _draws_of(
    site: Site,
    source: PreparedSource,
    together: str,
    records: list[TaskRecord],
    tables: dict[str, Table],
    aside: dict[str, BoolArray],
) -> list[DrawTask]:
    lengths = {
        name: table["length"].astype(np.int64)[~aside[name]] for name, table in tables.items()
    }
    spec = site.mixture.sample
    if site.mixture.scale < 1:
        # A whole file would be more than all of a miniature.
        spec = replace(spec, algorithm="keyed-v1")
    drawn = sampling.draw_source(source.planned.ask, lengths, spec)
    key = _draw_key(site, source)
    by_partition = {record["partition"]: record for record in records}
    return [
        DrawTask(
            out=site.state.out,
            folder=source.planned.folder(one.file, site.mixture),
            source=source.name,
            key=key,
            together=together,
            chunks=by_partition[one.file.partition],
            validation=aside[one.file.partition],
            num_repetitions=drawn.num_repetitions,
            again=drawn.again[one.file.partition],
            shards=site.mixture.shards,
            cls_id=site.tokenizer.cls_id,
            sep_id=site.tokenizer.sep_id,
        )
        for one in source.inputs
    ]


def _draw_key(site: Site, source: PreparedSource) -> str:
    declared, ask = site.mixture.declaration(), source.planned.ask
    return fingerprint(
        {
            "partitions": [task.key for task in _partition_tasks(site, source)],
            "source": declared["sources"][source.name],
            "ask": [ask.tokens, to_plain(ask.epochs)],
            "sample": declared["sample"],
            "validation": declared["validation"],
        }
    )


def _by_source(tasks: Sequence[_OfSource], results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {task.source: [] for task in tasks}
    for task, result in zip(tasks, results, strict=True):
        found[task.source].append(result)
    return found


def _without_repeats(task: PartitionTask, repeated: dict[str, list[str]]) -> PartitionTask:
    here = task.input.file.partition
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
