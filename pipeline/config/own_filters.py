"""Filters of a mixture's own: a function of Python, and any class of `datatrove`.

Both are code, which runs only where a command allows it (`Filter.is_code`).
"""

import json
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar, Final, Literal

from pipeline.config.settings import optional, setting, settings
from pipeline.config.value_types import LINE, WRONG, ListOf, Schema, Text, reject
from pipeline.config.yaml_nodes import Node, Problems

# YAML repeats a value by a short alias, so a few lines may stand for more than memory holds.
_MOST_VALUES: Final = 10_000
_NAME: Final = "[A-Za-z_][A-Za-z0-9_]*"
_MODULE: Final = rf"(?:[^\x00-\x1f\x7f:]+\.py|{_NAME}(?:\.{_NAME})*)"
_FUNCTION: Final = Text(
    expected="module:function of an installed package, or a file relative to this one,"
    " ./file.py:function",
    pattern=rf"^{_MODULE}:{_NAME}$",
)
_CLASS: Final = Text(
    expected="a class of datatrove such as GopherQualityFilter, or module:Class, or"
    " ./file.py:Class",
    pattern=rf"^(?:{_MODULE}:)?{_NAME}$",
)
_PACKAGE: Final = Text(
    expected="the name of an installed package", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
)
_PACKAGES: Final = ListOf(_PACKAGE, "a list of installed packages such as [numpy]")
_FILES: Final = ListOf(LINE, "a list of files, relative to this one")


@dataclass(frozen=True)
class JsonObject:
    """A mapping of values as JSON has them; as JSON in one spelling, or None for no values."""

    expected: str = "a mapping from names to values such as {least: 3, words: [a, b]}"

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        if node.kind != "mapping":
            return reject(node, where, problems, self.expected)
        try:
            value = _Values(problems).read(node, where)
        except OverflowError:
            got = f"more than {_MOST_VALUES:,} values"
            return reject(node, where, problems, "fewer; put them into a file", got)
        if value is WRONG or not value:
            return value or None
        return json.dumps(value, sort_keys=True)

    def json_schema(self) -> Schema:
        return {"type": "object"}


class _Values:
    """Reads a value of any depth."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._num_values = 0

    def read(self, node: Node, where: str) -> Any:
        """Return the value of a node, or WRONG. Raises: OverflowError for too many of them."""
        self._num_values += 1
        if self._num_values > _MOST_VALUES:
            raise OverflowError
        if node.kind == "list":
            items = [self.read(one, f"{where}[{i}]") for i, one in enumerate(node.items)]
            return WRONG if WRONG in items else items
        if node.kind == "mapping":
            entries = node.entries.items()
            found = {name: self.read(one.node, f"{where}.{name}") for name, one in entries}
            return WRONG if WRONG in found.values() else found
        try:
            return _scalar(node)
        except ValueError:
            return reject(node, where, self._problems, "text, a number, true, false or null")


def _scalar(node: Node) -> Any:
    """Return a single value. Raises: ValueError for one that JSON has not, or YAML not for sure."""
    match node.kind:
        case "null":
            return None
        case "bool":
            return node.text.lower() == "true"
        case "text":
            return node.text
        case "int":
            return int(node.text, 0)
        case "float" if isfinite(number := float(node.text)):
            return number
    raise ValueError(node.text)


_ARGUMENTS: Final = JsonObject()


@settings
class Python:
    """A function `(text, metadata, **arguments) -> bool | str`."""

    short: ClassVar[str] = "function"
    """The key that a text in the place of the mapping stands for."""

    function: str = setting("The function, module:function or ./file.py:function.", _FUNCTION)
    arguments: str | None = optional("What it is called with, by name.", _ARGUMENTS)
    returns: Literal["verdict", "text"] = setting(
        "Whether it returns a verdict, or the text to keep, perhaps changed.", default="verdict"
    )
    packages: tuple[str, ...] = setting(
        "Packages that it uses, whose versions are recorded.", _PACKAGES, default=(), is_set=True
    )
    files: tuple[str, ...] = setting(
        "Files that it reads, whose digests are recorded.", _FILES, default=(), is_set=True
    )

    @property
    def name(self) -> str:
        return self.function.rpartition(":")[2]

    @property
    def module(self) -> str:
        return self.function.rpartition(":")[0]


@settings
class Datatrove:
    """A filter or formatter of `datatrove`, or a class of one's own that extends one."""

    short: ClassVar[str] = "filter"

    filter: str = setting("Class of datatrove, or module:Class, or ./file.py:Class.", _CLASS)
    options: str | None = optional("What the class is made with, by name.", _ARGUMENTS)
    packages: tuple[str, ...] = setting(
        "Packages that it uses, whose versions are recorded.", _PACKAGES, default=(), is_set=True
    )
    files: tuple[str, ...] = setting(
        "Files that it reads, whose digests are recorded.", _FILES, default=(), is_set=True
    )

    @property
    def name(self) -> str:
        return self.filter.rpartition(":")[2]

    @property
    def module(self) -> str | None:
        """Where the class is; None where it is one of datatrove's own."""
        return self.filter.rpartition(":")[0] or None
