"""Sampled shards: a plan -> the shards of all its partitions, for a whole build or some alone."""

import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Unpack

from pipeline.config import RAW
from pipeline.core.digest import FileDigest
from pipeline.core.errors import ConfigError
from pipeline.core.shown import printable
from pipeline.dataset import EvaluationCounts, State
from pipeline.runner.build_options import BuildOptions
from pipeline.runner.build_partitions import build_partitions
from pipeline.runner.corpus_scan import scan_corpus
from pipeline.runner.earlier_build import resuming
from pipeline.runner.expected_files import expected_part
from pipeline.runner.holdout_split import split_holdout
from pipeline.runner.inputs import (
    BuildContext,
    PreparedSource,
    prepare_source,
    refuse_code_in,
)
from pipeline.runner.open_cluster import open_cluster
from pipeline.runner.output_tokenizer import cached_tokenizer, check_special_tokens
from pipeline.runner.plan import Plan, num_bytes
from pipeline.runner.reached_partitions import reach_partitions
from pipeline.runner.sample_sources import (
    check_budgets,
    find_cached_samples,
    sample_chunks,
    sample_keys,
)
from pipeline.runner.task_cache import PartitionOutput, log_trusted, remove_sampled
from pipeline.sources import Lock, check_tokenizer, plan_download, pull
from pipeline.stages.tokenizer import Tokenizer

_LOG = logging.getLogger(__name__)
# A build without filters takes a document in a sixteenth of the time that all of them take.
_FILTERS_COST = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledShards:
    """The shards of all partitions of a plan."""

    sources: tuple[PreparedSource, ...]
    records: Mapping[str, list[PartitionOutput]]
    """By source, sorted by folder."""
    evaluation: EvaluationCounts | None
    copies: Mapping[str, FileDigest]
    """Files that list dropped copies."""


def check_plan(plan: Plan, *, allows_code: bool = False) -> Tokenizer:
    """Warn of what is left out, insist on what a build needs, and return the tokenizer.

    Raises: ConfigError for a source without a lock, or one with code where none is allowed;
    MismatchError for another tokenizer than was locked.
    """
    refuse_code_in(plan.mixture, allows_code=allows_code)
    for line in plan.skipped:
        _LOG.warning("warning: %s", printable(line))
    if plan.unlocked:
        raise ConfigError(
            f"sources.{plan.unlocked[0]}.from: got a remote source without a lock, expected a "
            "locked mixture",
            "lock it once: ettin-data lock MIXTURE; then build again",
        )
    mixture = plan.mixture
    tokenizer = cached_tokenizer(mixture.tokenizer, mixture.folder)
    if plan.lock is not None:
        check_tokenizer(plan.lock.tokenizer, tokenizer.digest, plan.lock.where)
    check_special_tokens(tokenizer, mixture.order, mixture.chunk)
    return tokenizer


@contextmanager
def open_context(
    plan: Plan,
    state: State,
    tokenizer: Tokenizer,
    **options: Unpack[BuildOptions],
) -> Iterator[BuildContext]:
    """Pull what is missing, start a cluster, and restore the records of an earlier build."""
    keeps_raw, raw = options.get("keeps_raw", True), options.get("raw", RAW)
    report, memory_bytes = options["report"], options.get("memory_bytes")
    if plan.lock is not None and keeps_raw:
        pull(plan_download(_read_whole(plan, plan.lock), plan.mixture.folder, raw), report)
    cluster_of = open_cluster(
        options["workers"],
        options["scheduler"],
        report,
        options.get("tls"),
        work_bytes(plan),
        folders=[state.root, *([raw] if plan.lock is not None and os.access(raw, os.W_OK) else [])],
        files=[*_first_and_last(plan), *_code_files(plan)],
        retried=options.get("retried"),
    )
    resumed = resuming(state, hashes_all=options.get("hashes_all", False))
    cache = options.get("cache")
    with cluster_of as cluster, resumed as hashes_all:
        state.cache_fails.unlink(missing_ok=True)
        yield BuildContext(
            mixture=plan.mixture,
            state=state,
            cluster=cluster,
            tokenizer=tokenizer,
            memory_bytes=cluster.memory_bytes() if memory_bytes is None else memory_bytes,
            keeps_raw=keeps_raw,
            hashes_all=hashes_all,
            raw=raw,
            run=uuid.uuid4().hex,
            cache=cache.absolute() if isinstance(cache, Path) else cache,
            allows_code=options.get("allows_code", False),
        )


def _first_and_last(plan: Plan) -> list[Path]:
    """Return files of each source that workers must see, if they are here."""
    files = [planned.files for planned in plan.sources if planned.files]
    return [one.path for of_source in files for one in {of_source[0], of_source[-1]}]


def _code_files(plan: Plan) -> list[Path]:
    """Return the files beside a mixture that its filters run; tasks compare their digests, too."""
    filters = [one for source in plan.mixture.sources for one in source.filters if one.is_code]
    modules = {one.options.module for one in filters}
    return [plan.mixture.folder / name for name in sorted(modules - {None}) if name.endswith(".py")]


def _read_whole(plan: Plan, lock: Lock) -> Lock:
    """Return a lock without the sources whose files are pulled one by one, as they are reached."""
    in_sequence = {one.source.name for one in plan.sources if one.is_in_sequence}
    sources = {name: one for name, one in lock.sources.items() if name not in in_sequence}
    return replace(lock, sources=sources)


def work_bytes(plan: Plan) -> int:
    """Return the bytes of all input files, those to be filtered counted as long as that takes."""
    return sum(
        num_bytes(file) * (_FILTERS_COST if one.source.filters else 1)
        for one in map(expected_part, plan.sources)
        for file in one.files or ()
    )


def make_shards(context: BuildContext, plan: Plan) -> SampledShards:
    """Make the shards of all partitions, or find them as an earlier build made them."""
    prepared = [prepare_source(context, planned) for planned in plan.sources]
    all_sources, evaluation, copies = scan_corpus(context, prepared)
    keys = sample_keys(context, all_sources)
    cached = find_cached_samples(context, all_sources, keys)
    sources = [source for source in all_sources if source.name not in cached]
    in_sequence = [source for source in sources if source.planned.is_in_sequence]
    chunked = build_partitions(context, [one for one in sources if one not in in_sequence])
    chunked |= {source.name: reach_partitions(context, source) for source in in_sequence}
    log_trusted(chain.from_iterable([*cached.values(), *chunked.values()]))
    sampled = [source for source in sources if source.planned.is_sampled]
    split = split_holdout(context, sampled, chunked)
    check_budgets(sampled, chunked, split)
    made = {**chunked, **cached, **sample_chunks(context, sampled, keys, chunked, split)}
    remove_sampled(context.state)
    return SampledShards(
        sources=tuple(all_sources),
        records={
            name: sorted(records, key=lambda record: record.folder)
            for name, records in sorted(made.items())
        },
        evaluation=evaluation,
        copies=copies,
    )
