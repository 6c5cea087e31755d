"""`ettin-slice-v1` and `ettin-slice-v2`: slices of a document's ids, and how all ettin-* cut.

The first chunk of a document starts with CLS and the last ends with SEP; chunks in between have
neither. Version 2 cuts pieces of `size` ids, version 1 of `size - 2`; they do not differ otherwise.
The published statistics of validation rows match version 2 at 1,024. Cuts and random numbers depend
only on the lengths of documents. Frozen; the tests hold golden vectors.

Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing/src/sampling/
split_dataset_into_chunks_individual.py` (2025-08-06), with its undefined names supplied.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.ragged import Rows
from pipeline.stages.chunking.chunker import Chunks


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """The pieces of a block of documents, in order, before any ids are borrowed."""

    starts: Int64Array
    """int64 [num_pieces], the first id of each piece among the ids of the block."""
    stops: Int64Array
    """int64 [num_pieces], one past the last id."""
    documents: Int64Array
    """int64 [num_pieces], the document of each piece."""
    borrowed: Int64Array
    """int64 [num_pieces], how many ids a short last piece borrows from the piece before it."""
    discarded: Int64Array
    """int64 [num_documents], how many ids of each document lie in dropped pieces."""


class Cutter:
    """Cuts the documents of one partition block by block, drawing the original's random numbers.

    The original seeds numpy's legacy generator (MT19937; numpy freezes `RandomState`) once per
    partition and draws one number for each short last piece, in document order.
    """

    def __init__(self, *, piece_size: int, min_size: int, skip_below: int, seed: int) -> None:
        self._piece_size = piece_size
        self._min_size = min_size
        self._skip_below = skip_below
        self._random = np.random.RandomState(seed)

    def cut(self, documents: Rows) -> Pieces:
        """Cut each document into full pieces and a last one that may be shorter.

        Unless it is the only piece, a last piece of fewer than `skip_below` ids is dropped, and one
        of fewer than `min_size` borrows a random number of ids from the piece before it.
        """
        counts = -(-documents.lengths() // self._piece_size)
        owners, ordinals = number_parts(counts)
        starts = documents.offsets[owners] + ordinals * self._piece_size
        stops = np.minimum(starts + self._piece_size, documents.offsets[owners + 1])
        sizes = stops - starts
        dropped = (ordinals > 0) & (sizes < self._skip_below)
        borrowed = np.zeros(len(starts), np.int64)
        for piece in np.flatnonzero((ordinals > 0) & ~dropped & (sizes < self._min_size)):
            borrowed[piece] = self._random.randint(0, self._piece_size - sizes[piece])
        discarded = np.zeros(len(counts), np.int64)
        np.add.at(discarded, owners[dropped], sizes[dropped])
        return Pieces(
            starts=starts[~dropped],
            stops=stops[~dropped],
            documents=owners[~dropped],
            borrowed=borrowed[~dropped],
            discarded=discarded,
        )


def number_parts(counts: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Return each part's document and its index within it: int64 [num_parts] each. Pure.

    counts: int64 [num_documents], the number of parts of each document.
    """
    owners = np.repeat(np.arange(len(counts)), counts)
    return owners, np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)


def lend(pieces: Pieces) -> tuple[Int64Array, Int64Array]:
    """Return where pieces start and stop once ids are borrowed: int64 [num_pieces] each. Pure.

    A piece borrows the ids right before it, so only the edge between the two moves.
    """
    starts, stops = pieces.starts - pieces.borrowed, pieces.stops.copy()
    borrowers = np.flatnonzero(pieces.borrowed)
    stops[borrowers - 1] = starts[borrowers]
    return starts, stops


class SliceChunker:
    """Writes pieces as they are."""

    def __init__(self, cutter: Cutter) -> None:
        self._cutter = cutter

    def chunk(self, documents: Rows) -> Chunks:
        pieces = self._cutter.cut(documents)
        starts, stops = lend(pieces)
        return Chunks(
            rows=Rows.from_ranges(documents.values, starts, stops),
            documents=pieces.documents,
            failed=np.empty(0, np.int64),
            num_discarded=int(pieces.discarded.sum()),
            num_added=0,
        )
