"""Value types: what a value in a file may be, and its part of the JSON Schema.

Each turns a `Node` into a checked value, or into `WRONG` after adding a complaint to `Problems`.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, Protocol

from pipeline.config.yaml_nodes import Node, Problems
from pipeline.core.errors import ConfigError
from pipeline.core.units import BYTES, LARGEST_AMOUNT, TOKENS, Unit

WRONG: Final = object()
"""Takes the place of a refused value."""
Schema = dict[str, Any]


class ValueType(Protocol):
    @property
    def expected(self) -> str:
        """The end of the sentence `got X, expected ...`."""

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        """Return the value of `node`, or WRONG after saying why in `problems`."""

    def json_schema(self) -> Schema: ...


def closest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "..."?` for the known name nearest to `name`, or nothing."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return f'; did you mean "{by_folded[found[0]]}"?' if found else ""


def reject(node: Node, where: str, problems: Problems, expected: str, got: str = "") -> Any:
    """Complain about a node, and return WRONG."""
    problems.add(node.place, where, f"got {got or node.shown}, expected {expected}")
    return WRONG


class Scalar:
    """Base of the types of single values: `parse` raises ConfigError with the complaint."""

    expected: str

    def parse(self, node: Node) -> Any:
        raise NotImplementedError

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        try:
            return self.parse(node)
        except ConfigError as error:
            problems.add(node.place, where, error.message)
            return WRONG

    def refusal(self, node: Node, advice: str = "") -> ConfigError:
        return ConfigError(f"got {node.shown}, expected {self.expected}{advice}")


@dataclass(frozen=True)
class Text(Scalar):
    """Text that matches a pattern; `known` names are suggested to those who come close."""

    expected: str = "text"
    pattern: str = ""
    known: tuple[str, ...] = ()

    def parse(self, node: Node) -> str:
        if node.kind != "text":
            quotable = self.pattern and node.kind in ("ambiguous", "int", "float", "bool")
            raise self.refusal(node, "; put it in quotes if it is text" if quotable else "")
        if self.pattern and not self.matches(node.text):
            raise self.refusal(node, closest(node.text, self.known))
        return node.text

    def matches(self, text: str) -> bool:
        """Tell whether a text matches the pattern."""
        # JSON Schema and re.search read a pattern alike but for `$`, which re lets a newline pass.
        return re.search(self.pattern, text) is not None and not text.endswith("\n")

    def json_schema(self) -> Schema:
        return {"type": "string", **({"pattern": self.pattern} if self.pattern else {})}


class Choice(Scalar):
    def __init__(self, *names: str) -> None:
        self.names = names
        self.expected = f"one of {', '.join(names)}"

    def parse(self, node: Node) -> str:
        if node.kind != "text" or node.text not in self.names:
            raise self.refusal(node, closest(node.text, self.names))
        return node.text

    def json_schema(self) -> Schema:
        return {"enum": list(self.names)}


class Boolean(Scalar):
    expected = "true or false"

    def parse(self, node: Node) -> bool:
        if node.kind != "bool":
            raise self.refusal(node)
        return node.text.lower() == "true"

    def json_schema(self) -> Schema:
        return {"type": "boolean"}


class Integer(Scalar):
    """An integer within bounds, both included."""

    def __init__(self, at_least: int, at_most: int) -> None:
        self.at_least, self.at_most = at_least, at_most
        self.expected = f"an integer from {at_least:,} to {at_most:,}"

    def parse(self, node: Node) -> int:
        # The bound on length keeps int() away from its own limit; 20 digits pass any bound here.
        readable = node.kind == "int" and len(node.text) <= 20
        if readable and self.at_least <= int(node.text) <= self.at_most:
            return int(node.text)
        bare = re.sub(r"[_\s]", "", node.text)
        near = bare != node.text and re.fullmatch(r"0|[1-9][0-9]*", bare)
        raise self.refusal(node, f"; did you mean {bare}?" if near else "")

    def json_schema(self) -> Schema:
        return {"type": "integer", "minimum": self.at_least, "maximum": self.at_most}


class Amount(Scalar):
    """An amount of a unit within bounds, both included, such as 837.2B; or one of a few words."""

    def __init__(
        self, unit: Unit, *words: str, at_least: int = 1, at_most: int = LARGEST_AMOUNT
    ) -> None:
        self.unit, self.words, self.at_least, self.at_most = unit, words, at_least, at_most
        self.expected = " or ".join([*words, unit.expected]) + (", or 0" if at_least == 0 else "")

    def parse(self, node: Node) -> int | str:
        if node.kind == "text" and node.text in self.words:
            return node.text
        if node.kind in ("null", "bool", "list", "mapping"):
            raise self.refusal(node)
        if word := closest(node.text, self.words):
            raise self.refusal(node, word)
        if self.at_least == 0 and node.text == "0":
            return 0
        amount = self.unit.parse(node.text)
        if not self.at_least <= amount <= self.at_most:
            bounds = f"from {self.at_least:,} to {self.at_most:,} {self.unit.name}"
            raise ConfigError(f"got {node.text}, expected {bounds}")
        return amount

    def json_schema(self) -> Schema:
        options: list[Schema] = [{"enum": list(self.words)}] if self.words else []
        bounds = {"minimum": self.at_least, "maximum": self.at_most}
        text = {"type": "string", "pattern": self.unit.pattern}
        return {"anyOf": [*options, {"type": "integer", **bounds}, text]}


class Number(Scalar):
    """A number between 0 and `largest`, exact in every spelling; either end may be excluded."""

    # Nine digits are more than anyone repeats a source, and keep the declaration short.
    pattern = r"^(?:[0-9]{1,9}(?:\.[0-9]{1,9})?|[0-9]{1,9}/0*[1-9][0-9]{0,8})$"

    def __init__(self, largest: int = 1, *, zero: bool = False, below: bool = False) -> None:
        """`zero`: whether 0 is allowed. `below`: whether `largest` is excluded."""
        self.largest, self.zero, self.below = largest, zero, below
        low = f"{'at least' if zero else 'above'} 0"
        high = f"{'below' if below else 'at most'} {largest}"
        examples = "2, 2.5 or 3/2" if largest > 1 else "0.001 or 1/1000"
        self.expected = f"a number {low} and {high} such as {examples}"

    def parse(self, node: Node) -> Fraction:
        if node.kind in ("int", "float", "text") and self._accepts(node.text):
            return self.number(node.text)
        raise self.refusal(node, self._meant(node.text))

    def number(self, text: str) -> Fraction:
        """Return the number that a text which matches the pattern stands for."""
        return Fraction(text)

    def _accepts(self, text: str) -> bool:
        if not re.fullmatch(self.pattern, text):
            return False
        number = self.number(text)
        high_enough = number >= 0 if self.zero else number > 0
        return high_enough and (number < self.largest if self.below else number <= self.largest)

    def _meant(self, text: str) -> str:
        """Return what to write for a number with an exponent, which YAML versions disagree on."""
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?[eE]-?[0-9]", text):
            return ""
        written = format(Decimal(text), "f")
        return f"; did you mean {written}?" if self._accepts(written) else ""

    def json_schema(self) -> Schema:
        low = "minimum" if self.zero else "exclusiveMinimum"
        high = "exclusiveMaximum" if self.below else "maximum"
        text = {"type": "string", "pattern": self.pattern}
        return {"anyOf": [{"type": "number", low: 0, high: self.largest}, text]}


class Share(Number):
    """A part of a whole, above 0 and at most all of it, exact in every spelling."""

    pattern = r"^(?:[0-9]{1,9}(?:\.[0-9]{1,9})?%?|[0-9]{1,9}/0*[1-9][0-9]{0,8})$"

    def __init__(self) -> None:
        super().__init__()
        self.expected = "a share above 0 and at most 100%, such as 30%, 12.5%, 1/3 or 0.3"

    def number(self, text: str) -> Fraction:
        is_percent = text.endswith("%")
        return Fraction(text.removesuffix("%")) / (100 if is_percent else 1)

    def _meant(self, text: str) -> str:
        percent = f"{text}%"
        if re.fullmatch(self.pattern, percent) and 1 < Fraction(text) <= 100:
            return f"; did you mean {percent}?"
        return super()._meant(text)


@dataclass(frozen=True)
class Nullable:
    """A value of a type, or null; the type's own `expected` says so."""

    type: ValueType

    @property
    def expected(self) -> str:
        return self.type.expected

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        return None if node.kind == "null" else self.type.check(node, where, problems)

    def json_schema(self) -> Schema:
        return {"anyOf": [self.type.json_schema(), {"type": "null"}]}


@dataclass(frozen=True)
class ListOf:
    """A list, which may be empty; a tuple."""

    type: ValueType
    expected: str

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        if node.kind != "list":
            return reject(node, where, problems, self.expected)
        return _check_items([self.type] * len(node.items), node, where, problems)

    def json_schema(self) -> Schema:
        return {"type": "array", "items": self.type.json_schema()}


class OneOrMany(ListOf):
    """A value, or a list of at least one; a tuple in either case."""

    def __init__(self, type: ValueType) -> None:
        super().__init__(type, f"{type.expected}, or a list of them")

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        if node.kind != "list":
            value = self.type.check(node, where, problems)
            return WRONG if value is WRONG else (value,)
        if not node.items:
            return reject(node, where, problems, self.expected, "an empty list")
        return super().check(node, where, problems)

    def json_schema(self) -> Schema:
        return {"anyOf": [self.type.json_schema(), {**super().json_schema(), "minItems": 1}]}


@dataclass(frozen=True)
class Pair:
    """A list of two values, each of its own type; a tuple."""

    types: tuple[ValueType, ValueType]
    expected: str

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        if node.kind != "list" or len(node.items) != 2:
            got = f"{len(node.items)} values" if node.kind == "list" else node.shown
            return reject(node, where, problems, self.expected, got)
        return _check_items(self.types, node, where, problems)

    def json_schema(self) -> Schema:
        items = [type_.json_schema() for type_ in self.types]
        return {"type": "array", "prefixItems": items, "minItems": 2, "maxItems": 2}


def _check_items(types: Iterable[ValueType], node: Node, where: str, problems: Problems) -> Any:
    """Return the tuple of a list's values, or WRONG if one is wrong."""
    checked = zip(types, node.items, strict=True)
    values = [type_.check(one, f"{where}[{i}]", problems) for i, (type_, one) in enumerate(checked)]
    return WRONG if WRONG in values else tuple(values)


LARGEST_COUNT: Final = 2**31 - 1
LARGEST_SEED: Final = 2**32 - 1
SEED: Final = Integer(0, LARGEST_SEED)

# Names become folders, so they are plain and short, without a way up.
NAME: Final = Text(
    expected="a name (letters, digits, . _ -; at most 100; first a letter or digit; no ..)",
    pattern=r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
)
# The common index lies beside the folders of the sources.
SOURCE_NAME: Final = Text(
    expected=f"{NAME.expected}, and not index.json",
    pattern=NAME.pattern.replace("^", "^(?!index\\.json$)"),
)
FREE_TEXT: Final = Text()
LINE: Final = Text(expected="a line of text", pattern=r"^[^\x00-\x1f\x7f]+$")
REGULAR_EXPRESSION: Final = Text(expected="a regular expression of Python, in quotes")
GLOB: Final = Text(expected="a glob of files", pattern=LINE.pattern)
_ID: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
HUB_ID: Final = Text(expected="a Hub id org/name", pattern=f"^{_ID}$")
REVISION: Final = Text(expected="a commit of 40 hex characters", pattern=r"^[0-9a-f]{40}$")
TOKENIZER_FILE: Final = Text(
    expected="the path of a .json file, or a Hub id org/name",
    pattern=rf"^(?:[^\x00-\x1f\x7f]+\.json|{_ID})$",
)
TOKENIZER_NAME: Final = Text(
    expected=f"modernbert, {TOKENIZER_FILE.expected}",
    pattern=TOKENIZER_FILE.pattern.replace("(?:", "(?:modernbert|"),
    known=("modernbert",),
)
TOKEN_AMOUNT: Final = Amount(TOKENS)
SHARE: Final = Share()
TOKENS_OR_ALL: Final = Amount(TOKENS, "all")
TOKENS_OR_ZERO: Final = Amount(TOKENS, at_least=0)
# Offsets in a shard are 32 bits wide.
SHARD_SIZE: Final = Amount(BYTES, at_least=1024, at_most=2**32 - 1)
# A text of 2 GiB is more than the offsets of a column of Arrow reach.
DOCUMENT_SIZE: Final = Amount(BYTES, at_least=1024, at_most=2**31 - 1)
