"""Run: carries out a plan and writes the manifest; the only place where all stages meet.

A document's way: inputs -> scan of the corpus -> partitions of chunks -> holdout -> samples ->
ordered rows -> manifest. Each stage is a list of tasks from files to files; intact results of an
earlier run are kept.
"""

import logging
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TypeVar

from pipeline.config import RAW, Mixture
from pipeline.core.digest import fingerprint
from pipeline.core.errors import ConfigError
from pipeline.core.progress import ReportProgress
from pipeline.core.shown import printable
from pipeline.dataset import (
    VALIDATION,
    BudgetRecord,
    ChunkCounts,
    DocumentCounts,
    Manifest,
    MixtureRecord,
    PartitionCounts,
    PartitionRecord,
    SourceRecord,
    State,
    TokenCounts,
)
from pipeline.runner.build_partitions import build_partitions
from pipeline.runner.cluster import Tls, default_memory_bytes, open_cluster
from pipeline.runner.corpus_scan import scan_corpus
from pipeline.runner.holdout_output import holdout_identity, write_holdout
from pipeline.runner.holdout_split import split_holdout
from pipeline.runner.inputs import BuildContext, PreparedSource, prepare_source
from pipeline.runner.order_rows import order_samples
from pipeline.runner.output_lock import (
    finish,
    lock_output,
    make_manifest,
    refuse_nested,
    restore_records,
)
from pipeline.runner.output_tokenizer import check_special_tokens, copy_tokenizer
from pipeline.runner.plan import Plan, make_plan
from pipeline.runner.sample_sources import (
    check_budgets,
    find_cached_samples,
    sample_chunks,
    write_indexes,
)
from pipeline.runner.task_cache import PartitionOutput, files_of
from pipeline.runner.tasks.make_partition import cached_tokenizer
from pipeline.sources import Lock, check_tokenizer, plan_download, pull
from pipeline.stages import sampling
from pipeline.stages.filters import identify

Counts = TypeVar("Counts", TokenCounts, ChunkCounts)
_LOG = logging.getLogger(__name__)


def build(
    mixture: Mixture,
    out: Path,
    *,
    lock: Lock | None = None,
    raw: Path = RAW,
    keeps_raw: bool = True,
    workers: int,
    scheduler: str | None,
    tls: Tls | None = None,
    report: ReportProgress,
    memory_bytes: int | None = None,
) -> Manifest:
    """Build a mixture into a folder and return its manifest, which is also written there.

    lock: what the input files must be; not needed where all are local. raw: the folder of pulled
    files, to which missing ones are pulled; without `keeps_raw` each is fetched only while it is
    read. scheduler: the address of a cluster; by default `workers` processes are started here. tls:
    certificates for it. memory_bytes: a larger pool is laid out by position on disk first; by
    default half of the machine's memory.

    Raises: PipelineError; nothing half-written is left, and another run keeps what is done.
    """
    # Workers may have been started in another folder.
    mixture, raw = replace(mixture, folder=mixture.folder.absolute()), raw.absolute()
    plan = make_plan(mixture, lock, raw, out)
    for line in plan.skipped:
        _LOG.warning("warning: %s", printable(line))
    if plan.unlocked:
        raise ConfigError(
            f"sources.{plan.unlocked[0]}.from: got a remote source without a lock, expected a "
            "locked mixture",
            "lock it once: ettin-data lock MIXTURE; then build again",
        )
    tokenizer = cached_tokenizer(mixture.tokenizer, mixture.folder)
    if plan.lock is not None:
        check_tokenizer(plan.lock.tokenizer, tokenizer.digest, plan.lock.where)
    check_special_tokens(tokenizer, mixture.order, mixture.chunk)
    refuse_nested(out)
    with ExitStack() as stack:
        state = stack.enter_context(lock_output(out.absolute(), mixture.fingerprint))
        holdout_state = None
        if mixture.validation is not None:
            holdout_state = stack.enter_context(
                lock_output(state.out / VALIDATION, holdout_identity(mixture))
            )
        if plan.lock is not None and keeps_raw:
            pull(plan_download(plan.lock, mixture.folder, raw), report)
        with open_cluster(workers, scheduler, report, tls) as cluster:
            restore_records(state)
            context = BuildContext(
                mixture=mixture,
                state=state,
                cluster=cluster,
                tokenizer=tokenizer,
                memory_bytes=default_memory_bytes() if memory_bytes is None else memory_bytes,
                keeps_raw=keeps_raw,
                run=uuid.uuid4().hex,
            )
            manifest = _build(context, plan, holdout_state)
        return finish(state, manifest)


def _build(context: BuildContext, plan: Plan, holdout_state: State | None) -> Manifest:
    mixture, state = context.mixture, context.state
    prepared = [prepare_source(context, planned) for planned in plan.sources]
    all_sources, evaluation, copies = scan_corpus(context, prepared)
    cached = find_cached_samples(context, all_sources)
    sources = [source for source in all_sources if source.name not in cached]
    chunked = build_partitions(context, sources)
    sampled = [source for source in sources if source.planned.is_sampled]
    holdout = split_holdout(context, {source.name: chunked[source.name] for source in sampled})
    check_budgets(context, sampled, chunked, holdout)
    samples = {**chunked, **cached, **sample_chunks(context, sampled, chunked, holdout)}
    samples = {
        name: sorted(records, key=lambda record: record.folder)
        for name, records in sorted(samples.items())
    }

    files = files_of(record for records in samples.values() for record in records)
    pool_digest = fingerprint({path: file.sha256 for path, file in files.items()})
    files.update(write_indexes(state, samples, plan.partitions))
    order, ordered_files = order_samples(context, samples, plan.partitions, pool_digest)
    files.update(ordered_files)
    files.update(copies)
    files.update(copy_tokenizer(state, context.tokenizer))
    if holdout_state is not None:
        files.update(write_holdout(context, holdout_state, samples, plan))
    record = MixtureRecord(
        name=mixture.name,
        fingerprint=mixture.fingerprint,
        declaration=mixture.declaration(),
        overrides=tuple(mixture.overrides),
    )
    manifest = make_manifest(record, plan.lock, context.tokenizer, order, files)
    described = {
        source.name: _describe_source(source, samples[source.name], mixture.folder)
        for source in all_sources
    }
    return replace(manifest, sources=described, evaluation=evaluation)


def _describe_source(
    source: PreparedSource, records: Sequence[PartitionOutput], folder: Path
) -> SourceRecord:
    """Sum a source's counts over its partitions; `folder`, the mixture's, has files of filters."""
    dropped: Counter[str] = Counter()
    for record in records:
        dropped.update(record.documents.dropped)
    tokens = _sum(TokenCounts, [record.tokens for record in records])
    planned, available = source.planned, tokens.written - tokens.validation
    balance = sampling.balance_of(planned.ask, available, tokens.drawn)
    return SourceRecord(
        num_left_out=len(planned.skipped),
        filters=identify(planned.source.filters, folder),
        documents=DocumentCounts(
            num_in=sum(record.documents.num_in for record in records),
            kept=sum(record.documents.kept for record in records),
            dropped=dict(sorted(dropped.items())),
        ),
        tokens=tokens,
        chunks=_sum(ChunkCounts, [record.chunks for record in records]),
        budget=BudgetRecord(expected=planned.source.expected, **asdict(balance)),
        partitions=tuple(_without_digests(record) for record in records),
    )


def _sum(kind: type[Counts], counts: Sequence[Counts]) -> Counts:
    names = [field.name for field in fields(kind)]
    return kind(**{name: sum(getattr(one, name) for one in counts) for name in names})


def _without_digests(record: PartitionOutput) -> PartitionRecord:
    """Return a partition as the manifest stores it, which lists the digests of all files once."""
    facts = {field.name: getattr(record, field.name) for field in fields(PartitionCounts)}
    return PartitionRecord(**facts, files=tuple(sorted(record.files)))
