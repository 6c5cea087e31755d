"""Kinds of values that only recipes have: exact numbers from 0 to 1, and amounts that may be 0.

Enters: a `Node`. Leaves: a checked value, or `WRONG` and a complaint, as for the kinds of mixtures.
"""

import re
from decimal import Decimal
from fractions import Fraction

from pipeline.config.value_types import Ratio, Schema, Tokens
from pipeline.config.yaml_nodes import Node


class Number(Ratio):
    """A number from 0 to 1, exact as written; either end can be left out."""

    def __init__(self, *, zero: bool, one: bool) -> None:
        super().__init__(largest=1)
        self.zero, self.one = zero, one
        bounds = f"{'at least' if zero else 'above'} 0 and {'at most' if one else 'below'} 1"
        self.expected = f"a number {bounds} such as 0.0008 or 1/3"

    def parse(self, node: Node) -> Fraction:
        """Return the number."""
        written = node.kind in ("int", "float", "text") and re.fullmatch(self.pattern, node.text)
        if not written or not self._holds(Fraction(node.text)):
            raise self.refusal(node, self._meant(node.text))
        return Fraction(node.text)

    def _holds(self, number: Fraction) -> bool:
        left_out = (not self.zero and number == 0) or (not self.one and number == 1)
        return 0 <= number <= 1 and not left_out

    def _meant(self, text: str) -> str:
        """Return what to write for a number with an exponent, which YAML versions disagree on."""
        exponential = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?[eE]-?[0-9]", text)
        if not exponential or not self._holds(Fraction(text)):
            return ""
        written = format(Decimal(text), "f")
        return f"; did you mean {written}?" if re.fullmatch(self.pattern, written) else ""

    def json_schema(self) -> Schema:
        """Return the part of the JSON Schema."""
        low = "minimum" if self.zero else "exclusiveMinimum"
        high = "maximum" if self.one else "exclusiveMaximum"
        text = {"type": "string", "pattern": self.pattern}
        return {"anyOf": [{"type": "number", low: 0, high: 1}, text]}


class TokensOrZero(Tokens):
    """A number of tokens, such as 3B, or 0."""

    def __init__(self) -> None:
        super().__init__(at_least=0)
        self.expected = f"{self.what}, or 0"

    def amount(self, text: str) -> int:
        """Return the number of tokens."""
        return 0 if text == "0" else super().amount(text)
