"""Estimate: a plan -> what a build takes: downloads, disk, hours, and money where prices are given.

Sizes come from the lock, from local files or, as a guess, from the budget; the rest from rates.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Source, declared_tokens
from pipeline.core.errors import InputError
from pipeline.runner.plan import Plan, PlannedSource, num_bytes
from pipeline.sources import InputFile
from pipeline.storage import expand_braces, restore_hint

# Prose and code under this tokenizer come to 3.4 to 4.3 bytes of text a token.
_TEXT_BYTES_PER_TOKEN: Final = 4
# gzip and zstd take text to between a half and a fifth of its size.
# Ids of another tokenizer, four bytes each in MDS, hold about as much text as ours.
_EXPANSION: Final = {
    "gz": 3, "zst": 3, "zstd": 3, "xz": 3, "bz2": 3, "parquet": 2
}  # fmt: skip
# Ordered rows take about 1.5 bytes a token, provenance 30 bytes a row of some 600 tokens.
_ORDERED_BYTES_PER_TOKEN: Final = Fraction(155, 100)

BYTES_PER_SECOND: Final = 125_000_000
"""Throughput of a line of 1 Gbit/s."""
TEXT_BYTES_PER_CORE_SECOND: Final = 20_000_000
"""Text that a core takes from input to ordered rows; see `docs/benchmarks.md`."""
REQUESTS_PER_5_MINUTES: Final = 2_500
"""What the Hub allows an account with a token, as of late 2026."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceEstimate:
    """What is known of a source before it is read; tokens are guessed from file sizes."""

    source: str
    category: str
    asked: str
    """What the mixture asks for: `all`, a number of tokens, or epochs."""
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
    is_short: bool
    """Whether it seems to have too few tokens for its budget, repetitions included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a build takes."""

    sources: tuple[SourceEstimate, ...]
    unlocked: tuple[str, ...]
    """Sources whose sizes are guessed from their budgets."""
    download_bytes: int
    num_requests: int
    """One for each file to download."""
    raw_bytes: int
    """All input files; with `--no-keep-raw` almost nothing of them stays on disk."""
    chunk_bytes: int
    """Chunks of sampled sources, until they are sampled."""
    output_bytes: int
    """Shards, rows in order and provenance."""
    pull_hours: float
    """At `BYTES_PER_SECOND`, and no faster than the request limit allows."""
    build_hours: float
    """At `TEXT_BYTES_PER_CORE_SECOND`, with the given number of workers."""
    dollars: int | None
    """For the cores in those hours and a month of the disk, where prices are given."""


def make_estimate(
    plan: Plan,
    workers: int,
    *,
    price_core_hour: Fraction | None = None,
    price_tb_month: Fraction | None = None,
) -> Estimate:
    """Estimate what a build reads, writes and takes, from sizes alone. Prices are in dollars."""
    sources = [_estimate_source(planned, plan.mixture.scale) for planned in plan.sources]
    item_bytes = {"uint16": 2, "uint32": 4}[plan.mixture.shards.dtype]
    download = sum(one.download_bytes for one in sources)
    raw = sum(one.input_bytes for one in sources)
    read = sum(one.available_tokens for one in sources)
    drawn = sum(one.drawn_tokens for one in sources)
    sampled = sum(one.available_tokens for one in sources if one.is_sampled)
    num_requests = sum(one.num_requests for one in sources)
    output = int(drawn * (item_bytes + _ORDERED_BYTES_PER_TOKEN))
    # Where the holdout has a chunker of its own, all chunks are there twice.
    num_ways = 1 if plan.mixture.validation_chunk is None else 2
    chunk_bytes = sampled * item_bytes * num_ways
    pull_seconds = max(download / BYTES_PER_SECOND, num_requests * 300 / REQUESTS_PER_5_MINUTES)
    core_seconds = read * _TEXT_BYTES_PER_TOKEN / TEXT_BYTES_PER_CORE_SECOND
    has_price = price_core_hour is not None or price_tb_month is not None
    dollars = (price_core_hour or 0) * Fraction(core_seconds) / 3600 + (
        price_tb_month or 0
    ) * Fraction(raw + chunk_bytes + output, 10**12)
    return Estimate(
        sources=tuple(sources),
        unlocked=tuple(plan.unlocked),
        download_bytes=download,
        num_requests=num_requests,
        raw_bytes=raw,
        chunk_bytes=chunk_bytes,
        output_bytes=output,
        pull_hours=pull_seconds / 3600 if download else 0.0,
        build_hours=core_seconds / workers / 3600,
        dollars=round(dollars) if has_price else None,
    )


def _estimate_source(planned: PlannedSource, scale: Fraction) -> SourceEstimate:
    source, ask, files = planned.source, planned.ask, planned.files
    if isinstance(source.tokens, int):
        asked = f"{source.tokens:,} tokens"
    else:
        asked = "all" if source.epochs is None else f"{source.epochs} epochs"
    if files is None:
        available, num_files = _guess_unlocked(source, scale)
        stored = available * _TEXT_BYTES_PER_TOKEN // _EXPANSION["gz"]
        missing, num_requests = stored, num_files or 1
    else:
        sizes = {file: num_bytes(file) for file in files}
        num_files, stored = len(files), sum(sizes.values())
        text = sum(num * _EXPANSION.get(f.kind.rpartition(".")[2], 1) for f, num in sizes.items())
        available = text // _TEXT_BYTES_PER_TOKEN
        away = [size for file, size in sizes.items() if not file.path.exists()]
        missing, num_requests = sum(away), len(away)
    drawn = int(available * ask.epochs) if ask.tokens is None and ask.epochs else ask.tokens
    return SourceEstimate(
        source=source.name,
        category=source.category,
        asked=asked,
        num_files=num_files,
        input_bytes=stored,
        download_bytes=missing,
        num_requests=num_requests,
        num_documents=_num_documents(planned),
        available_tokens=available,
        drawn_tokens=drawn or 0,
        is_sampled=planned.is_sampled,
        is_short=files is not None
        and ask.tokens is not None
        and ask.tokens > available * ask.max_repetition,
    )


def _guess_unlocked(source: Source, scale: Fraction) -> tuple[int, int | None]:
    """Guess tokens and files of a source that is not locked; a miniature reads twice its part."""
    whole = int((declared_tokens(source) or 0) / max(source.epochs or 1, 1))
    is_listed = source.origin.url is None or any("*" in url for url in source.origin.url)
    num_files = (
        None if is_listed else sum(len(expand_braces(url)) for url in source.origin.url or ())
    )
    if scale >= 1:
        return whole, num_files
    part = min(max(2 * scale, Fraction(1, num_files or 10**9)), Fraction(1))
    return int(whole * part), num_files and ceil(part * num_files)


def _num_documents(planned: PlannedSource) -> int | None:
    if planned.locked is not None:
        return planned.locked.num_rows
    counts = [_count_rows(file) for file in planned.files or ()]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) and counts else None


def _count_rows(file: InputFile) -> int | None:
    if file.kind == ".parquet":
        try:
            return int(pq.read_metadata(file.path).num_rows)
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"{file.declared}: broken parquet: {error}",
                restore_hint(file.declared),
            ) from error
    return 1 if file.is_one_document else None
