"""Budgets: what a mixture asks of each source, in whole tokens, after its `scale`.

Enters: a mixture. Leaves: an `Ask` for each source; and, once its tokens are counted, how often all
of them are used and how many beyond that. Integers and fractions alone, so a sum of budgets is
exact. A budget that cannot be met is refused; nothing shrinks silently.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from typing import Literal

from pipeline.config import Mixture, Source
from pipeline.core.errors import ConfigError

# The largest that a mixture may say of either.
_LARGEST_REPETITION = 1000
# Packed text unpacks to less than ten times its size, at two bytes a token or more: prose and code
# take 3.4 to 4.3 bytes a token, and pack three to five times.
_PACKED = (".gz", ".zst", ".zstd", ".parquet")
_TOKENS_PER_PACKED_BYTE = 5
# A byte of plain text is one token at most, and a chunk of one token gains CLS and SEP. An id of an
# MDS row has 2 or 4 bytes, and becomes about one token again.
_TOKENS_PER_PLAIN_BYTE = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """What is asked of a source: a number of tokens, or a multiple of what there is."""

    source: str
    """Its name."""
    key: Literal["tokens", "expected", "epochs"]
    """The key of the mixture that says it."""
    tokens: int | None
    """Whole tokens to sample, at least 1; None beside `epochs`."""
    epochs: Fraction | None
    """How often all tokens are used; None beside `tokens`."""
    max_repetition: Fraction
    """How often a token may be used to meet `tokens`."""
    scale: Fraction
    """The factor that `tokens` or `epochs` already includes."""

    @property
    def is_whole(self) -> bool:
        """Whether each chunk is used once, so that there is nothing to sample."""
        return self.epochs == 1


def budgets(mixture: Mixture) -> dict[str, Ask]:
    """Return what is asked of each source, by name.

    At scale 1 that is what the mixture declares. At another, budgets in tokens, and what `all` or
    `epochs` are expected to come to, are scaled together: whole tokens that sum to the scaled sum,
    halves rounded up, by largest remainder, at least one token each. A source with neither is asked
    for its scaled multiple of what there is. Pure.
    """
    declared = {source.name: _declared(source, mixture.scale) for source in mixture.sources}
    numbers = {name: number for name, number in declared.items() if number is not None}
    scaled = _scaled(numbers, mixture.scale)
    return {
        source.name: _ask(source, mixture.scale, scaled.get(source.name))
        for source in mixture.sources
    }


def of_part(ask: Ask, part_bytes: int, all_bytes: int) -> Ask:
    """Return the same number of tokens, asked of a part of a source's files. Pure."""
    if ask.epochs is None or part_bytes == all_bytes:
        return ask
    return replace(ask, epochs=ask.epochs * Fraction(all_bytes, max(part_bytes, 1)))


def repetitions(ask: Ask, available: int) -> tuple[int, int]:
    """Return how often all tokens are used, and how many beyond that.

    Raises: ConfigError when the source has too few tokens for its budget, with both ways out.
    """
    if ask.epochs is not None:
        whole = floor(ask.epochs)
        return whole, floor(available * (ask.epochs - whole))
    assert ask.tokens is not None
    if ask.tokens > available * ask.max_repetition:
        raise ConfigError(*_refusal(ask, available))
    return divmod(ask.tokens, available)


def _refusal(ask: Ask, available: int, *, is_bound: bool = False) -> tuple[str, str]:
    """Return the message and the hint for a budget that cannot be met.

    `is_bound`: `available` is more than there can be, so that what the hint offers may be too much.
    """
    assert ask.tokens is not None
    where = f"sources.{ask.source}"
    least, most = (" or more", " or less") if is_bound else ("", "")
    repetition = "max_repetition" if ask.key == "tokens" else "epochs"
    at_scale = "" if ask.scale == 1 else f" at scale {ask.scale}"
    has = "0"
    if available:
        bound = "at most " if is_bound else ""
        has = (
            f"{bound}{floor(available * ask.max_repetition):,} at {repetition} {ask.max_repetition}"
        )
    message = f"{where}.{ask.key}: needs {ask.tokens:,} tokens{at_scale}, has {has}"
    ways = []
    raised = ceil(Fraction(ask.tokens, max(available, 1)))
    if available and raised <= _LARGEST_REPETITION:
        ways.append(f"raise {where}.{repetition} to {raised:,}{least}")
    if lowered := floor(floor(available * ask.max_repetition) / ask.scale):
        ways.append(f"lower {where}.{ask.key} to {lowered:,}{most}")
    return message, ", or ".join(ways) or f"give {where} files with documents in them"


def check_feasible(
    asks: Mapping[str, Ask], files_by_source: Mapping[str, Sequence[tuple[str, int]]]
) -> None:
    """Refuse, before any work, budgets that no text of these sizes can meet.

    files_by_source: (path, bytes) of the files that will be read.

    Only what is sure to fail is refused; the exact check comes when the chunks are counted.
    Raises: ConfigError that lists each such source, with both ways out.
    """
    refusals = []
    for source, ask in sorted(asks.items()):
        most = most_tokens(files_by_source[source])
        if ask.tokens is not None and ask.tokens > most * ask.max_repetition:
            refusals.append(_refusal(ask, most, is_bound=True))
    if refusals:
        messages, hints = zip(*refusals, strict=True)
        raise ConfigError("\n".join(messages), "; ".join(hints))


def most_tokens(files: Sequence[tuple[str, int]]) -> int:
    """Return more tokens than files of these (path, bytes) can come to."""
    return sum(
        num_bytes * (_TOKENS_PER_PACKED_BYTE if path.endswith(_PACKED) else _TOKENS_PER_PLAIN_BYTE)
        for path, num_bytes in files
    )


def _declared(source: Source, scale: Fraction) -> int | None:
    """Return the number of tokens that a source stands for, if there is one."""
    if isinstance(source.tokens, int):
        return source.tokens
    return None if scale == 1 else source.expected


def _ask(source: Source, scale: Fraction, tokens: int | None) -> Ask:
    epochs = source.epochs or Fraction(1)
    if isinstance(source.tokens, int):
        return Ask(
            source=source.name, key="tokens", tokens=tokens, epochs=None,
            max_repetition=Fraction(source.max_repetition), scale=scale,
        )  # fmt: skip
    return Ask(
        source=source.name, key="epochs" if tokens is None else "expected", tokens=tokens,
        epochs=epochs * scale if tokens is None else None,
        max_repetition=max(epochs, Fraction(1)), scale=scale,
    )  # fmt: skip


def _scaled(numbers: Mapping[str, int], scale: Fraction) -> dict[str, int]:
    """Return whole numbers in the proportions of `numbers`, each at least 1, by largest remainder.

    They sum to `scale` times the sum of `numbers`, halves rounded up, or to their count, if that is
    more. Where remainders are equal, the first name wins.
    """
    exact = {name: number * scale for name, number in sorted(numbers.items())}
    total = max(floor(sum(exact.values()) + Fraction(1, 2)), len(exact))
    shares = {name: floor(number) for name, number in exact.items()}
    by_remainder = sorted(exact, key=lambda name: shares[name] - exact[name])
    for name in by_remainder[: total - sum(shares.values())]:
        shares[name] += 1
    for name, share in shares.items():
        if share == 0:
            shares[name] = 1
    # What those below one token were given comes from the largest.
    while sum(shares.values()) > total:
        shares[max(shares, key=lambda name: shares[name])] -= 1
    return shares
