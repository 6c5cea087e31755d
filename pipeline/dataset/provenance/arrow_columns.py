"""Columns: numpy arrays <-> the columns of provenance files, without Python work per row.

`pa.array` imports pandas where it is installed, which takes half a second; buffers do not.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint8Array

Int32Array = NDArray[np.int32]

NAMES = pa.dictionary(pa.int32(), pa.string())
"""Type of a column of names that recur."""


def numbers(values: NDArray[Any]) -> pa.Array:
    """Return numbers as a column of their own type."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def values_of(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers, none of them missing, as an array."""
    parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    dtype = np.dtype(str(column.type))
    arrays = [
        np.frombuffer(part.buffers()[1], dtype, len(part), part.offset * dtype.itemsize)
        for part in parts
        if len(part)
    ]
    return arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0, dtype), *arrays])


def texts(data: Uint8Array, offsets: Int64Array) -> pa.Array:
    """Return UTF-8 as a column of texts; text i is `data[offsets[i]:offsets[i + 1]]`.

    data: uint8, less than 2 GiB; offsets: int64 [num_texts + 1].
    """
    assert int(offsets[-1]) < 1 << 31, "fewer rows at a time"
    starts = pa.py_buffer(offsets.astype(np.int32))
    return pa.StringArray.from_buffers(
        len(offsets) - 1, starts, pa.py_buffer(np.ascontiguousarray(data))
    )


def utf8_of(column: pa.Array) -> tuple[Uint8Array, Int64Array]:
    """Return the bytes and the offsets of a column of texts, as `texts` takes them."""
    _, starts, data = column.buffers()
    offsets = np.frombuffer(starts, np.int32)[column.offset : column.offset + len(column) + 1]
    empty = np.empty(0, np.uint8)
    return empty if data is None else np.frombuffer(data, np.uint8), offsets.astype(np.int64)


def rank_names(names: Sequence[str]) -> tuple[list[str], Int32Array]:
    """Return distinct names in order of their UTF-8, and the place of each one given among them."""
    distinct = sorted(set(names), key=str.encode)
    place_by_name = {name: place for place, name in enumerate(distinct)}
    return distinct, np.array([place_by_name[name] for name in names], np.int32)


def sorted_names(column: pa.DictionaryArray) -> tuple[pa.Array, Int32Array]:
    """Return the distinct names of a column in order of their UTF-8, and each row's place there."""
    distinct, places = rank_names(column.dictionary.to_pylist())
    indices = values_of(column.indices)
    return name_list(distinct), places[indices] if len(indices) else indices.astype(np.int32)


def name_list(names: Sequence[str]) -> pa.Array:
    """Return names as a column of texts."""
    encoded = [name.encode() for name in names]
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    return texts(np.frombuffer(b"".join(encoded), np.uint8), offsets)


def names(places: Int32Array, distinct: pa.Array) -> pa.DictionaryArray:
    """Return a column of names, `distinct[places]`, which knows only the names that are in it.

    A file stores that list once a row group, so it must be no longer than the group needs, and in
    an order of its own.
    """
    used, indices = np.unique(places, return_inverse=True)
    return pa.DictionaryArray.from_arrays(
        numbers(indices.astype(np.int32)), distinct.take(numbers(used))
    )


def names_of(column: pa.ChunkedArray) -> list[str]:
    """Return a column of names as a list."""
    found: list[str] = []
    for part in column.chunks:
        distinct = part.dictionary.to_pylist()
        found += [distinct[place] for place in part.indices.to_pylist()]
    return found
