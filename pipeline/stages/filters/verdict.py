"""Verdict: what a filter says of a document.

A filter returns the document that goes on, itself or with another text, or a `Drop`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.core.document import Document


@dataclass(frozen=True, slots=True)
class Drop:
    """A document does not pass."""

    reason: str
    """A stable word for what it is counted under."""
    fault: str | None = None
    """What is wrong with a document that cannot be judged at all."""


Judge = Callable[[Document], Document | Drop]
"""One filter at work. Pure: neither time nor other documents change what it says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropped:
    """A document that does not go on, and why."""

    document: Document
    """As it was when it was dropped: earlier filters may have changed its text."""
    reason: str
    """The stage's or filter's name and its word for it, such as `gopher_quality/short_doc`."""
    fault: str | None = None
    """What is wrong with it, if it is a bad document rather than an unwanted one.

    It ends the sentence `document 3: id "x" ...`, for stages that stop at bad documents.
    """
