"""Verdicts: a filter returns the document, perhaps with another text, or a `Drop`."""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.core.document import Document


@dataclass(frozen=True, slots=True)
class Drop:
    """A verdict against a document."""

    reason: str
    """The word under which it is counted."""
    fault: str | None = None
    """What is wrong with a document that cannot be judged."""


Judge = Callable[[Document], Document | Drop]
"""A filter. Pure: a verdict depends on the document alone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    document: Document
    """With the text as earlier filters left it."""
    reason: str
    """The name of the stage or filter and its word, such as `gopher_quality/short_doc`."""
    fault: str | None = None
    """What is wrong with a bad document; completes the sentence `document 3: id "x" ...`."""
