"""Candidates: the known ways in which rows may have been made, with what is found of such rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Found = Mapping[str, Sequence[object]]
"""By what a sign is about, the values that were found."""
Signs = Mapping[str, tuple[object, ...]]

SIZES: Final = {"pre-training": 1024, "extension": 8000}
"""Ids of a row, by phase."""

_SLICES: Final = ("documents", "some rows", "untold")
_EACH: Final = ("each row", "few rows", "untold")


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One way of making rows of a size."""

    says: str
    settings: Mapping[str, object]
    """Keys of a mixture; empty where no algorithm makes such rows."""
    signs: Signs
    """The values that agree, by what they are of; a sign that is not named never excludes it."""


def candidates(size: int) -> Iterator[Candidate]:
    """Yield the known ways of making rows of `size` ids: from pieces of that many or two fewer."""
    for cut in (size, size - 2):
        for algorithm, rewrite, signs in _rewrites(cut, size):
            yield Candidate(
                says=f"slices of {cut:,} ids{rewrite}",
                settings={"chunk.algorithm": algorithm, "chunk.size": size} if algorithm else {},
                signs={"middle": (cut,), **signs},
            )


def fitting(known: Sequence[Candidate], found: Found) -> list[Candidate]:
    """Return those that all that was found agrees with. Pure."""
    return [
        one
        for one in known
        if all(
            value in values for name, values in one.signs.items() for value in found.get(name, ())
        )
    ]


def _rewrites(cut: int, size: int) -> Iterator[tuple[str, str, Signs]]:
    """Yield what is done to pieces: algorithm, words, and signs.

    Source: `pipeline/stages/chunking`; the others are what the published counts leave open.
    """
    is_full = cut == size
    more: Signs = {"has_longer": (True,)} if is_full else {}
    fits: Signs = {"has_longer": (is_full,)}
    again: Signs = {"first": (cut,), "commonest": (cut + 1, cut + 2), "specials": _EACH}
    once: Signs = {"is_doubled": (False,), "is_fixed": (True,)}
    yield (
        "ettin-slice-v2" if is_full else "ettin-slice-v1",
        "",
        {"first": (cut,), "commonest": (cut,), "longest": (cut,), "has_longer": (False,)}
        | {"specials": _SLICES},
    )
    yield (
        "ettin-retokenize-v1" if is_full else "",
        ", decoded with clean-up of spaces and tokenized again",
        {**again, **more, **once, "is_cleaned": (True,)},
    )
    yield (
        "",
        ", decoded without clean-up of spaces and tokenized again",
        {**again, **more, **once, "is_cleaned": (False,)},
    )
    yield (
        "",
        ", decoded with their special tokens and tokenized again",
        {**again, **more, "first": (cut + 1,), "is_doubled": (True,)},
    )
    framed: Signs = {"longest": (cut + 2,), "is_fixed": (False,), "is_cleaned": (False,)}
    yield (
        "",
        " with CLS and SEP put around them where they lack them",
        {**again, **fits, **framed, "is_doubled": (False,)},
    )
    yield (
        "",
        " of documents without CLS and SEP, which are put around each",
        {**again, **fits, **framed, "first": (cut + 1,), "is_doubled": (False,)},
    )
    if not is_full:
        yield (
            "ettin-reencode-v1",
            ", some of them encoded again",
            {**again, "longest": (cut + 1, cut + 2), "has_longer": (False,)}
            | {"specials": ("starts of rows", "few rows", "untold")},
        )
