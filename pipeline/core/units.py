"""Token amounts and byte sizes: how people write them, and what they are as whole numbers.

Text such as `837.2B` or `64MiB` becomes an exact int, at least 1, never rounded. `M`, `B` and `T`
are capitals only; `k` and `K` are both 1000. Sizes never have a bare letter: 100B would be bytes to
one reader and billions to another.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pipeline.core.errors import ConfigError

# Counts are stored as signed 64-bit integers further down.
LARGEST_AMOUNT: Final = 2**63 - 1

# The bound on digits keeps int() away from its own limit; no amount below 2**63 has more than 19.
_WHOLE = r"(?:0|[1-9][0-9]{0,19})"
_DECIMAL = _WHOLE + r"(?:\.[0-9]{1,20})?"


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """How amounts are written."""

    name: str
    multiples: Mapping[str, int]
    pattern: str
    expected: str
    """The end of the sentence `got X, expected ...`."""

    def parse(self, text: str) -> int:
        """Return the amount that `text` stands for. Pure.

        Raises: ConfigError if it is no amount, not a whole number, zero or above 2**63 - 1.

        >>> TOKENS.parse("837.2B"), BYTES.parse("64MiB")
        (837200000000, 67108864)
        """
        if re.fullmatch(self.pattern, text) is None:
            advice = _suggestion(text, self.multiples)
            raise ConfigError(f"got {_shown(text)}, expected {self.expected}{advice}")
        number = text.rstrip("".join(self.multiples))
        whole, _, decimals = number.partition(".")
        scaled = int(whole + decimals) * self.multiples.get(text[len(number) :], 1)
        amount, rest = divmod(scaled, int(10 ** len(decimals)))
        if rest:
            raise ConfigError(f"got {text}, which is not a whole number, expected {self.expected}")
        if not 1 <= amount <= LARGEST_AMOUNT:
            raise ConfigError(f"got {text}, expected an amount from 1 to {LARGEST_AMOUNT:,}")
        return amount


_DECIMAL_BYTES = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BINARY_BYTES = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

TOKENS: Final = Unit(
    name="tokens",
    multiples={"k": 10**3, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12},
    pattern=f"^(?:{_WHOLE}|{_DECIMAL}[kKMBT])$",
    expected="a token amount such as 837.2B, 5M, 64k or 12000",
)
BYTES: Final = Unit(
    name="bytes",
    multiples={**_BINARY_BYTES, **_DECIMAL_BYTES},
    pattern=f"^(?:{_WHOLE}|{_DECIMAL}(?:[KMGT]iB|[kMGT]B))$",
    expected="a size in bytes such as 64MiB, 100kB or 100000",
)


def format_tokens(num_tokens: int) -> str:
    """Return a token count for people, rounded to one decimal, in B at most.

    >>> format_tokens(1_704_712_345_678), format_tokens(5_000_000), format_tokens(999)
    ('1704.7B', '5M', '999')
    """
    return _format(num_tokens, {"k": 10**3, "M": 10**6, "B": 10**9})


def format_bytes(num_bytes: int) -> str:
    """Return a size for people, rounded to one decimal, in powers of 1024.

    >>> format_bytes(67_108_864), format_bytes(100_000), format_bytes(12)
    ('64MiB', '97.7KiB', '12B')
    """
    text = _format(num_bytes, _BINARY_BYTES)
    return f"{text}B" if text[-1].isdigit() else text


def format_hours(hours: float) -> str:
    """Return a time in the unit in which it is from 1 on, in seconds at least 1.

    >>> [format_hours(hours) for hours in (0, 0.001, 0.5, 30, 200)]
    ['1 s', '4 s', '30 min', '30 h', '8.3 days']
    """
    seconds = max(hours * 3600, 1)
    for unit, size, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 100)):
        if seconds < most * size:
            number = seconds / size
            return (
                f"{number:.1f} {unit}" if 1 < number < 10 and size > 1 else f"{number:.0f} {unit}"
            )
    return f"{seconds / 86_400:,.1f} days"


def format_cents(cents: int) -> str:
    """Return an amount of money in dollars, with cents below 100 dollars.

    >>> format_cents(4), format_cents(123_456)
    ('$0.04', '$1,235')
    """
    return f"${cents / 100:,.{2 if cents < 10_000 else 0}f}"


def _suggestion(text: str, multiples: Mapping[str, int]) -> str:
    """Return `; did you mean ...?` if only separators or the spelling of the unit are wrong."""
    parts = re.fullmatch(f"({_DECIMAL})([A-Za-z]*)", re.sub(r"[_\s]", "", text))
    if parts is None:
        return ""
    number, suffix = parts.groups()
    same = [unit for unit in ("", *multiples) if unit.casefold() == suffix.casefold()]
    same += [unit for unit in multiples if unit[0].casefold() == suffix.casefold()]
    if not same or (not same[0] and "." in number):
        return ""
    return f"; did you mean {number}{same[0]}?"


def _shown(text: str) -> str:
    return json.dumps(text if len(text) <= 60 else text[:57] + "...", ensure_ascii=False)


def _format(count: int, multiples: Mapping[str, int]) -> str:
    if count < min(multiples.values()):
        return str(count)
    for unit, size in multiples.items():
        tenths = (count * 10 + size // 2) // size
        # 999,999 tokens are 1M, not 1000k; the largest unit takes whatever is left.
        following = [other // size for other in multiples.values() if other > size]
        if not following or tenths < 10 * min(following):
            whole, tenth = divmod(tenths, 10)
            return f"{whole}.{tenth}{unit}" if tenth else f"{whole}{unit}"
    raise AssertionError("the largest unit always fits")
