"""`Document`: one text, as `sources` reads it and `stages` filter and tokenize it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One text with an id that is unique in its source."""

    id: str
    """The id, as the origin gives it or made from file name and row."""
    text: str
    """The text, valid Unicode without lone surrogates."""
    row: int
    """Position in its file, from 0, counting the documents that were dropped."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Every other field of the origin's record."""
