"""Estimate of time: what was measured of each stage, times how much there is of it.

Seconds of cores are divided among workers; what the driver does alone is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.config import Mixture
from pipeline.runner.estimate_order import order_volume
from pipeline.runner.measure_output import OutputCosts
from pipeline.runner.source_volume import SourceVolume

BYTES_PER_SECOND = 125_000_000
"""Throughput of a line of 1 Gbit/s."""
REQUESTS_PER_5_MINUTES = 2_500
"""What the Hub allows an account with a token, as of late 2026."""
# A worker imports, loads compiled code and makes the tables of the tokenizer.
_START_SECONDS = 3.0
# Of a task beside its documents: files that are opened, hashed, synced and renamed; and, in the
# driver, a submission and a result.
_TASK_SECONDS, _DRIVER_SECONDS = 0.02, 0.003
# Of a row of a table that is read, as `tests.benchmarks.draw_memory` measured it; of an id that is
# laid out by position; of a sample while the published permutation is made (`docs/benchmarks.md`).
_READ_SECONDS, _LAID_OUT_SECONDS, _PERMUTED_SECONDS = 0.15e-6, 9e-9, 0.15e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeEstimate:
    """Hours of a build, and where they go."""

    pull_hours: float
    """At `BYTES_PER_SECOND`, and no faster than the request limit allows."""
    build_hours: float
    """With so many workers."""
    core_hours: float
    core_hours_by_stage: Mapping[str, float]


def estimate_time(
    mixture: Mixture,
    volumes: Sequence[SourceVolume],
    costs: OutputCosts,
    workers: int,
    memory_bytes: int,
) -> TimeEstimate:
    """Multiply measured times by amounts. memory_bytes: of the build. Pure."""
    missing = sum(one.missing_bytes for one in volumes)
    requests = sum(one.num_missing for one in volumes)
    pull = max(missing / BYTES_PER_SECOND, requests * 300 / REQUESTS_PER_5_MINUTES)
    by_stage: dict[str, float] = {}
    for one in volumes:
        for stage, seconds in _of_source(mixture, one, costs).items():
            by_stage[stage] = by_stage.get(stage, 0.0) + seconds
    rows = order_volume(mixture, volumes, memory_bytes)
    by_stage["order"] = rows.num_tokens * costs.rows.item_seconds
    if rows.layout is not None:
        passes = 2 if rows.layout.is_sorted else 1
        by_stage["lay out"] = passes * rows.num_tokens * _LAID_OUT_SECONDS
    # The index of documents is written from rows that were sorted, both measured with their input.
    by_stage["provenance"] = rows.num_rows * costs.documents.item_seconds
    tasks = len(rows.steps_by_file) + sum(_num_tasks(mixture, one) for one in volumes)
    by_stage["tasks"] = tasks * _TASK_SECONDS
    total = sum(by_stage.values())
    alone = tasks * _DRIVER_SECONDS
    if mixture.order.algorithm != "feistel-v1":
        alone += rows.num_samples * _PERMUTED_SECONDS
    build = _START_SECONDS + total / workers + alone
    return TimeEstimate(
        pull_hours=pull / 3600 if missing else 0.0,
        build_hours=build / 3600,
        core_hours=total / 3600,
        core_hours_by_stage={name: seconds / 3600 for name, seconds in by_stage.items()},
    )


def _of_source(mixture: Mixture, one: SourceVolume, costs: OutputCosts) -> dict[str, float]:
    """Return the seconds of a core for each stage that reads or writes a source."""
    measured = {stage: one.part * seconds for stage, seconds in one.sample.seconds.items()}
    # Documents are read once to be compared with each other, and once more to be chunked; then only
    # filters that rewrite text run again.
    passes = 2 if mixture.dedup or mixture.decontaminate else 1
    ways = 1 if mixture.validation_chunk is None else 2
    tokens = one.num_tokens * ways
    if one.planned.is_sampled:
        tokens += one.drawn_tokens + one.held_chunks * one.tokens_per_chunk
    return {
        "read": passes * measured.get("read", 0.0),
        "filter": measured.get("filter", 0.0) + measured.get("filter again", 0.0),
        "scan": measured.get("scan", 0.0),
        "tokenize": measured.get("tokenize", 0.0),
        "chunk": ways * measured.get("chunk", 0.0),
        "shards": tokens * costs.shard_seconds,
        "choose": _num_readings(mixture, one) * one.num_chunks * _READ_SECONDS,
    }


def _num_readings(mixture: Mixture, one: SourceVolume) -> int:
    """Return how often the table of each partition is read, and a number made of each row.

    It is twice for ids that recur, for the last chunk that is drawn, and for the last text that is
    held out; and once where what is held out is counted, and where samples are written.
    """
    is_held = bool(mixture.validation) and one.planned.is_sampled
    return 2 + 3 * one.planned.is_sampled + 3 * is_held


def _num_tasks(mixture: Mixture, one: SourceVolume) -> int:
    """Return the tasks of a source: its partitions, once for each stage that goes over them."""
    stages = 1 + 2 * one.planned.is_sampled + bool(mixture.dedup or mixture.decontaminate)
    return one.num_partitions * stages
