"""Row sizes: bytes, rows and ids of shards -> how long the ids of documents are, and may be.

A row takes, in a shard, an offset (4 bytes), two sizes (8), its document's id, 3 bytes of shape (2
below 256 ids) and its ids; a shard 8 bytes and its header, 206 bytes where that says zstd.
"""

from collections.abc import Mapping
from typing import Final

_SHARD_BYTES, _ROW_BYTES = 8 + 206, 4 + 8 + 3
_MOST_ID_BYTES: Final = 300
# Source: bytes per row of the released shards; DCLM's <urn:uuid:…> have 47, and its published
# partitions come to 46.4 to 48.9.
_ID_BYTES: Final[Mapping[str, tuple[int, int]]] = {
    "arxiv": (40, 40),
    "books": (40, 40),
    "mlfoundations-dclm": (46, 49),
    "pes2o": (7, 10),
    "starcoder": (5, 9),
}


def mean_id_bytes(num_bytes: int, num_shards: int, num_rows: int, token_bytes: int) -> float:
    """Return the mean length of documents' ids in shards of so many bytes, rows and ids. Pure.

    token_bytes: what the ids of tokens take; headers are those that say zstd.
    """
    return (num_bytes - _SHARD_BYTES * num_shards - token_bytes) / num_rows - _ROW_BYTES


def id_bytes_of(path: str) -> tuple[int, int]:
    """Return the fewest and the most bytes of documents' ids of the source that a path names."""
    for part in path.split("/"):
        for source, bounds in _ID_BYTES.items():
            if part == source or part.startswith(f"{source}-"):
                return bounds
    return 1, _MOST_ID_BYTES


def is_id_length(mean: float, bounds: tuple[int, int]) -> bool:
    """Whether a mean of `mean_id_bytes` is within bounds.

    It is up to a byte too small, where all rows have fewer than 256 ids, and half a byte is left
    for what one header says more than another.
    """
    return bounds[0] - 1 <= mean <= bounds[1] + 0.5
