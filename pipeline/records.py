"""What flows between the stages.

Documents come out of `sources`, runs of ids out of `tokenizer`, chunks out of `chunks`. Many
sequences travel as one flat array with offsets, so that no stage does Python work per token.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Uint8Array = NDArray[np.uint8]
Uint32Array = NDArray[np.uint32]
Uint64Array = NDArray[np.uint64]
Int64Array = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One text with an id that is unique in its source."""

    id: str
    """The id, as the origin gives it or made from file name and row."""
    text: str
    """The text, valid Unicode without lone surrogates."""
    row: int
    """Position in its file, from 0, counting the documents that were dropped."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Every other field of the origin's record."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunks:
    """Chunks of one block of documents, in order."""

    ids: Uint32Array
    """uint32 [num_ids], all chunks one after the other."""
    offsets: Int64Array
    """int64 [num_chunks + 1]; chunk i is `ids[offsets[i]:offsets[i + 1]]`."""
    documents: Int64Array
    """int64 [num_chunks], the index of each chunk's document in its block."""
    failed: Int64Array
    """int64 [num_failed], documents that cannot be chunked, in order; no chunk is of them."""
    num_discarded: int
    """Tokens of the other documents that went into no chunk."""
    num_added: int
    """Tokens in chunks beyond those of the documents; negative where re-encoding lost some."""

    def lengths(self) -> Int64Array:
        """Return the number of ids of each chunk: int64 [num_chunks]."""
        return np.diff(self.offsets)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Consecutive rows of an order or of a pool."""

    ids: Uint32Array
    """uint32 [num_ids], all rows one after the other."""
    offsets: Int64Array
    """int64 [num_rows + 1], from 0; row i is `ids[offsets[i]:offsets[i + 1]]`."""

    def __len__(self) -> int:
        return len(self.offsets) - 1


class RowSource(Protocol):
    """A sequence of rows that can be read in part: an order on disk, a remote one, a pool."""

    @property
    def num_rows(self) -> int:
        """How many rows there are."""

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in order, in blocks that bound memory."""
