from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK, cuts

from pipeline.stages.dedup.clusters import link_equal

# Of every bucket, and of one first word with several second ones.
words = st.sampled_from([0, 1, 2**62, 2**63, 2**64 - 1])
rounds = st.lists(
    st.lists(st.tuples(words, words), min_size=12, max_size=12), min_size=1, max_size=3
)


def roots(parents: list[int]) -> list[int]:
    found: list[int] = []
    for document, parent in enumerate(parents):
        assert parent <= document
        found.append(found[parent] if parent != document else document)
    return found


def naive(keyed: list[list[tuple[int, int]]]) -> list[int]:
    groups = [{document} for document in range(12)]
    for keys in keyed:
        for one in range(12):
            for other in range(one):
                if keys[one] == keys[other]:
                    joined = groups[one] | groups[other]
                    for member in joined:
                        groups[member] = joined
    return [min(group) for group in groups]


@QUICK
@given(keyed=rounds, places=cuts(12), memory_bytes=st.sampled_from([0, 1, 500, 1 << 30]))
def test_groups_are_those_of_equal_keys_and_their_root_is_the_first(
    tmp_path_factory: pytest.TempPathFactory,
    keyed: list[list[tuple[int, int]]],
    places: list[int],
    memory_bytes: int,
) -> None:
    scratch = tmp_path_factory.mktemp("scratch")
    parents = np.arange(12)
    for keys in keyed:
        values = np.array(keys, np.uint64)
        ranges = list(pairwise(places))
        # Blocks may come in any order.
        blocks = [(values[start:stop], np.arange(start, stop)) for start, stop in ranges[::-1]]
        link_equal(parents, blocks, 12, scratch, memory_bytes)
    assert roots(parents.tolist()) == naive(keyed)
    assert list(scratch.iterdir()) == []


def test_no_blocks_link_nothing(tmp_path: Path) -> None:
    parents = np.arange(3)
    link_equal(parents, [], 0, tmp_path, 1 << 20)
    assert parents.tolist() == [0, 1, 2]
