"""Forms: a loop over rows is the oracle, and the view's own rule."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import CLS, MASK, PAD, SEP, SPECIAL, VOCAB_SIZE, none_of, rows_of, some_rows
from support.strategies import QUICK

from pipeline.core.errors import InputError
from pipeline.feed.batch import Clm, Mlm, Objective
from pipeline.feed.layouts import flat_inputs, padded_inputs, view_rows
from pipeline.order import View

OBJECTIVES: list[Objective | None] = [None, Clm(), Mlm(mask_prob=0.3, seed=1)]


@QUICK
@given(rows=some_rows, multiple=st.sampled_from([1, 2, 8, 64]), tombstone=st.integers(0, 8))
def test_a_flat_batch_is_documents_one_after_the_other(
    rows: list[list[int]], multiple: int, tombstone: int
) -> None:
    is_tombstone = np.arange(len(rows)) == tombstone
    made = flat_inputs(
        rows_of(*rows), np.arange(len(rows)), is_tombstone, None, SPECIAL, pad_to_multiple=multiple
    )
    documents = list(rows)
    if missing := -sum(map(len, rows)) % multiple:
        documents.append([PAD] * missing)
    assert list(made) == [
        "input_ids", "position_ids", "cu_seq_lens_q", "cu_seq_lens_k", "max_length_q",
        "max_length_k", "num_tokens",
    ]  # fmt: skip
    assert made["input_ids"].tolist() == [[one for row in documents for one in row]]
    assert made["position_ids"].tolist() == [[i for row in documents for i in range(len(row))]]
    assert made["cu_seq_lens_q"] is made["cu_seq_lens_k"]
    assert made["cu_seq_lens_q"].tolist() == np.cumsum([0, *map(len, documents)]).tolist()
    assert made["input_ids"].shape[1] % multiple == 0
    assert made["max_length_q"] == made["max_length_k"] == max(map(len, documents))
    is_counted = [number != tombstone for number in range(len(rows))]
    assert made["num_tokens"] == sum(
        len(row) for row, counts in zip(rows, is_counted, strict=True) if counts
    )
    assert {name: value.dtype.name for name, value in made.items() if hasattr(value, "dtype")} == {
        "input_ids": "int64", "position_ids": "int64", "cu_seq_lens_q": "int32",
        "cu_seq_lens_k": "int32",
    }  # fmt: skip
    # Numbers that JSON and models take, and not numpy's.
    assert {type(made[name]) for name in ("max_length_q", "max_length_k", "num_tokens")} == {int}


@QUICK
@given(rows=some_rows, extra=st.none() | st.integers(0, 9))
def test_a_padded_batch_is_a_row_each(rows: list[list[int]], extra: int | None) -> None:
    longest = max(map(len, rows))
    length = longest if extra is None else longest + extra
    made = padded_inputs(
        rows_of(*rows), np.arange(len(rows)), none_of(rows), None, SPECIAL,
        length=None if extra is None else length,
    )  # fmt: skip
    assert list(made) == ["input_ids", "attention_mask"]
    missing = [length - len(row) for row in rows]
    assert made["input_ids"].tolist() == [
        row + [PAD] * gap for row, gap in zip(rows, missing, strict=True)
    ]
    assert made["attention_mask"].tolist() == [[1] * (length - gap) + [0] * gap for gap in missing]
    assert {value.dtype.name for value in made.values()} == {"int64"}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_both_forms_have_the_same_ids_and_labels(objective: Objective | None) -> None:
    rows = rows_of([CLS, *range(1, 30), SEP], [CLS, SEP], [CLS, *range(9, 40), SEP])
    numbers, is_tombstone = np.array([5, 9, 11]), np.array([False, True, False])
    flat = flat_inputs(rows, numbers, is_tombstone, objective, SPECIAL, pad_to_multiple=16)
    padded = padded_inputs(rows, numbers, is_tombstone, objective, SPECIAL, length=40)
    assert ("labels" in flat) == ("labels" in padded) == (objective is not None)
    for name in {"input_ids", "labels"} & set(flat):
        kept = padded[name][padded["attention_mask"] == 1]
        assert flat[name][0, : len(kept)].tolist() == kept.tolist()
        padding = {"input_ids": PAD, "labels": -100}[name]
        assert (flat[name][0, len(kept) :] == padding).all()
        assert (padded[name][padded["attention_mask"] == 0] == padding).all()


@QUICK
@given(rows=some_rows, longest=st.integers(3, 31))
def test_a_pair_sees_the_same_rows_but_for_the_view_and_the_masks(
    rows: list[list[int]], longest: int
) -> None:
    numbers, stored = np.arange(len(rows)), rows_of(*rows)
    made = {
        view: flat_inputs(
            view_rows(stored, view, longest, SPECIAL)[0], numbers, none_of(rows), objective, SPECIAL
        )
        for view, objective in (("encoder", Mlm(mask_prob=0.3, seed=1)), ("decoder", Clm()))
    }
    of_encoder, of_decoder = (
        np.split(one["input_ids"][0], one["cu_seq_lens_q"][1:-1]) for one in made.values()
    )
    labels = np.split(made["encoder"]["labels"][0], made["encoder"]["cu_seq_lens_q"][1:-1])
    for row, read, told, causal in zip(rows, of_encoder, labels, of_decoder, strict=True):
        unmasked = np.where(told == -100, read, told).tolist()
        begun = row if row[0] == CLS else [CLS, *row]
        assert causal.tolist() == begun[:longest]
        ended = begun[:longest]
        if ended[-1] != SEP:
            ended = [*begun[: longest - 1], SEP]
        assert unmasked == ended


def test_rows_that_a_view_leaves_alone_are_not_copied() -> None:
    rows = rows_of([CLS, 1, 2, SEP], [CLS, SEP])
    for view in ("stored", "encoder", "decoder"):
        assert view_rows(rows, view, 4, SPECIAL)[0] is rows
    views: list[View] = ["encoder", "decoder"]
    for view in views:
        assert view_rows(rows, view, 3, SPECIAL)[0].values.tolist() == [
            CLS, 1, SEP if view == "encoder" else 2, CLS, SEP,
        ]  # fmt: skip
    # Of CLS, 1, 2, SEP an encoder takes two and SEP, which counts as added.
    assert view_rows(rows, "encoder", 3, SPECIAL)[1].tolist() == [2, 0]
    assert view_rows(rows, "decoder", 3, SPECIAL)[1].tolist() == [1, 0]
    bare = rows_of([1, 2], [], [CLS, 3])
    assert view_rows(bare, "stored", 1, SPECIAL)[0] is bare
    assert view_rows(bare, "decoder", 9, SPECIAL)[0].values.tolist() == [CLS, 1, 2, CLS, CLS, 3]
    encoded, cut = view_rows(bare, "encoder", 9, SPECIAL)
    assert cut.tolist() == [0, 0, 0]
    assert encoded.values.tolist() == [CLS, 1, 2, SEP, CLS, SEP, CLS, 3, SEP]
    assert encoded.offsets.tolist() == [0, 4, 6, 9]
    none = rows_of()
    assert view_rows(none, "encoder", 9, SPECIAL)[0] is none


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("form", [flat_inputs, padded_inputs])
@pytest.mark.parametrize("id_", [VOCAB_SIZE, 1 << 31, (1 << 32) - 1])
def test_ids_of_another_vocabulary_are_refused(
    form: Callable[..., object], objective: Objective | None, id_: int
) -> None:
    rows = rows_of([CLS, 1, SEP], [CLS, id_, 2, SEP], [CLS, id_, SEP])
    message = rf"row 1,234: got id {id_:,}, expected ids below 50: damaged, or of another"
    with pytest.raises(InputError, match=message):
        form(rows, np.array([7, 1234, 2000]), none_of(rows), objective, SPECIAL)


def test_a_row_that_is_longer_than_its_place_is_refused() -> None:
    rows = rows_of([CLS, SEP], [CLS, 1, 2, SEP])
    with pytest.raises(InputError, match="row 30: got 4 ids, expected at most 3"):
        padded_inputs(rows, np.array([20, 30]), none_of(rows), None, SPECIAL, length=3)


def test_arrays_that_cannot_be_written_to_are_read() -> None:
    rows = rows_of([CLS, MASK, 1, SEP])
    rows.values.flags.writeable = False
    rows.offsets.flags.writeable = False
    for objective in OBJECTIVES:
        made = flat_inputs(rows, np.array([0]), none_of(rows), objective, SPECIAL)
        assert made["position_ids"].tolist() == [[0, 1, 2, 3]]
        assert made["input_ids"].flags.writeable
