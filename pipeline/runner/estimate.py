"""Estimate: a plan -> what a build of it would take: downloads, disk, hours, money.

Sizes are those of the lock, or of local files; the rest are guesses from them, by the rates below.
Of a source that is not locked they are guessed from its tokens, and one that is sampled is taken to
have no more than is drawn from it.
"""

from collections.abc import Mapping
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
from pipeline.storage import expand_braces

# Prose and code under this tokenizer come to 3.4 to 4.3 bytes of text a token.
_TEXT_BYTES_PER_TOKEN: Final = 4
# gzip and zstd take text to between a half and a fifth of its size.
# Ids of another tokenizer, four bytes each in MDS, stand for about as much text as ours do.
_EXPANSION: Final = {"gz": 3, "zst": 3, "zstd": 3, "parquet": 2}
# Ordered rows take about 1.5 bytes a token, provenance 30 bytes a row of some 600 tokens.
_ORDERED_BYTES_PER_TOKEN: Final = Fraction(155, 100)

BYTES_PER_SECOND: Final = 125_000_000
"""What comes over a line of 1 Gbit/s."""
TEXT_BYTES_PER_CORE_SECOND: Final = 20_000_000
"""What a core reads, tokenizes, cuts and writes in order; see `docs/benchmarks.md`."""
DOLLARS_PER_CORE_HOUR: Final = Fraction(5, 100)
"""What a core of a machine in the cloud costs, about."""
DOLLARS_PER_TERABYTE_MONTH: Final = 80
"""What its disk costs, about."""
REQUESTS_PER_5_MINUTES: Final = 2_500
"""What the Hub allowed an account with a token in late 2026, about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceEstimate:
    """What is known of a source before it is read."""

    source: str
    """Its name."""
    category: str
    """Its category."""
    asked: str
    """What the mixture asks for: `all`, a number of tokens, or epochs."""
    num_files: int | None
    """Partitions to make; None where nobody has looked."""
    input_bytes: int
    """Size of the files as they are stored; a guess where nobody has looked."""
    download_bytes: int
    """What of it is not on this machine."""
    num_requests: int
    """One a file that is not."""
    num_documents: int | None
    """Rows, where the origin tells them."""
    available_tokens: int
    """What the files come to, guessed from their sizes."""
    drawn_tokens: int
    """The budget, or what `all` or `epochs` come to."""
    is_sampled: bool
    """Whether all of its chunks lie on disk until some are drawn."""
    is_short: bool
    """Whether it seems to have less than is asked of it, repetitions included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What a build would take."""

    sources: tuple[SourceEstimate, ...]
    """Sorted by name."""
    unlocked: tuple[str, ...]
    """Those that nobody has looked for: they are taken to have no more than is asked of them."""
    download_bytes: int
    """What has to come."""
    num_requests: int
    """One a file that has to come."""
    raw_bytes: int
    """What lies in the folder of pulled files; with `--no-keep-raw` next to nothing."""
    chunk_bytes: int
    """Chunks of sampled sources, which lie there until they are drawn."""
    output_bytes: int
    """Shards, rows in order and provenance."""
    pull_hours: float
    """At `BYTES_PER_SECOND`, and no faster than the requests allowed."""
    build_hours: float
    """At `TEXT_BYTES_PER_CORE_SECOND`, with the given number of workers."""
    dollars: int
    """For the cores in those hours, and for the disk in a month."""


def make_estimate(plan: Plan, workers: int) -> Estimate:
    """Say what a build would read, write and take; guesses are from sizes alone."""
    sources = [_look_at(planned, plan.mixture.scale) for planned in plan.sources]
    item_bytes = {"uint16": 2, "uint32": 4}[plan.mixture.shards.dtype]
    download = sum(one.download_bytes for one in sources)
    raw = sum(one.input_bytes for one in sources)
    read = sum(one.available_tokens for one in sources)
    drawn = sum(one.drawn_tokens for one in sources)
    sampled = sum(one.available_tokens for one in sources if one.is_sampled)
    num_requests = sum(one.num_requests for one in sources)
    output = int(drawn * (item_bytes + _ORDERED_BYTES_PER_TOKEN))
    chunk_bytes = sampled * item_bytes
    pull_seconds = max(download / BYTES_PER_SECOND, num_requests * 300 / REQUESTS_PER_5_MINUTES)
    core_seconds = read * _TEXT_BYTES_PER_TOKEN / TEXT_BYTES_PER_CORE_SECOND
    terabytes = Fraction(raw + chunk_bytes + output, 10**12)
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
        dollars=round(
            DOLLARS_PER_CORE_HOUR * Fraction(core_seconds) / 3600
            + DOLLARS_PER_TERABYTE_MONTH * terabytes
        ),
    )


def _look_at(planned: PlannedSource, scale: Fraction) -> SourceEstimate:
    """Say what is known of a source."""
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
        num_files, available, stored = len(files), _guess_tokens(sizes), sum(sizes.values())
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
    """Return the tokens and the number of the files that nobody has looked at yet.

    What is drawn must at least be there. A miniature reads twice its part, and no less than a file.
    """
    whole = int((declared_tokens(source) or 0) / max(source.epochs or 1, 1))
    is_listed = source.origin.url is None or any("*" in url for url in source.origin.url)
    num_files = (
        None if is_listed else sum(len(expand_braces(url)) for url in source.origin.url or ())
    )
    if scale >= 1:
        return whole, num_files
    part = min(max(2 * scale, Fraction(1, num_files or 10**9)), Fraction(1))
    return int(whole * part), num_files and ceil(part * num_files)


def _guess_tokens(sizes: Mapping[InputFile, int]) -> int:
    text_bytes = sum(
        size * _EXPANSION.get(file.kind.rpartition(".")[2], 1) for file, size in sizes.items()
    )
    return text_bytes // _TEXT_BYTES_PER_TOKEN


def _num_documents(planned: PlannedSource) -> int | None:
    """Return how many rows a source has, where the lock or its local files tell of all."""
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
                f"{file.declared}: broken parquet: {error}", "pull the file again"
            ) from error
    return 1 if file.kind.startswith(".txt") else None
