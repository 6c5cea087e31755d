"""Build part: some tasks of one stage of a build, beside other runs that do the others.

A job array or a queue of machines that may be taken away needs no more: parts run in any order and
at the same time, are killed and run again, and a build without a part goes on from all of them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

from pipeline.config import RAW, Mixture
from pipeline.core.errors import ConfigError, PipelineError
from pipeline.core.shown import printable
from pipeline.runner.build_options import BuildOptions
from pipeline.runner.build_partitions import partition_tasks
from pipeline.runner.corpus_scan import scan_files, scan_tasks
from pipeline.runner.inputs import BuildContext, PreparedSource, input_bytes, prepare_source
from pipeline.runner.lock_part import lock_part
from pipeline.runner.output_lock import refuse_nested
from pipeline.runner.parts import Part, Stage, plan_part
from pipeline.runner.plan import make_plan
from pipeline.runner.reached_partitions import try_partition
from pipeline.runner.sampled_shards import check_plan, open_context
from pipeline.runner.tasks.make_partition import make_partition
from pipeline.sources import Lock

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class MadePart:
    """What a part has made, or found as an earlier run made it."""

    stage: Stage
    part: Part
    partitions: Mapping[str, tuple[str, ...]]
    """By source."""
    num_all: int
    """The partitions of all parts."""


def build_part(
    mixture: Mixture,
    stage: Stage,
    part: Part,
    out: Path,
    *,
    lock: Lock | None = None,
    **options: Unpack[BuildOptions],
) -> MadePart:
    """Do a part of the tasks of a stage; only the input files of these are pulled and read.

    Raises: ConfigError for a stage that the mixture does not have; OutputError as `lock_part`;
    otherwise as `build`.
    """
    mixture = replace(mixture, folder=mixture.folder.absolute())
    options["raw"] = options.get("raw", RAW).absolute()
    _check_stage(mixture, stage)
    plan = make_plan(mixture, lock, options["raw"], out)
    tokenizer = check_plan(plan)
    refuse_nested(out)
    own = plan_part(plan, stage, part)
    with (
        lock_part(out.absolute(), mixture.fingerprint, stage, part) as state,
        open_context(own, state, tokenizer, **options) as context,
    ):
        sources = [prepare_source(context, planned) for planned in own.sources]
        if stage == "scan":
            _, tasks = scan_tasks(context, sources)
            context.cluster.map_by_size("scan", scan_files, tasks, input_bytes)
        else:
            _make_chunks(context, sources)
    return MadePart(
        stage=stage,
        part=part,
        partitions={one.source.name: tuple(one.partitions) for one in own.sources},
        num_all=sum(len(one.partitions) for one in plan.sources),
    )


def _check_stage(mixture: Mixture, stage: Stage) -> None:
    """Refuse a stage that a mixture does not have, or whose tasks need all of the one before."""
    scans = mixture.dedup is not None or mixture.decontaminate is not None
    if stage == "scan" and not scans:
        raise ConfigError(
            "--stage scan: got a mixture without dedup and decontaminate, which scans nothing",
            "give --stage chunk",
        )
    if stage == "chunk" and scans:
        raise ConfigError(
            "--stage chunk: got a mixture with dedup or decontaminate, whose chunks depend on a"
            " scan of all files",
            "give --stage scan for the parts; a build without --stage goes on from them",
        )


def _make_chunks(context: BuildContext, sources: Sequence[PreparedSource]) -> None:
    """Chunk the partitions of some sources. Raises: as `build_partitions`."""
    tasks = [task for source in sources for task in partition_tasks(context, source)]
    in_sequence = {source.name for source in sources if source.planned.is_in_sequence}
    at_once = [task for task in tasks if task.source not in in_sequence]
    context.cluster.map_by_size("chunk", make_partition, at_once, input_bytes)
    # The budget may not reach them, and what is wrong with such is no error.
    others = [task for task in tasks if task.source in in_sequence]
    for task, made in zip(others, context.cluster.map("chunk", try_partition, others), strict=True):
        if isinstance(made, PipelineError):
            _LOG.warning(
                "warning: %s",
                printable(f"{task.source}/{task.partition} is left to the build: {made.message}"),
            )
