"""Check machine: whether disk and memory hold a build, by the estimate of `plan`, before any work.

The estimate takes seconds, since it reads some documents of each source, so it is made only where
the sizes of files leave a doubt.
"""

import logging
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from pipeline.config import RAW
from pipeline.core.errors import OutputError, PipelineError
from pipeline.core.limits import default_memory_bytes
from pipeline.core.units import format_bytes
from pipeline.runner.build_options import BuildOptions
from pipeline.runner.estimate import Estimate, make_estimate
from pipeline.runner.estimate_order import item_bytes
from pipeline.runner.expected_files import expected_part, tokens_by_size
from pipeline.runner.machine import Machine, exceeded, existing, this_machine
from pipeline.runner.open_cluster import local_workers
from pipeline.runner.plan import Plan
from pipeline.runner.sampled_shards import work_bytes
from pipeline.stages.dedup import bucket_bytes

_LOG = logging.getLogger(__name__)
# More than a token takes on disk in all stages together, and more than a process takes in memory.
_DOUBTFUL_TOKEN_BYTES = 32
_DOUBTFUL_PROCESS_BYTES = 1 << 30


def check_machine(plan: Plan, out: Path, **options: Unpack[BuildOptions]) -> None:
    """Warn of each limit of this machine that a build exceeds by its estimate.

    What lies in the output already counts as room, since it is kept or replaced, so the caller
    holds the output. Raises: OutputError where the budgets alone need more room.
    """
    least, here = _least_bytes(plan), this_machine(out)
    given = options.get("memory_bytes")
    memory_bytes = default_memory_bytes() if given is None else given
    workers = local_workers(options["workers"], options["scheduler"], work_bytes(plan))
    if not _is_doubtful(plan, here, workers, memory_bytes):
        return
    # A limit on open files that is too low is an error where workers are started.
    here = replace(here, free_bytes=here.free_bytes + _bytes_below(out), open_files=sys.maxsize)
    if least > here.free_bytes:
        raise OutputError(
            f"{out}: got room for {format_bytes(here.free_bytes)} on its disk, expected"
            f" {format_bytes(least)} for the budgets alone",
            "choose another --out, make room, or lower the budgets; `ettin-data plan` says what a"
            " build takes",
        )
    # What is wrong with an input is said by the build, which may leave it out.
    with suppress(PipelineError, OSError):
        made = make_estimate(
            plan,
            max(workers, 1),
            memory_bytes=memory_bytes,
            allows_code=options.get("allows_code", False),
        )
        pulled = _pulled_bytes(made, out, options)
        for line in exceeded(here, made.disk, made.memory, workers, pulled):
            _LOG.warning("warning: this machine is too small: %s", line)


def _least_bytes(plan: Plan) -> int:
    """Return what the sampled shards take at least, beside which all else may be compressed."""
    return item_bytes(plan.mixture) * sum(one.ask.tokens or 0 for one in plan.sources)


def _is_doubtful(plan: Plan, here: Machine, workers: int, memory_bytes: int) -> bool:
    tokens = 0
    for one in map(expected_part, plan.sources):
        available, ask = tokens_by_size(one.files or ()), one.ask
        tokens += available + (ask.tokens or int(available * (ask.epochs or 0)))
    of_dedup = bucket_bytes(memory_bytes) if plan.mixture.dedup is not None else 0
    held = (1 + workers) * _DOUBTFUL_PROCESS_BYTES + of_dedup
    return (
        tokens * _DOUBTFUL_TOKEN_BYTES > here.free_bytes
        or held > here.memory_bytes
        or _DOUBTFUL_PROCESS_BYTES + of_dedup > here.process_bytes
    )


def _bytes_below(out: Path) -> int:
    total = 0
    for path in out.rglob("*"):
        # A worker of an earlier build that was lost may still rename and remove.
        with suppress(OSError):
            total += path.lstat().st_size
    return total


def _pulled_bytes(made: Estimate, out: Path, options: BuildOptions) -> int:
    """Return how much is pulled to the disk of the output, and stays."""
    raw = existing(options.get("raw", RAW))
    is_same = raw.stat().st_dev == existing(out).stat().st_dev
    return made.download_bytes if options.get("keeps_raw", True) and is_same else 0
