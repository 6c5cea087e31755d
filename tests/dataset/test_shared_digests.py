"""Digests that ranks share: each row is hashed whole once, and nothing shared is believed."""

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.parquet import Ids, as_lists, made
from support.strategies import QUICK

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import MismatchError
from pipeline.core.ragged import Rows
from pipeline.dataset.blake3 import row_digests
from pipeline.dataset.ledger import Ledger, LedgerSpan, join
from pipeline.dataset.rows import CheckedRows
from pipeline.dataset.shared_digests import SharedDigests

EXPECTED = made(2500)


def as_rows(lists: list[Ids]) -> Rows:
    offsets = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return Rows(values=np.concatenate([np.array(one, np.uint32) for one in lists]), offsets=offsets)


def ledger_of(lists: list[Ids]) -> Ledger:
    rows, span = as_rows(lists), LedgerSpan(start_row=0)
    span.add(row_digests(rows.values, rows.offsets))
    return join([span])


LEDGER = ledger_of(EXPECTED)


@dataclass
class CountedRows:
    """Rows in memory, and how many of them were asked for."""

    lists: list[Ids] = field(default_factory=lambda: EXPECTED)
    num_read: int = 0

    @property
    def num_rows(self) -> int:
        return len(self.lists)

    def take(self, rows: Int64Array) -> Rows:
        self.num_read += len(rows)
        return as_rows([self.lists[row] for row in rows])

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        yield self.take(np.arange(start, stop))

    def file_of(self, row: int) -> str:
        return f"row {row}"


def rank(folder: Path, rows: CountedRows | None = None) -> CheckedRows:
    shared = SharedDigests(ledger=LEDGER, folder=folder)
    return CheckedRows(rows=rows or CountedRows(), ledger=LEDGER, shared=shared)


@pytest.mark.parametrize("world_size", [1, 2, 5, 64])
def test_ranks_read_each_row_whole_once_and_their_own_once_more(
    tmp_path: Path, world_size: int
) -> None:
    ranks = [rank(tmp_path) for _ in range(world_size)]
    for start in range(0, len(EXPECTED), 640):
        stop = min(start + 640, len(EXPECTED))
        for number, one in enumerate(ranks):
            asked = np.arange(start + number, stop, world_size)
            rows, digests = one.take_with_digests(asked)
            assert as_lists(rows) == [EXPECTED[row] for row in asked]
            assert np.array_equal(digests, row_digests(rows.values, rows.offsets))
    num_read = sum(one.rows.num_read for one in ranks)  # type: ignore[attr-defined]
    assert num_read < 2 * len(EXPECTED)
    alone = CheckedRows(rows=CountedRows(), ledger=LEDGER)
    alone.take(np.arange(0, 2500, world_size))
    assert alone.rows.num_read == 2500  # type: ignore[attr-defined]


def other_digests(good: bytes) -> bytes:
    return row_digests(np.arange(2500, dtype=np.uint32), np.arange(2501)).tobytes()[: len(good)]


@pytest.mark.parametrize(
    "harm",
    [
        lambda good: b"",
        lambda good: good[:100],
        lambda good: bytes(len(good)),
        lambda good: good[32 * 1024 :] + good[: 32 * 1024],
        lambda good: good[:-1] + bytes([good[-1] ^ 1]),
        other_digests,
    ],
    ids=["empty", "short", "zeros", "shifted", "a bit", "others"],
)
def test_digests_that_the_ledger_does_not_have_are_not_used(
    tmp_path: Path, harm: Callable[[bytes], bytes]
) -> None:
    first = rank(tmp_path)
    first.take(np.arange(0, 2500, 2))
    assert first.shared is not None
    path = first.shared.path
    path.write_bytes(harm(path.read_bytes()))
    second = CountedRows()
    rows = rank(tmp_path, second).take(np.arange(1, 2500, 2))
    assert as_lists(rows) == EXPECTED[1::2]
    assert second.num_read > 1250


@QUICK
@given(row=st.integers(0, 2499), leaves_are_there=st.booleans(), leaves_are_bad=st.booleans())
def test_a_row_that_differs_is_found_whatever_is_shared(
    tmp_path_factory: pytest.TempPathFactory,
    row: int,
    leaves_are_there: bool,
    leaves_are_bad: bool,
) -> None:
    folder = tmp_path_factory.mktemp("shared")
    bad = [*EXPECTED]
    bad[row] = [*EXPECTED[row][:-1], EXPECTED[row][-1] ^ 1]
    if leaves_are_there:
        rank(folder).take(np.arange(0, 2500, 2))
    if leaves_are_bad:
        rows = as_rows(bad)
        shared = SharedDigests(ledger=LEDGER, folder=folder)
        digests = row_digests(rows.values, rows.offsets)
        for node in range(3):
            shared.save(node, digests[node * 1024 : (node + 1) * 1024])
    with pytest.raises(MismatchError, match="are not those of the ledger"):
        rank(folder, CountedRows(bad)).take(np.array([row]))


def test_without_shared_memory_a_rank_works_alone(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    for folder in (tmp_path / "missing", tmp_path / "a file"):
        assert as_lists(rank(folder).take(np.array([3, 2000]))) == [EXPECTED[3], EXPECTED[2000]]


def test_what_another_made_in_its_place_is_not_written_to(tmp_path: Path) -> None:
    shared = SharedDigests(ledger=LEDGER, folder=tmp_path)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    shared.path.symlink_to(victim)
    assert as_lists(rank(tmp_path).take(np.array([3]))) == [EXPECTED[3]]
    assert victim.read_bytes() == b"precious"
    shared.path.unlink()
    os.mkfifo(shared.path)
    assert as_lists(rank(tmp_path).take(np.array([3]))) == [EXPECTED[3]]


def test_the_last_rank_removes_the_file(tmp_path: Path) -> None:
    one, other = rank(tmp_path), rank(tmp_path)
    one.take(np.array([3]))
    other.take(np.array([4]))
    del one
    gc.collect()
    assert len(list(tmp_path.iterdir())) == 1
    del other
    gc.collect()
    assert not list(tmp_path.iterdir())


def hold(folder: Path, pipe: Connection) -> None:
    """Claim node 1, say so, and leave its digests when asked to, or end without."""
    shared = SharedDigests(ledger=LEDGER, folder=folder)
    with shared.claim(1, waits=False) as claimed:
        pipe.send(claimed)
        if pipe.recv():
            rows = as_rows(EXPECTED[1024:2048])
            shared.save(1, row_digests(rows.values, rows.offsets))


@pytest.mark.parametrize("saves", [True, False])
def test_a_node_that_another_process_reads_comes_last_and_is_read_if_that_one_ends(
    tmp_path: Path, saves: bool
) -> None:
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=hold, args=(tmp_path, theirs))
    process.start()
    assert pipe.recv()
    counted = Releasing(pipe=pipe, saves=saves)
    rows = rank(tmp_path, counted).take(np.array([1, 1030, 2100]))
    process.join()
    assert as_lists(rows) == [EXPECTED[row] for row in (1, 1030, 2100)]
    assert counted.asked == [(0, 1024), (2048, 452), (1030, 1) if saves else (1024, 1024)]


@dataclass
class Releasing(CountedRows):
    """Rows of a rank that lets go of the other process once it has read what nobody claims."""

    pipe: Connection = field(kw_only=True)
    saves: bool = field(kw_only=True)
    asked: list[tuple[int, int]] = field(default_factory=list)

    def take(self, rows: Int64Array) -> Rows:
        self.asked.append((int(rows[0]), len(rows)))
        if len(self.asked) == 2:
            self.pipe.send(self.saves)
        return super().take(rows)
