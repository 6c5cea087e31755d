"""Lock: what was found at the origins of a mixture, once, so that a build can insist on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.sources.origin import OriginFile


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedSource:
    """What a source's origin had."""

    origin: Mapping[str, Any]
    """Where it was looked for: the declaration of its origin."""
    revision: str | None
    """The commit, where there is such a thing."""
    files: tuple[OriginFile, ...]
    """Sorted by path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lock:
    """What was found at all origins of a mixture."""

    name: str
    """Of the mixture."""
    tokenizer: str
    """sha256 of its `tokenizer.json`."""
    algorithms: Mapping[str, str]
    """Named algorithms that fix bytes, by what they do."""
    sources: Mapping[str, LockedSource]
    """By name, sorted."""
