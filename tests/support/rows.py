"""Rows for tests of the feed, and the special ids of a small tokenizer."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from pipeline.core.arrays import BoolArray
from pipeline.core.ragged import Rows
from pipeline.stages.tokenizer import SpecialIds

CLS, SEP, PAD, MASK, VOCAB_SIZE = 41, 42, 43, 44, 50
_IS_SPECIAL = np.zeros(VOCAB_SIZE, np.bool_)
_IS_SPECIAL[[0, CLS, SEP, PAD, MASK]] = True
SPECIAL = SpecialIds(cls_id=CLS, sep_id=SEP, pad_id=PAD, mask_id=MASK, is_special=_IS_SPECIAL)
"""A tokenizer of 50 ids, of which 0 is special too."""


def rows_of(*rows: Sequence[int]) -> Rows:
    """Return rows of these ids."""
    ids = np.array([one for row in rows for one in row], np.uint32)
    return Rows(values=ids, offsets=np.cumsum([0, *map(len, rows)]))


def none_of(rows: Sequence[object] | Rows) -> BoolArray:
    """Return for each row that it is no tombstone."""
    return np.zeros(len(rows), np.bool_)


some_rows = st.lists(
    st.lists(st.integers(0, VOCAB_SIZE - 1), min_size=1, max_size=30), min_size=1, max_size=8
)
"""A few rows of any ids, special ones among them."""
