"""Unique ids: which documents of a partition have an id that another one before them has."""

from collections.abc import Sequence

from pipeline.core.document import Document
from pipeline.stages.chunking import Chunks


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
