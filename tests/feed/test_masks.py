"""Masks: the rule word by word, one position at a time, is the oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.rows import CLS, MASK, PAD, SEP, SPECIAL, VOCAB_SIZE, none_of, rows_of, some_rows
from support.strategies import QUICK

from pipeline.core import seeds
from pipeline.core.errors import ConfigError
from pipeline.feed.batch import Clm, Mlm
from pipeline.feed.layouts import flat_inputs, padded_inputs
from pipeline.feed.masks import IGNORED, thresholds

mask_probs = st.sampled_from([0.05, 0.15, 0.3, 0.5, 1.0])


def masked(row: list[int], number: int, objective: Mlm) -> tuple[list[int], list[int]]:
    """Return ids and labels of one row, as `docs/spec/masks.md` says."""
    key = seeds.derive_key(objective.seed, "mask")
    row_key = int(seeds.random_numbers(key, number + 1)[number])
    drawn = seeds.random_numbers(row_key, len(row)).tolist()
    t = int(objective.mask_prob * 2**32)
    inputs, labels = [], []
    for id_, one in zip(row, drawn, strict=True):
        high, low = one >> 32, one & 0xFFFFFFFF
        if high >= t or SPECIAL.is_special[id_]:
            inputs.append(id_)
            labels.append(IGNORED)
            continue
        labels.append(id_)
        if high < t * 8 // 10:
            inputs.append(MASK)
        elif high < t * 9 // 10:
            inputs.append(low * VOCAB_SIZE >> 32)
        else:
            inputs.append(id_)
    return inputs, labels


@QUICK
@given(rows=some_rows, first=st.integers(0, 500), mask_prob=mask_probs, seed=st.integers(0, 99))
def test_masks_are_those_of_the_rule(
    rows: list[list[int]], first: int, mask_prob: float, seed: int
) -> None:
    objective = Mlm(mask_prob=mask_prob, seed=seed)
    numbers = np.arange(first, first + len(rows))
    inputs = flat_inputs(rows_of(*rows), numbers, none_of(rows), objective, SPECIAL)
    expected = [masked(row, first + i, objective) for i, row in enumerate(rows)]
    assert inputs["input_ids"].tolist() == [[one for ids, _ in expected for one in ids]]
    assert inputs["labels"].tolist() == [[one for _, labels in expected for one in labels]]


def test_masks_are_the_frozen_vector() -> None:
    rows = rows_of([CLS, *range(1, 23), SEP], [CLS, *range(1, 23), SEP])
    objective = Mlm(mask_prob=0.5, seed=21)
    inputs = flat_inputs(rows, np.array([0, 123_456_789_012]), none_of(rows), objective, SPECIAL)
    # Of the rule in whole numbers of Python, without numpy and without this code. The second row
    # has three random ids, one of them SEP, and 14 and 18 that are predicted from themselves.
    none = IGNORED
    assert inputs["input_ids"].reshape(2, 24).tolist() == [
        [41, 1, 44, 44, 44, 44, 6, 7, 8, 9, 10, 11, 12, 13, 44, 15, 16, 44, 18, 44, 44, 44, 44, 42],
        [41, 1, 2, 3, 44, 5, 25, 7, 44, 9, 10, 44, 12, 42, 14, 15, 35, 17, 18, 19, 44, 44, 44, 42],
    ]
    assert inputs["labels"].reshape(2, 24).tolist() == [
        [none, none, 2, 3, 4, 5, none, none, none, none, none, none,
         none, none, 14, none, none, 17, none, 19, 20, 21, 22, none],
        [none, none, none, none, 4, none, 6, none, 8, none, none, 11,
         12, 13, 14, none, 16, none, 18, none, 20, 21, 22, none],
    ]  # fmt: skip


@QUICK
@given(
    rows=some_rows,
    world_size=st.integers(1, 4),
    cut=st.integers(0, 8),
    mask_prob=mask_probs,
    extra=st.integers(0, 9),
)
def test_a_row_has_the_same_masks_in_any_batch_form_and_rank(
    rows: list[list[int]], world_size: int, cut: int, mask_prob: float, extra: int
) -> None:
    objective, numbers = Mlm(mask_prob=mask_prob, seed=5), 7 * np.arange(len(rows))
    whole = flat_inputs(rows_of(*rows), numbers, none_of(rows), objective, SPECIAL)
    bounds = whole["cu_seq_lens_q"]
    by_row = {
        number: [np.split(whole[name][0], bounds[1:-1])[i].tolist() for name in NAMES]
        for i, number in enumerate(numbers.tolist())
    }
    for rank in range(world_size):
        mine = range(rank, len(rows), world_size)
        for some in (mine[:cut], mine[cut:]):
            if not len(some):
                continue
            taken = [rows[i] for i in some]
            padded = padded_inputs(
                rows_of(*taken), numbers[some], none_of(taken), objective, SPECIAL,
                length=max(map(len, taken)) + extra,
            )  # fmt: skip
            for row, i in enumerate(some):
                found = [padded[name][row, : len(rows[i])].tolist() for name in NAMES]
                assert found == by_row[7 * i]
                assert (padded["labels"][row, len(rows[i]) :] == IGNORED).all()


NAMES = ("input_ids", "labels")


@pytest.mark.parametrize("mask_prob", [0.05, 0.15, 0.3, 1.0])
def test_as_many_are_masked_as_the_probability_says(mask_prob: float) -> None:
    num_rows, length = 400, 500
    ids = 1 + np.arange(num_rows * length).reshape(num_rows, length) % 40
    ids[:, 0], ids[:, 7], ids[:, -1] = CLS, 0, SEP
    rows = rows_of(*ids.tolist())
    objective = Mlm(mask_prob=mask_prob, seed=3)
    inputs = flat_inputs(rows, np.arange(num_rows), none_of(rows), objective, SPECIAL)
    fed, labels = inputs["input_ids"].reshape(ids.shape), inputs["labels"].reshape(ids.shape)
    is_predicted = labels != IGNORED
    # Exactly: what is not predicted is fed as it is, and labels are the ids as they were.
    assert np.array_equal(fed[~is_predicted], ids[~is_predicted])
    assert np.array_equal(labels[is_predicted], ids[is_predicted])
    assert not is_predicted[:, [0, 7, -1]].any(), "special ids are never masked"
    usual = np.delete(np.arange(length), [0, 7, length - 1])
    expect_share(is_predicted[:, usual], mask_prob)
    # Neither rows nor positions are favoured: within 6 deviations of each one's own share.
    for axis, count in ((0, num_rows), (1, len(usual))):
        shares = is_predicted[:, usual].mean(axis=axis)
        assert abs(shares - mask_prob).max() <= 6 * np.sqrt(mask_prob * (1 - mask_prob) / count)
    before, after = ids[is_predicted], fed[is_predicted]
    expect_share(after == MASK, 0.8 + 0.1 / VOCAB_SIZE)
    # A random id may be the one that was there.
    expect_share(after == before, 0.1 + 0.1 / VOCAB_SIZE)
    others = after[(after != MASK) & (after != before)]
    assert set(others.tolist()) == set(range(VOCAB_SIZE)) - {MASK}, "any id may come"
    counts = np.bincount(others, minlength=VOCAB_SIZE)[[0, *range(41, 44), *range(45, 50)]]
    expected = len(before) * 0.1 / VOCAB_SIZE
    assert abs(counts - expected).max() < 6 * np.sqrt(expected)


def expect_share(is_so: np.ndarray, share: float) -> None:
    deviation = np.sqrt(share * (1 - share) / is_so.size)
    assert abs(is_so.mean() - share) <= 5 * deviation


def test_other_seeds_and_rows_have_other_masks() -> None:
    rows = rows_of(*[[CLS, *range(1, 40), SEP]] * 3)
    made = {
        tuple(inputs.tolist())
        for seed in range(5)
        for inputs in flat_inputs(
            rows, np.array([0, 1, 2**40]), none_of(rows), Mlm(mask_prob=0.5, seed=seed), SPECIAL
        )["labels"].reshape(3, 41)
    }
    assert len(made) == 15


def test_thresholds_are_whole_and_none_is_lost_at_one() -> None:
    assert thresholds(1.0) == (2**32, 2**32 * 8 // 10, 2**32 * 9 // 10)
    assert thresholds(0.3) == (1288490188, 1030792150, 1159641169)
    assert thresholds(0.15) == (644245094, 515396075, 579820584)


@pytest.mark.parametrize("mask_prob", [0.0, -0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(mask_prob: float) -> None:
    rows = rows_of([CLS, 1, SEP])
    with pytest.raises(ConfigError, match=f"mask_prob: got {mask_prob}, expected above 0 and at"):
        flat_inputs(rows, np.array([0]), none_of(rows), Mlm(mask_prob=mask_prob, seed=1), SPECIAL)


@QUICK
@given(rows=some_rows, extra=st.integers(0, 5))
def test_an_id_is_a_causal_label_unless_it_is_the_first_of_its_row(
    rows: list[list[int]], extra: int
) -> None:
    expected = [[IGNORED, *row[1:]] for row in rows]
    arguments = np.arange(len(rows)), none_of(rows), Clm(), SPECIAL
    flat = flat_inputs(rows_of(*rows), *arguments)
    assert flat["labels"].tolist() == [[one for row in expected for one in row]]
    assert flat["input_ids"].tolist() == [[one for row in rows for one in row]]
    length = max(map(len, rows)) + extra
    padded = padded_inputs(rows_of(*rows), *arguments, length=length)
    assert padded["labels"].tolist() == [row + [IGNORED] * (length - len(row)) for row in expected]


@pytest.mark.parametrize("objective", [Mlm(mask_prob=1, seed=1), Clm()])
def test_a_tombstone_is_fed_as_it_is_and_nothing_of_it_is_predicted(objective: Mlm | Clm) -> None:
    rows = rows_of([CLS, 5, 6, SEP], [CLS, SEP], [CLS, 7, SEP])
    # Even were there other ids in it.
    for stand_in in (rows, rows_of([CLS, 5, 6, SEP], [3, 4], [CLS, 7, SEP])):
        is_tombstone = np.array([False, True, False])
        numbers = np.arange(3)
        flat = flat_inputs(stand_in, numbers, is_tombstone, objective, SPECIAL, pad_to_multiple=4)
        assert flat["labels"][0, 4:6].tolist() == [IGNORED] * 2
        assert flat["input_ids"][0, 4:6].tolist() == stand_in.values[4:6].tolist()
        assert flat["labels"][0, 9:].tolist() == [IGNORED] * 3
        assert flat["input_ids"][0, 9:].tolist() == [PAD] * 3
        assert flat["labels"][0, 7] == 7, "the row after it is not touched"
        assert flat["num_tokens"] == 7
        padded = padded_inputs(stand_in, numbers, is_tombstone, objective, SPECIAL)
        assert padded["labels"][1].tolist() == [IGNORED] * 4
        assert padded["input_ids"][1].tolist() == [*stand_in.values[4:6].tolist(), PAD, PAD]
