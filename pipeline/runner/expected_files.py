"""Expected files: a planned source -> what a build is expected to read of it.

Of a source whose partitions are made in sequence, that is the first of them, by the tokens that
their sizes let expect. A build reads on from there, or stops before, as the tokens tell.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from pipeline.runner.plan import Plan, PlannedSource, narrowed, num_bytes
from pipeline.sources import InputFile, Lock

TEXT_BYTES_PER_TOKEN: Final = 4
"""Prose and code under this tokenizer come to 3.4 to 4.3 bytes of text a token."""
EXPANSION: Final = {
    "gz": 3, "zst": 3, "zstd": 3, "xz": 3, "bz2": 3, "parquet": 2
}  # fmt: skip
"""gzip and zstd take text to between a half and a fifth of its size. Ids of another tokenizer, four
bytes each in MDS, hold about as much text as ours."""


def tokens_by_size(files: Sequence[InputFile]) -> int:
    """Guess the tokens of files from their sizes."""
    text = sum(num_bytes(file) * EXPANSION.get(file.kind.rpartition(".")[2], 1) for file in files)
    return text // TEXT_BYTES_PER_TOKEN


def num_expected(
    partitions: Iterable[Sequence[InputFile]],
    num_tokens: int,
    tokens_of: Callable[[Sequence[InputFile]], float] = tokens_by_size,
) -> int:
    """Return how many partitions, the first ones, are expected to have so many tokens, or all.

    partitions: the files of each. tokens_of: estimates the tokens of files.
    """
    number, total = 0, 0.0
    for files in partitions:
        if total >= num_tokens:
            break
        number, total = number + 1, total + tokens_of(files)
    return number


def expected_part(
    planned: PlannedSource, tokens_of: Callable[[Sequence[InputFile]], float] = tokens_by_size
) -> PlannedSource:
    """Return a source with the partitions that are expected to meet its budget."""
    if planned.files is None or not planned.is_in_sequence or planned.ask.tokens is None:
        return planned
    sequence = planned.sequence
    files = (planned.partitions[name] for name in sequence)
    # The holdout is a part of the budget on top of it.
    num_tokens = int(planned.ask.tokens * (1 + planned.held_fraction))
    return narrowed(planned, sequence[: num_expected(files, num_tokens, tokens_of)])


def expected_lock(plan: Plan) -> Lock | None:
    """Return the lock of the files that a build is expected to read."""
    parts = [expected_part(one) for one in plan.sources]
    sources = {one.source.name: one.locked for one in parts if one.locked is not None}
    return None if plan.lock is None else replace(plan.lock, sources=sources)
