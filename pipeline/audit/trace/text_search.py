"""Text search: a text -> the runs of ids that it may be in the rows of an output, and where.

Its ids depend on what precedes it, since the prefix space goes to the start of a segment alone; and
`ettin-reencode-v1` encodes some chunks again once or twice, `ettin-retokenize-v1` every chunk once,
which lengthens runs of spaces and removes spaces before punctuation. So a text with a space more or
less at such a place is found, too. A passage whose first or last token merged with its surroundings
is not.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.core.compiled import compiled
from pipeline.core.errors import ConfigError
from pipeline.core.ragged import Rows
from pipeline.dataset import RowSource
from pipeline.stages.chunking import Cutter, RetokenizeChunker
from pipeline.stages.tokenizer import Tokenizer

# By algorithm; of `ettin-reencode-v1` a tail is encoded again, and with it what it borrowed, which
# may have been before. The chunks of a foreign pool may have been made by any.
_MOST_TIMES_AGAIN = {
    "ettin-reencode-v1": 2,
    "ettin-retokenize-v1": 1,
    # Lines of an archive are texts that were decoded and cleaned up before.
    "ettin-line-v1": 1,
    None: 2,
}
# No text is as long, so none is cut.
_NEVER_CUT = 1 << 40


def id_patterns(
    text: str, plain: Tokenizer, built: Tokenizer, *, chunker: str | None
) -> list[Uint32Array]:
    """Return the runs of ids that a text may be in rows, each uint32 [num_ids], none twice.

    plain: the tokenizer of the output without a prefix space; built: as the output used it;
    chunker: the algorithm that made the chunks, None where it is unknown.

    Raises: ConfigError when the text has no ids, or UTF-8 cannot hold it.
    """
    assert not plain.add_prefix_space, "there would be no telling the two apart"
    bare = text.removeprefix(" ")
    try:
        bare.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("find: got a text that is not valid Unicode") from error
    spaced = [bare, f" {bare}"] if bare else [text]
    found = _distinct(_content(plain, one) for one in spaced)
    if not found:
        raise ConfigError("find: got an empty text, expected one with at least one token")
    written = _distinct([_content(built, bare), *(_inside(built, one) for one in spaced)])
    found += written
    # Special tokens decode to nothing; what is left without them is another text.
    written = [run for run in written if not np.isin(run, built.special_ids).any()]
    again = _MOST_TIMES_AGAIN.get(chunker, 0) if written and plain.is_framed else 0
    for _ in range(again):
        written = _encoded_again(plain, built, written, _lead(bare))
        found += written
    return _distinct(found)


def _distinct(runs: Iterable[Uint32Array]) -> list[Uint32Array]:
    return [*{run.tobytes(): run for run in runs if len(run)}.values()]


def _content(tokenizer: Tokenizer, text: str) -> Uint32Array:
    """Return the ids of a text without those that frame a document."""
    return tokenizer.encode([text]).values[tokenizer.content]


def _lead(text: str) -> str:
    """Return a character that no splitter joins with the start of the text."""
    return "1" if text[:1].isalpha() else "x"


def _inside(tokenizer: Tokenizer, text: str) -> Uint32Array:
    """Return the ids of a text that does not begin its segment; none where they merge."""
    lead = _lead(text)
    return _after(_content(tokenizer, lead), _content(tokenizer, lead + text))


def _after(start: Uint32Array, ids: Uint32Array) -> Uint32Array:
    return ids[len(start) :] if np.array_equal(ids[: len(start)], start) else ids[:0]


def _encoded_again(
    plain: Tokenizer, built: Tokenizer, runs: list[Uint32Array], lead: str
) -> list[Uint32Array]:
    """Return what runs become where the chunk that they are in is encoded again."""
    start = _content(plain, lead)
    cutter = Cutter(piece_size=_NEVER_CUT, min_size=1, skip_below=1, seed=0)
    documents = Rows.pack([np.concatenate([start, run]) for run in runs])
    stored = RetokenizeChunker(built, cutter).chunk(documents).rows
    return _distinct(_after(_content(built, lead), ids[1:-1]) for ids in stored)


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """A place in a row where a text is."""

    row: int
    offset: int
    """Of the text's first id in the row, from 0."""


def find(patterns: list[Uint32Array], rows: RowSource) -> Iterator[list[Match]]:
    """Yield the places where any of several runs of ids is, by row and offset.

    One list for each block of rows that has some; no place crosses the end of a row.
    """
    first = 0
    for block in rows.read(0, rows.num_rows):
        places = sorted({place for pattern in patterns for place in _places(block, pattern)})
        if places:
            yield [Match(row=first + row, offset=offset) for row, offset in places]
        first += len(block)


def _places(block: Rows, pattern: Uint32Array) -> list[tuple[int, int]]:
    starts = find_ids(block.values, pattern)
    rows = np.searchsorted(block.offsets, starts, side="right") - 1
    inside = starts + len(pattern) <= block.offsets[rows + 1]
    offsets = starts - block.offsets[rows]
    return [*zip(rows[inside].tolist(), offsets[inside].tolist(), strict=True)]


def find_ids(ids: Uint32Array, pattern: Uint32Array) -> Int64Array:
    """Return where in `ids` a run of at least one id starts: int64 [num_places]."""
    # Later merges have higher ids and are rarer. Pages that are not written to take no memory.
    out = np.empty(len(ids), np.int64)
    return out[: _find(ids, pattern, int(pattern.argmax()), out)].copy()


@compiled
def _find(ids: Uint32Array, pattern: Uint32Array, anchor: int, out: Int64Array) -> int:
    """Write where the pattern starts to `out`, as long as `ids`; return how many places there are.

    Whole blocks are first searched for one id of the pattern, in a loop without branches: 29 GB/s,
    where comparing at each place makes 6.
    """
    rare = pattern[anchor]
    num_found = 0
    end = ids.size - pattern.size + 1
    for first in range(0, end, 64):
        stop = min(first + 64, end)
        seen = np.uint32(0)
        for candidate in ids[first + anchor : stop + anchor]:
            seen |= np.uint32(candidate == rare)
        if seen:
            for start in range(first, stop):
                if ids[start + anchor] == rare:
                    length = 0
                    while length < pattern.size and ids[start + length] == pattern[length]:
                        length += 1
                    if length == pattern.size:
                        out[num_found] = start
                        num_found += 1
    return num_found
