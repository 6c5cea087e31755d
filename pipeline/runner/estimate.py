"""Estimate: a plan -> what a build takes: downloads, disk, memory, hours, and money if priced.

Some documents of each source are read and chunked, and their rows written, as a build does it;
amounts come from the lock, from local files or, as a guess, from the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from math import ceil
from pathlib import Path

from pipeline.config import Filter, Mixture, declared_tokens
from pipeline.core.errors import ConfigError
from pipeline.core.html_table import html_table
from pipeline.core.limits import default_memory_bytes
from pipeline.core.units import format_bytes, format_cents, format_hours
from pipeline.dataset import SourceRow, with_sums
from pipeline.runner.estimate_disk import DiskEstimate, estimate_disk
from pipeline.runner.estimate_memory import MemoryEstimate, estimate_memory
from pipeline.runner.estimate_time import TimeEstimate, estimate_time
from pipeline.runner.expected_files import expected_part
from pipeline.runner.inputs import refuse_code_in
from pipeline.runner.machine import Machine, exceeded
from pipeline.runner.measure_output import measure_output
from pipeline.runner.measure_source import SourceSample, Stages, make_up_source, measure_source
from pipeline.runner.output_tokenizer import cached_tokenizer
from pipeline.runner.plan import Plan, PlannedSource
from pipeline.runner.source_volume import SourceVolume, count_documents, source_volume
from pipeline.stages.filters import make_filters
from pipeline.stages.tokenizer import EMBEDDED, Tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceEstimate:
    """What is known of a source before all of it is read."""

    source: str
    category: str
    asked: str
    """What the mixture asks for: `all`, a number of tokens, or epochs."""
    is_measured: bool
    """Whether some of its documents were read; else tokens are guessed from file sizes."""
    num_files: int | None
    """None where the source is not locked."""
    input_bytes: int
    download_bytes: int
    """Of `input_bytes`, those not on this machine."""
    num_requests: int
    num_documents: int | None
    """Where the lock or the local files say."""
    available_tokens: int
    drawn_tokens: int
    """Tokens sampled: the budget, or what `all` or `epochs` come to."""
    is_sampled: bool
    """Whether all of its chunks lie on disk until some are sampled."""
    reachable_tokens: int
    """The available ones, as often as a budget may take them."""
    is_short: bool
    """Whether it seems to have too few tokens for its budget, repetitions included."""
    num_files_unread: int = 0
    """Files beyond its budget, where its partitions are made in sequence."""
    is_whole: bool
    """Whether all of its documents were read, so that nothing but near duplicates and what other
    sources have too is left to be found."""
    counts: SourceRow
    """What is expected of its documents and tokens, as a build's manifest counts them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a build takes."""

    sources: tuple[SourceEstimate, ...]
    unlocked: tuple[str, ...]
    """Sources whose sizes are guessed from their budgets."""
    unasked: tuple[str, ...]
    """A line for each source whose filters lack something, and so are not part of this."""
    download_bytes: int
    num_requests: int
    """One for each file to download."""
    num_requests_unkept: int
    """The same with `--no-keep-raw`, which downloads files in every pass over them."""
    raw_bytes: int
    """All input files; with `--no-keep-raw` almost nothing of them stays on disk."""
    disk: DiskEstimate
    memory: MemoryEstimate
    time: TimeEstimate
    exceeds: tuple[str, ...]
    """A line for each limit of the machine that this exceeds."""
    dollars: int | None
    """For the cores in those hours and a month of the disk, where prices are given."""
    cents: int | None = None
    """The same, at least 1."""

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        disk, time = self.disk, self.time
        notes = [
            f"download: ~{format_bytes(self.download_bytes)} in {self.num_requests:,} requests,"
            f" ~{format_hours(time.pull_hours)}",
            f"build: ~{format_hours(time.build_hours)},"
            f" ~{format_bytes(self.memory.worker_bytes)} of memory for each worker",
            f"disk: ~{format_bytes(disk.peak_bytes)} in the output at the peak,"
            f" ~{format_bytes(disk.output_bytes)} at the end",
            *([] if self.cents is None else [f"cost: ~{format_cents(self.cents)}"]),
            *self.exceeds,
        ]
        counts = [source.counts for source in self.sources]
        rows = [
            (
                one.source or "total",
                one.category,
                *map("{:,}".format, (one.asked, one.available, one.drawn)),
            )
            for one in with_sums(sorted(counts, key=lambda one: (one.category, one.source)))
        ]
        texts = ("source", "category")
        numbers = ("tokens asked", "~available", "~sampled")
        return html_table("estimate of a build", notes, texts, numbers, rows)


def make_estimate(
    plan: Plan,
    workers: int,
    *,
    machine: Machine | None = None,
    memory_bytes: int | None = None,
    price_core_hour: Fraction | None = None,
    price_tb_month: Fraction | None = None,
    allows_code: bool = False,
) -> Estimate:
    """Measure samples, and estimate what a build reads, writes and takes. Prices are in dollars.

    machine: what must hold it. memory_bytes, allows_code: of the build, as its options.

    Raises: InputError for a damaged file; ConfigError for code where none is allowed.
    """
    mixture = plan.mixture
    refuse_code_in(mixture, allows_code=allows_code)
    if memory_bytes is None:
        memory_bytes = default_memory_bytes()
    volumes, unasked = _measure(plan, allows_code=allows_code)
    costs = measure_output(volumes, mixture)
    disk = estimate_disk(mixture, volumes, costs, memory_bytes)
    memory = estimate_memory(mixture, volumes, memory_bytes)
    time = estimate_time(mixture, volumes, costs, workers, memory_bytes)
    download = sum(one.missing_bytes for one in volumes)
    raw = sum(one.stored_bytes for one in volumes)
    passes = 2 if mixture.dedup or mixture.decontaminate else 1
    remote = [one for one in volumes if one.planned.source.origin.kind != "path"]
    has_price = price_core_hour is not None or price_tb_month is not None
    dollars = (price_core_hour or 0) * Fraction(time.core_hours) + (price_tb_month or 0) * Fraction(
        raw + disk.peak_bytes, 10**12
    )
    return Estimate(
        sources=_describe_all(plan, volumes),
        unlocked=tuple(plan.unlocked),
        unasked=tuple(unasked),
        download_bytes=download,
        num_requests=sum(one.num_missing for one in volumes),
        num_requests_unkept=passes * sum(one.num_files or one.num_missing for one in remote),
        raw_bytes=raw,
        disk=disk,
        memory=memory,
        time=time,
        exceeds=()
        if machine is None
        else tuple(exceeded(machine, disk, memory, workers, download)),
        dollars=round(dollars) if has_price else None,
        cents=ceil(100 * dollars) if has_price else None,
    )


def estimate_sources(plan: Plan, *, allows_code: bool = False) -> tuple[SourceEstimate, ...]:
    """Measure sources alone. Raises: InputError for a damaged file."""
    volumes, _ = _measure(plan, allows_code=allows_code)
    return _describe_all(plan, volumes)


def _describe_all(plan: Plan, volumes: Sequence[SourceVolume]) -> tuple[SourceEstimate, ...]:
    return tuple(map(partial(_describe, plan.mixture), plan.sources, volumes))


def _measure(plan: Plan, *, allows_code: bool) -> tuple[list[SourceVolume], list[str]]:
    """Measure each source by its own documents, or else by those that ship with the package.

    Return their volumes, and a line for each whose filters cannot be asked.
    """
    mixture, tokenizer = plan.mixture, _tokenizer(plan.mixture)
    made_up: dict[tuple[Filter, ...], SourceSample] = {}
    volumes, unasked = [], []
    for planned in plan.sources:
        source = planned.source
        try:
            make_filters(source.filters, Path(mixture.folder), allows_code=allows_code)
        except ConfigError as error:
            unasked.append(f"sources.{source.name}.filters: {error.message}")
            source = replace(source, filters=())
        stages = Stages(
            source=source, mixture=mixture, tokenizer=tokenizer, allows_code=allows_code
        )
        sample = measure_source(source, expected_part(planned).files or (), stages)
        if sample is None and source.filters not in made_up:
            made_up[source.filters] = make_up_source(stages)
        used = sample or made_up[source.filters]
        volumes.append(source_volume(planned, used, mixture, is_measured=sample is not None))
    return volumes, unasked


def _tokenizer(mixture: Mixture) -> Tokenizer:
    """Return the tokenizer of a mixture; of one on the Hub, where none is asked, the embedded."""
    spec = mixture.tokenizer
    if not spec.name.endswith(".json"):
        spec = replace(spec, name=EMBEDDED, revision=None)
    return cached_tokenizer(spec, mixture.folder)


def _describe(mixture: Mixture, whole: PlannedSource, volume: SourceVolume) -> SourceEstimate:
    """Describe a source; `whole` has all its files, the volume those that are read."""
    planned = volume.planned
    source, ask = planned.source, planned.ask
    declared = mixture.tokens_of(source)
    if isinstance(declared, int):
        asked = f"{declared:,} tokens"
    else:
        asked = "all" if source.epochs is None else f"{source.epochs} epochs"
    available = round(volume.num_tokens * (1 - volume.held_part))
    return SourceEstimate(
        source=source.name,
        category=source.category,
        asked=asked,
        is_measured=volume.is_measured,
        num_files=volume.num_files,
        input_bytes=volume.stored_bytes,
        download_bytes=volume.missing_bytes,
        num_requests=volume.num_missing,
        num_documents=count_documents(planned),
        available_tokens=available,
        drawn_tokens=volume.drawn_tokens,
        is_sampled=planned.is_sampled,
        reachable_tokens=int(available * ask.max_repetition),
        is_short=planned.files is not None
        and len(planned.files) == len(whole.files or ())
        and ask.tokens is not None
        and ask.tokens > available * ask.max_repetition,
        num_files_unread=len(whole.files or ()) - len(planned.files or ()),
        is_whole=volume.is_measured and volume.sample.is_whole,
        counts=volume.counts(ask.tokens or declared_tokens(mixture, source) or volume.drawn_tokens),
    )
