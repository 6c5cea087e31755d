"""Search index: it finds what a look at every place of every row finds, and so does a scan."""

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.searched import FEW_TOKENS, index_of, order_of, patterns_of, places_of, write_index
from support.strategies import QUICK
from support.traced import ListedRows, naive_find

from pipeline.audit.search import SearchIndex
from pipeline.audit.search import section as section_module
from pipeline.audit.search.found import without_longer
from pipeline.audit.search.open_index import default_folder, find_index
from pipeline.audit.trace.text_search import find
from pipeline.core.errors import ConfigError, InputError, MismatchError

few = st.integers(0, 2) | st.just(2**32 - 1)
rows_of_few = st.lists(st.lists(few, max_size=60), max_size=40)
runs = st.lists(few, min_size=1, max_size=9)


@QUICK
@given(
    rows=rows_of_few,
    wanted=st.lists(runs, min_size=1, max_size=2),
    copied=st.lists(st.tuples(st.integers(0, 29), st.integers(0, 50), st.integers(1, 9))),
    first=st.integers(0, 60),
    tokens=st.sampled_from([1, 16, FEW_TOKENS, 1 << 12]),
    data=st.data(),
)
def test_an_index_finds_what_a_look_at_every_place_finds(
    rows: list[list[int]],
    wanted: list[list[int]],
    copied: list[tuple[int, int, int]],
    first: int,
    tokens: int,
    data: st.DataObject,
) -> None:
    for row, start, length in copied:
        if row < len(rows) and rows[row][start:]:
            wanted.append(rows[row][start : start + length])
    patterns = patterns_of(*wanted)
    expected = sorted(naive_find(rows, wanted))
    with tempfile.TemporaryDirectory() as folder:
        index = index_of(rows, Path(folder), tokens)
        found = index.find(patterns, first)
        matches = [match for some in index.matches(patterns) for match in some]
        cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=4).map(sorted))
        bounds = np.array([0, *cuts, len(rows)])
        counts = index.count_between(patterns, bounds)
    assert found.count == len(expected) == found.counts.sum()
    assert places_of(found) == expected[:first]
    assert [(match.row, match.offset) for match in matches] == expected
    in_trace = [match for some in find(patterns, ListedRows(rows)) for match in some]
    assert matches == in_trace
    in_rows = [row for row, _ in expected]
    assert found.counts.tolist() == np.histogram(in_rows, _edges(found.bounds))[0].tolist()
    assert counts.tolist() == [
        sum(start <= row < stop for row in in_rows) for start, stop in pairwise(bounds)
    ]


def _edges(bounds: np.ndarray) -> np.ndarray:
    """The last bin of a histogram of numpy includes its end."""
    return np.array([*(bounds - 0.5)]) if len(bounds) > 1 else np.empty(1)


@pytest.mark.parametrize("tokens", [FEW_TOKENS, 1 << 12])
def test_runs_that_are_at_many_places_are_all_found(tokens: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for kinds in (2, 3, 5):
        rows = [rng.integers(0, kinds, length).tolist() for length in rng.integers(9, 60, 30)]
        index = index_of(rows, tmp_path / str(kinds), tokens)
        for length in range(1, 10):
            run = rows[length][:length]
            expected = sorted(naive_find(rows, [run]))
            found = index.find(patterns_of(run), 40)
            assert (found.count, places_of(found)) == (len(expected), expected[:40])


def test_frequent_runs_are_scanned_for_and_rare_ones_are_narrowed_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(section_module, "_FEW_TO_SORT", 3)
    monkeypatch.setattr(section_module, "_FEW_TO_CHECK", 1)
    rows = [[1, 2, 3, 4, 5, 1, 2, 3, 4, 6] * 3 for _ in range(20)]
    index = index_of(rows, tmp_path, 200)
    for run in ([1], [3, 4], [1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 4, 6], [2, 3, 4, 5, 1, 2, 3, 4, 6]):
        found = index.find(patterns_of(run), 5)
        expected = sorted(naive_find(rows, [run]))
        assert (found.count, places_of(found)) == (len(expected), expected[:5])


def test_repeated_ids_are_counted_at_every_place(tmp_path: Path) -> None:
    rows = [[7] * 40, [7] * 3, [], [7] * 4, [8, *[7] * 6, 8]]
    index = index_of(rows, tmp_path)
    for length in range(1, 9):
        expected = sorted(naive_find(rows, [[7] * length]))
        found = index.find(patterns_of([7] * length))
        assert (found.count, places_of(found)) == (len(expected), expected[:50])


def test_no_run_goes_past_the_end_of_a_row_and_none_is_longer_than_all(tmp_path: Path) -> None:
    rows = [[1, 2], [3, 4], [1, 2, 3], [4]]
    index = index_of(rows, tmp_path)
    assert [index.find(patterns_of(run)).count for run in ([2, 3], [2, 3, 4], [3, 4])] == [1, 0, 1]
    assert index.find(patterns_of([1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4, 1])).count == 0
    assert index.find(patterns_of([5], [0])).count == 0


def test_a_pattern_that_begins_with_another_adds_no_place(tmp_path: Path) -> None:
    patterns = patterns_of([1, 2, 3], [1, 2], [1, 2], [2, 3])
    assert [one.tolist() for one in without_longer(patterns)] == [[1, 2], [2, 3]]
    index = index_of([[1, 2, 3, 1, 2]], tmp_path)
    assert places_of(index.find(patterns)) == [(0, 0), (0, 1), (0, 3)]


@pytest.mark.parametrize("num_ids", [65_535, 65_536])
def test_wide_vocabularies_take_wide_tokens(num_ids: int, tmp_path: Path) -> None:
    ids = (np.arange(num_ids) * 7 + 3).tolist()
    rows = [ids[start : start + 1000] for start in range(0, num_ids, 1000)]
    index = index_of(rows, tmp_path, 1 << 20)
    tokens = np.load(tmp_path / "section-000000" / "tokens.npy")
    assert tokens.dtype == (np.uint16 if num_ids < 65_536 else np.uint32)
    assert places_of(index.find(patterns_of(ids[-1:]))) == [(len(rows) - 1, len(rows[-1]) - 1)]
    assert places_of(index.find(patterns_of(ids[2100:2120]))) == [(2, 100)]


def test_an_empty_order_has_an_index(tmp_path: Path) -> None:
    for number, rows in enumerate(([], [[], []])):
        index = index_of(rows, tmp_path / str(number))
        found = index.find(patterns_of([1]))
        assert (found.count, places_of(found)) == (0, [])
        assert [*index.matches(patterns_of([1]))] == []


def test_an_index_lies_beside_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_folder("out/") == tmp_path / "out.search-index"
    assert default_folder(".") == tmp_path.with_name(f"{tmp_path.name}.search-index")
    with pytest.raises(ConfigError, match="got an address, which has no place"):
        default_folder("hf://datasets/made/up")
    order = order_of([[1]])
    assert find_index(order) is None
    write_index(order, tmp_path / "made.search-index")
    index = find_index(order)
    assert index is not None
    assert index.find(patterns_of([1])).count == 1


def test_an_index_that_is_not_there_or_of_another_order_is_said(tmp_path: Path) -> None:
    order = order_of([[1]])
    with pytest.raises(InputError, match=r"got no index\.json, expected a search index"):
        SearchIndex.open(tmp_path, order)
    write_index(order, tmp_path)
    with pytest.raises(
        MismatchError, match=r"got the index of the order .*, and made is the order"
    ):
        SearchIndex.open(tmp_path, order_of([[2]]))
