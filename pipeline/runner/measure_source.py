"""Measure a source: some documents of its files, read and chunked as a build does it.

What they come to, and the processor time that each stage takes for them on this machine, stand for
the rest of the source. Nothing is written, and no request is sent.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.config import Mixture, Source
from pipeline.core.arrays import Int64Array
from pipeline.core.bundled import mixture_path
from pipeline.core.document import Document
from pipeline.core.errors import DocumentError
from pipeline.core.ragged import Rows
from pipeline.sources import Decoding, FileReader, InputFile, list_files
from pipeline.stages.chunking import make_chunker
from pipeline.stages.dedup import scan_documents
from pipeline.stages.filters import make_filters
from pipeline.stages.tokenizer import Tokenizer, without_content

# Enough documents for shares to be within some percent, and half a second of the slowest filters
# in each file. Files are at even distances, since neighbours are often alike.
SAMPLE_BYTES = 1 << 20
_FEWEST_FILES, _MOST_FILES = 4, 64
_SHIPPED = ("sample/prose/*.jsonl", "sample/questions/*.jsonl")


@dataclass(kw_only=True, slots=True)
class SourceSample:
    """Some documents of a source, and what they come to."""

    stored_bytes: float = 0
    """Of the files, that hold these documents."""
    is_whole: bool = True
    """Whether these are all documents of the source."""
    text_bytes: int = 0
    num_documents: int = 0
    num_kept: int = 0
    """Those that are chunked."""
    dropped_bytes: int = 0
    """Text of those that filters drop."""
    largest_bytes: int = 0
    """Text of the largest."""
    names: list[bytes] = field(default_factory=list)
    """The id of each row's document."""
    parts: list[Rows] = field(default_factory=list)
    """The chunks, in blocks."""
    documents: list[Int64Array] = field(default_factory=list)
    """The number of each row's document."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Of a core, by stage."""

    @property
    def rows(self) -> Rows:
        return Rows.concat(self.parts or [Rows(np.empty(0, np.uint32), np.zeros(1, np.int64))])

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the processor time of what is done within to a stage."""
        before = time.process_time()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - before


@dataclass(frozen=True, kw_only=True, slots=True)
class Stages:
    """What happens to the documents of a source after they are read."""

    source: Source
    mixture: Mixture
    tokenizer: Tokenizer
    allows_code: bool = False
    """Whether filters may run code that the mixture names."""

    def measure(self, documents: Sequence[Document], sample: SourceSample) -> None:
        """Take documents through all stages, and add what they come to. Raises: ConfigError."""
        mixture, folder = self.mixture, Path(self.mixture.folder)
        filters = self.source.filters
        judge, scans = (
            make_filters(filters, folder, allows_code=self.allows_code).judge,
            bool(mixture.dedup or mixture.decontaminate),
        )
        minhash = mixture.dedup.minhash if mixture.dedup else None
        chunker = make_chunker(mixture.chunk, self.tokenizer)
        # Once beforehand, since models, rules and compiled code are loaded once in a process.
        first = judge([*documents[:1]])[0]
        make_chunker(mixture.chunk, self.tokenizer).chunk(self._encode(first))
        scan_documents(first if scans else [], minhash, None)
        with sample.timed("filter"):
            kept, dropped = judge([*documents])
        formats = tuple(one for one in filters if one.may_rewrite)
        if scans:
            with sample.timed("scan"):
                scan_documents(kept, minhash, None)
            if formats:
                rewrite = make_filters(formats, folder, allows_code=self.allows_code).judge
                with sample.timed("filter again"):
                    rewrite([*documents])
        # Twice, since ids of words are kept: the first megabyte takes two to three times as long as
        # the tenth.
        self._encode(kept)
        with sample.timed("tokenize"):
            encoded = self._encode(kept)
        has_content = np.ones(len(kept), np.bool_)
        has_content[without_content(self.tokenizer, encoded)] = False
        with sample.timed("chunk"):
            chunks = chunker.chunk(encoded.take(has_content))
        used = [document for document, has in zip(kept, has_content, strict=True) if has]
        sizes = [len(one.text.encode()) for one in documents]
        sample.text_bytes += sum(sizes)
        sample.largest_bytes = max([sample.largest_bytes, *sizes])
        sample.dropped_bytes += sum(len(one.document.text.encode()) for one in dropped)
        sample.names += [used[number].id.encode() for number in chunks.documents.tolist()]
        sample.documents.append(chunks.documents + sample.num_kept)
        sample.num_kept += len(used) - len(chunks.failed)
        sample.parts.append(chunks.rows)

    def _encode(self, documents: Sequence[Document]) -> Rows:
        # Not checked against the library, as the first of each file is, which would weigh too much.
        return self.tokenizer.encode([one.text for one in documents])


def measure_source(
    source: Source, files: Sequence[InputFile], stages: Stages
) -> SourceSample | None:
    """Measure a source by its files on this machine; None where there is no document of it.

    Raises: InputError for a damaged file, ConfigError for filters that lack something.
    """
    there = [file for file in files if file.path.is_file()]
    decoding = _decoding(source, Path(stages.mixture.folder))
    if not there or (source.origin.decode is not None and decoding is None):
        return None
    mean_bytes = max(sum(file.path.stat().st_size for file in there) // len(there), 1)
    chosen = _spread(there, min(max(SAMPLE_BYTES // mean_bytes, _FEWEST_FILES), _MOST_FILES))
    sample = SourceSample(is_whole=len(chosen) == len(files))
    for file in chosen:
        reader = FileReader(
            file,
            text_field=source.origin.text,
            id_field=source.origin.id,
            decoding=decoding,
            max_document_bytes=stages.mixture.max_document_bytes,
            takes_empty=stages.mixture.chunk.algorithm == "ettin-line-v1",
            block_bytes=SAMPLE_BYTES // len(chosen),
        )
        with sample.timed("read"):
            block = next(reader.blocks(_skip), [])
        size, stored = file.path.stat().st_size, reader.stored_bytes
        sample.is_whole &= stored >= size
        sample.stored_bytes += min(stored, size)
        sample.num_documents += reader.num_rows
        if block:
            stages.measure(block, sample)
    return sample if sample.names else None


def make_up_source(stages: Stages) -> SourceSample:
    """Take documents that ship with the package for those of a source that is not here.

    Raises: ConfigError for filters that lack something.
    """
    sample = SourceSample(is_whole=False)
    folder = mixture_path("sample").parent
    for file in list_files("sample", _SHIPPED, folder):
        with sample.timed("read"):
            block = next(FileReader(file, text_field="text", id_field="id").blocks(_skip), [])
        sample.num_documents += len(block)
        stages.measure(block, sample)
    sample.stored_bytes = sample.text_bytes
    return sample


def _skip(error: DocumentError) -> None:
    """Go on: a build counts the document, or stops at it."""


def _spread(files: Sequence[InputFile], number: int) -> list[InputFile]:
    """Return so many files at even distances, or all."""
    number = min(number, len(files))
    return [files[index * len(files) // number] for index in range(number)]


def _decoding(source: Source, folder: Path) -> Decoding | None:
    """Return how ids become text, where the tokenizer that made them is a file here."""
    spec = source.origin.decode
    if spec is None or not (folder / spec.tokenizer).is_file():
        return None
    return Decoding(tokenizer=folder / spec.tokenizer, cleans_up=spec.clean_up)
