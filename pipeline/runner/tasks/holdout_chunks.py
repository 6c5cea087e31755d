"""Holdout chunks: the documents of a partition -> chunks as another chunker makes them.

The published validation rows are slices, the training rows are tokenized again. Every document is
chunked in both ways, since what is held out is decided later; it takes as much disk again.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from pipeline.config import ChunkSpec, ShardSpec, to_plain
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import FileDigest
from pipeline.core.errors import InternalError
from pipeline.core.files import publish
from pipeline.core.ragged import Rows
from pipeline.dataset import State
from pipeline.dataset.mds import MdsWriter
from pipeline.runner.task_cache import below
from pipeline.stages.chunking import make_chunker
from pipeline.stages.tokenizer import Tokenizer

WriteChunks = Callable[[Sequence[bytes], Rows, Int64Array], None]
"""Takes the ids of some documents, as names and as rows of token ids, and of which document each
of their chunks for training is: int64 [num_chunks]. Raises: InternalError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HoldoutChunks:
    """How a partition is chunked for the holdout, and where to."""

    chunk: ChunkSpec
    folder: str
    """Relative to the output."""

    def declaration(self) -> list[object]:
        return [to_plain(self.chunk), self.folder]


@contextmanager
def open_holdout(
    holdout: HoldoutChunks | None,
    tokenizer: Tokenizer,
    spec: ShardSpec,
    state: State,
    files: dict[str, FileDigest],
) -> Iterator[WriteChunks]:
    """Yield what chunks and writes documents; nothing where the holdout is as the training rows.

    What is written is added to `files`. What is held out is chosen by the numbers of the chunks for
    training, so that each document must have as many chunks in both ways.
    """
    if holdout is None:
        yield lambda names, encoded, documents: None
        return
    chunker = make_chunker(holdout.chunk, tokenizer)
    with publish(state.out / holdout.folder, state.scratch, syncs=False) as folder:
        folder.mkdir()
        shards = MdsWriter.of(folder, spec)

        def write(names: Sequence[bytes], encoded: Rows, documents: Int64Array) -> None:
            chunks = chunker.chunk(encoded)
            if not np.array_equal(chunks.documents, documents):
                counts = np.bincount(documents, minlength=len(encoded))
                held = np.bincount(chunks.documents, minlength=len(encoded))
                first = int(np.flatnonzero(counts != held)[0])
                named = json.dumps(names[first].decode(), ensure_ascii=False)
                raise InternalError(
                    f"{holdout.folder}: got {held[first]:,} chunks of document {named} by"
                    f" {holdout.chunk.algorithm}, expected {counts[first]:,} as for training",
                    "report this with the document",
                )
            shards.write(names, chunks.documents, chunks.rows.values, chunks.rows.offsets)

        yield write
        shards.finish()
        files.update(below(holdout.folder, shards.files))
