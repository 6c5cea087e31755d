"""Training chunks: the chunks of a partition, and the rule that holds some of them out.

Each task applies the rules to its own partition, so that no mask is sent or stored.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array, Uint64Array
from pipeline.core.errors import InternalError
from pipeline.core.files import load_array
from pipeline.core.seeds import random_numbers
from pipeline.dataset import State
from pipeline.runner.shuffle import Table, load_table
from pipeline.stages.holdout import held_chunks, held_texts, text_numbers


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunks:
    """All chunks of a partition."""

    out: Path
    folder: str
    """Where they are, relative to `out`."""
    num_rows: int

    def table(self) -> Table:
        return load_table(State(out=self.out), self.folder)

    def lengths(self) -> Int64Array:
        """Return the tokens of each: int64 [num_rows]."""
        lengths: Int64Array = self.table()["length"].astype(np.int64)
        return lengths


class HeldOut(Protocol):
    """Chooses the chunks of a partition that are for validation."""

    def held_out(self) -> BoolArray:
        """Return which chunks are held out: bool [num_rows]."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """The documents of a partition, by the numbers of their texts in `validation-v1`."""

    chunks: Chunks
    seed: int

    @property
    def num_rows(self) -> int:
        return self.chunks.num_rows

    def numbers(self) -> tuple[Uint64Array, Int64Array]:
        """Return number and tokens of each document. Raises: InternalError."""
        table = self.chunks.table()
        starts = np.flatnonzero(table["chunk"] == 0)
        lengths = table["length"].astype(np.int64)
        return self.of(len(starts)), np.add.reduceat(lengths, starts) if len(starts) else lengths

    def of(self, num_documents: int) -> Uint64Array:
        """Return the number of each document. Raises: InternalError for another count of them."""
        digests = load_array(self.chunks.out / State.digests(self.chunks.folder))
        if len(digests) != num_documents:
            raise InternalError(
                f"{self.chunks.folder}: got {len(digests):,} digests of texts for"
                f" {num_documents:,} documents",
                "report this with the mixture",
            )
        return text_numbers(digests, self.seed)


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldTexts:
    """Holds out documents by `validation-v1`."""

    texts: Texts
    bound: int
    """The source gives all texts of lower numbers."""
    given: Path | None
    """The numbers of texts that other sources give, where there are any that this may lack."""

    def held_out(self) -> BoolArray:
        firsts = self.texts.chunks.table()["chunk"] == 0
        given = np.empty(0, np.uint64) if self.given is None else load_array(self.given)
        held = held_texts(self.texts.of(int(firsts.sum())), self.bound, given)
        of_chunks: BoolArray = held[np.cumsum(firsts) - 1]
        return of_chunks


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldFirst:
    """Holds out the first chunks by `ettin-validation-v1`."""

    chunks: Chunks
    """As the holdout has them."""
    num_tokens: int
    """The most that those held out may have."""

    def held_out(self) -> BoolArray:
        return held_chunks(self.chunks.lengths(), self.num_tokens)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingChunks:
    """The chunks of a partition that are not held out."""

    chunks: Chunks
    """Those, and the others."""
    held: HeldOut | None
    num_chunks: int
    num_tokens: int

    @property
    def num_rows(self) -> int:
        return self.chunks.num_rows

    def held_out(self) -> BoolArray:
        """Return which chunks of the partition are for validation: bool [num_rows]."""
        return np.zeros(self.num_rows, np.bool_) if self.held is None else self.held.held_out()

    def lengths(self) -> Int64Array:
        """Return the tokens of each chunk that is not: int64 [num_chunks]."""
        return self.chunks.lengths()[~self.held_out()]


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyedChunks:
    """The chunks of a partition for training, with the numbers of `keyed-v1`."""

    chunks: TrainingChunks
    key: int

    @property
    def num_rows(self) -> int:
        return self.chunks.num_rows

    def numbers(self) -> tuple[Uint64Array, Int64Array]:
        lengths = self.chunks.lengths()
        return random_numbers(self.key, len(lengths)), lengths
