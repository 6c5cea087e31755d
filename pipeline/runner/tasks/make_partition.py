"""Make a partition: an input file, or some -> one folder of shards, as one task.

A bad document stops the build or is dropped and counted, as the mixture says.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array, Uint32Array, Uint64Array
from pipeline.core.digest import FileDigest
from pipeline.core.document import Document
from pipeline.core.errors import DocumentError, InputError
from pipeline.core.files import publish, save_array
from pipeline.core.progress import Work, measured
from pipeline.core.ragged import Rows
from pipeline.dataset import (
    ChunkCounts,
    DocumentCounts,
    InputRecord,
    State,
    TokenCounts,
    dropped_file,
)
from pipeline.dataset.mds import MdsWriter, write_stats
from pipeline.runner.output_tokenizer import cached_tokenizer
from pipeline.runner.shuffle import save_table
from pipeline.runner.task_cache import PartitionOutput, below, distrust_order, recording
from pipeline.runner.tasks.cached_partition import put_partition, take_partition
from pipeline.runner.tasks.holdout_chunks import open_holdout
from pipeline.runner.tasks.partition_task import PartitionTask
from pipeline.runner.tasks.read_documents import (
    DocumentReader,
    Input,
    bad_document,
    load_cached_for,
)
from pipeline.runner.tasks.unique_ids import UniqueIds
from pipeline.stages.chunking import Chunks, make_chunker
from pipeline.stages.filters import Dropped, DroppedWriter
from pipeline.stages.text_digest import text_digests
from pipeline.stages.tokenizer import Tokenizer, tokenize, without_content


def work_of_partition(task: PartitionTask, record: PartitionOutput) -> Work:
    """Return what making a partition has read."""
    num_bytes = sum(one.num_bytes for one in record.inputs)
    return Work(num_bytes=num_bytes, num_tokens=record.tokens.num_in)


@measured(work_of_partition)
def make_partition(task: PartitionTask) -> PartitionOutput:
    """Make a partition, unless it is cached; return its record.

    Raises: DocumentError or InputError for bad input, MismatchError for another input than was
    locked, OutputError when it cannot be written.
    """
    state = State(out=task.out)
    tokenizer = _tokenizer_of(task)
    record = load_cached_for(
        task.inputs, state, task.name, task.key, PartitionOutput, hashes_all=task.hashes_all
    )
    if record is None:
        distrust_order(state, task.name, hashes_all=task.hashes_all)
        with recording(state, task.name) as save:
            record = take_partition(task, state) or _make(task, tokenizer, state)
            save(record)
        put_partition(task, record, state)
    for folder in [task.folder, *([task.holdout.folder] if task.holdout else [])]:
        save_table(state, folder, tokenizer.cls_id, tokenizer.sep_id, _file_numbers(record))
    return record


def _file_numbers(record: PartitionOutput) -> dict[str, Uint32Array]:
    """Return which file of its partition each row is from, for `save_table`."""
    if not record.more_inputs:
        return {}
    counts = [one.num_chunks for one in record.inputs]
    return {"file": np.repeat(np.arange(len(counts), dtype=np.uint32), counts)}


def _make(task: PartitionTask, tokenizer: Tokenizer, state: State) -> PartitionOutput:
    """Write the shards of a partition and what else the mixture asks for; return the record."""
    drops, ids, counts = _Drops(task), UniqueIds(*task.load_repeats()), _Counts()
    reader = _FilesReader(task, drops, counts)
    chunker = make_chunker(task.chunk, tokenizer)
    digests: list[Uint64Array] = [np.empty((0, 2), np.uint64)]
    files: dict[str, FileDigest] = {}
    checked = False
    undecodable = f"has a piece that decodes to nothing, which {task.chunk.algorithm} cannot chunk"
    with (
        publish(task.out / task.folder, state.scratch, syncs=False) as folder,
        _open_dropped(task, state, files) as keep_dropped,
        open_holdout(task.holdout, tokenizer, task.shards, state, files) as chunk_for_holdout,
    ):
        folder.mkdir()
        shards = MdsWriter.of(folder, task.shards)
        for block, filtered in reader.blocks(state):
            drops.count(filtered)
            keep_dropped(filtered, reader.reading)
            try:
                encoded = tokenize(tokenizer, block, drops.where, is_first=not checked)
            except InputError:
                block = _drop_unencodable(tokenizer, block, drops)
                encoded = tokenize(tokenizer, block, drops.where, is_first=not checked)
            checked = checked or (tokenizer.has_loaded and len(block) > 0)
            # Lines are chunks: those of one document share its id, and none is left out.
            kept = np.ones(len(block), np.bool_)
            if task.chunk.algorithm != "ettin-line-v1":
                kept = _drop_unusable(block, without_content(tokenizer, encoded), ids, drops)
            documents = [block[index] for index in np.flatnonzero(kept)]
            if not kept.all():
                encoded = encoded.take(kept)
            chunks = chunker.chunk(encoded)
            for index in chunks.failed:
                drops.drop_without_ids(documents[index], "undecodable", undecodable)
                ids.forget(documents[index].id)
            names = [document.id.encode() for document in documents]
            shards.write(names, chunks.documents, chunks.rows.values, chunks.rows.offsets)
            chunk_for_holdout(names, encoded, chunks.documents)
            ids.end_block(documents, chunks)
            counts.add(encoded, chunks)
            if task.saves_digests:
                written = np.unique(chunks.documents)
                digests.append(text_digests([documents[index].text for index in written]))
        shards.finish()
        stats = write_stats(folder, task.chunk, counts.lengths, counts.tokens["discarded"])
        files.update(below(task.folder, shards.files, stats))
    if task.saves_digests:
        name = State.digests(task.folder)
        with publish(task.out / name, state.scratch, syncs=False) as temporary:
            files[name] = save_array(temporary, np.concatenate(digests))
    return _record(task, reader, drops, counts, files)


@contextmanager
def _open_dropped(
    task: PartitionTask, state: State, files: dict[str, FileDigest]
) -> Iterator[Callable[[Sequence[Dropped], Input], None]]:
    """Yield what writes a share of the documents dropped of a file; add what is written to `files`.

    Which documents are written does not depend on the other files of the partition.
    """
    if task.keep_dropped is None:
        yield lambda dropped, of: None
        return
    name = dropped_file(task.source, task.partition)
    with publish(task.out / name, state.scratch, syncs=False) as temporary:
        writer = DroppedWriter(temporary, task.keep_dropped, task.source)

        def write(dropped: Sequence[Dropped], of: Input) -> None:
            path = of.file.declared if of.origin.groups_files else None
            writer.write(dropped, of.file.partition, path)

        with closing(writer):
            yield write
        files[name] = writer.file.digest


class _FilesReader:
    """Reads the files of a partition one after the other; afterwards `read` describes them."""

    def __init__(self, task: PartitionTask, drops: "_Drops", counts: "_Counts") -> None:
        self._task, self._drops, self._counts = task, drops, counts
        self.reading = task.inputs[0]
        self.read: list[InputRecord] = []
        self.num_rows = 0

    def blocks(self, state: State) -> Iterator[tuple[list[Document], list[Dropped]]]:
        """Yield the documents that pass and those that do not. Raises: as `DocumentReader`."""
        for one in self._task.inputs:
            self.reading, self._drops.where = one, one.file.declared
            reader, before = DocumentReader(one, self._drops.drop), self._counts.num_chunks
            self._drops.reader = reader
            yield from reader.blocks(state)
            self.num_rows += reader.num_rows
            self.read.append(
                InputRecord(
                    path=one.file.declared,
                    num_bytes=reader.num_bytes,
                    sha256=reader.sha256,
                    locked=one.locked_digest,
                    num_chunks=self._counts.num_chunks - before,
                )
            )


class _Drops:
    """Counts dropped documents by reason; bad ones stop the build unless they are skipped."""

    def __init__(self, task: PartitionTask) -> None:
        self.where = task.inputs[0].file.declared
        self.reader: DocumentReader | None = None
        self.by_reason: Counter[str] = Counter()
        self._skips_bad = task.skips_bad

    def drop(self, error: DocumentError) -> None:
        """Drop a bad document. Raises: the error, where bad documents stop the build."""
        if not self._skips_bad:
            raise error
        self.by_reason[error.reason] += 1

    def drop_bad(self, document: Document, reason: str, what: str) -> None:
        """Drop a bad document, of which `what` is wrong. Raises: as `drop`."""
        self.drop(bad_document(self.where, document, reason, what))

    def drop_without_ids(self, document: Document, reason: str, what: str) -> None:
        """Drop a document that the tokenizer cannot handle; too many are the sign of a wrong one.

        Raises: as `drop`.
        """
        assert self.reader is not None
        self.reader.drop(bad_document(self.where, document, reason, what))

    def count(self, filtered: Sequence[Dropped]) -> None:
        """Count what the filters dropped. Raises: as `drop`, for one that they could not judge."""
        for one in filtered:
            if one.fault is None:
                self.by_reason[one.reason] += 1
            else:
                self.drop_bad(one.document, one.reason, one.fault)


def _drop_unencodable(
    tokenizer: Tokenizer, block: Sequence[Document], drops: _Drops
) -> list[Document]:
    """Drop the documents that the tokenizer has no ids for; return the others."""
    kept = []
    for document in block:
        try:
            tokenizer.encode([document.text])
        except InputError as error:
            drops.drop_without_ids(document, "unencodable", f"has no ids: {error.message}")
        else:
            kept.append(document)
    return kept


def _drop_unusable(
    block: Sequence[Document], empty: Int64Array, ids: UniqueIds, drops: _Drops
) -> BoolArray:
    """Drop documents without content or with an id that was seen; return which are kept."""
    kept = np.ones(len(block), np.bool_)
    kept[empty] = False
    for index, document in enumerate(block):
        if not kept[index]:
            drops.drop_bad(document, "only_special_tokens", "has only special tokens")
        elif not ids.add(document.id):
            kept[index] = False
            drops.drop_bad(document, "duplicate_id", "was seen before")
    return kept


class _Counts:
    """What was kept of the documents."""

    def __init__(self) -> None:
        self.num_documents = self.num_chunks = 0
        self.tokens: Counter[str] = Counter({"in": 0, "added": 0, "discarded": 0})
        self._lengths: list[Int64Array] = [np.empty(0, np.int64)]

    @property
    def lengths(self) -> Int64Array:
        """Tokens of each chunk: int64 [num_chunks]."""
        return np.concatenate(self._lengths)

    def add(self, encoded: Rows, chunks: Chunks) -> None:
        num_failed_ids = int(encoded.lengths()[chunks.failed].sum())
        self.num_documents += len(encoded) - len(chunks.failed)
        self.num_chunks += len(chunks.rows)
        self.tokens["in"] += len(encoded.values) - num_failed_ids
        self.tokens["added"] += chunks.num_added
        self.tokens["discarded"] += chunks.num_discarded
        self._lengths.append(chunks.rows.lengths())


def _record(
    task: PartitionTask,
    reader: _FilesReader,
    drops: _Drops,
    counts: _Counts,
    files: dict[str, FileDigest],
) -> PartitionOutput:
    num_chunks, num_tokens = counts.num_chunks, int(counts.lengths.sum())
    first, *more = reader.read
    return PartitionOutput(
        task=task.name,
        key=task.key,
        folder=task.folder,
        partition=task.partition,
        # Alone, its chunks are those of the partition.
        input=first if more else replace(first, num_chunks=0),
        more_inputs=tuple(more),
        documents=DocumentCounts(
            num_in=reader.num_rows,
            kept=counts.num_documents,
            dropped=dict(sorted(drops.by_reason.items())),
        ),
        # Of a source that is not sampled, each chunk is.
        tokens=TokenCounts(
            num_in=counts.tokens["in"],
            added=counts.tokens["added"],
            discarded=counts.tokens["discarded"],
            written=num_tokens,
            validation=0,
            drawn=num_tokens,
        ),
        chunks=ChunkCounts(written=num_chunks, validation=0, drawn=num_chunks),
        files=files,
    )


def _tokenizer_of(task: PartitionTask) -> Tokenizer:
    tokenizer = cached_tokenizer(task.tokenizer, task.inputs[0].folder)
    if tokenizer.digest != task.tokenizer_digest:
        raise InputError(
            f"tokenizer.name: this worker finds {task.tokenizer.name} with sha256 "
            f"{tokenizer.digest}, the build was started with {task.tokenizer_digest}",
            "let all workers see the same files, and do not change them during a build",
        )
    return tokenizer
