"""`ettin-reencode-v1`: the published chunker, quirks kept.

Pieces are cut as in `cut`. Each is decoded; if its text starts with a space it is stored as it is,
else the text is encoded again, framed by CLS and SEP, and cut to the chunk size (which can cut
SEP). A stored piece gets CLS in front if it lacks it. A piece that lends ids to its neighbour goes
through this twice. Frozen; golden vectors in the tests.

Source: as `cut`. Decoding cleans up spaces as transformers 4.57.6 does by default for this
tokenizer (`tokenization_utils_base.py`, `clean_up_tokenization`).
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from pipeline.chunks.cut import Cutter
from pipeline.records import BoolArray, Chunks, Int64Array, Uint8Array, Uint32Array
from pipeline.tokenizer import Tokenizer

# In this order, each over the whole text.
_CLEAN_UP = (
    (b" .", b"."),
    (b" ?", b"?"),
    (b" !", b"!"),
    (b" ,", b","),
    (b" ' ", b"'"),
    (b" n't", b"n't"),
    (b" 'm", b"'m"),
    (b" 's", b"'s"),
    (b" 've", b"'ve"),
    (b" 're", b"'re"),
)
# Only before these can the clean-up take the space that a text starts with.
_CAN_TAKE_SPACE = np.isin(np.arange(256), list(b".?!,'n "))
_SPACE = 0x20
_NOTHING = -1


class _Runs(NamedTuple):
    """Runs of ids: run i is `ids[offsets[i]:offsets[i + 1]]`."""

    ids: Uint32Array
    offsets: Int64Array


class ReencodeChunker:
    """Chunks the documents of one partition, block after block."""

    def __init__(
        self, tokenizer: Tokenizer, *, size: int, min_size: int, skip_below: int, seed: int
    ) -> None:
        self._tokenizer = tokenizer
        self._size = size
        self._cutter = Cutter(size=size, min_size=min_size, skip_below=skip_below, seed=seed)
        self._token_bytes, token_offsets = tokenizer.decode_tables()
        self._token_starts = token_offsets[:-1].copy()
        self._token_stops = token_offsets[1:].copy()
        # Special tokens decode to nothing.
        self._token_stops[tokenizer.special_ids] = self._token_starts[tokenizer.special_ids]

    def chunk(self, ids: Uint32Array, offsets: Int64Array) -> Chunks:
        """Chunk tokenised documents: ids uint32 [num_ids], offsets int64 [num_documents + 1].

        A document fails where a piece decodes to nothing: there the original cannot go on.
        """
        pieces = self._cutter.cut(offsets)
        borrowers = np.flatnonzero(pieces.borrowed)
        alone = np.flatnonzero(pieces.borrowed == 0)
        stored = self._store(_take(ids, pieces.starts[alone], pieces.stops[alone]))

        # What is lent are the last ids of the neighbour as stored, not as cut.
        lenders = np.searchsorted(alone, borrowers - 1)
        lender_starts, lender_stops = stored.offsets[lenders], stored.offsets[lenders + 1]
        edges = np.maximum(lender_starts, lender_stops - pieces.borrowed[borrowers])
        shortened = self._store(_take(stored.ids, lender_starts, edges))
        lent = _take(stored.ids, edges, lender_stops)
        tails = _take(ids, pieces.starts[borrowers], pieces.stops[borrowers])
        extended = self._store(_join(lent, tails))

        flat = np.concatenate([stored.ids, shortened.ids, extended.ids])
        starts = np.empty(len(pieces.starts), np.int64)
        stops = np.empty(len(pieces.starts), np.int64)
        base = 0
        for places, runs in ((alone, stored), (borrowers - 1, shortened), (borrowers, extended)):
            starts[places], stops[places] = runs.offsets[:-1] + base, runs.offsets[1:] + base
            base += len(runs.ids)

        failed = np.unique(pieces.documents[starts == stops])
        kept = ~np.isin(pieces.documents, failed)
        chunks = _take(flat, starts[kept], stops[kept])
        lengths, discarded = np.diff(offsets), pieces.discarded
        num_in = int(lengths.sum() - lengths[failed].sum())
        num_discarded = int(discarded.sum() - discarded[failed].sum())
        return Chunks(
            ids=chunks.ids,
            offsets=chunks.offsets,
            documents=pieces.documents[kept],
            failed=failed,
            num_discarded=num_discarded,
            num_added=len(chunks.ids) + num_discarded - num_in,
        )

    def _store(self, runs: _Runs) -> _Runs:
        """Apply the rule of the module to each run; one that decodes to nothing becomes empty."""
        first, second = self._first_bytes(runs)
        starts_with_space = first == _SPACE
        doubtful = starts_with_space & _CAN_TAKE_SPACE[second]
        texts = self._clean_texts(runs, np.flatnonzero(doubtful))
        kept = starts_with_space & ~doubtful
        kept[doubtful] = [text[0] == _SPACE for text in texts]
        again = ~kept & (first != _NOTHING)
        known = dict(zip(np.flatnonzero(doubtful).tolist(), texts, strict=True))
        others = np.flatnonzero(again & ~doubtful)
        known.update(zip(others.tolist(), self._clean_texts(runs, others), strict=True))
        encoded = self._encode([known[run] for run in np.flatnonzero(again).tolist()])
        return self._assemble(runs, kept, again, encoded)

    def _first_bytes(self, runs: _Runs) -> tuple[Int64Array, Int64Array]:
        out = np.full((2, len(runs.offsets) - 1), _NOTHING, np.int64)
        _first_two_bytes(
            runs.ids, runs.offsets, self._token_bytes, self._token_starts, self._token_stops, out
        )
        return out[0], out[1]

    def _clean_texts(self, runs: _Runs, which: Int64Array) -> list[bytes]:
        """Decode and clean up the runs `which`, as UTF-8."""
        token_lengths = self._token_stops - self._token_starts
        chosen = _take(runs.ids, runs.offsets[which], runs.offsets[which + 1])
        byte_offsets = np.concatenate([[0], np.cumsum(token_lengths[chosen.ids])])[chosen.offsets]
        buffer = np.empty(int(byte_offsets[-1]), np.uint8)
        _spell(chosen.ids, self._token_bytes, self._token_starts, self._token_stops, buffer)
        text = buffer.tobytes()
        bounds = byte_offsets.tolist()
        return [
            _clean_up(_valid_utf8(text[start:stop]))
            for start, stop in zip(bounds, bounds[1:], strict=False)
        ]

    def _encode(self, texts: list[bytes]) -> _Runs:
        text_offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(text) for text in texts], out=text_offsets[1:])
        encoded = self._tokenizer.encode_utf8(
            np.frombuffer(b"".join(texts), np.uint8), text_offsets
        )
        return _Runs(encoded.ids, encoded.offsets)

    def _assemble(self, runs: _Runs, kept: BoolArray, again: BoolArray, encoded: _Runs) -> _Runs:
        lacks_cls = np.zeros(len(kept), np.bool_)
        lacks_cls[kept] = runs.ids[runs.offsets[:-1][kept]] != self._tokenizer.cls_id
        lengths = np.where(kept, np.diff(runs.offsets) + lacks_cls, 0)
        lengths[again] = np.minimum(np.diff(encoded.offsets), self._size)
        offsets = np.zeros(len(kept) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        out = np.empty(int(offsets[-1]), np.uint32)
        out[offsets[:-1][lacks_cls]] = self._tokenizer.cls_id
        _copy(runs.ids, runs.offsets[:-1][kept], offsets[:-1][kept] + lacks_cls[kept], offsets[1:][kept], out)  # fmt: skip
        _copy(encoded.ids, encoded.offsets[:-1], offsets[:-1][again], offsets[1:][again], out)
        return _Runs(out, offsets)


def _valid_utf8(text: bytes) -> bytes:
    # A piece may start or end inside a character; each broken one becomes U+FFFD.
    try:
        text.decode()
    except UnicodeDecodeError:
        return text.decode(errors="replace").encode()
    return text


def _clean_up(text: bytes) -> bytes:
    for pattern, replacement in _CLEAN_UP:
        text = text.replace(pattern, replacement)
    return text


def _take(ids: Uint32Array, starts: Int64Array, stops: Int64Array) -> _Runs:
    offsets = np.zeros(len(starts) + 1, np.int64)
    np.cumsum(stops - starts, out=offsets[1:])
    out = np.empty(int(offsets[-1]), np.uint32)
    _copy(ids, starts, offsets[:-1], offsets[1:], out)
    return _Runs(out, offsets)


def _join(left: _Runs, right: _Runs) -> _Runs:
    left_lengths = np.diff(left.offsets)
    offsets = left.offsets + right.offsets
    out = np.empty(int(offsets[-1]), np.uint32)
    middles = offsets[:-1] + left_lengths
    _copy(left.ids, left.offsets[:-1], offsets[:-1], middles, out)
    _copy(right.ids, right.offsets[:-1], middles, offsets[1:], out)
    return _Runs(out, offsets)


@njit(cache=True, nogil=True)
def _copy(
    ids: Uint32Array, sources: Int64Array, starts: Int64Array, stops: Int64Array, out: Uint32Array
) -> None:
    for run in range(starts.size):
        source = sources[run]
        for position in range(starts[run], stops[run]):
            out[position] = ids[source]
            source += 1


@njit(cache=True, nogil=True)
def _first_two_bytes(
    ids: Uint32Array,
    offsets: Int64Array,
    token_bytes: Uint8Array,
    token_starts: Int64Array,
    token_stops: Int64Array,
    out: Int64Array,
) -> None:
    for run in range(offsets.size - 1):
        found = 0
        for i in range(offsets[run], offsets[run + 1]):
            token = ids[i]
            for j in range(token_starts[token], token_stops[token]):
                if found < 2:
                    out[found, run] = token_bytes[j]
                    found += 1
            if found == 2:
                break


@njit(cache=True, nogil=True)
def _spell(
    ids: Uint32Array,
    token_bytes: Uint8Array,
    token_starts: Int64Array,
    token_stops: Int64Array,
    out: Uint8Array,
) -> None:
    position = 0
    for token in ids:
        for j in range(token_starts[token], token_stops[token]):
            out[position] = token_bytes[j]
            position += 1
