"""Repeated ids: documents of one source that share an id, found over all its partitions.

Enters: hashes of the ids of the rows written. Leaves: the ids that recur, and where. Of each, the
document that comes first by partition and row is the one that counts, whatever was read first.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.mds import Pool


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenPartition:
    """The rows of one partition."""

    folder: Path
    """Where its shards lie."""
    hashes: NDArray[np.uint64]
    """uint64 [num_rows], hash of the id of each row's document; a document's rows are adjacent."""


def find_repeated_ids(partitions: Mapping[str, WrittenPartition]) -> dict[str, list[str]]:
    """Return each id that recurs, with the partition of every document that has it, in order.

    Hashes only find candidates; the ids themselves are read and compared.
    """
    names = sorted(partitions)
    firsts = {name: _document_starts(partitions[name].hashes) for name in names}
    hashes = np.concatenate([partitions[name].hashes[firsts[name]] for name in names])
    owners = np.repeat(np.arange(len(names)), [len(firsts[name]) for name in names])
    rows = np.concatenate([firsts[name] for name in names])
    order = np.argsort(hashes, kind="stable")
    same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    candidates = np.sort(order[np.union1d(same, same + 1)])
    found: defaultdict[str, list[str]] = defaultdict(list)
    for owner in np.unique(owners[candidates]).tolist():
        pool = Pool.open(partitions[names[owner]].folder)
        for id_ in pool.document_ids(rows[candidates[owners[candidates] == owner]]):
            found[id_].append(names[owner])
    return {id_: where for id_, where in sorted(found.items()) if len(where) > 1}


def _document_starts(hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
    if len(hashes) == 0:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]]))
