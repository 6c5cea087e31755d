"""Repeated ids: found over all partitions, with the first by partition and row first."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mds import write
from support.strategies import QUICK, Row

from pipeline.core.arrays import Uint64Array
from pipeline.dataset.mds.pool import Pool
from pipeline.runner.build_partitions import Place, find_repeated_ids

Ids = dict[str, list[tuple[str, int]]]
"""By partition, documents in order as (id, number of rows); neighbours differ in id."""


def written(folder: Path, partitions: Ids) -> tuple[dict[str, Path], dict[str, Uint64Array]]:
    folders, hashes = {}, {}
    for name, documents in partitions.items():
        rows = [Row(id_, [1]) for id_, num_rows in documents for _ in range(num_rows)]
        write(folder / name, rows, size_limit=260)
        folders[name] = folder / name
        hashes[name] = Pool.open(folder / name).table(0, 0)["document"]
    return folders, hashes


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
    assert find_repeated_ids(*written(folder, clean)) == naive(clean)


def test_the_first_partition_by_name_comes_first_whatever_the_order_given(tmp_path: Path) -> None:
    folders, hashes = written(
        tmp_path, {"b": [("x", 2)], "a": [("y", 1), ("x", 1)], "c": [("x", 1)]}
    )
    expected = {"x": [("a", 1), ("b", 0), ("c", 0)]}
    assert find_repeated_ids(folders, hashes) == expected
    assert find_repeated_ids(dict(reversed(folders.items())), hashes) == expected


def test_an_id_that_recurs_in_one_partition_names_it_as_often(tmp_path: Path) -> None:
    made = written(tmp_path, {"a": [("x", 1), ("y", 3), ("x", 2), ("z", 1), ("x", 1)]})
    assert find_repeated_ids(*made) == {"x": [("a", 0), ("a", 4), ("a", 7)]}


def test_the_rows_of_one_document_are_no_repeat(tmp_path: Path) -> None:
    assert find_repeated_ids(*written(tmp_path, {"a": [("x", 9)], "b": []})) == {}


def test_equal_hashes_of_different_ids_are_no_repeat(tmp_path: Path) -> None:
    folders, _ = written(tmp_path, {"a": [("x", 1), ("y", 1)], "b": [("z", 1), ("y", 1)]})
    colliding = dict.fromkeys(folders, np.array([1, 2], np.uint64))
    assert find_repeated_ids(folders, colliding) == {"y": [("a", 1), ("b", 1)]}
