"""Budgets: the tokens that a mixture wants of each source, scaled by its `scale`.

Integers and fractions alone, so sums are exact. An unreachable budget is an error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor
from typing import Literal

from pipeline.config import Mixture, Source
from pipeline.core.apportion import largest_remainder
from pipeline.core.errors import ConfigError

# The largest `max_repetition` or `epochs` of a mixture.
_LARGEST_REPETITION = 1000
# Compressed text grows less than tenfold, at two bytes a token or more: prose and code take 3.4 to
# 4.3 bytes a token and compress three- to fivefold.
_PACKED = (".gz", ".zst", ".zstd", ".xz", ".bz2", ".parquet")
_TOKENS_PER_PACKED_BYTE = 5
# A byte of plain text is at most one token, and a chunk of one token gains CLS and SEP. An id of an
# MDS row takes 2 or 4 bytes.
_TOKENS_PER_PLAIN_BYTE = 3
_GUIDE = "docs/guide/custom-mixture.md#budgets"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """The budget of a source: a number of tokens, or a multiple of those available."""

    source: str
    key: Literal["tokens", "expected", "epochs"]
    """The key of the mixture that declares it."""
    tokens: int | None
    """Tokens to sample, at least 1; None with `epochs`."""
    epochs: Fraction | None
    """How often all tokens are used; None with `tokens`."""
    max_repetition: Fraction
    """How often a token may be used to meet `tokens`."""
    scale: Fraction
    """The factor already applied to `tokens` or `epochs`."""
    share: Fraction | None = None
    """The part of the mixture's own `tokens` that `tokens` is, where that was declared."""

    @property
    def is_whole(self) -> bool:
        """Whether each chunk is used exactly once."""
        return self.epochs == 1


def budgets(mixture: Mixture) -> dict[str, Ask]:
    """Return the budget of each source, by name. Pure.

    Token budgets and, at a scale other than 1, `expected` tokens are scaled together by `_scaled`;
    a source with neither scales its multiple of the available tokens.
    """
    numbers = {}
    for source in mixture.sources:
        declared = mixture.tokens_of(source)
        if not isinstance(declared, int):
            declared = None if mixture.scale == 1 else source.expected
        if declared is not None:
            numbers[source.name] = declared
    scaled = _scaled(numbers, mixture.scale)
    return {
        source.name: _ask(mixture, source, scaled.get(source.name)) for source in mixture.sources
    }


def of_part(ask: Ask, part_bytes: int, all_bytes: int) -> Ask:
    """Return the same number of tokens as a budget of a part of the files. Pure."""
    if ask.epochs is None or part_bytes == all_bytes:
        return ask
    return replace(ask, epochs=ask.epochs * Fraction(all_bytes, max(part_bytes, 1)))


def repetitions(ask: Ask, available: int) -> tuple[int, int]:
    """Return how often all tokens are used, and how many more are sampled.

    Raises: ConfigError when the source has too few tokens, with both ways out.
    """
    if ask.epochs is not None:
        whole = floor(ask.epochs)
        return whole, floor(available * (ask.epochs - whole))
    assert ask.tokens is not None
    if not _is_reachable(ask, available):
        raise ConfigError(*_refusal(ask, available), guide=_GUIDE)
    return divmod(ask.tokens, available)


def _refusal(ask: Ask, available: int, *, is_bound: bool = False) -> tuple[str, str]:
    """Return message and hint for an unreachable budget; `is_bound`: `available` is a bound."""
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
    key = ask.key if ask.share is None else "share"
    message = f"{where}.{key}: needs {ask.tokens:,} tokens{at_scale}, has {has}"
    ways = []
    raised = ceil(Fraction(ask.tokens, max(available, 1)))
    if available and raised <= _LARGEST_REPETITION:
        ways.append(f"raise {where}.{repetition} to {raised:,}{least}")
    if lowered := floor(floor(available * ask.max_repetition) / ask.scale):
        if ask.share is None:
            ways.append(f"lower {where}.{ask.key} to {lowered:,}{most}")
        elif whole := floor(lowered / ask.share):
            ways.append(f"lower {where}.share, or tokens to {whole:,}{most}")
    return message, ", or ".join(ways) or f"give {where} files with documents in them"


def check_feasible(
    asks: Mapping[str, Ask], files_by_source: Mapping[str, Sequence[tuple[str, int]]]
) -> None:
    """Refuse budgets that no text of these sizes can meet, before any work is done.

    files_by_source: (path, bytes) of the files to read. The exact check follows once the chunks are
    counted. Raises: ConfigError that lists each such source, with both ways out.
    """
    refusals = []
    for source, ask in sorted(asks.items()):
        most = most_tokens(files_by_source[source])
        if not _is_reachable(ask, most):
            refusals.append(_refusal(ask, most, is_bound=True))
    _raise_all(refusals)


def check_reachable(counted: Sequence[tuple[Ask, int, str]]) -> None:
    """Refuse budgets that the counted tokens cannot meet.

    counted: of each source its budget, the tokens that there are for it, and what was lost on the
    way to them. Raises: ConfigError that lists each such source, with both ways out.
    """
    refusals = []
    for ask, available, lost in counted:
        if not _is_reachable(ask, available):
            message, hint = _refusal(ask, available)
            refusals.append((f"{message} ({lost})" if lost else message, hint))
    _raise_all(refusals)


def _is_reachable(ask: Ask, available: int) -> bool:
    return ask.tokens is None or ask.tokens <= available * ask.max_repetition


def _raise_all(refusals: Sequence[tuple[str, str]]) -> None:
    if refusals:
        messages, hints = zip(*refusals, strict=True)
        raise ConfigError("\n".join(messages), "; ".join(hints), guide=_GUIDE)


def most_tokens(files: Sequence[tuple[str, int]]) -> int:
    """Return an upper bound of the tokens in files of these (path, bytes)."""
    return sum(
        num_bytes
        * (_TOKENS_PER_PACKED_BYTE if path.lower().endswith(_PACKED) else _TOKENS_PER_PLAIN_BYTE)
        for path, num_bytes in files
    )


def _ask(mixture: Mixture, source: Source, tokens: int | None) -> Ask:
    scale, epochs = mixture.scale, source.epochs or Fraction(1)
    if isinstance(mixture.tokens_of(source), int):
        return Ask(
            source=source.name, key="tokens", tokens=tokens, epochs=None, share=source.share,
            max_repetition=Fraction(source.max_repetition), scale=scale,
        )  # fmt: skip
    return Ask(
        source=source.name, key="epochs" if tokens is None else "expected", tokens=tokens,
        epochs=epochs * scale if tokens is None else None,
        max_repetition=max(epochs, Fraction(1)), scale=scale,
    )  # fmt: skip


def _scaled(numbers: Mapping[str, int], scale: Fraction) -> dict[str, int]:
    """Scale numbers to whole numbers of at least 1 by largest remainder.

    They sum to the scaled sum, halves rounded up, or to their count if that is more. Of equal
    remainders the first name wins.
    """
    exact = {name: number * scale for name, number in sorted(numbers.items())}
    total = max(floor(sum(exact.values()) + Fraction(1, 2)), len(exact))
    shares = largest_remainder(exact, total)
    for name, share in shares.items():
        if share == 0:
            shares[name] = 1
    # The largest shares pay for those that were raised to 1.
    while sum(shares.values()) > total:
        shares[max(shares, key=lambda name: shares[name])] -= 1
    return shares
