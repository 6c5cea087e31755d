"""Making: one input file -> one folder of shards, as a pure function from files to files.

Here the stages meet for one file: read, tokenize, chunk, write. What is bad in a document stops the
build or is counted, as the mixture says; what is written appears whole or not at all.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import TokenizerSpec
from pipeline.core.arrays import BoolArray, Int64Array, Uint64Array
from pipeline.core.document import Document
from pipeline.core.errors import DocumentError, InputError
from pipeline.core.files import publish, save_array
from pipeline.dataset import State, dropped_file
from pipeline.dataset.mds import MdsWriter, write_stats
from pipeline.runner.shuffle.row_table import save_table
from pipeline.runner.task_cache import (
    TaskRecord,
    describe,
    describe_file,
    describe_folder,
    load_standing,
    save_record,
)
from pipeline.runner.tasks.partition_task import PartitionTask
from pipeline.runner.tasks.read_documents import DocumentReader, bad_document, is_same_input
from pipeline.stages.chunking import Chunks, make_chunker
from pipeline.stages.filters import Dropped, DroppedWriter
from pipeline.stages.text_digest import text_digests
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer, tokenize, without_content


def make_partition(task: PartitionTask) -> TaskRecord:
    """Make a partition, or keep it where its record still stands.

    Raises: DocumentError or InputError for bad input, MismatchError for another input than was
    locked, OutputError when it cannot be written.
    """
    state = State(out=task.out)
    record = load_standing(state, task.name, task.key)
    if record is None or not is_same_input(task.input, record["input"]):
        record = _Making(task).run(state)
        save_record(state, task.name, record)
    tokenizer = _tokenizer(task)
    save_table(state, task.folder, tokenizer.cls_id, tokenizer.sep_id)
    return record


def _tokenizer(task: PartitionTask) -> Tokenizer:
    tokenizer = cached_tokenizer(task.tokenizer, task.mixture_folder)
    if tokenizer.digest != task.tokenizer_digest:
        raise InputError(
            f"tokenizer.name: this worker finds {task.tokenizer.name} with sha256 "
            f"{tokenizer.digest}, the build was started with {task.tokenizer_digest}",
            "let all workers see the same files, and do not change them during a build",
        )
    return tokenizer


@lru_cache(maxsize=1)
def cached_tokenizer(spec: TokenizerSpec, folder: Path) -> Tokenizer:
    """Load a tokenizer once in a process: its tables take about half a second to make."""
    return load_tokenizer(
        spec.name, add_prefix_space=spec.add_prefix_space, revision=spec.revision, folder=folder
    )


class _Making:
    """The work on one partition, with its counts."""

    def __init__(self, task: PartitionTask) -> None:
        self._task = task
        self._tokenizer = _tokenizer(task)
        self._chunker = make_chunker(task.chunk, self._tokenizer)
        self._seen_ids = set(task.taken_ids)
        self._last_id: str | None = None
        self._dropped: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter({"in": 0, "added": 0, "discarded": 0})
        self._num_kept = 0
        self._lengths: list[Int64Array] = [np.empty(0, np.int64)]
        self._digests: list[Uint64Array] = [np.empty((0, 2), np.uint64)]

    def run(self, state: State) -> TaskRecord:
        task = self._task
        reading = DocumentReader(task.input, self._drop)
        files: dict[str, Any] = {}
        with ExitStack() as stack:
            temporary = stack.enter_context(publish(task.out / task.folder, state.scratch))
            temporary.mkdir()
            aside = stack.enter_context(self._aside(state, files))
            writer = MdsWriter(
                folder=temporary, dtype=task.shards.dtype, size_limit=task.shards.size_limit
            )
            for block, dropped in reading.blocks(state):
                self._count(dropped)
                aside(dropped)
                documents, chunks = self._chunk(block)
                ids = [document.id.encode() for document in documents]
                writer.write(ids, chunks.documents, chunks.rows.values, chunks.rows.offsets)
            writer.finish()
            lengths = np.concatenate(self._lengths)
            write_stats(temporary, lengths, self._tokens["discarded"])
            files.update(describe_folder(temporary, task.folder))
        if task.saves_digests:
            files.update(self._save_digests(state))
        return {
            "task": task.name,
            "key": task.key,
            "folder": task.folder,
            "partition": task.input.file.partition,
            "input": {
                "path": task.input.file.declared,
                "bytes": reading.num_bytes,
                "sha256": reading.sha256,
                "locked": task.input.locked and task.input.locked.file.digest,
            },
            "documents": {
                "in": reading.num_rows,
                "kept": self._num_kept,
                "dropped": dict(sorted(self._dropped.items())),
            },
            "tokens": {
                **self._tokens,
                "written": int(lengths.sum()),
                "validation": 0,
                "drawn": int(lengths.sum()),
            },
            "chunks": {"written": len(lengths), "validation": 0, "drawn": len(lengths)},
            "files": files,
        }

    @contextmanager
    def _aside(
        self, state: State, files: dict[str, Any]
    ) -> Iterator[Callable[[list[Dropped]], None]]:
        """Yield what keeps some of the dropped documents, and describe the file of them."""
        task = self._task
        if task.keep_dropped is None:
            yield lambda dropped: None
            return
        name = dropped_file(task.source, task.input.file.partition)
        with publish(task.out / name, state.scratch) as temporary:
            partition = task.input.file.partition
            with closing(DroppedWriter(temporary, task.keep_dropped, task.source, partition)) as to:
                yield to.write
            files.update(describe(temporary, name))

    def _save_digests(self, state: State) -> dict[str, Any]:
        name = State.digests(self._task.folder)
        with publish(state.out / name, state.scratch) as temporary:
            save_array(temporary, np.concatenate(self._digests))
        return {name: describe_file(state.out / name)}

    def _chunk(self, block: list[Document]) -> tuple[list[Document], Chunks]:
        where = self._task.input.file.declared
        encoded = tokenize(self._tokenizer, block, where)
        kept = self._judge(block, without_content(self._tokenizer, encoded))
        documents = [block[index] for index in np.flatnonzero(kept)]
        if not kept.all():
            encoded = encoded.take(kept)
        chunks = self._chunker.chunk(encoded)
        what = (
            f"has a piece that decodes to nothing, which {self._task.chunk.algorithm} cannot chunk"
        )
        for index in chunks.failed:
            self._drop(bad_document(where, documents[index], "undecodable", what))
            self._seen_ids.discard(documents[index].id)
        if self._task.saves_digests:
            written = np.unique(chunks.documents)
            self._digests.append(text_digests([documents[index].text for index in written]))
        if len(chunks.documents):
            self._last_id = documents[chunks.documents[-1]].id
        num_failed_ids = int(encoded.lengths()[chunks.failed].sum())
        self._num_kept += len(documents) - len(chunks.failed)
        self._tokens["in"] += len(encoded.values) - num_failed_ids
        self._tokens["added"] += chunks.num_added
        self._tokens["discarded"] += chunks.num_discarded
        self._lengths.append(chunks.rows.lengths())
        return documents, chunks

    def _judge(self, block: list[Document], empty: Int64Array) -> BoolArray:
        """Tell which documents go on: those with content whose id was not seen before.

        Rows do not tell two neighbours of one id apart, so ids that recur within a block, or after
        the last document written, are found here, whatever was dropped between them; all others
        are found in what was written, and come back as `repeated_ids`.
        """
        where = self._task.input.file.declared
        kept = np.ones(len(block), np.bool_)
        kept[empty] = False
        near_ids = {self._last_id}
        for index, document in enumerate(block):
            if not kept[index]:
                what = "has only special tokens"
                self._drop(bad_document(where, document, "only_special_tokens", what))
            elif document.id in near_ids or document.id in self._seen_ids:
                kept[index] = False
                self._drop(bad_document(where, document, "duplicate_id", "was seen before"))
            else:
                near_ids.add(document.id)
                if document.id in self._task.repeated_ids:
                    self._seen_ids.add(document.id)
        return kept

    def _count(self, dropped: list[Dropped]) -> None:
        for one in dropped:
            if one.fault is not None:
                where = self._task.input.file.declared
                self._drop(bad_document(where, one.document, one.reason, one.fault))
            else:
                self._dropped[one.reason] += 1

    def _drop(self, error: DocumentError) -> None:
        if not self._task.skips_bad:
            raise error
        self._dropped[error.reason] += 1
