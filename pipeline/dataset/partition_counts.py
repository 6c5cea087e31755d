"""Counts of a partition: its input files, and what was made of their documents, by task records.

A manifest stores them. They balance to the unit; `docs/spec/manifest.md` says how.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.core.json_record import key


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentCounts:
    """`num_in` is `kept` plus those `dropped`, by reason."""

    num_in: int = key("in")
    kept: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenCounts:
    """`num_in` plus `added` is `written` plus `discarded`."""

    num_in: int = key("in")
    added: int
    discarded: int
    written: int
    validation: int
    drawn: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkCounts:
    """Of those `written`, some are for `validation`; `drawn` are sampled from the others."""

    written: int
    validation: int
    drawn: int


@dataclass(frozen=True, kw_only=True, slots=True)
class InputRecord:
    """An input file."""

    path: str
    num_bytes: int = key("bytes")
    sha256: str
    locked: str | None
    """The digest in the lock."""
    num_chunks: int = 0
    num_validation: int = 0
    """Chunks written of it, and those for validation, where its partition has other files too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnreadInput(InputRecord):
    """An input file that an earlier run has read, and this one has not: it is kept nowhere."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionCounts:
    """The counts of a partition: one input file, or some in a row."""

    task: str
    key: str
    folder: str
    partition: str
    input: InputRecord
    """The first."""
    documents: DocumentCounts
    tokens: TokenCounts
    chunks: ChunkCounts
    together: str = ""
    """The fingerprint of all inputs of its sample, if it was sampled."""
    more_inputs: tuple[InputRecord, ...] = ()

    def __post_init__(self) -> None:
        counts = [(one.num_chunks, one.num_validation) for one in self.inputs]
        expected = (self.chunks.written, self.chunks.validation)
        if self.more_inputs and (
            min(map(min, counts)) < 0 or tuple(map(sum, zip(*counts, strict=True))) != expected
        ):
            raise ValueError(f"{self.partition}: got inputs of other chunks than its {expected}")

    @property
    def inputs(self) -> tuple[InputRecord, ...]:
        return (self.input, *self.more_inputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class PartitionRecord(PartitionCounts):
    """A partition, in a manifest."""

    files: tuple[str, ...]
