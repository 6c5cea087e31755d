"""Measure a source: some documents of its files, read and chunked as a build does it.

What they come to, and the processor time that each stage takes for them on this machine, stand for
the rest of the source. They lie at even distances in what is read of a file, since a file may be
sorted by length. Nothing is written, and no request is sent.
"""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.config import Mixture, Source
from pipeline.core.arrays import Int64Array
from pipeline.core.bundled import mixture_path
from pipeline.core.document import Document
from pipeline.core.errors import DocumentError
from pipeline.core.ragged import Rows
from pipeline.sources import Decoding, FileReader, InputFile, list_files
from pipeline.stages.chunking import make_chunker
from pipeline.stages.dedup import DIGEST, scan_documents
from pipeline.stages.filters import make_filters
from pipeline.stages.tokenizer import Tokenizer, without_content

# Enough documents for shares to be within some percent, and half a second of the slowest filters
# in each file. Files are at even distances, since neighbours are often alike.
SAMPLE_BYTES = 1 << 20
# What is read and parsed of a source, in a second or two; of more, only the first part is known.
READ_BYTES = 32 << 20
_FEWEST_FILES, _MOST_FILES = 4, 64
_PLACES = 16
"""Blocks of documents that are taken of a file, at even distances."""
_SHIPPED = ("sample/prose/*.jsonl", "sample/questions/*.jsonl")


@dataclass(kw_only=True, slots=True)
class SourceSample:
    """Some documents of a source, and what they come to."""

    stored_bytes: float = 0
    """Of the files, that hold as much text as these documents."""
    read_bytes: float = 0
    """Of the files, that were read to find them."""
    read_rows: int = 0
    """All documents in those, bad ones too."""
    is_whole: bool = True
    """Whether these are all documents of the source."""
    text_bytes: int = 0
    num_documents: int = 0
    num_kept: int = 0
    """Those that are chunked."""
    dropped: Counter[str] = field(default_factory=Counter)
    """The others, by reason."""
    dropped_bytes: int = 0
    """Text of those that filters drop."""
    num_tokens: int = 0
    """Of documents that are chunked, before they are."""
    num_discarded: int = 0
    """Of them, those in no chunk."""
    texts: set[bytes] = field(default_factory=set)
    """Digests of texts, where equal ones are dropped."""
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
        judge = make_filters(filters, folder, allows_code=self.allows_code).judge
        scans = bool(mixture.dedup or mixture.decontaminate)
        minhash = mixture.dedup.minhash if mixture.dedup else None
        chunker = make_chunker(mixture.chunk, self.tokenizer)
        # Once beforehand, since models, rules and compiled code are loaded once in a process.
        first = judge([*documents[:1]])[0]
        make_chunker(mixture.chunk, self.tokenizer).chunk(self._encode(first))
        scan_documents(first if scans else [], minhash, None)
        with sample.timed("filter"):
            passed, dropped = judge([*documents])
        kept = passed
        formats = tuple(one for one in filters if one.may_rewrite)
        if scans:
            with sample.timed("scan"):
                scan = scan_documents(passed, minhash, None)
            if mixture.dedup is not None and mixture.dedup.exact:
                kept = _first_of_equal(passed, scan, sample.texts)
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
        sample.dropped.update(one.reason for one in dropped)
        sample.dropped["duplicate_text"] += len(passed) - len(kept)
        sample.dropped["only_special_tokens"] += len(kept) - len(used)
        sample.dropped["undecodable"] += len(chunks.failed)
        num_written = len(chunks.rows.values)
        sample.num_discarded += chunks.num_discarded
        sample.num_tokens += num_written + chunks.num_discarded - chunks.num_added
        sizes = [len(one.text.encode()) for one in documents]
        sample.text_bytes += sum(sizes)
        sample.largest_bytes = max([sample.largest_bytes, *sizes])
        sample.dropped_bytes += sum(len(one.document.text.encode()) for one in dropped)
        sample.names += [used[number].id.encode() for number in chunks.documents.tolist()]
        sample.documents.append(chunks.documents + sample.num_kept)
        sample.num_kept += len(used) - len(chunks.failed)
        sample.parts.append(chunks.rows)

    def _encode(self, documents: Sequence[Document]) -> Rows:
        # Not checked against the library, as the first of a partition is: it would weigh too much.
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
    sample, is_measured = SourceSample(is_whole=len(chosen) == len(files)), False
    for file in chosen:
        reader = FileReader(
            file,
            text_field=source.origin.text,
            id_field=source.origin.id,
            decoding=decoding,
            max_document_bytes=stages.mixture.max_document_bytes,
            takes_empty=stages.mixture.chunk.algorithm == "ettin-line-v1",
            block_bytes=SAMPLE_BYTES // len(chosen) // _PLACES,
        )
        if documents := _take(file, reader, READ_BYTES // len(chosen), sample):
            stages.measure(documents, sample)
            is_measured = True
    return sample if is_measured else None


def _take(
    file: InputFile, reader: FileReader, read_bytes: int, sample: SourceSample
) -> list[Document]:
    """Read so much of a file, and return blocks of documents at even distances in it.

    The stored bytes, rows, unreadable documents and time of these are added to the sample.
    """
    bad: list[str] = []
    blocks = reader.blocks(lambda error: bad.append(error.reason))
    size, begun = file.path.stat().st_size, time.process_time()
    taken: list[Document] = []
    num_taken = taken_rows = num_rows = text_length = num_bytes = 0
    block: list[Document] | None = []
    while block is not None and num_bytes < read_bytes:
        # Of the file; and how much of it will have been read in the end.
        part = reader.stored_bytes / max(size, 1)
        end = min(part * read_bytes / max(num_bytes, 1), 1.0) if num_bytes else 1.0
        bad.clear()
        block = next(blocks, None)
        if num_taken == 0 or block is None or part >= end * num_taken / _PLACES:
            num_taken += block is not None
            taken += block or []
            taken_rows += reader.num_rows - num_rows
            sample.dropped.update(bad)
        num_rows, num_bytes = reader.num_rows, reader.num_record_bytes
        text_length += _text_length(block or [])
    stored = min(reader.stored_bytes, size)
    # Tokens follow from the length of texts, which is known of all that was read.
    taken_part = _text_length(taken) / text_length if text_length else 1.0
    sample.stored_bytes += taken_part * stored
    sample.num_documents += taken_rows
    sample.read_bytes += stored
    sample.read_rows += num_rows
    sample.is_whole &= bool(reader.sha256) and taken_rows == num_rows
    seconds = taken_part * (time.process_time() - begun)
    sample.seconds["read"] = sample.seconds.get("read", 0.0) + seconds
    return taken


def _text_length(documents: list[Document]) -> int:
    return sum(len(one.text) for one in documents)


def _first_of_equal(
    documents: list[Document], scan: pa.RecordBatch, seen: set[bytes]
) -> list[Document]:
    """Return documents without those whose text was seen before, which is added to."""
    first = []
    for document, *digest in zip(
        documents, *(scan[name].to_pylist() for name in DIGEST), strict=True
    ):
        text = b"".join(part.to_bytes(8, "little") for part in digest)
        if text not in seen:
            seen.add(text)
            first.append(document)
    return first


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
    """Go on: no document that ships is bad."""


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
