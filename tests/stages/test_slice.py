"""Cutting: a walk over single documents, as published, is the oracle for the cuts by arrays."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK, cuts, lengths

from pipeline.core.ragged import Rows, offsets_of
from pipeline.stages.chunking.chunker import Chunks
from pipeline.stages.chunking.slice import Cutter, SliceChunker


class Settings(NamedTuple):
    size: int
    min_size: int
    skip_below: int
    seed: int


def settings_drawn() -> st.SearchStrategy[Settings]:
    def with_size(size: int) -> st.SearchStrategy[Settings]:
        return st.builds(
            Settings,
            st.just(size),
            st.integers(0, size - 2),
            st.integers(0, size + 2),
            st.integers(0, 2**32 - 1),
        )

    return st.integers(4, 24).flatmap(with_size)


def naive_cuts(documents: list[int], settings: Settings) -> list[tuple[list[range], int, int]]:
    """Walk the pieces of each document: (pieces kept, what the last borrows, ids dropped).

    The rule as the published script has it, in its own order of questions.
    """
    random = np.random.RandomState(settings.seed)
    piece_size = settings.size - 2
    found = []
    for length in documents:
        kept: list[range] = []
        borrowed = dropped = 0
        start = 0
        while start < length:
            piece = range(start, min(start + piece_size, length))
            is_first = start == 0
            if len(piece) < settings.skip_below and not is_first:
                dropped += len(piece)
            elif len(piece) < settings.min_size and kept:
                borrowed = int(random.randint(0, piece_size - len(piece)))
                kept.append(piece)
            else:
                kept.append(piece)
            start += piece_size
        found.append((kept, borrowed, dropped))
    return found


def of_lengths(documents: list[int]) -> Rows:
    return Rows(np.array(ids_of(documents), np.uint32), offsets_of(documents))


def cutter(settings: Settings) -> Cutter:
    return Cutter(
        piece_size=settings.size - 2,
        min_size=settings.min_size,
        skip_below=settings.skip_below,
        seed=settings.seed,
    )


@QUICK
@given(documents=lengths(90), settings=settings_drawn())
def test_cuts_are_those_of_the_walk(documents: list[int], settings: Settings) -> None:
    offsets = offsets_of(documents)
    pieces = cutter(settings).cut(of_lengths(documents))
    starts, stops, owners, borrowed = [], [], [], []
    expected = naive_cuts(documents, settings)
    for document, (kept, lent, _) in enumerate(expected):
        starts += [offsets[document] + piece.start for piece in kept]
        stops += [offsets[document] + piece.stop for piece in kept]
        owners += [document] * len(kept)
        borrowed += [0] * (len(kept) - 1) + [lent] if kept else []
    assert pieces.starts.tolist() == starts
    assert pieces.stops.tolist() == stops
    assert pieces.documents.tolist() == owners
    assert pieces.borrowed.tolist() == borrowed
    assert pieces.discarded.tolist() == [dropped for _, _, dropped in expected]


def test_the_draws_are_those_of_the_published_generator() -> None:
    # Documents of two pieces, the last of which leaves these ranges to draw from.
    highs = [894, 722, 511, 822, 893]
    documents = [1022 + 1022 - high for high in highs]
    cutter = Cutter(piece_size=1022, min_size=1022, skip_below=0, seed=42)
    pieces = cutter.cut(of_lengths(documents))
    assert pieces.borrowed[1::2].tolist() == [102, 435, 348, 270, 106]
    assert not pieces.borrowed[0::2].any()


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1022, [1022]),
        (1023, [1022]),
        (1022 + 127, [1022]),
        (1022 + 128, [1022, 128]),
        (1022 + 511, [1022, 511]),
        (1022 + 512, [1022, 512]),
        (2 * 1022, [1022, 1022]),
        (1, [1]),
        (127, [127]),
        (511, [511]),
    ],
)
def test_pieces_around_the_published_bounds(length: int, expected: list[int]) -> None:
    cutter = Cutter(piece_size=1022, min_size=512, skip_below=128, seed=42)
    pieces = cutter.cut(of_lengths([length]))
    assert (pieces.stops - pieces.starts).tolist() == expected
    assert int(pieces.discarded[0]) == length - sum(expected)
    assert (pieces.borrowed[-1] > 0) == (len(expected) > 1 and expected[-1] < 512)


# Slices


def ids_of(documents: list[int]) -> list[int]:
    """Every id differs from every other: document in the thousands, place below."""
    return [1000 * (index + 1) + i for index, n in enumerate(documents) for i in range(n)]


def naive_slices(documents: list[int], settings: Settings) -> list[list[int]]:
    chunks: list[list[int]] = []
    for index, (kept, borrowed, _) in enumerate(naive_cuts(documents, settings)):
        stored = [[1000 * (index + 1) + i for i in piece] for piece in kept]
        if borrowed:
            stored[-1] = stored[-2][-borrowed:] + stored[-1]
            stored[-2] = stored[-2][:-borrowed]
        chunks += stored
    return chunks


def slices(documents: list[int], settings: Settings, blocks: list[int]) -> list[Chunks]:
    chunker = SliceChunker(cutter(settings))
    return [chunker.chunk(of_lengths(documents).slice(a, b)) for a, b in pairwise(blocks)]


def listed(chunks: list[Chunks]) -> list[list[int]]:
    return [ids.tolist() for one in chunks for ids in one.rows]


@QUICK
@given(st.data())
def test_slices_are_those_of_the_walk_whatever_the_blocks(data: st.DataObject) -> None:
    documents = data.draw(lengths(90))
    settings = data.draw(settings_drawn())
    made = slices(documents, settings, data.draw(cuts(len(documents))))
    chunks = listed(made)
    assert chunks == naive_slices(documents, settings)
    dropped = sum(dropped for _, _, dropped in naive_cuts(documents, settings))
    assert sum(one.num_discarded for one in made) == dropped
    assert sum(map(len, chunks)) + dropped == sum(documents), "in = written + discarded"
    assert all(0 < len(chunk) <= settings.size - 2 for chunk in chunks)
    assert all(one.num_added == 0 and len(one.failed) == 0 for one in made)


def test_documents_of_slices_are_named_by_their_place_in_the_block() -> None:
    [chunks] = slices([5, 30, 4], Settings(12, 0, 0, 1), [0, 3])
    assert chunks.documents.tolist() == [0, 1, 1, 1, 2]
    assert chunks.rows.lengths().tolist() == [5, 10, 10, 10, 4]


def test_slices_are_frozen() -> None:
    made = slices([25, 12, 7, 31, 23], Settings(12, 6, 2, 42), [0, 5])
    runs = [
        *[(1000, 10), (1010, 7), (1017, 8)],
        *[(2000, 6), (2006, 6)],
        *[(3000, 7)],
        *[(4000, 10), (4010, 10), (4020, 10)],
        *[(5000, 10), (5010, 4), (5014, 9)],
    ]
    assert listed(made) == [list(range(first, first + length)) for first, length in runs]
    assert sum(one.num_discarded for one in made) == 1
