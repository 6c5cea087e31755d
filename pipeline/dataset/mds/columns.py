"""Columns: the entry of a shard in an index -> where in a row its id and its token ids lie.

A row starts with the sizes of its columns of variable size, 4 bytes each, and then has all columns
one after the other, sorted by name.

Source: mosaicml/streaming 0.8.1, `streaming/base/format/mds/encodings.py`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError

_IDS, _ID = "input_ids", "id"
_DTYPES = ("uint16", "uint32", "int64")


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """The columns of a shard, as far as a reader needs them."""

    sizes: tuple[int, ...]
    """Bytes of each column, 0 for variable size."""
    ids: int
    """Which of them holds the token ids."""
    id: int
    """Which of them holds the document's id; -1 for none."""
    dtype: str
    """Stored type of a token id."""

    @classmethod
    def of(cls, shard: dict[str, Any], where: str) -> "Columns":
        """Read the columns from a shard's entry in an index.

        Raises: InputError for columns without ids in a type that is known.
        """
        names: Any = shard.get("column_names")
        encodings: Any = shard.get("column_encodings")
        given: Any = shard.get("column_sizes")
        if not _are_columns(names, encodings, given):
            raise InputError(
                f"{where}: got an entry without valid columns, expected column_names, "
                "column_encodings and column_sizes of one length",
                "build or pull the index again",
            )
        ids = names.index(_IDS) if _IDS in names else -1
        dtype = encodings[ids].removeprefix("ndarray:") if ids >= 0 else ""
        name = names.index(_ID) if _ID in names else -1
        if dtype not in _DTYPES or (name >= 0 and encodings[name] != "str"):
            got = ", ".join(f"{one}: {other}" for one, other in zip(names, encodings, strict=True))
            raise InputError(
                f"{where}: got columns {got}; expected {_IDS} as ndarray:"
                f"{' or '.join(_DTYPES)}, and {_ID}, if there is one, as str"
            )
        sizes = tuple(size or 0 for size in given)
        return cls(sizes=sizes, ids=ids, id=name, dtype=dtype)

    @property
    def item_bytes(self) -> int:
        """Bytes of one stored id."""
        return np.dtype(self.dtype).itemsize

    def packed(self) -> Int64Array:
        """Return all of this for compiled loops: int64 [3 + num_columns]."""
        return np.array([self.item_bytes, self.ids, self.id, *self.sizes], np.int64)


def _are_columns(names: Any, encodings: Any, sizes: Any) -> bool:
    """Tell whether these lists go together; a compiled loop believes the sizes."""
    if not all(isinstance(one, list) for one in (names, encodings, sizes)):
        return False
    if not len(names) == len(encodings) == len(sizes):
        return False
    spelled = all(isinstance(one, str) for one in (*names, *encodings))
    return spelled and all(size is None or (type(size) is int and size > 0) for size in sizes)
