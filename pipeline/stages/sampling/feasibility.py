"""Feasible: budgets that no text of these sizes can meet are refused before any work.

Enters: what is asked of each source, and its files with their sizes. Leaves: nothing, or one error
that lists every such source. It refuses only what is sure to fail; the exact check comes when the
chunks are counted.
"""

from collections.abc import Mapping, Sequence

from pipeline.core.errors import ConfigError
from pipeline.stages.sampling.budget import Ask, refusal

# Packed text unpacks to less than ten times its size, at two bytes a token or more: prose and code
# take 3.4 to 4.3 bytes a token, and pack three to five times.
_PACKED = (".gz", ".zst", ".zstd", ".parquet")
_TOKENS_PER_PACKED_BYTE = 5
# A byte of plain text is one token at most, and a chunk of one token gains CLS and SEP. An id of an
# MDS row has 2 or 4 bytes, and becomes about one token again.
_TOKENS_PER_PLAIN_BYTE = 3


def check_feasible(
    asks: Mapping[str, Ask], files_by_source: Mapping[str, Sequence[tuple[str, int]]]
) -> None:
    """Refuse budgets that cannot be met; files are (path, bytes), those that will be read.

    Raises: ConfigError that names each such source, what it needs, what it has at most, and both
    ways out.
    """
    refusals = []
    for source, ask in sorted(asks.items()):
        most = most_tokens(files_by_source[source])
        if ask.tokens is not None and ask.tokens > most * ask.max_repetition:
            refusals.append(refusal(ask, most, is_bound=True))
    if refusals:
        messages, hints = zip(*refusals, strict=True)
        raise ConfigError("\n".join(messages), "; ".join(hints))


def most_tokens(files: Sequence[tuple[str, int]]) -> int:
    """Return more tokens than files of these (path, bytes) can come to."""
    return sum(
        num_bytes * (_TOKENS_PER_PACKED_BYTE if path.endswith(_PACKED) else _TOKENS_PER_PLAIN_BYTE)
        for path, num_bytes in files
    )
