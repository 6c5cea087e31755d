"""Source volume: a planned source and a sample of it -> how much of each thing a build will have.

A source whose files are not here has the size that its lock says, or that its budget allows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Mixture, Source, declared_tokens
from pipeline.core.apportion import largest_remainder
from pipeline.core.errors import InputError
from pipeline.dataset import SourceRow
from pipeline.runner.expected_files import (
    EXPANSION,
    TEXT_BYTES_PER_TOKEN,
    expected_part,
    tokens_by_size,
)
from pipeline.runner.measure_source import SourceSample
from pipeline.runner.plan import PlannedSource, num_bytes
from pipeline.sources import InputFile
from pipeline.storage import expand_braces, restore_hint


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceVolume:
    """How much there is of a source, over all its partitions; numbers are expectations."""

    planned: PlannedSource
    sample: SourceSample
    """Of this source, or made up."""
    is_measured: bool
    num_files: int | None
    """None where the source is neither here nor locked."""
    num_partitions: int
    stored_bytes: int
    missing_bytes: int
    """Of them, those not on this machine."""
    num_missing: int
    """Files not on this machine."""
    part: float
    """How many times the sample is in the source."""
    held_part: float
    """Of the chunks, the part that is for validation."""
    drawn_tokens: int

    @property
    def name(self) -> str:
        return self.planned.source.name

    @property
    def num_documents(self) -> float:
        return self.part * self.sample.num_documents

    @property
    def num_kept(self) -> float:
        """Documents that are chunked."""
        return self.part * self.sample.num_kept

    @property
    def text_bytes(self) -> float:
        return self.part * self.sample.text_bytes

    @property
    def num_chunks(self) -> float:
        return self.part * len(self.sample.names)

    @property
    def num_tokens(self) -> float:
        """Of all chunks."""
        return self.num_chunks * self.tokens_per_chunk

    @property
    def tokens_per_chunk(self) -> float:
        return len(self.sample.rows.values) / max(len(self.sample.names), 1)

    @property
    def drawn_chunks(self) -> float:
        return self.drawn_tokens / max(self.tokens_per_chunk, 1)

    def counts(self, asked: int) -> SourceRow:
        """Return what is expected of the source; None where nothing of it was read.

        asked: tokens that the mixture wants.
        """
        written = round(self.num_tokens)
        validation = written - round(self.num_tokens * (1 - self.held_part))
        available, drawn, sample = written - validation, self.drawn_tokens, self.sample
        known = count_documents(self.planned)
        documents = kept = read = added = discarded = rows = dropped = None
        if self.is_measured:
            of_byte = sample.read_rows / max(sample.read_bytes, 1)
            documents = round(self.stored_bytes * of_byte) if known is None else known
            kept = round(Fraction(documents * sample.num_kept, max(sample.num_documents, 1)))
            reasons = +sample.dropped
            lost = Fraction(documents - kept, max(reasons.total(), 1))
            exact = {reason: number * lost for reason, number in reasons.items()}
            dropped = {
                one: num for one, num in largest_remainder(exact, documents - kept).items() if num
            }
            read = round(self.part * sample.num_tokens)
            discarded = round(self.part * sample.num_discarded)
            added = written + discarded - read
            rows = round(self.drawn_chunks)
        return SourceRow(
            category=self.planned.source.category, source=self.name, asked=asked,
            documents=documents if self.is_measured else known, kept=kept, dropped=dropped,
            read=read, added=added, discarded=discarded, written=written, validation=validation,
            repeated=max(drawn - available, 0), unused=max(available - drawn, 0), drawn=drawn,
            rows=rows,
        )  # fmt: skip

    @property
    def held_chunks(self) -> float:
        return self.held_part * self.num_chunks

    @property
    def name_bytes(self) -> float:
        """Of a row: the id of its document."""
        return sum(map(len, self.sample.names)) / max(len(self.sample.names), 1)

    @property
    def length_bytes(self) -> float:
        """Of a row: its length, as MDS stores it."""
        lengths = self.sample.rows.lengths()
        widths = np.where(lengths < 1 << 8, 1, np.where(lengths < 1 << 16, 2, 4))
        return float(widths.sum() / max(len(widths), 1))


def source_volume(
    planned: PlannedSource, sample: SourceSample, mixture: Mixture, *, is_measured: bool
) -> SourceVolume:
    """Return the volume of a source by a sample of it, or by one that is made up."""
    planned = expected_part(planned, _tokens_of(sample) if is_measured else tokens_by_size)
    files = planned.files
    if files is None:
        tokens, num_files = _guess_unlocked(mixture, planned.source)
        stored = tokens * TEXT_BYTES_PER_TOKEN // EXPANSION["gz"]
        missing, num_missing = stored, num_files or 1
    else:
        sizes = [num_bytes(file) for file in files]
        num_files, stored = len(files), sum(sizes)
        away = [size for file, size in zip(files, sizes, strict=True) if not file.path.exists()]
        missing, num_missing = sum(away), len(away)
        tokens = tokens_by_size(files)
    num_sampled = len(sample.rows.values)
    part = stored / max(sample.stored_bytes, 1) if is_measured else tokens / max(num_sampled, 1)
    available = part * num_sampled
    held = _held_part(planned, mixture, available)
    ask = planned.ask
    drawn = ask.tokens or 0
    if ask.tokens is None and ask.epochs:
        drawn = round(available * (1 - held) * float(ask.epochs))
    elif planned.is_in_sequence:
        # Whole partitions, unless all of them are too few.
        drawn = max(drawn, int(available * (1 - held)))
    return SourceVolume(
        planned=planned,
        sample=sample,
        is_measured=is_measured,
        num_files=num_files,
        num_partitions=len(planned.partitions) or num_missing,
        stored_bytes=stored,
        missing_bytes=missing,
        num_missing=num_missing,
        part=part,
        held_part=held,
        drawn_tokens=drawn,
    )


def _tokens_of(sample: SourceSample) -> Callable[[Sequence[InputFile]], float]:
    """Return what estimates the tokens of files by their sizes, as a sample has them."""
    of_byte = len(sample.rows.values) / max(sample.stored_bytes, 1)
    return lambda files: sum(map(num_bytes, files)) * of_byte


def _held_part(planned: PlannedSource, mixture: Mixture, available: float) -> float:
    spec, ask = mixture.validation, planned.ask
    if spec is None:
        return 0.0
    if spec.algorithm == "validation-v1" or ask.key != "tokens" or not ask.tokens:
        return float(spec.fraction)
    # As published, a part of the budget.
    return min(float(spec.fraction) * ask.tokens / max(available, 1), 1.0)


def _guess_unlocked(mixture: Mixture, source: Source) -> tuple[int, int | None]:
    """Guess tokens and files of a source that is not locked; a miniature reads twice its part."""
    scale = mixture.scale
    whole = int((declared_tokens(mixture, source) or 0) / max(source.epochs or 1, 1))
    is_listed = source.origin.url is None or any("*" in url for url in source.origin.url)
    num_files = (
        None if is_listed else sum(len(expand_braces(url)) for url in source.origin.url or ())
    )
    if scale >= 1:
        return whole, num_files
    part = min(max(2 * scale, Fraction(1, num_files or 10**9)), Fraction(1))
    return int(whole * part), num_files and ceil(part * num_files)


def count_documents(planned: PlannedSource) -> int | None:
    """Return the documents of a source, where its lock or its files say."""
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
