"""Columns: numpy arrays <-> columns of pyarrow, by their buffers, without Python work per row.

pyarrow's own `pa.array` and `to_numpy` import pandas where it is installed: half a second.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.ragged import ByteStrings, byte_strings

Int32Array = NDArray[np.int32]

NAMES = pa.dictionary(pa.int32(), pa.string())
"""Type of a column of few distinct names."""


def numbers(values: NDArray[Any]) -> pa.Array:
    buffers = [None, pa.py_buffer(np.ascontiguousarray(values))]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def values_of(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    """Return a column of numbers without nulls as an array; of one chunk without a copy."""
    parts = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    dtype = np.dtype(str(column.type))
    arrays = [
        np.frombuffer(part.buffers()[1], dtype, len(part), part.offset * dtype.itemsize)
        for part in parts
        if len(part)
    ]
    return arrays[0] if len(arrays) == 1 else np.concatenate([np.empty(0, dtype), *arrays])


def texts(data: Uint8Array, offsets: Int64Array) -> pa.Array:
    """Return a column of texts; text i is the UTF-8 `data[offsets[i]:offsets[i + 1]]`.

    data: uint8, less than 2 GiB; offsets: int64 [num_texts + 1].
    """
    assert int(offsets[-1]) < 1 << 31, "fewer rows at a time"
    starts = pa.py_buffer(offsets.astype(np.int32))
    return pa.StringArray.from_buffers(
        len(offsets) - 1, starts, pa.py_buffer(np.ascontiguousarray(data))
    )


def utf8_of(column: pa.Array) -> tuple[Uint8Array, Int64Array]:
    """Return the bytes and offsets of a column of texts, as `texts` takes them."""
    _, starts, data = column.buffers()
    offsets = np.frombuffer(starts, np.int32)[column.offset : column.offset + len(column) + 1]
    empty = np.empty(0, np.uint8)
    return empty if data is None else np.frombuffer(data, np.uint8), offsets.astype(np.int64)


def texts_of(column: pa.ChunkedArray) -> ByteStrings:
    """Return a column of texts, as a copy."""
    parts = [ByteStrings(*utf8_of(part)) for part in column.chunks]
    bounds = [(part.offsets[:-1], part.offsets[1:]) for part in parts]
    copies = [ByteStrings.from_ranges(p.values, *b) for p, b in zip(parts, bounds, strict=True)]
    return ByteStrings.concat([byte_strings([]), *copies])


def rank_names(names: Sequence[str]) -> tuple[list[str], Int32Array]:
    """Return the distinct names in order of their UTF-8, and the index of each name in these."""
    distinct = sorted(set(names), key=str.encode)
    place_by_name = {name: place for place, name in enumerate(distinct)}
    return distinct, np.array([place_by_name[name] for name in names], np.int32)


def ranks_of(column: pa.ChunkedArray, rank_by_name: Mapping[str, int]) -> Int32Array:
    """Return the rank of each row's name. Raises: KeyError for a name that has none."""
    ranks = [np.empty(0, np.int32)]
    for part in column.chunks:
        by_index = [rank_by_name[name] for name in part.dictionary.to_pylist()]
        ranks.append(np.array(by_index, np.int32)[values_of(part.indices)])
    return np.concatenate(ranks)


def name_list(names: Sequence[str]) -> pa.Array:
    encoded = byte_strings([name.encode() for name in names])
    return texts(encoded.values, encoded.offsets)


def names(places: Int32Array, distinct: pa.Array) -> pa.DictionaryArray:
    """Return a column of names, `distinct[places]`, whose dictionary has only those that it uses.

    A file stores the dictionary with each row group, so it holds no other name and is sorted.
    """
    used, indices = np.unique(places, return_inverse=True)
    return pa.DictionaryArray.from_arrays(
        numbers(indices.astype(np.int32)), distinct.take(numbers(used))
    )


def names_of(column: pa.ChunkedArray) -> list[str]:
    found: list[str] = []
    for part in column.chunks:
        distinct = part.dictionary.to_pylist()
        found += [distinct[place] for place in part.indices.to_pylist()]
    return found
