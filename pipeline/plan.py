"""Plan: a mixture -> the partitions that a build would make, with what is known ahead.

Pure but for listing files and reading their sizes and, of parquet, their row counts.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import InputError
from pipeline.layout import TRAIN, State, chunk_folder
from pipeline.mixture import Mixture, Source
from pipeline.sources.local import InputFile, list_files

# Prose and code under this tokenizer come to 3.4 to 4.3 bytes of text a token.
_TEXT_BYTES_PER_TOKEN = 4
# gzip and zstd take text to between a half and a fifth of its size.
_EXPANSION = {".gz": 3, ".zst": 3, ".zstd": 3, ".parquet": 2}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedSource:
    """A source with its files."""

    source: Source
    """As declared."""
    files: tuple[InputFile, ...]
    """Sorted by partition."""

    @property
    def is_sampled(self) -> bool:
        """Whether its chunks are drawn otherwise than each once."""
        return self.source.tokens != "all" and self.source.epochs != 1

    def folder(self, file: InputFile, mixture: Mixture) -> str:
        """Where a partition's drawn shards go, relative to the output."""
        return f"{TRAIN}/{self.source.name}/{chunk_folder(file.partition, mixture.chunk)}"

    def chunks_folder(self, file: InputFile, mixture: Mixture) -> str:
        """Where all chunks of a partition go: where the drawn ones do, unless it is sampled."""
        if self.is_sampled:
            return State.chunks(self.source.name, chunk_folder(file.partition, mixture.chunk))
        return self.folder(file, mixture)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a build of a mixture would do."""

    mixture: Mixture
    """The mixture."""
    sources: tuple[PlannedSource, ...]
    """Sorted by name."""


def make_plan(mixture: Mixture) -> Plan:
    """List the files of every source.

    Raises: InputError when a source has no file, or two files that would share a folder.
    """
    folder = Path(mixture.folder)
    return Plan(
        mixture=mixture,
        sources=tuple(
            PlannedSource(
                source=source, files=tuple(list_files(source.name, source.origin.path, folder))
            )
            for source in mixture.sources
        ),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What is known of a source before it is read."""

    source: str
    """Its name."""
    category: str
    """Its category."""
    num_files: int
    """Partitions to make."""
    input_bytes: int
    """Size of the files as they are stored."""
    num_documents: int | None
    """Rows, where every file tells them ahead (parquet, plain text), else None."""
    asked: str
    """What the mixture asks for: `all`, a number of tokens, or epochs."""
    estimated_tokens: int
    """Tokens to be drawn: the budget, or a guess from the size of the files."""
    estimated_bytes: int
    """Shards and ordered rows to be written for them."""


def look_ahead(plan: Plan) -> list[Outlook]:
    """Say of each source what a build would read and write; guesses are from sizes alone."""
    item_bytes = {"uint16": 2, "uint32": 4}[plan.mixture.shards.dtype]
    outlooks = []
    for planned in plan.sources:
        source = planned.source
        sizes = {file: file.path.stat().st_size for file in planned.files}
        text_bytes = sum(
            size * _EXPANSION.get(f".{file.kind.rsplit('.')[-1]}", 1)
            for file, size in sizes.items()
        )
        available = text_bytes // _TEXT_BYTES_PER_TOKEN
        if isinstance(source.tokens, int):
            asked, tokens = f"{source.tokens:,} tokens", source.tokens
        elif source.epochs is not None:
            asked, tokens = f"{source.epochs} epochs", int(available * source.epochs)
        else:
            asked, tokens = "all", available
        outlooks.append(
            Outlook(
                source=source.name,
                category=source.category,
                num_files=len(planned.files),
                input_bytes=sum(sizes.values()),
                num_documents=_num_documents(planned.files),
                asked=asked,
                estimated_tokens=tokens,
                # Ordered rows take about 1.5 bytes a token.
                estimated_bytes=tokens * item_bytes + tokens * 3 // 2,
            )
        )
    return outlooks


def _num_documents(files: tuple[InputFile, ...]) -> int | None:
    count = 0
    for file in files:
        if file.kind == ".parquet":
            try:
                count += pq.read_metadata(file.path).num_rows
            except (pa.ArrowException, OSError) as error:
                raise InputError(
                    f"{file.declared}: broken parquet: {error}", "pull the file again"
                ) from error
        elif file.kind.startswith(".txt"):
            count += 1
        else:
            return None
    return count
