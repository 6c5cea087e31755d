"""`ettin-reencode-v1`: the published chunker, quirks kept.

Pieces are cut as in `slice` and decoded. A piece whose text starts with a space is stored as it is,
with CLS in front if it lacks one. Any other text is encoded again between CLS and SEP and cut to
the chunk size, which can cut SEP. A piece that lends ids to its neighbour goes through this twice.
Frozen; golden vectors in the tests.

Source: as `slice`; decoding is that of `decoding`.
"""

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.compiled import compiled
from pipeline.core.ragged import Rows, copy_ranges, offsets_of
from pipeline.stages.chunking.chunker import Chunks
from pipeline.stages.chunking.decoding import Spelling, decode, decode_valid, spelling_of
from pipeline.stages.chunking.slice import Cutter
from pipeline.stages.tokenizer import Tokenizer

# The clean-up can remove a leading space before these alone.
_CAN_TAKE_SPACE = np.isin(np.arange(256), list(b".?!,'n "))
# The clean-up looks at most six bytes ahead, so these decide the first byte.
_PEEK_BYTES = 16
_SPACE = ord(" ")
_NOTHING = -1


class ReencodeChunker:
    def __init__(
        self, tokenizer: Tokenizer, cutter: Cutter, size: int, *, cleans_up: bool = True
    ) -> None:
        """`cleans_up`: whether spaces are, as the algorithm has it."""
        self._cleans_up = cleans_up
        self._tokenizer = tokenizer
        self._cutter = cutter
        self._size = size
        self._spelling = spelling_of(tokenizer)

    def chunk(self, documents: Rows) -> Chunks:
        """Chunk documents; one fails if a piece decodes to nothing, as in the original."""
        pieces = self._cutter.cut(documents)
        starts, stops = pieces.starts, pieces.stops
        borrowers = np.flatnonzero(pieces.borrowed)
        alone = np.flatnonzero(pieces.borrowed == 0)
        stored = self._store(documents.values, starts[alone], stops[alone])

        # The neighbour lends its last ids as stored, not as cut.
        lenders = np.searchsorted(alone, borrowers - 1)
        lender_starts, lender_stops = stored.offsets[lenders], stored.offsets[lenders + 1]
        edges = np.maximum(lender_starts, lender_stops - pieces.borrowed[borrowers])
        shortened = self._store(stored.values, lender_starts, edges)
        tails = _join_each(
            Rows.from_ranges(stored.values, edges, lender_stops),
            Rows.from_ranges(documents.values, starts[borrowers], stops[borrowers]),
        )
        extended = self._store(tails.values, tails.offsets[:-1], tails.offsets[1:])

        others = np.delete(np.arange(len(alone)), lenders)
        parts = (
            (alone[others], stored, others),
            (borrowers - 1, shortened, np.arange(len(borrowers))),
            (borrowers, extended, np.arange(len(borrowers))),
        )
        lengths = np.empty(len(starts), np.int64)
        for places, rows, which in parts:
            lengths[places] = rows.lengths()[which]
        failed = np.unique(pieces.documents[lengths == 0])
        kept = ~np.isin(pieces.documents, failed)
        lengths[~kept] = 0
        offsets = offsets_of(lengths)
        ids = np.empty(int(offsets[-1]), np.uint32)
        for places, rows, which in parts:
            copy_ranges(rows.values, rows.offsets[which], lengths[places], ids, offsets[places])
        num_in = len(documents.values) - int(documents.lengths()[failed].sum())
        num_discarded = int(pieces.discarded.sum() - pieces.discarded[failed].sum())
        return Chunks(
            rows=Rows(ids, offsets_of(lengths[kept])),
            documents=pieces.documents[kept],
            failed=failed,
            num_discarded=num_discarded,
            num_added=len(ids) + num_discarded - num_in,
        )

    def _store(self, ids: Uint32Array, starts: Int64Array, stops: Int64Array) -> Rows:
        """Return ranges of ids as they are stored; what decodes to nothing becomes empty."""
        first, second = _first_two_bytes(ids, starts, stops, self._spelling)
        kept = first == _SPACE
        doubtful = np.flatnonzero(kept & _CAN_TAKE_SPACE[second])
        text, _ = decode(
            *(ids, starts[doubtful], stops[doubtful], self._spelling),
            limit=_PEEK_BYTES,
            cleans_up=self._cleans_up,
        )
        kept[doubtful] = text.values[text.offsets[:-1]] == _SPACE
        again = np.flatnonzero(~kept & (first != _NOTHING))
        text = decode_valid(
            ids, starts[again], stops[again], self._spelling, cleans_up=self._cleans_up
        )
        encoded = self._tokenizer.encode_utf8(text)

        starts, kept_lengths = starts[kept], (stops - starts)[kept]
        lacks_cls = ids[starts] != self._tokenizer.cls_id
        lengths = np.zeros(len(stops), np.int64)
        lengths[kept] = kept_lengths + lacks_cls
        lengths[again] = np.minimum(encoded.lengths(), self._size)
        offsets = offsets_of(lengths)
        stored = np.empty(int(offsets[-1]), np.uint32)
        places = offsets[:-1][kept]
        stored[places[lacks_cls]] = self._tokenizer.cls_id
        copy_ranges(ids, starts, kept_lengths, stored, places + lacks_cls)
        copy_ranges(encoded.values, encoded.offsets[:-1], lengths[again], stored, offsets[again])
        return Rows(stored, offsets)


def _join_each(left: Rows, right: Rows) -> Rows:
    """Append to each row of `left` the one of `right`."""
    pairs = np.arange(2 * len(left)).reshape(2, -1).T.ravel()
    joined = Rows.concat([left, right]).take(pairs)
    return Rows(joined.values, joined.offsets[::2].copy())


@compiled
def _first_two_bytes(
    ids: Uint32Array, starts: Int64Array, stops: Int64Array, spelling: Spelling
) -> tuple[Int64Array, Int64Array]:
    out = np.full((2, starts.size), _NOTHING, np.int64)
    for run in range(starts.size):
        found = 0
        for i in range(starts[run], stops[run]):
            token = ids[i]
            for j in range(spelling.starts[token], spelling.stops[token]):
                if found < 2:
                    out[found, run] = spelling.token_bytes[j]
                    found += 1
            if found == 2:
                break
    return out[0], out[1]
