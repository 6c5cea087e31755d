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
from pipeline.runner.corpus_scan import scan_corpus, scan_files, scan_tasks, with_saved_drops
from pipeline.runner.inputs import BuildContext, PreparedSource, input_bytes, prepare_source
from pipeline.runner.lock_part import lock_part, refuse_whole
from pipeline.runner.output_lock import lock_output, refuse_nested
from pipeline.runner.parts import Part, Stage, check_versions, plan_part
from pipeline.runner.plan import Plan, make_plan
from pipeline.runner.reached_partitions import try_partition
from pipeline.runner.sampled_shards import check_plan, open_context
from pipeline.runner.tasks.make_partition import make_partition
from pipeline.sources import Lock
from pipeline.stages.tokenizer import Tokenizer

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
    mixture, plan, tokenizer = _planned(mixture, stage, out, lock, options)
    own = plan_part(plan, stage, part)
    with (
        lock_part(out.absolute(), mixture.fingerprint, stage, part) as state,
        open_context(own, state, tokenizer, **options) as context,
    ):
        sources = [prepare_source(context, planned) for planned in own.sources]
        if stage == "scan":
            _, tasks = scan_tasks(context, sources)
            context.cluster.map_by_size("scan", scan_files, tasks, input_bytes)
        elif _scans(mixture):
            every = [prepare_source(context, planned) for planned in plan.sources]
            _make_chunks(context, with_saved_drops(context, every, sources))
        else:
            _make_chunks(context, sources)
    return _made(stage, part, plan, own)


def join_scan(
    mixture: Mixture, out: Path, *, lock: Lock | None = None, **options: Unpack[BuildOptions]
) -> MadePart:
    """Scan what no part has scanned, and find what to drop, on which the chunks of all depend.

    Raises: as `build_part`.
    """
    mixture, plan, tokenizer = _planned(mixture, "scan", out, lock, options)
    with lock_output(out.absolute(), mixture.fingerprint) as state:
        refuse_whole(state.out)
        check_versions(state, notes=True)
        with open_context(plan, state, tokenizer, **options) as context:
            scan_corpus(context, [prepare_source(context, planned) for planned in plan.sources])
    return _made("scan", Part(1, 1), plan, plan)


def _planned(
    mixture: Mixture, stage: Stage, out: Path, lock: Lock | None, options: BuildOptions
) -> tuple[Mixture, Plan, Tokenizer]:
    """Return a mixture whose folder is absolute, its plan and its tokenizer, before any work."""
    mixture = replace(mixture, folder=mixture.folder.absolute())
    options["raw"] = options.get("raw", RAW).absolute()
    if stage == "scan" and not _scans(mixture):
        raise ConfigError(
            "--stage scan: got a mixture without dedup and decontaminate, which scans nothing",
            "give --stage chunk",
        )
    plan = make_plan(mixture, lock, options["raw"], out)
    tokenizer = check_plan(plan, allows_code=options.get("allows_code", False))
    refuse_nested(out, options.get("cache"))
    return mixture, plan, tokenizer


def _scans(mixture: Mixture) -> bool:
    return mixture.dedup is not None or mixture.decontaminate is not None


def _made(stage: Stage, part: Part, plan: Plan, own: Plan) -> MadePart:
    return MadePart(
        stage=stage,
        part=part,
        partitions={one.source.name: tuple(one.partitions) for one in own.sources},
        num_all=sum(len(one.partitions) for one in plan.sources),
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
