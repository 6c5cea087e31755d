"""Layouts: rows as the arrays that a model is given, flat or padded.

Enter: rows as they are stored, then under a view, with their numbers. Leave: arrays by name, each
filled in one pass. Both forms of the same rows hold the same ids and the same masks; what differs
is where padding is. Nothing is dropped: a row that a form has no place for is an error.
"""

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array, Uint32Array
from pipeline.core.compiled import compiled
from pipeline.core.errors import InputError
from pipeline.core.ragged import Rows, offsets_of
from pipeline.feed.batch import Int32Array, Objective, SpecialIds
from pipeline.feed.masks import FlatRows, put_labels
from pipeline.feed.packing import Packed
from pipeline.order import View, apply_view, view_edits

_Arrays = dict[str, Int64Array | Int32Array | int]


def view_rows(rows: Rows, view: View, max_seq_len: int, special: SpecialIds) -> Rows:
    """Return rows under a view; where it edits none, the very rows that came in. Pure."""
    if view == "stored" or not len(rows):
        return rows
    lengths = np.diff(rows.offsets)
    has_cls, has_sep = _ends(rows.values, rows.offsets, special.cls_id, special.sep_id)
    cut, added = view_edits(lengths, has_cls, has_sep, view, max_seq_len)
    if not (cut.any() or added.any()):
        return rows
    offsets = offsets_of(lengths + added - cut)
    ids = apply_view(rows.values, rows.offsets, offsets, view, special.cls_id, special.sep_id)
    return Rows(values=ids, offsets=offsets)


def flat_inputs(
    rows: Rows,
    numbers: Int64Array,
    is_tombstone: BoolArray,
    objective: Objective | None,
    special: SpecialIds,
    *,
    pad_to_multiple: int = 1,
) -> _Arrays:
    """Return rows as one sequence of documents, with no padding between them. Pure.

    rows: at least one, under their view; numbers: int64 [num_rows], of the order; is_tombstone:
    bool [num_rows]. N is the number of all ids, then of `pad_to_multiple`: what is too few for it
    is padding, a document of its own, so that it takes no part in another.

    `input_ids`, `labels` (none without an objective) and `position_ids`: int64 [1, N], positions
    from 0 in each document; `cu_seq_lens_q` and `cu_seq_lens_k`: int32 [num_documents + 1], one
    array; `max_length_q` and `max_length_k`: ids of the longest document; `num_tokens`: ids of the
    rows, those of placeholders and padding left out.

    Raises: InputError for a row of ids that the tokenizer does not have.
    """
    lengths = _checked(rows, numbers, is_tombstone)
    num_ids = int(rows.offsets[-1])
    num_places = -(-num_ids // pad_to_multiple) * pad_to_multiple
    starts = rows.offsets
    bounds = starts.astype(np.int32)
    if num_places > num_ids:
        starts = starts.copy()
        starts[-1] = num_places
        bounds = np.append(bounds, np.int32(num_places))
    positions = np.empty(num_places, np.int64)
    laid = _lay(rows, starts, lengths, numbers, is_tombstone, special, positions, is_flat=True)
    inputs: _Arrays = {"input_ids": laid.inputs[None]}
    if objective is not None:
        inputs["labels"] = put_labels(laid, objective, special)[None]
    longest = max(int(lengths.max()), num_places - num_ids)
    return inputs | {
        "position_ids": positions[None],
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
        "num_tokens": num_ids - int(lengths[is_tombstone].sum()),
    }


def padded_inputs(
    rows: Rows,
    numbers: Int64Array,
    is_tombstone: BoolArray,
    objective: Objective | None,
    special: SpecialIds,
    *,
    length: int | None = None,
) -> _Arrays:
    """Return rows as a matrix, a row each, padded on the right. Pure.

    The arguments are those of `flat_inputs`; length: columns S, by default those of the longest
    row. `input_ids`, `attention_mask` (1 for ids, 0 for padding) and `labels` (none without an
    objective): int64 [num_rows, S].

    Raises: InputError for a row of ids that the tokenizer does not have, or of more than `length`.
    """
    lengths = _checked(rows, numbers, is_tombstone)
    longest = int(lengths.max())
    length = longest if length is None else length
    if longest > length:
        raise InputError(
            f"row {numbers[lengths.argmax()]:,}: got {longest:,} ids, expected at most {length:,}",
            "set max_seq_len to no more than the length of a padded row",
        )
    shape = len(rows), length
    starts = np.arange(len(rows) + 1) * length
    attention = np.empty(len(rows) * length, np.int64)
    laid = _lay(rows, starts, lengths, numbers, is_tombstone, special, attention, is_flat=False)
    inputs: _Arrays = {
        "input_ids": laid.inputs.reshape(shape),
        "attention_mask": attention.reshape(shape),
    }
    if objective is not None:
        inputs["labels"] = put_labels(laid, objective, special).reshape(shape)
    return inputs


def packed_inputs(
    rows: Rows,
    numbers: Int64Array,
    is_tombstone: BoolArray,
    objective: Objective | None,
    special: SpecialIds,
    packed: Packed,
) -> _Arrays:
    """Return rows as a matrix of bins, several rows in each, padded on the right. Pure.

    The arguments are those of `flat_inputs`, rows in the order of `packed.sequences`. `input_ids`,
    `labels` (none without an objective) and `position_ids`: int64 [num_bins, capacity]; all else as
    of the bins one after the other in one sequence, the padding of a bin a document of its own.

    Raises: InputError for a row of ids that the tokenizer does not have.
    """
    lengths = _checked(rows, numbers, is_tombstone)
    shape = packed.num_bins, packed.capacity
    bins = np.repeat(np.arange(packed.num_bins), np.diff(packed.offsets))
    within = rows.offsets[:-1] - rows.offsets[packed.offsets[:-1]][bins]
    starts = np.append(bins * packed.capacity + within, packed.num_bins * packed.capacity)
    positions = np.empty(starts[-1], np.int64)
    laid = _lay(rows, starts, lengths, numbers, is_tombstone, special, positions, is_flat=True)
    inputs: _Arrays = {"input_ids": laid.inputs.reshape(shape)}
    if objective is not None:
        inputs["labels"] = put_labels(laid, objective, special).reshape(shape)
    bounds = np.unique(np.concatenate([starts, starts[:-1] + lengths])).astype(np.int32)
    longest = int(np.diff(bounds).max())
    return inputs | {
        "position_ids": positions.reshape(shape),
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": longest,
        "max_length_k": longest,
        "num_tokens": int(lengths[~is_tombstone].sum()),
    }


def _checked(rows: Rows, numbers: Int64Array, is_tombstone: BoolArray) -> Int64Array:
    """Return the rows' lengths, after what the compiled loops take for granted is sure."""
    assert len(rows) == len(numbers) == len(is_tombstone) > 0
    assert rows.offsets[0] == 0
    assert rows.offsets[-1] <= len(rows.values)
    lengths = np.diff(rows.offsets)
    assert lengths.min() >= 0
    return lengths


def _lay(
    rows: Rows,
    starts: Int64Array,
    lengths: Int64Array,
    numbers: Int64Array,
    is_tombstone: BoolArray,
    special: SpecialIds,
    beside: Int64Array,
    *,
    is_flat: bool,
) -> FlatRows:
    """Lay rows at their starts, and fill the array beside them with positions or attention."""
    inputs = np.empty(starts[-1], np.int64)
    bad = _place(rows.values, rows.offsets, starts, special.vocab_size, special.pad_id, inputs)
    if bad >= 0:
        ids = rows.values[rows.offsets[bad] : rows.offsets[bad + 1]]
        raise InputError(
            f"row {numbers[bad]:,}: got id {ids.max():,}, expected ids below "
            f"{special.vocab_size:,}: damaged, or of another tokenizer",
            "feed it with the tokenizer that it was made with, or get the file again",
        )
    if is_flat:
        _count(starts, lengths, beside)
    else:
        _attend(starts, lengths, beside)
    return FlatRows(
        inputs=inputs, starts=starts, lengths=lengths, numbers=numbers, is_tombstone=is_tombstone
    )


@compiled
def _ends(
    ids: Uint32Array, offsets: Int64Array, cls_id: int, sep_id: int
) -> tuple[BoolArray, BoolArray]:
    """Return of each row whether it starts with CLS and ends with SEP: bool [num_rows]."""
    has_cls = np.zeros(offsets.size - 1, np.bool_)
    has_sep = np.zeros(offsets.size - 1, np.bool_)
    for row in range(offsets.size - 1):
        if offsets[row] < offsets[row + 1]:
            has_cls[row] = ids[offsets[row]] == cls_id
            has_sep[row] = ids[offsets[row + 1] - 1] == sep_id
    return has_cls, has_sep


@compiled
def _place(
    ids: Uint32Array,
    offsets: Int64Array,
    starts: Int64Array,
    vocab_size: int,
    pad_id: int,
    inputs: Int64Array,
) -> int:
    """Copy rows to their starts and pad after each; return the first with a foreign id, or -1."""
    for row in range(offsets.size - 1):
        source = ids[offsets[row] : offsets[row + 1]]
        stop = starts[row] + source.size
        target = inputs[starts[row] : stop]
        largest = np.uint32(0)
        for i in range(source.size):
            target[i] = source[i]
            largest = max(largest, source[i])
        if largest >= vocab_size:
            return row
        inputs[stop : starts[row + 1]] = pad_id
    return -1


@compiled
def _count(starts: Int64Array, lengths: Int64Array, positions: Int64Array) -> None:
    for row in range(lengths.size):
        stop = starts[row] + lengths[row]
        document, padding = positions[starts[row] : stop], positions[stop : starts[row + 1]]
        for i in range(document.size):
            document[i] = i
        for i in range(padding.size):
            padding[i] = i


@compiled
def _attend(starts: Int64Array, lengths: Int64Array, attention: Int64Array) -> None:
    for row in range(lengths.size):
        stop = starts[row] + lengths[row]
        attention[starts[row] : stop] = 1
        attention[stop : starts[row + 1]] = 0
