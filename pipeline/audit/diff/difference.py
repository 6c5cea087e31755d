"""What differs between two sides, as values."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A value that is not the same on both sides."""

    key: str
    """Its dotted path."""
    old: Any
    """What the first side says; None where it says nothing."""
    new: Any
    """What the second side says; None where it says nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionChange:
    """A partition that is not the same on both sides."""

    folder: str
    """Its folder of shards."""
    what: Literal["added", "removed", "other input", "other shards"]
    """Whether only one side has it, it was made from other bytes, or from the same and differs."""
    old_rows: int
    """Its rows in the first side's pool."""
    new_rows: int
    """Its rows in the second side's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceChange:
    """A source that is not the same on both sides."""

    name: str
    """The source."""
    what: Literal["added", "removed", "altered"]
    """Whether only one side has it."""
    counts: tuple[Change, ...]
    """Documents, chunks and tokens."""
    partitions: tuple[PartitionChange, ...]
    """Its partitions that differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OrderChange:
    """How the ordered rows of two sides differ, as their ledgers tell it."""

    counts: tuple[Change, ...]
    """Algorithm, seed, epoch, view, samples, steps, rows, tokens."""
    same_sequence: bool
    """Whether the rows are the same in the same order."""
    same_multiset: bool
    """Whether the rows are the same in some order."""
    first_rows: tuple[int, int] | None
    """The first rows among which something differs, half-open."""
    num_same_windows: int
    """Windows of one name with the same rows, maybe in another order."""
    other_windows: tuple[str, ...]
    """All other windows, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilesChange:
    """Numbers of files."""

    added: int
    """Only the second side has them."""
    removed: int
    """Only the first side has them."""
    changed: int
    """Both have them, with other bytes."""
    same: int
    """Both have them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """What differs between two sides; None for what one of them does not tell."""

    old: str
    """The first side, as given."""
    new: str
    """The second side, as given."""
    declaration: tuple[Change, ...] | None = None
    """Keys of the mixtures, and the tokenizer."""
    sources: tuple[SourceChange, ...] | None = None
    """Sources that differ."""
    order: OrderChange | None = None
    """The ordered rows."""
    files: FilesChange | None = None
    """The files of outputs."""

    @property
    def equal(self) -> bool:
        """Whether nothing differs that was compared."""
        same_order = self.order is None or (self.order.same_sequence and not self.order.counts)
        files = self.files
        same_files = files is None or files.added == files.removed == files.changed == 0
        return not self.declaration and not self.sources and same_order and same_files
