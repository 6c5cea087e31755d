"""Steps, windows and files: a loop over single steps is the oracle."""

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.dataset.steps import StepFile, StepWindow, split_files, split_windows


def naive_windows(tokens: list[int], window_tokens: int) -> list[list[int]]:
    """End a window with the step at which the tokens so far pass another multiple."""
    windows: list[list[int]] = []
    is_open = False
    so_far = 0
    for step, amount in enumerate(tokens):
        if not is_open:
            windows.append([])
        windows[-1].append(step)
        before, so_far = so_far, so_far + amount
        is_open = before // window_tokens == so_far // window_tokens
    return windows


@QUICK
@given(
    tokens=st.lists(st.integers(1, 40), max_size=60),
    window_tokens=st.integers(1, 200),
)
def test_windows_are_those_of_the_loop(tokens: list[int], window_tokens: int) -> None:
    windows = split_windows(np.array(tokens, np.int64), window_tokens, "decay")
    expected = naive_windows(tokens, window_tokens)
    assert [
        list(range(one.first_step, one.first_step + one.num_steps)) for one in windows
    ] == expected
    assert [one.num_tokens for one in windows] == [
        sum(tokens[step] for step in steps) for steps in expected
    ]
    assert [one.folder for one in windows] == [
        f"order/decay_{number:06d}" for number in range(1, len(expected) + 1)
    ]


@pytest.mark.parametrize(
    ("tokens", "counts"),
    [
        ([], []),
        ([10], [1]),
        ([4, 6, 5], [2, 1]),
        ([4, 5, 5], [3]),
        ([30, 1, 9], [1, 2]),
        ([9, 2, 8, 1], [2, 2]),
    ],
    ids=["none", "exact", "exact then rest", "passed at the end", "several at once", "carried"],
)
def test_windows_by_hand(tokens: list[int], counts: list[int]) -> None:
    windows = split_windows(np.array(tokens, np.int64), 10, "p")
    assert [one.num_steps for one in windows] == counts


def window(num_steps: int) -> StepWindow:
    return StepWindow(folder="order/p_000002", first_step=1_000, num_steps=num_steps, num_tokens=1)


@pytest.mark.parametrize(
    ("num_steps", "counts"),
    [(1, [1]), (99, [99]), (100, [100]), (101, [100, 1]), (250, [100, 100, 50])],
)
def test_files_hold_a_hundred_steps(num_steps: int, counts: list[int]) -> None:
    files = split_files(window(num_steps), "parquet")
    assert [file.num_steps for file in files] == counts
    assert [file.first_step for file in files] == [1_000 + 100 * i for i in range(len(counts))]
    assert [file.first_label for file in files] == [1 + 100 * i for i in range(len(counts))]


@pytest.mark.parametrize(("format_", "suffix"), [("parquet", ".parquet"), ("mds", "")])
def test_files_are_named_by_their_steps_within_the_window(
    format_: Literal["parquet", "mds"], suffix: str
) -> None:
    assert split_files(window(142), format_) == [
        StepFile(
            path=f"order/p_000002/steps_000001_to_000100{suffix}",
            window="order/p_000002",
            first_step=1_000,
            num_steps=100,
            first_label=1,
        ),
        StepFile(
            path=f"order/p_000002/steps_000101_to_000142{suffix}",
            window="order/p_000002",
            first_step=1_100,
            num_steps=42,
            first_label=101,
        ),
    ]
