"""Layouts: rows -> the arrays of a model, flat, padded or packed.

All layouts of the same rows hold the same ids and masks and differ in padding alone.
"""

import numpy as np

from pipeline.core.arrays import BoolArray, Int64Array, Uint32Array
from pipeline.core.compiled import compiled
from pipeline.core.errors import InputError
from pipeline.core.ragged import Rows, offsets_of
from pipeline.feed.batch import Int32Array, Objective
from pipeline.feed.masks import put_labels
from pipeline.feed.packing import Packed
from pipeline.order import View, apply_view, view_edits
from pipeline.stages.tokenizer import SpecialIds

_Arrays = dict[str, Int64Array | Int32Array | int]


def view_rows(
    rows: Rows, view: View, max_seq_len: int, special: SpecialIds
) -> tuple[Rows, Int64Array]:
    """Return rows under a view, and how many ids of each it cuts: int64 [num_rows]. Pure.

    Unchanged rows are returned without a copy.
    """
    lengths = rows.lengths()
    if view == "stored" or not len(rows):
        return rows, np.zeros_like(lengths)
    has_cls, has_sep = _ends(rows.values, rows.offsets, special.cls_id, special.sep_id)
    cut, added = view_edits(lengths, has_cls, has_sep, view, max_seq_len)
    if not (cut.any() or added.any()):
        return rows, cut
    offsets = offsets_of(lengths + added - cut)
    ids = apply_view(rows.values, rows.offsets, offsets, view, special.cls_id, special.sep_id)
    return Rows(values=ids, offsets=offsets), cut


def flat_inputs(
    rows: Rows,
    numbers: Int64Array,
    is_tombstone: BoolArray,
    objective: Objective | None,
    special: SpecialIds,
    *,
    pad_to_multiple: int = 1,
) -> _Arrays:
    """Return rows as one sequence without padding between them. Pure.

    rows: at least one, under their view; numbers: int64 [num_rows], their numbers in the order;
    is_tombstone: bool [num_rows]. N is the number of ids, rounded up to `pad_to_multiple`; the
    padding is a document of its own at the end, so that no other attends to it.

    `input_ids`, `labels` (with an objective) and `position_ids`: int64 [1, N], positions from 0 in
    each document; `cu_seq_lens_q` and `cu_seq_lens_k`: int32 [num_documents + 1], one array;
    `max_length_q` and `max_length_k`: ids of the longest document; `num_tokens`: ids of the rows,
    without placeholders and padding.

    Raises: InputError for a row with ids that the tokenizer does not have.
    """
    starts = bounds = rows.offsets
    if num_padding := -int(starts[-1]) % pad_to_multiple:
        bounds = np.append(starts, starts[-1] + num_padding)
        starts = np.delete(bounds, -2)
    shape = 1, int(bounds[-1])
    made = _lay(rows, starts, shape, numbers, is_tombstone, objective, special)
    return made | _sequence(rows, starts, bounds, shape, is_tombstone)


def packed_inputs(
    rows: Rows,
    numbers: Int64Array,
    is_tombstone: BoolArray,
    objective: Objective | None,
    special: SpecialIds,
    packed: Packed,
) -> _Arrays:
    """Return rows as a matrix of bins, several rows in each, padded on the right. Pure.

    Takes the arguments of `flat_inputs`, rows in the order of `packed.sequences`. `input_ids`,
    `labels` (with an objective) and `position_ids`: int64 [num_bins, capacity]; the other values
    describe the bins joined to one sequence, in which the padding of a bin is a document.

    Raises: InputError for a row with ids that the tokenizer does not have.
    """
    bins = np.repeat(np.arange(packed.num_bins), np.diff(packed.offsets))
    within = rows.offsets[:-1] - rows.offsets[packed.offsets[:-1]][bins]
    starts = np.append(bins * packed.capacity + within, packed.num_bins * packed.capacity)
    bounds = np.unique(np.concatenate([starts, starts[:-1] + rows.lengths()]))
    shape = packed.num_bins, packed.capacity
    made = _lay(rows, starts, shape, numbers, is_tombstone, objective, special)
    return made | _sequence(rows, starts, bounds, shape, is_tombstone)


def padded_inputs(
    rows: Rows,
    numbers: Int64Array,
    is_tombstone: BoolArray,
    objective: Objective | None,
    special: SpecialIds,
    *,
    length: int | None = None,
) -> _Arrays:
    """Return rows as a matrix, one row each, padded on the right. Pure.

    Takes the arguments of `flat_inputs`; length: the number of columns S, by default the longest
    row. `input_ids`, `attention_mask` (1 for ids, 0 for padding) and `labels` (with an objective):
    int64 [num_rows, S].

    Raises: InputError for a row with ids that the tokenizer does not have, or longer than `length`.
    """
    lengths = rows.lengths()
    longest = int(lengths.max())
    length = longest if length is None else length
    if longest > length:
        raise InputError(
            f"row {numbers[lengths.argmax()]:,}: got {longest:,} ids, expected at most {length:,}",
            "set max_seq_len to no more than the length of a padded row",
        )
    starts = np.arange(len(rows) + 1) * length
    shape = len(rows), length
    made = _lay(rows, starts, shape, numbers, is_tombstone, objective, special)
    attention = np.empty(starts[-1], np.int64)
    _attend(starts, lengths, attention)
    return {"input_ids": made["input_ids"], "attention_mask": attention.reshape(shape)} | made


def _sequence(
    rows: Rows,
    starts: Int64Array,
    bounds: Int64Array,
    shape: tuple[int, int],
    is_tombstone: BoolArray,
) -> _Arrays:
    """Return positions and the bounds of documents and padding."""
    lengths, positions = rows.lengths(), np.empty(starts[-1], np.int64)
    _count(starts, lengths, positions)
    bounds_32, longest = bounds.astype(np.int32), int(np.diff(bounds).max())
    return {
        "position_ids": positions.reshape(shape),
        "cu_seq_lens_q": bounds_32,
        "cu_seq_lens_k": bounds_32,
        "max_length_q": longest,
        "max_length_k": longest,
        "num_tokens": int(lengths[~is_tombstone].sum()),
    }


def _lay(
    rows: Rows,
    starts: Int64Array,
    shape: tuple[int, int],
    numbers: Int64Array,
    is_tombstone: BoolArray,
    objective: Objective | None,
    special: SpecialIds,
) -> _Arrays:
    """Return `input_ids` and, with an objective, `labels` of rows laid at their starts."""
    lengths = rows.lengths()
    # Compiled loops check no bounds.
    assert len(rows) == len(numbers) == len(is_tombstone) > 0
    assert rows.offsets[0] == 0
    assert rows.offsets[-1] <= len(rows.values)
    assert lengths.min() >= 0
    inputs = np.empty(starts[-1], np.int64)
    bad = _place(rows.values, rows.offsets, starts, special.vocab_size, special.pad_id, inputs)
    if bad >= 0:
        raise InputError(
            f"row {numbers[bad]:,}: got id {rows[bad].max():,}, expected ids below "
            f"{special.vocab_size:,}: damaged, or of another tokenizer",
            "feed it with the tokenizer that it was made with, or get the file again",
        )
    made: _Arrays = {"input_ids": inputs.reshape(shape)}
    if objective is not None:
        labels = put_labels(inputs, starts, lengths, numbers, is_tombstone, objective, special)
        made["labels"] = labels.reshape(shape)
    return made


@compiled
def _ends(
    ids: Uint32Array, offsets: Int64Array, cls_id: int, sep_id: int
) -> tuple[BoolArray, BoolArray]:
    """Return which rows start with CLS or lack none, and which end with SEP: bool [num_rows]."""
    has_cls = np.full(offsets.size - 1, cls_id < 0)
    has_sep = np.zeros(offsets.size - 1, np.bool_)
    for row in range(offsets.size - 1):
        if offsets[row] < offsets[row + 1]:
            has_cls[row] |= ids[offsets[row]] == cls_id
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
