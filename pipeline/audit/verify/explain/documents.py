"""Documents of a pool, put together again: their chunks -> texts, for some of them.

Enters: an output. Leaves: texts of documents from the start of partitions, where the draws that
chunking makes begin, too. Where chunks were cut from the ids, a text is exact but for what was
dropped; where they were encoded again, it is what encoding left of it. Of documents that were drawn
in part, chunks are missing; partitions of sources that are drawn whole go first.
"""

import json
from itertools import pairwise

import numpy as np

from pipeline.audit.verify.comparison import Output
from pipeline.audit.verify.explain.pool_parts import Parts, partitions_of
from pipeline.core.arrays import Uint32Array
from pipeline.core.ragged import Rows
from pipeline.stages.tokenizer import read_json

_PARTITIONS = 8
_ROWS_OF_EACH = 96
_ROWS_OF_ONE = 512
# 8 MiB of ids over all partitions.
_MOST_IDS = 2 << 20


def sample_documents(output: Output, part: int | None) -> list[list[str]]:
    """Return texts of documents, by partition. `part`: the one to take; None for some of all."""
    partitions = partitions_of(output)
    chosen = _choose(output, partitions) if part is None else [part]
    num_rows = _ROWS_OF_EACH if part is None else _ROWS_OF_ONE
    decoder = TextDecoder(output)
    return [
        texts
        for one in chosen
        if (texts := _documents(output, partitions, one, num_rows, decoder, len(chosen)))
    ]


def _choose(output: Output, partitions: Parts) -> list[int]:
    """Choose partitions from all over the pool, those that are drawn whole first."""
    sources = output.declaration["sources"]
    whole: list[int] = []
    drawn: list[int] = []
    for part, name in enumerate(partitions.names):
        source = sources.get(name.split("/")[0], {})
        is_drawn = isinstance(source.get("tokens"), int)
        (drawn if is_drawn else whole).append(part)
    some = whole or drawn
    picks = np.linspace(0, len(some) - 1, min(len(some), _PARTITIONS)).astype(np.int64)
    return [some[pick] for pick in picks.tolist()]


def _documents(
    output: Output, partitions: Parts, part: int, num_rows: int, decoder: "TextDecoder", share: int
) -> list[str]:
    rows = partitions.rows(part)[:num_rows]
    names = output.pool.document_ids(rows)
    changes = [i for i in range(1, len(rows)) if names[i] != names[i - 1]]
    # The last document may go on behind the rows that were taken.
    is_all = len(rows) == len(partitions.rows(part))
    bounds = [0, *changes, *([len(rows)] if is_all else [])]
    texts = []
    num_ids = 0
    for first, stop in pairwise(bounds):
        start = int(rows[0])
        chunks = list(output.replay(None, start + stop, "stored").read(start + first, start + stop))
        num_ids += sum(len(block.values) for block in chunks)
        if num_ids > _MOST_IDS // share:
            break
        texts.append(decoder.text(chunks))
    return texts


class TextDecoder:
    """Turns ids of an output's tokenizer into text."""

    def __init__(self, output: Output) -> None:
        declared = output.declaration["tokenizer"]
        self._tokenizer = output.tokenizer
        self._spelled = self._tokenizer.decode_table()
        content = json.loads(read_json(declared["name"], declared["revision"]))
        self._has_prefix = bool(declared["add_prefix_space"])
        self._added = {token["id"] for token in content["added_tokens"]}

    def text(self, chunks: list[Rows]) -> str:
        """Return the text of a document's chunks, less spaces that a prefix put in."""
        return self._decode(np.concatenate([self._content(rows) for rows in chunks]))

    def _content(self, rows: Rows) -> Uint32Array:
        """Return ids of rows without the CLS and SEP that frame them."""
        kept = np.ones(len(rows.values), np.bool_)
        first, last = rows.offsets[:-1], rows.offsets[1:] - 1
        kept[first] = rows.values[first] != self._tokenizer.cls_id
        kept[last] &= rows.values[last] != self._tokenizer.sep_id
        return rows.values[kept]

    def row_text(self, ids: Uint32Array) -> str:
        """Return the text of one row."""
        return self.text([Rows(values=ids, offsets=np.array([0, len(ids)]))])

    def _decode(self, ids: Uint32Array) -> str:
        data = bytearray()
        starts_segment = True
        for id_ in ids.tolist():
            piece = self._piece(id_)
            is_added = id_ in self._added
            if self._has_prefix and starts_segment and not is_added:
                piece = piece.removeprefix(b" ")
            starts_segment = is_added
            data += piece
        return data.decode("utf-8", "replace")

    def _piece(self, id_: int) -> bytes:
        if id_ >= len(self._spelled):
            return b""
        return self._spelled[id_].tobytes()
