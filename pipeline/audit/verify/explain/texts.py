"""Texts: documents of the output's pool, decoded from their chunks; and what unknown rows say.

A text is what encoding and dropping left of it. Documents that were sampled in part lack chunks, so
partitions of sources that are taken whole go first. Documents are taken from the start of
partitions, where the random numbers of chunking begin, too.
"""

import json
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from pipeline.audit.verify.build_output import Output
from pipeline.audit.verify.comparison import Comparison, Finding, finding
from pipeline.audit.verify.explain.arrangement import Parts, partitions_of
from pipeline.audit.verify.explain.pool_edits import closer_rows
from pipeline.audit.verify.explain.pool_index import known_rows
from pipeline.core.arrays import Uint32Array
from pipeline.core.ragged import Rows

_PARTITIONS = 8
_ROWS_OF_EACH = 96
_ROWS_OF_ONE = 512
# 8 MiB of ids over all partitions.
_MOST_IDS = 2 << 20
# Texts are compared by runs of words, of so many rows of each side.
_PASSAGE, _TEXT_ROWS = 5, 2048
_SAME_TEXT, _SAME_LANGUAGE = 0.2, 0.2


def sample_documents(output: Output, partition: int | None) -> list[list[str]]:
    """Return texts of documents, by partition: of one, or of some from all over the pool."""
    partitions = partitions_of(output)
    chosen = _choose(output, partitions) if partition is None else [partition]
    num_rows = _ROWS_OF_EACH if partition is None else _ROWS_OF_ONE
    decoder = TextDecoder(output)
    found = []
    for part in chosen:
        texts, num_ids = [], 0
        for chunks in _documents(output, partitions.rows(part), num_rows):
            num_ids += sum(len(block.values) for block in chunks)
            if num_ids > _MOST_IDS // len(chosen):
                break
            texts.append(decoder.text(chunks))
        found += [texts] if texts else []
    return found


def _choose(output: Output, partitions: Parts) -> list[int]:
    """Choose partitions from all over the pool, if possible of sources that are taken whole."""
    sources = output.declaration["sources"]
    whole = [
        part
        for part, name in enumerate(partitions.names)
        if not isinstance(sources.get(name.split("/")[0], {}).get("tokens"), int)
    ]
    some = whole or list(range(len(partitions.names)))
    picks = np.linspace(0, len(some) - 1, min(len(some), _PARTITIONS)).astype(np.int64)
    return [some[pick] for pick in picks.tolist()]


def _documents(output: Output, partition: np.ndarray, num_rows: int) -> Iterator[list[Rows]]:
    """Yield the chunks of each document in the first rows of a partition."""
    rows = partition[:num_rows]
    names = output.pool.document_ids(rows)
    changes = [i for i in range(1, len(rows)) if names[i] != names[i - 1]]
    # The last document may continue behind the rows that were taken.
    is_all = len(rows) == len(partition)
    for first, stop in pairwise([0, *changes, *([len(rows)] if is_all else [])]):
        start = int(rows[0])
        yield list(output.pool_rows.read(start + first, start + stop))


class TextDecoder:
    def __init__(self, output: Output) -> None:
        declared = output.declaration["tokenizer"]
        self._tokenizer = output.tokenizer
        self._pieces = self._tokenizer.decode_table
        content = json.loads(self._tokenizer.data)
        self._has_prefix = bool(declared["add_prefix_space"])
        self._added = {token["id"] for token in content["added_tokens"]}

    def text(self, chunks: list[Rows]) -> str:
        """Return the text of a document's chunks, less spaces that a prefix put in."""
        ids = np.concatenate([self._content(rows) for rows in chunks])
        data = bytearray()
        starts_segment = True
        for id_ in ids.tolist():
            piece = self._pieces[id_].tobytes() if id_ < len(self._pieces) else b""
            is_added = id_ in self._added
            if self._has_prefix and starts_segment and not is_added:
                piece = piece.removeprefix(b" ")
            starts_segment = is_added
            data += piece
        return data.decode("utf-8", "replace")

    def _content(self, rows: Rows) -> Uint32Array:
        """Return ids of rows without the CLS and SEP that frame them."""
        kept = np.ones(len(rows.values), np.bool_)
        first, last = rows.offsets[:-1], rows.offsets[1:] - 1
        kept[first] = rows.values[first] != self._tokenizer.cls_id
        kept[last] &= rows.values[last] != self._tokenizer.sep_id
        return rows.values[kept]


def describe_texts(comparison: Comparison) -> list[Finding]:
    """Judge unknown rows, read with the output's tokenizer, by how much of them is in its texts."""
    output, rows = comparison.output, closer_rows(comparison)
    tokenizer, size = output.tokenizer, output.tokenizer.vocab_size
    if rows.largest_id >= size:
        text = (
            f"the other side's ids are not of {tokenizer.name}: the largest is "
            f"{rows.largest_id:,}, expected ids below {size:,}"
        )
        return finding("tokenizer", text, largest_id=rows.largest_id, vocab_size=size)
    decoder = TextDecoder(output)
    reading = known_rows(comparison)[0].reading
    num_ours = output.pool_rows.num_rows
    spread = np.unique(np.linspace(0, num_ours - 1, _TEXT_ROWS).astype(np.int64))
    ours = [decoder.text([Rows.pack([ids])]) for ids in output.pool_rows.take(spread)]
    unknown = rows.unknown_sample(reading)[:_TEXT_ROWS]
    theirs = [decoder.text([Rows.pack([ids])]) for ids in unknown]
    words, passages = (_share(ours, theirs, length) for length in (1, _PASSAGE))
    if passages >= _SAME_TEXT:
        kind = "chunk algorithm"
        text = "the same texts, in rows that none of the chunk algorithms and sizes tried makes"
    elif words >= _SAME_LANGUAGE:
        kind = "text"
        text = "the other side's rows are of this tokenizer, but of other texts"
    else:
        kind = "tokenizer"
        text = (
            f"the other side's ids are not of {tokenizer.name}: decoded with it, they are no text"
        )
    text += (
        f": {words:.0%} of their words and {passages:.0%} of their passages of {_PASSAGE} words "
        "are in the output's texts"
    )
    shares = {"share_of_words": round(words, 4), "share_of_passages": round(passages, 4)}
    return finding(kind, text, **shares)


def _share(ours: list[str], theirs: list[str], length: int) -> float:
    """Return the share of the target's runs of so many words that are in the output's texts."""
    known = set(_runs(ours, length))
    runs = list(_runs(theirs, length))
    return sum(run in known for run in runs) / max(len(runs), 1)


def _runs(texts: list[str], length: int) -> Iterator[tuple[str, ...]]:
    for words in map(str.split, texts):
        yield from zip(*(words[first:] for first in range(length)), strict=False)
