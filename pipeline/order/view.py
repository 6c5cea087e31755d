"""Views: the edits that the published loader makes to a stored row before a model sees it.

`stored` changes nothing. `decoder` prepends CLS where it is missing and truncates to `max_seq_len`.
`encoder` also ends the row with SEP, which replaces the last id where there is no room. A tokenizer
without CLS has none to prepend; one without SEP has no encoder view.

Source: orionw/bert24, `src/text_data.py` (2024-11-21), `NoStreamingDataset.__getitem__`.
"""

from typing import Literal

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array, Uint32Array
from pipeline.core.compiled import compiled_late
from pipeline.core.ragged import Rows, offsets_of

View = Literal["stored", "encoder", "decoder"]


def view_lengths(
    lengths: Int64Array, has_cls: BoolArray, has_sep: BoolArray, view: View, max_seq_len: int
) -> Int64Array:
    """Return the lengths of rows under a view: int64 [num_rows].

    has_cls, has_sep: bool [num_rows], whether a stored row starts with CLS, ends with SEP; the
    first is also True where there is no CLS.
    """
    if view == "stored":
        return lengths
    fitted = np.minimum(lengths + ~has_cls, max_seq_len)
    if view == "decoder":
        return fitted
    return np.where((fitted == max_seq_len) | has_sep, fitted, fitted + 1)


def view_edits(
    lengths: Int64Array, has_cls: BoolArray, has_sep: BoolArray, view: View, max_seq_len: int
) -> tuple[Int64Array, Int64Array]:
    """Return how many stored ids of each row a view cuts, and how many it adds: int64 [num_rows].

    The arguments are those of `view_lengths`; stored + added = viewed + cut.
    """
    if view == "stored":
        return np.zeros_like(lengths), np.zeros_like(lengths)
    added = (~has_cls).astype(np.int64)
    if view == "encoder":
        is_cut = lengths + ~has_cls > max_seq_len
        added += is_cut | ~has_sep
    viewed = view_lengths(lengths, has_cls, has_sep, view, max_seq_len)
    return lengths + added - viewed, added


def view_rows(rows: Rows, view: View, max_seq_len: int, cls_id: int, sep_id: int) -> Rows:
    """Return stored rows, none of them empty, under a view."""
    if view == "stored":
        return rows
    has_cls = (rows.values[rows.offsets[:-1]] == cls_id) | (cls_id < 0)
    has_sep = rows.values[rows.offsets[1:] - 1] == sep_id
    offsets = offsets_of(view_lengths(rows.lengths(), has_cls, has_sep, view, max_seq_len))
    return Rows(apply_view(rows.values, rows.offsets, offsets, view, cls_id, sep_id), offsets)


def apply_view(
    ids: Uint32Array,
    offsets: Int64Array,
    view_offsets: Int64Array,
    view: View,
    cls_id: int,
    sep_id: int,
) -> Uint32Array:
    """Return rows under a view: uint32 [view_offsets[-1]].

    ids, offsets: the stored rows. view_offsets: of the lengths from `view_lengths`. cls_id: below
    zero where there is no CLS.
    """
    if view == "stored":
        return ids
    out = np.empty(int(view_offsets[-1]), np.uint32)
    _apply(ids, offsets, view_offsets, view == "encoder", cls_id, sep_id, out)
    return out


@compiled_late
def _apply(
    ids: Uint32Array,
    offsets: Int64Array,
    view_offsets: Int64Array,
    is_encoder: bool,
    cls_id: int,
    sep_id: int,
    out: Uint32Array,
) -> None:
    for row in range(offsets.size - 1):
        position, stop = view_offsets[row], view_offsets[row + 1]
        source = offsets[row]
        if position == stop:
            continue
        if cls_id >= 0 and (source == offsets[row + 1] or ids[source] != cls_id):
            out[position] = cls_id
            position += 1
        while position < stop and source < offsets[row + 1]:
            out[position] = ids[source]
            position += 1
            source += 1
        if is_encoder:
            out[stop - 1] = sep_id
