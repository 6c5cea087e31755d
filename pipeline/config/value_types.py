"""Kinds of single values: each checks what was written and describes itself.

Enters: a `Node`. Leaves: a checked value, or `WRONG` and a complaint in `Problems`. The object that
checks a value also writes its part of the JSON Schema, so that the two cannot drift apart.
"""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Protocol

from pipeline.config.yaml_nodes import Node, Problems
from pipeline.core import units
from pipeline.core.errors import ConfigError

WRONG: Final = object()
"""Stands for a value that was refused; the complaint is in `Problems`."""

Schema = dict[str, Any]


class ValueType(Protocol):
    """What a value may be."""

    @property
    def expected(self) -> str:
        """The end of the sentence `got X, expected ...`."""

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        """Return the value of `node`, or WRONG after saying why in `problems`."""

    def json_schema(self) -> Schema:
        """Return the JSON Schema of the values that `check` accepts."""


def closest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "..."?` for the known name nearest to `name`, or nothing."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1)
    return f'; did you mean "{by_folded[found[0]]}"?' if found else ""


class _Leaf:
    """A kind whose values are single; `parse` raises ConfigError with the complaint."""

    expected: str

    def parse(self, node: Node) -> Any:
        raise NotImplementedError

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        try:
            return self.parse(node)
        except ConfigError as error:
            problems.add(node.place, where, error.message)
            return WRONG

    def refusal(self, node: Node, hint: str = "") -> ConfigError:
        return ConfigError(f"got {node.shown}, expected {self.expected}{hint}")


@dataclass(frozen=True)
class Text(_Leaf):
    """Text that matches a pattern; `known` names are suggested to those who come close."""

    expected: str
    pattern: str
    known: tuple[str, ...] = ()

    def parse(self, node: Node) -> str:
        if node.kind != "text":
            quotable = node.kind in ("ambiguous", "int", "float", "bool")
            raise self.refusal(node, "; put it in quotes if it is text" if quotable else "")
        # JSON Schema and re.search read a pattern alike but for `$`, which re lets a newline pass.
        if re.search(self.pattern, node.text) is None or node.text.endswith("\n"):
            raise self.refusal(node, closest(node.text, self.known))
        return node.text

    def json_schema(self) -> Schema:
        return {"type": "string", "pattern": self.pattern}


@dataclass(frozen=True)
class Prose(_Leaf):
    """Any text, of any number of lines."""

    expected: str = "text"

    def parse(self, node: Node) -> str:
        if node.kind != "text":
            raise self.refusal(node)
        return node.text

    def json_schema(self) -> Schema:
        return {"type": "string"}


class Choice(_Leaf):
    """One of a few names."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.expected = f"one of {', '.join(names)}"

    def parse(self, node: Node) -> str:
        if node.kind != "text" or node.text not in self.names:
            raise self.refusal(node, closest(node.text, self.names))
        return node.text

    def json_schema(self) -> Schema:
        return {"enum": list(self.names)}


class Whole(_Leaf):
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


class Flag(_Leaf):
    """True or false, and no other word for it."""

    expected = "true or false"

    def parse(self, node: Node) -> bool:
        if node.kind != "bool":
            raise self.refusal(node)
        return node.text.lower() == "true"

    def json_schema(self) -> Schema:
        return {"type": "boolean"}


class _Amount(_Leaf):
    """An amount within bounds, both included, or one of a few words."""

    pattern: str
    unit: str
    what: str

    def __init__(
        self,
        *words: str,
        at_least: int = 1,
        at_most: int = units.LARGEST_AMOUNT,
    ) -> None:
        self.words, self.at_least, self.at_most = words, at_least, at_most
        self.expected = " or ".join([*words, self.what])

    def amount(self, text: str) -> int:
        raise NotImplementedError

    def parse(self, node: Node) -> int | str:
        if node.kind == "text" and node.text in self.words:
            return node.text
        if node.kind in ("null", "bool", "list", "mapping"):
            raise self.refusal(node)
        if word := closest(node.text, self.words):
            raise self.refusal(node, word)
        amount = self.amount(node.text)
        if not self.at_least <= amount <= self.at_most:
            bounds = f"from {self.at_least:,} to {self.at_most:,} {self.unit}"
            raise ConfigError(f"got {node.text}, expected {bounds}")
        return amount

    def json_schema(self) -> Schema:
        options: list[Schema] = [{"enum": list(self.words)}] if self.words else []
        bounds = {"minimum": self.at_least, "maximum": self.at_most}
        options += [{"type": "integer", **bounds}, {"type": "string", "pattern": self.pattern}]
        return {"anyOf": options}


class Tokens(_Amount):
    """A number of tokens, such as 837.2B."""

    pattern, unit, what = units.TOKEN_PATTERN, "tokens", units.TOKENS_EXPECTED

    def amount(self, text: str) -> int:
        return units.parse_tokens(text)


class ByteSize(_Amount):
    """A size in bytes, such as 64MiB."""

    pattern, unit, what = units.BYTE_PATTERN, "bytes", units.BYTES_EXPECTED

    def amount(self, text: str) -> int:
        return units.parse_bytes(text)


class Ratio(_Leaf):
    """A positive rational number, exact in every spelling."""

    # Nine digits are more than anyone repeats a source, and keep the declaration short.
    pattern = r"^(?:[0-9]{1,9}(?:\.[0-9]{1,9})?|[0-9]{1,9}/0*[1-9][0-9]{0,8})$"

    def __init__(self, largest: int = 1000) -> None:
        # Beyond 1000 it is a slip of the pen, and a draw would need its memory.
        self.largest = largest
        examples = "2, 2.5 or 3/2" if largest > 1 else "1, 0.001 or 1/1000"
        self.expected = f"a positive number up to {largest} such as {examples}"

    def parse(self, node: Node) -> Fraction:
        number = node.kind in ("int", "float", "text") and re.fullmatch(self.pattern, node.text)
        if not number or not 0 < Fraction(node.text) <= self.largest:
            raise self.refusal(node, self._meant(node.text))
        return Fraction(node.text)

    def _meant(self, text: str) -> str:
        """Return what to write for a number with an exponent, which YAML versions disagree on."""
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?[eE]-?[0-9]", text):
            return ""
        meant = Fraction(text)
        written = f"{meant.numerator}/{meant.denominator}"
        return f"; did you mean {written}?" if re.fullmatch(self.pattern, written) else ""

    def json_schema(self) -> Schema:
        text = {"type": "string", "pattern": self.pattern}
        number = {"type": "number", "exclusiveMinimum": 0, "maximum": self.largest}
        return {"anyOf": [number, text]}


@dataclass(frozen=True)
class Nullable:
    """A kind, or null; the kind's own `expected` says so."""

    kind: ValueType

    @property
    def expected(self) -> str:
        return self.kind.expected

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        return None if node.kind == "null" else self.kind.check(node, where, problems)

    def json_schema(self) -> Schema:
        return {"anyOf": [self.kind.json_schema(), {"type": "null"}]}


@dataclass(frozen=True)
class OneOrMany:
    """A value, or a list of at least one; a tuple in either case."""

    kind: ValueType

    @property
    def expected(self) -> str:
        return f"{self.kind.expected}, or a list of them"

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        if node.kind != "list":
            value = self.kind.check(node, where, problems)
            return WRONG if value is WRONG else (value,)
        if not node.items:
            problems.add(node.place, where, f"got an empty list, expected {self.expected}")
            return WRONG
        values = [
            self.kind.check(item, f"{where}[{index}]", problems)
            for index, item in enumerate(node.items)
        ]
        return WRONG if WRONG in values else tuple(values)

    def json_schema(self) -> Schema:
        one = self.kind.json_schema()
        return {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}
