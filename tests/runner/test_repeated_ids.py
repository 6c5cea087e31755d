"""Repeated ids: found over all partitions, with the first by partition and row first."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.here import Here
from support.mds import write
from support.strategies import QUICK, Row

from pipeline.core.files import load_array, save_array
from pipeline.dataset import State
from pipeline.runner import number_buckets, repeated_ids, threshold
from pipeline.runner.repeated_ids import Place, find_repeated_ids
from pipeline.runner.shuffle import save_table
from pipeline.runner.tasks.training_chunks import Chunks

Ids = dict[str, list[tuple[str, int]]]
"""By partition, documents in order as (id, number of rows); neighbours differ in id."""


def written(folder: Path, partitions: Ids) -> dict[str, Chunks]:
    """Write partitions of a source, with the tables of their rows."""
    parts = {}
    for name, documents in partitions.items():
        rows = [Row(id_, [1]) for id_, num_rows in documents for _ in range(num_rows)]
        write(folder / name, rows, size_limit=260)
        save_table(State(out=folder), name, 0, 0, {})
        parts[name] = Chunks(out=folder, folder=name, num_rows=len(rows))
    return parts


def context_of(folder: Path) -> Any:
    return SimpleNamespace(cluster=Here(), state=State(out=folder), run="run")


def found(
    folder: Path, parts: dict[str, Chunks], *, finds_all: bool = True
) -> dict[str, Sequence[Place]]:
    """Return the repeated ids of a source that has these partitions, beside another without."""
    context = context_of(folder)
    repeats = find_repeated_ids(context, {"s": parts, "z": {}}, finds_all=finds_all)
    assert not context.state.buckets.exists()
    assert repeats.keys() <= {"s"}
    return dict(repeats["s"].places) if repeats else {}


def naive(partitions: Ids) -> dict[str, list[Place]]:
    places: defaultdict[str, list[Place]] = defaultdict(list)
    for name in sorted(partitions):
        row = 0
        for id_, num_rows in partitions[name]:
            places[id_].append(Place(name, row))
            row += num_rows
    return {id_: where for id_, where in sorted(places.items()) if len(where) > 1}


documents = st.lists(
    st.tuples(st.text("ab\u00e9", max_size=2), st.integers(1, 3)), max_size=10
).map(lambda found: [one for i, one in enumerate(found) if i == 0 or one[0] != found[i - 1][0]])


@pytest.fixture(params=["one group", "many groups and buckets"])
def _sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one group":
        monkeypatch.setattr(threshold, "_ROWS_AT_ONCE", 3)
        monkeypatch.setattr(number_buckets, "LARGEST", 4)


@pytest.mark.usefixtures("_sizes")
@QUICK
@given(partitions=st.dictionaries(st.sampled_from(["p1", "p2", "p10", "Q"]), documents, min_size=1))
def test_repeats_are_those_of_a_plain_count(
    tmp_path_factory: pytest.TempPathFactory, partitions: Ids
) -> None:
    # Neighbours of one id that the list above let through are one document to the rows.
    clean = {
        name: [one for i, one in enumerate(own) if i == 0 or one[0] != own[i - 1][0]]
        for name, own in partitions.items()
    }
    folder = tmp_path_factory.mktemp("repeats")
    assert found(folder, written(folder, clean)) == naive(clean)


def test_the_first_partition_by_name_comes_first_whatever_the_order_given(tmp_path: Path) -> None:
    parts = written(tmp_path, {"b": [("x", 2)], "a": [("y", 1), ("x", 1)], "c": [("x", 1)]})
    expected = {"x": [("a", 1), ("b", 0), ("c", 0)]}
    assert found(tmp_path, parts) == expected
    assert found(tmp_path, dict(reversed(parts.items()))) == expected


def test_an_id_that_recurs_in_one_partition_names_it_as_often(tmp_path: Path) -> None:
    made = written(tmp_path, {"a": [("x", 1), ("y", 3), ("x", 2), ("z", 1), ("x", 1)]})
    assert found(tmp_path, made) == {"x": [("a", 0), ("a", 4), ("a", 7)]}


def test_the_rows_of_one_document_are_no_repeat(tmp_path: Path) -> None:
    assert found(tmp_path, written(tmp_path, {"a": [("x", 9)], "b": []})) == {}


def test_equal_hashes_of_different_ids_are_no_repeat(tmp_path: Path) -> None:
    parts = written(tmp_path, {"a": [("x", 1), ("y", 1)], "b": [("z", 1), ("y", 1)]})
    for name in parts:
        path = State(out=tmp_path).table(name)
        table = np.array(load_array(path))
        table["document"] = [1, 2]
        save_array(path, table)
    assert found(tmp_path, parts) == {"y": [("a", 1), ("b", 1)]}


def test_ids_of_two_sources_are_not_compared(tmp_path: Path) -> None:
    one, other = (written(tmp_path, {name: [("x", 1)]}) for name in "ab")
    assert find_repeated_ids(context_of(tmp_path), {"s": one, "t": other}) == {}


def test_of_very_many_repeated_ids_only_some_are_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where each file counts its own documents; the error names five."""
    monkeypatch.setattr(repeated_ids, "_MANY", 30)
    documents = [(str(number), 1) for number in range(20)]
    parts = written(tmp_path, {"a": documents, "b": documents})
    some = find_repeated_ids(context_of(tmp_path), {"s": parts}, finds_all=False)["s"]
    assert (some.count, len(some.places)) == (20, 5)
    for id_, places in some.places.items():
        assert places == [("a", int(id_)), ("b", int(id_))]
    every = find_repeated_ids(context_of(tmp_path), {"s": parts})["s"]
    assert (every.count, len(every.places)) == (20, 20)


def test_partitions_are_told_their_own_ids_and_which_are_taken() -> None:
    places = {
        "x": [Place("a", 0), Place("a", 4), Place("b", 1)],
        "y": [Place("b", 0), Place("b", 9)],
    }
    told = repeated_ids.ids_by_partition(repeated_ids.Repeats(count=2, places=places))
    assert told == {"a": ({"x"}, set()), "b": ({"x", "y"}, {"x"})}
