"""Repeated ids: found over all partitions, with the first by partition and row first, in files."""

import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.here import Here
from support.mds import write
from support.strategies import QUICK, Row

from pipeline.core.files import read_sealed, save_sealed
from pipeline.dataset import State
from pipeline.runner import number_buckets, repeated_ids, threshold
from pipeline.runner.cluster import Tasks
from pipeline.runner.repeated_ids import find_repeated_ids
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


class Weighed(Here):
    """Counts the bytes of tasks and results, as a scheduler carries them."""

    num_bytes = 0

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        for task, result in zip(tasks, super().each(stage, function, tasks), strict=True):
            self.num_bytes += len(pickle.dumps(task)) + len(pickle.dumps(result))
            yield result


def context_of(folder: Path) -> Any:
    return SimpleNamespace(cluster=Here(), state=State(out=folder), run="run")


def found(folder: Path, parts: dict[str, Chunks]) -> dict[str, tuple[set[str], set[str]]]:
    """Return the repeated ids of a source that has these partitions, beside another without:
    by partition all of them, and those that an earlier partition has first."""
    repeats = find_repeated_ids(context_of(folder), {"s": parts, "z": {}})
    assert repeats.keys() <= {"s"}
    loaded = {name: one.load() for name, (one,) in repeats["s"].ids.items()} if repeats else {}
    return {name: (set(ids), set(taken)) for name, (ids, taken) in loaded.items()}


def named(folder: Path, parts: dict[str, Chunks]) -> list[tuple[str, list[tuple[int, int]]]]:
    """Return the ids that an error names, and the number of the partition and row of each place."""
    repeats = find_repeated_ids(context_of(folder), {"s": parts}, finds_all=False)
    return [(one.id, list(one.places)) for one in repeats["s"].named]


def naive(partitions: Ids) -> dict[str, tuple[set[str], set[str]]]:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(partitions):
        for id_, _ in partitions[name]:
            places[id_].append(name)
    by_partition: dict[str, tuple[set[str], set[str]]] = {}
    for id_, where in places.items():
        for name in {*where} if len(where) > 1 else ():
            ids, taken = by_partition.setdefault(name, (set(), set()))
            ids.add(id_)
            if name != where[0]:
                taken.add(id_)
    return by_partition


documents = st.lists(
    st.tuples(st.text("ab\u00e9", max_size=2), st.integers(1, 3)), max_size=10
).map(lambda found: [one for i, one in enumerate(found) if i == 0 or one[0] != found[i - 1][0]])


@pytest.fixture(params=["one group", "many groups and buckets"])
def _sizes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param != "one group":
        monkeypatch.setattr(threshold, "_ROWS_AT_ONCE", 3)
        monkeypatch.setattr(number_buckets, "LARGEST", 4)
        monkeypatch.setattr(repeated_ids, "_DOCUMENTS_AT_ONCE", 3)


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
    expected = {"a": ({"x"}, set()), "b": ({"x"}, {"x"}), "c": ({"x"}, {"x"})}
    assert found(tmp_path, parts) == expected
    assert found(tmp_path, dict(reversed(parts.items()))) == expected
    assert named(tmp_path, parts) == [("x", [(0, 1), (1, 0), (2, 0)])]


def test_an_id_that_recurs_in_one_partition_names_it_as_often(tmp_path: Path) -> None:
    made = written(tmp_path, {"a": [("x", 1), ("y", 3), ("x", 2), ("z", 1), ("x", 1)]})
    assert found(tmp_path, made) == {"a": ({"x"}, set())}
    assert named(tmp_path, made) == [("x", [(0, 0), (0, 4), (0, 7)])]


def test_the_rows_of_one_document_are_no_repeat(tmp_path: Path) -> None:
    assert found(tmp_path, written(tmp_path, {"a": [("x", 9)], "b": []})) == {}


def test_equal_hashes_of_different_ids_are_no_repeat(tmp_path: Path) -> None:
    parts = written(tmp_path, {"a": [("x", 1), ("y", 1)], "b": [("z", 1), ("y", 1)]})
    for name in parts:
        path = State(out=tmp_path).table(name)
        table = read_sealed(path)
        table["document"] = [1, 2]
        save_sealed(path, table)
    assert found(tmp_path, parts) == {"a": ({"y"}, set()), "b": ({"y"}, {"y"})}


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
    assert (some.count, len(some.named)) == (20, 5)
    for one in some.named:
        assert one.places == [(0, int(one.id)), (1, int(one.id))]
    assert sum(len(ids) for ids, _ in (one.load() for (one,) in some.ids.values())) == 10
    every = find_repeated_ids(context_of(tmp_path), {"s": parts})["s"]
    assert (every.count, [one.id for one in every.named]) == (20, ["0", "1", "10", "11", "12"])


def test_of_an_id_of_very_many_documents_few_places_are_held(tmp_path: Path) -> None:
    documents = [(id_, 1) for number in range(30) for id_ in ("x", f"d{number}")]
    parts = written(tmp_path, {"a": documents, "b": documents[:4]})
    (one, *_) = find_repeated_ids(context_of(tmp_path), {"s": {"a": parts["a"]}})["s"].named
    assert (one.id, one.count, len(one.places)) == ("x", 30, 10)


def test_neither_tasks_nor_results_grow_with_the_documents(tmp_path: Path) -> None:
    """What the process that runs a build holds, and what goes through the scheduler."""
    sizes = []
    for number in (100, 10_000):
        documents = [(f"document-{i}", 1) for i in range(number)]
        folder = tmp_path / str(number)
        parts = written(folder, {"a": documents, "b": documents})
        context = context_of(folder)
        context.cluster = Weighed()
        repeats = find_repeated_ids(context, {"s": parts})
        assert repeats["s"].count == number
        sizes.append(context.cluster.num_bytes + len(pickle.dumps(repeats)))
    assert sizes[1] < 1.1 * sizes[0]
