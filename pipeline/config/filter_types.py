"""Kinds of values that only options of filters are: thresholds, expressions, shares of n-grams."""

import re
from fractions import Fraction
from typing import Any

from pipeline.config.value_types import WRONG, Ratio, Schema, Whole
from pipeline.config.yaml_nodes import Node, Problems


class Threshold(Ratio):
    """A number from 0, exact in every spelling."""

    def __init__(self, largest: int = 1) -> None:
        super().__init__(largest)
        self.expected = f"a number from 0 to {largest} such as 0, 0.12 or 3/25"

    def parse(self, node: Node) -> Fraction:
        """Return the number. Raises: ConfigError."""
        if node.kind in ("int", "float", "text") and re.fullmatch(r"0+(\.0+)?", node.text):
            return Fraction(0)
        return super().parse(node)

    def json_schema(self) -> Schema:
        """Return the JSON Schema of the numbers that `parse` accepts."""
        text = {"type": "string", "pattern": self.pattern}
        return {"anyOf": [{"type": "number", "minimum": 0, "maximum": self.largest}, text]}


class Pattern:
    """A regular expression of Python's `re`."""

    expected = "a regular expression of Python"

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        """Return the expression, or WRONG after saying why."""
        if node.kind != "text":
            problems.add(
                node.place, where, f"got {node.shown}, expected {self.expected}, in quotes"
            )
            return WRONG
        try:
            re.compile(node.text)
        except re.error as error:
            complaint = f"got {node.shown} ({error}), expected {self.expected}"
            problems.add(node.place, where, complaint)
            return WRONG
        return node.text

    def json_schema(self) -> Schema:
        """Return the JSON Schema of all texts: which are expressions only Python can tell."""
        return {"type": "string"}


class NgramShares:
    """A list of [words of an n-gram, share of the text's characters]; it may be empty."""

    expected = "a list of pairs such as [[2, 0.2], [3, 0.18]]"
    _kinds = (Whole(1, 1000), Threshold())

    def check(self, node: Node, where: str, problems: Problems) -> Any:
        """Return a tuple of pairs, or WRONG after saying why."""
        if node.kind != "list":
            problems.add(node.place, where, f"got {node.shown}, expected {self.expected}")
            return WRONG
        pairs = [self._pair(pair, f"{where}[{i}]", problems) for i, pair in enumerate(node.items)]
        return WRONG if WRONG in pairs else tuple(pairs)

    def _pair(self, node: Node, where: str, problems: Problems) -> Any:
        if len(node.items) != 2:
            got = f"{len(node.items)} values" if node.kind == "list" else node.shown
            problems.add(node.place, where, f"got {got}, expected a pair such as [2, 0.2]")
            return WRONG
        values = [
            kind.check(item, f"{where}[{i}]", problems)
            for i, (kind, item) in enumerate(zip(self._kinds, node.items, strict=True))
        ]
        return WRONG if WRONG in values else tuple(values)

    def json_schema(self) -> Schema:
        """Return the JSON Schema of the lists that `check` accepts."""
        pair = {
            "type": "array",
            "prefixItems": [kind.json_schema() for kind in self._kinds],
            "minItems": 2,
            "maxItems": 2,
        }
        return {"type": "array", "items": pair}
