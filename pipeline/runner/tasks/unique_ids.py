"""Unique ids: which documents of a partition have an id that another one before them has."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.cells import CellFormat, CellReader
from pipeline.core.document import Document
from pipeline.core.ragged import ByteStrings, offsets_of
from pipeline.stages.chunking import Chunks


def repeats_format(run: str, num_groups: int) -> CellFormat:
    """Return how repeated ids are saved: a cell for each group of partitions of a source.

    An id is there for each partition that has it: the partition's number, whether an earlier one
    has it first, its length, its UTF-8.
    """
    arrays = {"partitions": "<u4", "is_taken": "?", "lengths": "<u4", "ids": "u1"}
    dtypes = {name: np.dtype(dtype) for name, dtype in arrays.items()}
    return CellFormat(key=f"{run}/repeats", arrays=dtypes, num_cells=num_groups)


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatedIds:
    """The ids of a partition that its source has more than once, in files."""

    folder: Path
    num_files: int
    """Named by their numbers, each of other ids."""
    form: CellFormat
    group: int
    partition: int
    """Its number in the source."""

    def load(self) -> tuple[frozenset[str], frozenset[str]]:
        """Return all, and those that an earlier partition has first. Raises: as `CellReader`."""
        ids: set[str] = set()
        taken: set[str] = set()
        for number in range(self.num_files):
            with CellReader(self.folder / str(number), self.form) as reader:
                [cell] = reader.read(self.group, self.group + 1)
            own = np.flatnonzero(cell["partitions"] == self.partition)
            names = ByteStrings(cell["ids"], offsets_of(cell["lengths"])).take(own)
            texts = [name.tobytes().decode() for name in names]
            ids.update(texts)
            taken.update(texts[index] for index in np.flatnonzero(cell["is_taken"][own]))
        return frozenset(ids), frozenset(taken)


class UniqueIds:
    """The ids that the next document must not have.

    Rows cannot tell adjacent documents of one id apart, so ids that recur within a block, or after
    the last document written, are found here; all others in the written partitions.
    """

    def __init__(self, repeated: frozenset[str], taken: frozenset[str]) -> None:
        """Start with the ids that the source repeats, and those that earlier partitions have."""
        self._repeated = repeated
        self._seen = set(taken)
        self._near: set[str] = set()
        self._last: set[str] = set()

    def add(self, id_: str) -> bool:
        if id_ in self._near or id_ in self._seen:
            return False
        self._near.add(id_)
        if id_ in self._repeated:
            self._seen.add(id_)
        return True

    def forget(self, id_: str) -> None:
        self._seen.discard(id_)

    def end_block(self, documents: Sequence[Document], chunks: Chunks) -> None:
        """Keep only the id of the last document written, with which no block may go on."""
        if len(chunks.documents):
            self._last = {documents[chunks.documents[-1]].id}
        self._near = set(self._last)
