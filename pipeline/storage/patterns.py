"""Patterns of many files: braces, which expand without a listing, and wildcards. Pure."""

import itertools
import math
import re
from collections.abc import Iterable

from pipeline.core.errors import ConfigError, InputError, NoMatchError
from pipeline.core.shown import without_secrets

# More than any published data set has files; a slip of the keyboard ends here and not in memory.
_MOST_ADDRESSES = 1_000_000
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_PIECE = re.compile(r"\*+|\?|\[!?\]?[^]]*\]|.", re.DOTALL)


def expand_braces(pattern: str) -> list[str]:
    """Return the addresses that a pattern with braces stands for, in the order it says.

    `{0000..0274}` counts, with as many digits as it is written with; `{a,b}` chooses.

    Raises: ConfigError for braces of another form, or for more than a million addresses.
    """
    pieces = _BRACES.split(pattern)
    if any(brace in piece for piece in pieces[::2] for brace in "{}"):
        raise ConfigError(
            f"from.url: got {pattern}, expected each brace to be closed, and none within another",
            "write {0000..0274}, or {a,b}",
        )
    choices = [_choices(pattern, inner) for inner in pieces[1::2]]
    number = math.prod(count for count, _ in choices)
    if number > _MOST_ADDRESSES:
        raise ConfigError(
            f"from.url: got {pattern}, which are {number:,} addresses, expected at most"
            f" {_MOST_ADDRESSES:,}"
        )
    addresses = []
    for chosen in itertools.product(*(values for _, values in choices)):
        pieces[1::2] = chosen
        addresses.append("".join(pieces))
    return addresses


def expand_addresses(patterns: Iterable[str]) -> dict[str, str]:
    """Return the addresses of patterns, by the name without secrets that each has here, sorted.

    Raises: ConfigError as `expand_braces`, and for two of one name, of which one would be lost.
    """
    named: dict[str, str] = {}
    for address in sorted({one for pattern in patterns for one in expand_braces(pattern)}):
        name = without_secrets(address)
        if named.setdefault(name, address) != address:
            raise ConfigError(
                f"from.url: got {name} more than once, expected addresses that differ in more than"
                " logins and signatures",
                "list one of them: what is secret is no part of a file's name here",
            )
    return dict(sorted(named.items()))


def _choices(pattern: str, inner: str) -> tuple[int, Iterable[str]]:
    """Return how many values a brace stands for, and the values."""
    counted = _RANGE.fullmatch(inner)
    if counted is None:
        if "," not in inner:
            raise ConfigError(
                f"from.url: got {{{inner}}} in {pattern}, expected a range or a choice",
                "write {0000..0274}, or {a,b}; a brace in an address is %7B or %7D",
            )
        values = inner.split(",")
        return len(values), values
    first, last = counted.groups()
    numbers = range(int(first), int(last) + 1)
    if not numbers:
        raise ConfigError(f"from.url: got {{{inner}}} in {pattern}, expected a range that rises")
    # A leading zero in either pads all to the longer of the two.
    is_padded = any(end.startswith("0") and len(end) > 1 for end in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    return numbers.stop - numbers.start, (f"{number:0{width}}" for number in numbers)


def pattern_hint(pattern: str) -> str | None:
    """Return what is read otherwise in a pattern of files than in a shell, if anything. Pure."""
    if pattern.startswith("~"):
        return "write the folder out: ~ is not the home folder here"
    if "{" in pattern:
        return "list the patterns, as [a/*.jsonl, b/*.jsonl]: braces choose in `url` only"
    if "[" in pattern:
        return "[1] stands for one character of a set: write [[] where a name has a bracket"
    return None


def match_paths(where: str, patterns: Iterable[str], paths: Iterable[str]) -> list[str]:
    """Return the paths that any of some globs matches, sorted.

    `*`, `?` and `[...]` stop at a slash; `**`, as a whole part, stands for any number of folders,
    and at the end for all files below. Names that begin with a dot are matched only by parts that
    begin with one. `where` names the patterns in errors.

    Raises: NoMatchError for a pattern that matches nothing, InputError for one that is none.
    """
    paths = list(paths)
    matched: set[str] = set()
    for pattern in patterns:
        try:
            expression = re.compile(_expression(pattern))
        except re.error as error:
            raise InputError(f'{where}: "{pattern}" is not a glob pattern: {error}') from error
        found = [path for path in paths if expression.fullmatch(path)]
        if not found:
            raise NoMatchError(
                f'{where}: "{pattern}" matches none of {len(paths):,} files',
                pattern_hint(pattern)
                or (f"check the spelling; there is {min(paths)}" if paths else None),
            )
        matched.update(found)
    return sorted(matched)


def _expression(pattern: str) -> str:
    *folders, name = pattern.removeprefix("./").split("/")
    any_depth = r"(?:(?!\.)[^/]+/)*"
    parts = [any_depth if part == "**" else _part(part) + "/" for part in folders]
    return "".join(parts) + (f"{any_depth}{_part('*')}" if name == "**" else _part(name))


def _part(part: str) -> str:
    visible = "" if part.startswith(".") else r"(?!\.)"
    return visible + "".join(map(_piece, _PIECE.findall(part)))


def _piece(piece: str) -> str:
    if piece.startswith("*"):
        return "[^/]*"
    if piece == "?":
        return "[^/]"
    if piece.startswith("[") and len(piece) > 1:
        inside = piece[1:-1].removeprefix("!")
        negation = "^" if piece.startswith("[!") else ""
        escaped = re.sub(r"([^\w-])", r"\\\1", inside)
        return f"(?!/)[{negation}{escaped}]"
    return re.escape(piece)
