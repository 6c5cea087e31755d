"""Views: the loader's own steps, one row at a time, are the oracle."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.core.arrays import Int64Array, Uint32Array
from pipeline.order.view import View, apply_view, view_edits, view_lengths

CLS, SEP = 7, 8
VIEWS: tuple[View, ...] = ("stored", "encoder", "decoder")


def loader(row: list[int], view: View, longest: int) -> list[int]:
    """Repair one row as `NoStreamingDataset.__getitem__` does."""
    if view == "stored":
        return row
    if row[0] != CLS:
        row = [CLS, *row][:longest]
    row = row[:longest]
    if view == "encoder" and row[-1] != SEP:
        row = [*row[: longest - 1], SEP]
    row = row[:longest]
    assert row[0] == CLS
    assert view == "decoder" or SEP in row
    return row


def viewed(rows: list[list[int]], view: View, longest: int) -> tuple[Uint32Array, Int64Array]:
    """Return ids and offsets of the rows under a view."""
    lengths = np.array([len(row) for row in rows], np.int64)
    ids = np.array([id_ for row in rows for id_ in row], np.uint32)
    has_cls = np.array([row[0] == CLS for row in rows], np.bool_)
    has_sep = np.array([row[-1] == SEP for row in rows], np.bool_)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    found = view_lengths(lengths, has_cls, has_sep, view, longest)
    view_offsets = np.concatenate([[0], np.cumsum(found)])
    return apply_view(ids, offsets, view_offsets, view, CLS, SEP), view_offsets


def check(rows: list[list[int]], view: View, longest: int) -> None:
    ids, offsets = viewed(rows, view, longest)
    assert ids.dtype == np.uint32
    expected = [loader(row, view, longest) for row in rows]
    assert np.diff(offsets).tolist() == [len(row) for row in expected]
    assert len(ids) == offsets[-1], "view_lengths tells what apply_view writes"
    assert ids.tolist() == [id_ for row in expected for id_ in row]


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("longest", [3, 4, 5, 8, 1024])
def test_every_row_around_the_longest_is_as_the_loader_makes_it(view: View, longest: int) -> None:
    around = {1, 2, 3, *range(max(1, longest - 3), longest + 4)}
    for length, has_cls, has_sep in product(sorted(around), (True, False), (True, False)):
        row = list(range(100, 100 + length))
        if has_cls:
            row[0] = CLS
        if has_sep:
            row[-1] = SEP
        check([row], view, longest)


def test_a_decoder_sees_no_sep_that_is_not_stored() -> None:
    ids, _ = viewed([[CLS, 1, 2], [1, 2], [1, 2, SEP]], "decoder", 8)
    assert ids.tolist() == [CLS, 1, 2, CLS, 1, 2, CLS, 1, 2, SEP]


def test_an_encoder_loses_the_last_token_where_there_is_no_room() -> None:
    ids, offsets = viewed([[CLS, 1, 2, 3, 4], [1, 2, 3, 4]], "encoder", 5)
    assert ids.tolist() == [CLS, 1, 2, 3, SEP, CLS, 1, 2, 3, SEP]
    assert offsets.tolist() == [0, 5, 10]


def test_sep_and_cls_inside_a_row_stay() -> None:
    ids, _ = viewed([[1, SEP, CLS, 2]], "encoder", 8)
    assert ids.tolist() == [CLS, 1, SEP, CLS, 2, SEP]


@QUICK
@given(
    rows=st.lists(
        st.lists(st.sampled_from([CLS, SEP, 1, 2, 60_000]), min_size=1, max_size=12), max_size=8
    ),
    view=st.sampled_from(VIEWS),
    longest=st.integers(3, 12),
)
def test_any_rows_are_as_the_loader_makes_them(
    rows: list[list[int]], view: View, longest: int
) -> None:
    check(rows, view, longest)


@pytest.mark.parametrize("view", ["stored", "encoder", "decoder"])
@pytest.mark.parametrize("has_cls", [False, True])
@pytest.mark.parametrize("has_sep", [False, True])
def test_what_a_view_cuts_and_adds_balances(view: View, has_cls: bool, has_sep: bool) -> None:
    lengths = np.arange(2, 20)
    flags = np.full(len(lengths), has_cls), np.full(len(lengths), has_sep)
    cut, added = view_edits(lengths, *flags, view, 10)
    viewed = view_lengths(lengths, *flags, view, 10)
    assert (lengths + added == viewed + cut).all()
    assert (cut >= 0).all()
    assert (added <= 2).all()
    # Long rows lose what is beyond the limit, and room for what is put in.
    assert cut[-1] == (0 if view == "stored" else 19 - 10 + added[-1])
