"""Where the published chunker cuts: shared by `ettin-reencode-v1` and `ettin-slice-v1`.

Enters: the lengths of tokenised documents. Leaves: pieces as ranges of ids, with what each
document's last piece borrows from the piece before. Lengths alone decide, so cuts and random draws
can be made ahead of all work on ids.

Source: JHU-CLSP/ettin-encoder-vs-decoder, `pretraining/data_processing/src/sampling/
split_dataset_into_chunks_individual.py` (2025-08-06), with its undefined names supplied.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import Int64Array


@dataclass(frozen=True, kw_only=True, slots=True)
class Pieces:
    """The pieces of one block of documents, in order, before any borrowing."""

    starts: Int64Array
    """int64 [num_pieces], first id of each piece in the block's flat ids."""
    stops: Int64Array
    """int64 [num_pieces], one past its last id."""
    documents: Int64Array
    """int64 [num_pieces], the document that each piece is of."""
    borrowed: Int64Array
    """int64 [num_pieces], ids that a short last piece takes from the end of the piece before."""
    discarded: Int64Array
    """int64 [num_documents], ids of each document's pieces that were dropped."""


class Cutter:
    """Cuts the documents of one partition, block after block, drawing as the original does.

    The original seeds numpy's legacy generator once per partition (MT19937; `RandomState` is frozen
    by numpy's policy) and draws once for each short last piece, in document order.
    """

    def __init__(self, *, size: int, min_size: int, skip_below: int, seed: int) -> None:
        # Two ids of each chunk are left for CLS and SEP, whether or not they are added.
        self._piece_size = size - 2
        self._min_size = min_size
        self._skip_below = skip_below
        self._random = np.random.RandomState(seed)

    def cut(self, offsets: Int64Array) -> Pieces:
        """Cut the documents whose ids lie at `offsets`: int64 [num_documents + 1].

        A document's pieces are as long as possible; its last may be short. One that is not the
        first is dropped below `skip_below`, and below `min_size` borrows a random number of ids
        from its neighbour.
        """
        lengths = np.diff(offsets)
        counts = -(-lengths // self._piece_size)
        documents = np.repeat(np.arange(len(lengths)), counts)
        ordinals = np.arange(len(documents)) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = offsets[documents] + ordinals * self._piece_size
        stops = np.minimum(starts + self._piece_size, offsets[documents + 1])
        sizes = stops - starts
        later = ordinals > 0
        dropped = later & (sizes < self._skip_below)
        borrowed = np.zeros(len(starts), np.int64)
        for piece in np.flatnonzero(later & ~dropped & (sizes < self._min_size)):
            borrowed[piece] = self._random.randint(0, self._piece_size - sizes[piece])
        discarded = np.zeros(len(lengths), np.int64)
        np.add.at(discarded, documents[dropped], sizes[dropped])
        kept = ~dropped
        return Pieces(
            starts=starts[kept],
            stops=stops[kept],
            documents=documents[kept],
            borrowed=borrowed[kept],
            discarded=discarded,
        )
