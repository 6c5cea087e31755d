"""Needles: a text -> the runs of ids that stand for it in the rows of an output.

Enters: a text, the output's tokenizer without a prefix space and as the build had it. Leaves: every
run of ids that the text may have become. That depends on what stood before it, since the prefix
space goes to the start of a segment alone; and `ettin-reencode-v1` stores some chunks as the text
of their ids, encoded again once or twice, by which prefix spaces lengthen runs of spaces and the
clean-up takes spaces before marks. So a text with such joints is found too where another one, with
a space more or less at one of them, has become the same ids.
"""

from collections.abc import Iterable

import numpy as np

from pipeline.core.arrays import Uint32Array
from pipeline.core.errors import ConfigError
from pipeline.core.ragged import Rows
from pipeline.stages.chunking import Cutter, ReencodeChunker
from pipeline.stages.tokenizer import Tokenizer

# A tail is encoded again, and with it what it borrowed, which may have been before.
_MOST_TIMES_AGAIN = 2
# No needle is as long, so none is cut.
_NEVER_CUT = 1 << 40


def needles(text: str, plain: Tokenizer, built: Tokenizer, *, reencodes: bool) -> list[Uint32Array]:
    """Return the runs of ids that a text may stand as, each uint32 [num_ids], none of them twice.

    First without and with a space before it, as `plain` encodes it, which puts no space before
    segments on its own; then as `built` does, the tokenizer of the output. `reencodes`: whether
    chunks were made by `ettin-reencode-v1`.

    Raises: ConfigError when the text has no ids, or UTF-8 cannot hold it.
    """
    assert not plain.add_prefix_space, "there would be no telling the two apart"
    bare = text.removeprefix(" ")
    try:
        bare.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("find: got a text that is no valid Unicode") from error
    spelled = [bare, f" {bare}"] if bare else [text]
    found = _distinct(_content(plain, one) for one in spelled)
    if not found:
        raise ConfigError("find: got an empty text, expected one with at least one token")
    written = _distinct([_content(built, bare), *(_amid(built, one) for one in spelled)])
    found += written
    # Special tokens decode to nothing; what is left without them is another text.
    written = [run for run in written if not np.isin(run, built.special_ids).any()]
    for _ in range(_MOST_TIMES_AGAIN if reencodes and written else 0):
        written = _again(plain, built, written, _lead(bare))
        found += written
    return _distinct(found)


def _distinct(runs: Iterable[Uint32Array]) -> list[Uint32Array]:
    return [*{run.tobytes(): run for run in runs if len(run)}.values()]


def _content(tokenizer: Tokenizer, text: str) -> Uint32Array:
    """Return the ids of a text without the two that frame a document."""
    return tokenizer.encode([text]).values[1:-1]


def _lead(text: str) -> str:
    """Return a character that no splitter joins with what the text begins with."""
    return "1" if text[:1].isalpha() else "x"


def _amid(tokenizer: Tokenizer, text: str) -> Uint32Array:
    """Return the ids of a text that does not begin its segment; none where they grow together."""
    lead = _lead(text)
    return _after(_content(tokenizer, lead), _content(tokenizer, lead + text))


def _after(start: Uint32Array, ids: Uint32Array) -> Uint32Array:
    return ids[len(start) :] if np.array_equal(ids[: len(start)], start) else ids[:0]


def _again(
    plain: Tokenizer, built: Tokenizer, runs: list[Uint32Array], lead: str
) -> list[Uint32Array]:
    """Return what runs become where the chunk that they stand in is encoded again."""
    # Chunks that begin with a space are kept as they are; these begin with the lead.
    start = _content(plain, lead)
    cutter = Cutter(size=_NEVER_CUT, min_size=1, skip_below=1, seed=0)
    documents = Rows.pack([np.concatenate([start, run]) for run in runs])
    stored = ReencodeChunker(built, cutter).chunk(documents).rows
    return _distinct(_after(_content(built, lead), ids[1:-1]) for ids in stored)
