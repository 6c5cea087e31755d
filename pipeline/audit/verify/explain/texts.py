"""What rows say that no neighbour of ours makes: other texts, or ids of another tokenizer.

Enters: rows of theirs that are not ours, with their ids. Leaves: one finding, by how much of what
they say, read with our tokenizer, is in our texts, too.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.audit.verify.comparison import Finding, Output
from pipeline.audit.verify.explain.documents import TextDecoder
from pipeline.audit.verify.explain.known_rows import Reading, TheirRows
from pipeline.core.arrays import Uint32Array
from pipeline.dataset import RowSource

# Whether texts are the same is judged by runs of words, of so many rows of each side.
_PASSAGE, _TEXT_ROWS = 5, 2048
_SAME_TEXT, _SAME_LANGUAGE = 0.2, 0.2


def explain_text(
    output: Output, reading: Reading, read: TheirRows, unknown: NDArray[np.uint64]
) -> list[Finding]:
    """Say of rows that no neighbour makes whether they are of our tokenizer and of our texts.

    unknown: uint64 [num_unknown], keys of rows of theirs that are not ours.
    """
    size = output.tokenizer.vocab_size
    if read.largest_id >= size:
        text = (
            f"their ids are not of {output.tokenizer.name}: the largest is {read.largest_id:,}, "
            f"expected ids below {size:,}"
        )
        evidence: dict[str, Any] = {"largest_id": read.largest_id, "vocab_size": size}
        return [Finding(kind="tokenizer", text=text, evidence=evidence)]
    decoder = TextDecoder(output)
    pool = output.replay(None, int(output.pool.num_rows.sum()), "stored")
    ours = [decoder.row_text(ids) for ids in _spread(pool)]
    theirs = [decoder.row_text(ids) for ids in read.sampled(reading, unknown)[:_TEXT_ROWS]]
    words, passages = (_share(ours, theirs, length) for length in (1, _PASSAGE))
    evidence = {"share_of_words": round(words, 4), "share_of_passages": round(passages, 4)}
    if passages >= _SAME_TEXT:
        kind = "chunk algorithm"
        text = "the same texts in rows that none of the tried ways of chunking makes"
    elif words >= _SAME_LANGUAGE:
        kind = "text"
        text = "their rows are of this tokenizer, but of other texts than ours"
    else:
        kind = "tokenizer"
        text = f"their ids are not of {output.tokenizer.name}: read with it, they are no such text"
    text += (
        f": {words:.0%} of their words and {passages:.0%} of their passages of {_PASSAGE} words "
        "are in ours"
    )
    return [Finding(kind=kind, text=text, evidence=evidence)]


def _spread(rows: RowSource) -> Iterator[Uint32Array]:
    """Yield the ids of some rows from all over."""
    for row in np.unique(np.linspace(0, rows.num_rows - 1, _TEXT_ROWS).astype(np.int64)).tolist():
        for block in rows.read(row, row + 1):
            yield block.values


def _share(ours: list[str], theirs: list[str], length: int) -> float:
    """Return the share of their runs of so many words that are in our texts, too."""
    mine = {run for text in ours for run in _runs(text.split(), length)}
    other = [run for text in theirs for run in _runs(text.split(), length)]
    return sum(run in mine for run in other) / max(len(other), 1)


def _runs(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[first:] for first in range(length)), strict=False)
