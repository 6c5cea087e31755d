"""`whole-v1`: nothing is lost, chunks are as few as hold it, and the last two are balanced."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chunks import CLS, FROZEN_IDS, SEP, frozen_documents, in_blocks, listed
from support.strategies import QUICK, cuts, lengths

from pipeline.core.ragged import Rows
from pipeline.stages.chunking.whole import WholeChunker
from pipeline.stages.tokenizer import load_tokenizer


def whole(size: int) -> WholeChunker:
    return WholeChunker(size=size, cls_id=CLS, sep_id=SEP)


def documents_of(sizes: list[int]) -> Rows:
    """Return documents of these lengths; every id tells its document and place."""
    rows = [
        [CLS, *(1000 * (index + 1) + i for i in range(size - 2)), SEP]
        for index, size in enumerate(sizes)
    ]
    flat = np.array([id_ for row in rows for id_ in row], np.uint32)
    return Rows(flat, np.cumsum([0, *sizes]))


@QUICK
@given(st.data())
def test_whole_loses_nothing_and_is_balanced_and_smallest(data: st.DataObject) -> None:
    sizes = data.draw(lengths(80))
    size = data.draw(st.integers(4, 30))
    encoded = documents_of(sizes)
    made, firsts = in_blocks(whole(size), encoded, data.draw(cuts(len(sizes))))
    chunks = listed(made, firsts)
    for document, (first, last) in enumerate(pairwise(encoded.offsets.tolist())):
        own = [ids for owner, ids in chunks if owner == document]
        content = encoded.values[first + 1 : last - 1].tolist()
        assert [id_ for ids in own for id_ in ids[1:-1]] == content
        assert all(ids[0] == CLS and ids[-1] == SEP and len(ids) <= size for ids in own)
        assert len(own) == -(-len(content) // (size - 2)), "as few as hold it"
        assert all(len(ids) == size for ids in own[:-2]), "full but for the last two"
        if len(own) > 1:
            assert 0 <= len(own[-2]) - len(own[-1]) <= 1
    assert [owner for owner, _ in chunks] == sorted(owner for owner, _ in chunks)
    num_written = sum(len(ids) for _, ids in chunks)
    assert sum(sizes) + sum(one.num_added for one in made) == num_written
    assert all(one.num_discarded == 0 and len(one.failed) == 0 for one in made)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (1, [1]),
        (10, [10]),
        (11, [6, 5]),
        (12, [6, 6]),
        (19, [10, 9]),
        (20, [10, 10]),
        (21, [10, 6, 5]),
        (30, [10, 10, 10]),
        (31, [10, 10, 6, 5]),
    ],
)
def test_the_lengths_of_whole_chunks_are_frozen(content: int, expected: list[int]) -> None:
    encoded = documents_of([content + 2])
    chunks = whole(12).chunk(encoded)
    assert (chunks.rows.lengths() - 2).tolist() == expected


def test_whole_keeps_special_tokens_inside_a_document() -> None:
    ids = np.array([CLS, SEP, CLS, 5, SEP, SEP], np.uint32)
    chunks = whole(4).chunk(Rows(ids, np.array([0, 6])))
    assert listed([chunks], [0]) == [(0, [CLS, SEP, CLS, SEP]), (0, [CLS, 5, SEP, SEP])]


def test_no_documents_give_no_chunks() -> None:
    nothing = Rows(np.empty(0, np.uint32), np.zeros(1, np.int64))
    assert whole(8).chunk(nothing).rows.offsets.tolist() == [0]


def test_whole_is_frozen() -> None:
    frozen = frozen_documents(load_tokenizer("modernbert", add_prefix_space=False))
    made = whole(12).chunk(frozen)
    assert listed([made], [0]) == [
        (0, [*FROZEN_IDS[:11], SEP]),
        (0, [CLS, *FROZEN_IDS[11:20], SEP]),
        (0, [CLS, *FROZEN_IDS[20:30]]),
        (1, FROZEN_IDS[30:34]),
        (2, [*FROZEN_IDS[34:43], SEP]),
        (2, [CLS, *FROZEN_IDS[43:]]),
    ]
    assert (made.num_added, made.num_discarded) == (6, 0)
