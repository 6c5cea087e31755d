"""Run: carries out a plan and writes the manifest; the only place where all stages meet.

A document's way: inputs -> scan of the corpus -> partitions of chunks -> holdout -> samples ->
ordered rows -> manifest. Each stage is a list of tasks from files to files; intact results of an
earlier run are kept.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import TypeVar, Unpack

from pipeline.config import RAW, Mixture
from pipeline.core.digest import fingerprint
from pipeline.dataset import (
    TRAIN,
    VALIDATION,
    BudgetRecord,
    ChunkCounts,
    DocumentCounts,
    Manifest,
    SourceRecord,
    State,
    TokenCounts,
)
from pipeline.dataset.mds import INDEX_NAME
from pipeline.runner.build_options import BuildOptions
from pipeline.runner.check_budgets import check_budgets
from pipeline.runner.check_machine import check_machine
from pipeline.runner.holdout_output import holdout_identity, write_holdout
from pipeline.runner.inputs import BuildContext, PreparedSource
from pipeline.runner.order_rows import order_samples
from pipeline.runner.output_lock import (
    describe_mixture,
    finish,
    lock_output,
    make_manifest,
    refuse_nested,
    without_digests,
)
from pipeline.runner.output_tokenizer import copy_tokenizer
from pipeline.runner.partition_order import check_listed
from pipeline.runner.parts import check_versions
from pipeline.runner.plan import Plan, make_plan
from pipeline.runner.redo import describe_redo, find_redo
from pipeline.runner.sample_sources import write_indexes
from pipeline.runner.sampled_shards import check_plan, make_shards, open_context
from pipeline.runner.task_cache import PartitionOutput, files_of
from pipeline.sources import Lock
from pipeline.stages import sampling

_LOG = logging.getLogger(__name__)
Counts = TypeVar("Counts", TokenCounts, ChunkCounts)


def build(
    mixture: Mixture,
    out: Path,
    *,
    lock: Lock | None = None,
    **options: Unpack[BuildOptions],
) -> Manifest:
    """Build a mixture into a folder and return its manifest, which is also written there.

    lock: what the input files must be; not needed where all are local.

    Raises: PipelineError; nothing half-written is left, and another run keeps what is done.
    """
    # Workers may have been started in another folder.
    mixture = replace(mixture, folder=mixture.folder.absolute())
    options["raw"] = options.get("raw", RAW).absolute()
    plan = make_plan(mixture, lock, options["raw"], out)
    tokenizer = check_plan(plan, allows_code=options.get("allows_code", False))
    refuse_nested(out, options.get("cache"))
    updates = options.get("updates", False)
    if updates:
        _LOG.warning("update: %s", describe_redo(find_redo(plan, out)))
    with ExitStack() as stack:
        lock_of = partial(lock_output, updates=updates)
        state = stack.enter_context(lock_of(out.absolute(), mixture.fingerprint))
        check_versions(state)
        holdout_state = None
        if mixture.validation is not None:
            holdout_state = stack.enter_context(
                lock_of(state.out / VALIDATION, holdout_identity(mixture))
            )
        check_machine(plan, state.out, **options)
        check_budgets(plan, allows_code=options.get("allows_code", False))
        with open_context(plan, state, tokenizer, **options) as context:
            manifest = _build(context, plan, holdout_state)
        return finish(state, manifest)


def _build(context: BuildContext, plan: Plan, holdout_state: State | None) -> Manifest:
    mixture, state = context.mixture, context.state
    made = make_shards(context, plan)
    samples = made.records
    num_rows = {
        record.folder.removeprefix(f"{TRAIN}/"): record.chunks.drawn
        for records in samples.values()
        for record in records
    }
    check_listed(plan.partitions, num_rows, mixture.order)
    # Some may not have been reached.
    partitions = [name for name in plan.partitions if name in num_rows]
    files = files_of(record for records in samples.values() for record in records)
    pool_digest = fingerprint({path: file.sha256 for path, file in files.items()})
    written = {
        name: [one for one in records if f"{one.folder}/{INDEX_NAME}" in one.files]
        for name, records in samples.items()
    }
    files.update(write_indexes(state, written, partitions))
    order, ordered_files = order_samples(context, samples, partitions, pool_digest)
    files.update(ordered_files)
    files.update(made.copies)
    files.update(copy_tokenizer(state, context.tokenizer))
    if holdout_state is not None:
        files.update(write_holdout(context, holdout_state, samples, plan))
    manifest = make_manifest(describe_mixture(mixture), plan.lock, context.tokenizer, order, files)
    described = {
        source.name: _describe_source(source, samples[source.name]) for source in made.sources
    }
    return replace(manifest, sources=described, evaluation=made.evaluation)


def _describe_source(source: PreparedSource, records: Sequence[PartitionOutput]) -> SourceRecord:
    """Sum a source's counts over its partitions."""
    dropped: Counter[str] = Counter()
    for record in records:
        dropped.update(record.documents.dropped)
    tokens = _sum(TokenCounts, [record.tokens for record in records])
    planned, available = source.planned, tokens.written - tokens.validation
    balance = sampling.balance_of(planned.ask, available, tokens.drawn)
    return SourceRecord(
        num_left_out=len(planned.skipped),
        num_unread=len(planned.files or ()) - sum(len(one.inputs) for one in records),
        filters=source.filters_made_of,
        documents=DocumentCounts(
            num_in=sum(record.documents.num_in for record in records),
            kept=sum(record.documents.kept for record in records),
            dropped=dict(sorted(dropped.items())),
        ),
        tokens=tokens,
        chunks=_sum(ChunkCounts, [record.chunks for record in records]),
        budget=BudgetRecord(expected=planned.source.expected, **asdict(balance)),
        partitions=tuple(map(without_digests, records)),
    )


def _sum(kind: type[Counts], counts: Sequence[Counts]) -> Counts:
    names = [field.name for field in fields(kind)]
    return kind(**{name: sum(getattr(one, name) for one in counts) for name in names})
