"""The holdout split: documents that are chosen take all their chunks with them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK

from pipeline.runner.holdout_split import _by_partition

documents = st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=6)
"""Of each document its number of chunks, and whether it is chosen."""


@QUICK
@given(parts=st.dictionaries(st.sampled_from(["p1", "p2", "p10"]), documents, min_size=1))
def test_chunks_follow_their_documents(parts: dict[str, list[tuple[int, bool]]]) -> None:
    chunks = {
        name: np.array([i for num_chunks, _ in own for i in range(num_chunks)], np.uint32)
        for name, own in parts.items()
    }
    joined = np.concatenate([chunks[name] for name in sorted(parts)])
    chosen = np.array([is_chosen for name in sorted(parts) for _, is_chosen in parts[name]], bool)
    found = _by_partition(chunks, np.flatnonzero(joined == 0), chosen)
    assert {name: mask.tolist() for name, mask in found.items()} == {
        name: [is_chosen for num_chunks, is_chosen in own for _ in range(num_chunks)]
        for name, own in parts.items()
    }
