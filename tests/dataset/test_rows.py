"""Rows by number: from parquet, shards and an ordered pool, checked, damaged, in any chain."""

import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.builds import environment
from support.mds import write as write_mds
from support.parquet import CLS, Ids, as_lists, made
from support.parquet import write as write_parquet
from support.strategies import QUICK, Row

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError, MismatchError, NotFoundError
from pipeline.dataset.blake3 import row_digests
from pipeline.dataset.ledger import Ledger, LedgerSpan, join
from pipeline.dataset.mds.pool import Pool, read_index
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.mds.shard import MdsShard
from pipeline.dataset.order_folder import list_local
from pipeline.dataset.parquet.reader import PublishedOrder
from pipeline.dataset.rows import CheckedRows, RowReader, take_with_digests
from pipeline.order import PermutationKey
from pipeline.order.permutation import feistel

NAME = "checkpoint_000001/steps_{:06d}_to_{:06d}.parquet"


def numbers(rows: Sequence[int]) -> Int64Array:
    return np.array(rows, np.int64)


def parquet(folder: Path, rows: Sequence[Ids], **options: object) -> PublishedOrder:
    """Write rows to two files, in row groups of 7 rows unless told otherwise, and open them."""
    half = len(rows) // 2
    options = {"group_rows": 7, **options}
    for first, part in ((1, rows[:half]), (5, rows[half:])):
        steps = np.sort(np.arange(len(part)) % 4 + first).tolist()
        write_parquet(folder / NAME.format(first, first + 3), part, steps, **options)  # type: ignore[arg-type]
    return PublishedOrder.of(list_local(folder))


def shards(folder: Path, rows: Sequence[Ids], size_limit: int = 400) -> MdsRows:
    """Write rows to many shards, and open them as a feed does."""
    named = [Row(str(number), ids) for number, ids in enumerate(rows)]
    write_mds(folder, named, dtype="uint16", size_limit=size_limit)
    return reopened(folder)


def reopened(folder: Path) -> MdsRows:
    return MdsRows.of(list_local(folder), {})


def shuffled(pool: Pool, num_rows: int) -> tuple[MdsRows, list[int]]:
    """Return a pool in an order of its own, and which row of it is at each position."""
    key = PermutationKey(algorithm=feistel.ALGORITHM, num_samples=num_rows, seed=7, epoch=1)
    order = feistel.load(key, Path())
    return MdsRows(where="", pool=pool, order=order), order.samples(0, num_rows).tolist()


def ledger_of(rows: Sequence[Ids]) -> Ledger:
    span = LedgerSpan(start_row=0)
    ids = np.array([one for row in rows for one in row], np.uint32)
    span.add(row_digests(ids, np.cumsum([0, *map(len, rows)], dtype=np.int64)))
    return join([span])


def opened(kind: str, folder: Path, rows: list[Ids]) -> tuple[RowReader, list[Ids]]:
    """Return rows of a kind, and what they are to be."""
    if kind == "parquet":
        return parquet(folder, rows, group_rows=max(7, len(rows) // 20)), rows
    pool = shards(folder, rows)
    if kind == "shards":
        return pool, rows
    ordered, samples = shuffled(pool.pool, len(rows))
    return ordered, [rows[sample] for sample in samples]


KINDS = ("parquet", "shards", "ordered")
MANY = made(2100, seed=3)


@pytest.fixture(scope="module", params=KINDS)
def many(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RowReader, list[Ids]]:
    """Two whole nodes and a short one of each kind, over many shards and row groups."""
    return opened(request.param, tmp_path_factory.mktemp("many"), MANY)


selections = st.lists(
    st.one_of(
        st.sets(st.integers(0, len(MANY) - 1), max_size=40).map(sorted),
        st.tuples(st.integers(0, len(MANY) - 1), st.integers(0, 90), st.integers(1, 9)).map(
            lambda told: list(range(told[0], min(told[0] + told[1] * told[2], len(MANY)), told[2]))
        ),
    ),
    max_size=6,
)


@QUICK
@given(asked=selections, checks=st.booleans())
def test_any_rising_numbers_in_any_chain_give_the_rows(
    many: tuple[RowReader, list[Ids]], asked: list[list[int]], checks: bool
) -> None:
    rows, expected = many
    if checks:
        rows = CheckedRows(rows=rows, ledger=ledger_of(expected))
    for one in asked:
        taken = rows.take(numbers(one))
        assert taken.values.dtype == np.uint32
        assert taken.offsets.dtype == np.int64
        assert as_lists(taken) == [expected[row] for row in one]


@pytest.mark.parametrize("granularity", ["batch", "flat batch"])
def test_batches_are_taken_as_the_rows_that_they_hold(tmp_path: Path, granularity: str) -> None:
    expected = made(60)
    rows = parquet(tmp_path, expected, granularity=granularity, group_rows=2)
    assert rows.num_rows == 60
    for start, step in ((3, 1), (41, 4), (0, 7)):
        asked = np.arange(start, 60, step)
        assert as_lists(rows.take(asked)) == [expected[row] for row in asked]


def wrapped(folder: Path, num_rows: int) -> PublishedOrder:
    """Write rows of one id each that a narrow type makes negative; what is read can be counted."""
    expected = [[CLS] for _ in range(num_rows)]
    table = np.array(expected, np.uint16).view(np.int16).tolist()
    return parquet(folder, table, kind=pa.list_(pa.int16()), group_rows=10)


def num_read(rows: PublishedOrder) -> int:
    # A block that is made ahead is counted when it is made.
    if rows._cursor._ahead is not None:
        rows._cursor._ahead._thread.join()
    return rows.num_wrapped


@pytest.mark.parametrize("world_size", [1, 3])
def test_rows_that_follow_one_another_are_decoded_once(tmp_path: Path, world_size: int) -> None:
    rows = wrapped(tmp_path, 400)
    before = num_read(rows)
    for start in range(0, 400, 8 * world_size):
        stop = min(start + 8 * world_size, 400)
        assert len(rows.take(np.arange(start, stop, world_size)))
    assert num_read(rows) - before == 400


def test_a_jump_decodes_no_row_group_before_it(tmp_path: Path) -> None:
    rows = wrapped(tmp_path, 400)
    before = num_read(rows)
    for row in (5, 333, 111):
        rows.take(numbers([row]))
    # Of each the row group, and the next one that is made ahead.
    assert 3 * 10 <= num_read(rows) - before <= 3 * 20


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_not_there_are_told(tmp_path: Path, kind: str) -> None:
    rows, _ = opened(kind, tmp_path, made(40))
    assert len(rows.take(numbers([]))) == 0
    for asked in ([40], [-1, 3], [3, 41]):
        with pytest.raises(NotFoundError, match="expected rows within 0 to 39"):
            rows.take(numbers(asked))


def test_digests_are_those_of_the_rows_checked_or_not(many: tuple[RowReader, list[Ids]]) -> None:
    rows, expected = many
    asked = np.arange(1000, 2100, 3)
    for one in (rows, CheckedRows(rows=rows, ledger=ledger_of(expected))):
        taken, digests = take_with_digests(one, asked)
        assert as_lists(taken) == [expected[row] for row in asked]
        assert np.array_equal(digests, row_digests(taken.values, taken.offsets))


def test_every_byte_of_ids_that_is_flipped_is_found_and_its_file_named(tmp_path: Path) -> None:
    expected = made(12)
    shards(tmp_path, expected, size_limit=1 << 20)
    path = tmp_path / "shard.00000.mds"
    data = path.read_bytes()
    ledger = ledger_of(expected)
    num_flipped = 0
    for number, ids in enumerate(expected):
        body = np.array(ids, "<u2").tobytes()
        name = str(number).encode()
        start = data.index(struct.pack("<II", len(name), 2 + len(body)) + name) + 10 + len(name)
        assert data[start : start + len(body)] == body
        for place in range(start, start + len(body)):
            flipped = bytearray(data)
            flipped[place] ^= 1 << (place % 8)
            path.write_bytes(flipped)
            rows = CheckedRows(rows=reopened(tmp_path), ledger=ledger)
            with pytest.raises(MismatchError, match=rf"{path}: rows 0 to 11 are not those"):
                rows.take(numbers([0]))
            num_flipped += 1
    assert num_flipped == 2 * sum(map(len, expected))


@QUICK
@given(row=st.integers(0, len(MANY) - 1), bit=st.integers(0, 15))
def test_a_node_that_differs_is_told_by_its_rows_and_the_others_are_given(
    many: tuple[RowReader, list[Ids]], row: int, bit: int
) -> None:
    rows, expected = many
    other = [*expected]
    other[row] = [*expected[row][:-1], expected[row][-1] ^ 1 << bit]
    checked = CheckedRows(rows=rows, ledger=ledger_of(other))
    start = row // 1024 * 1024
    stop = min(start + 1024, len(expected))
    for asked in ([start], [start - 1, row] if start else [row], [stop - 1]):
        with pytest.raises(MismatchError, match=f"rows {start:,} to {stop - 1:,} are not those"):
            checked.take(numbers(asked))
    sound = [one for one in range(0, len(expected), 500) if not start <= one < stop]
    assert as_lists(checked.take(numbers(sound))) == [expected[one] for one in sound]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble(path: Path) -> None:
    path.write_bytes(b"\xff" * path.stat().st_size)


def fewer_rows(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(struct.pack("<I", int.from_bytes(data[:4], "little") - 1) + data[4:])


def absurd_end(path: Path) -> None:
    """Let the first row end far beyond the file."""
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"\xff\xff\xff\x7f" + data[12:])


def absurd_length(path: Path) -> None:
    """Let the first row claim more ids than it has bytes for."""
    data = path.read_bytes()
    first = int.from_bytes(data[4:8], "little")
    at = first + 8 + int.from_bytes(data[first : first + 4], "little") + 1
    path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])


def without_ids(path: Path) -> None:
    """Let the first row have no ids, all else being as it would be."""
    data = path.read_bytes()
    first, second = struct.unpack("<II", data[4:12])
    at = first + 8 + int.from_bytes(data[first : first + 4], "little") + 1
    kept = data[: first + 4] + struct.pack("<I", 2) + data[first + 8 : at] + b"\0"
    cut = second - len(kept)
    count = int.from_bytes(data[:4], "little")
    offsets = np.frombuffer(data[4 : 8 + 4 * count], "<u4").copy()
    offsets[1:] -= cut
    path.write_bytes(kept[:4] + offsets.tobytes() + kept[8 + 4 * count :] + data[second:])


SHARD_DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "gone": (Path.unlink, "is missing, and the index names it"),
    "cut": (truncate, "by its header"),
    "empty": (empty, "got a file that is no MDS shard"),
    "garbled": (garble, "got a file that is no MDS shard"),
    "fewer rows": (fewer_rows, "expected"),
    "absurd end": (absurd_end, "row 0: got bytes that are no row of uint16 ids"),
    "absurd length": (absurd_length, "row 0: got bytes that are no row of uint16 ids"),
    "without ids": (without_ids, "row 0: got bytes that are no row of uint16 ids"),
    "a folder": (lambda path: (path.unlink(), path.mkdir())[1], "cannot be read"),
}


@pytest.mark.parametrize("damage", SHARD_DAMAGE)
def test_a_shard_that_is_damaged_is_named_and_the_others_are_read(
    tmp_path: Path, damage: str
) -> None:
    expected = made(60)
    ends = shards(tmp_path, expected).pool.ends
    bad, said = SHARD_DAMAGE[damage]
    path = tmp_path / "shard.00002.mds"
    bad(path)
    rows = reopened(tmp_path)
    assert rows.num_rows == 60
    first, stop = int(ends[1]), int(ends[2])
    for asked in ([first], [0, first, 59]):
        with pytest.raises(InputError, match=rf"{path}: .*{said}"):
            rows.take(numbers(asked))
    sound = [*range(first), *range(stop, 60)]
    assert as_lists(rows.take(numbers(sound))) == [expected[row] for row in sound]
    ordered, samples = shuffled(rows.pool, 60)
    with pytest.raises(InputError, match=rf"{path}: .*{said}"):
        ordered.take(numbers([samples.index(first)]))
    assert ordered.file_of(samples.index(first)) == str(path)


def test_a_shard_that_is_cut_while_it_is_open_is_an_error_and_no_signal(tmp_path: Path) -> None:
    expected = [[CLS, *range(3000)] for _ in range(8)]
    rows = shards(tmp_path, expected, size_limit=1 << 20)
    assert as_lists(rows.take(numbers([0]))) == expected[:1]
    path = tmp_path / "shard.00000.mds"
    os.truncate(path, 9000)
    assert as_lists(rows.take(numbers([0]))) == expected[:1]
    with pytest.raises(InputError, match=rf"{path}: got 9000 bytes, expected \d+ by its header"):
        rows.take(numbers([7]))
    os.truncate(path, 20)
    with pytest.raises(InputError, match=rf"{path}: got 9000 bytes, expected \d+ by its header"):
        rows.take(numbers([3]))


def test_a_shard_that_vanishes_while_it_is_open_is_read_on(tmp_path: Path) -> None:
    expected = made(30)
    rows = shards(tmp_path, expected, size_limit=1 << 20)
    rows.take(numbers([0]))
    (tmp_path / "shard.00000.mds").unlink()
    assert as_lists(rows.take(np.arange(30))) == expected


PARQUET_DAMAGE: dict[str, Callable[[Path], None]] = {
    "gone": Path.unlink,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:200]) and None,
    "garbled": garble,
}


@pytest.mark.parametrize("damage", PARQUET_DAMAGE)
def test_a_parquet_file_that_is_damaged_after_it_was_opened_is_named(
    tmp_path: Path, damage: str
) -> None:
    expected = made(80)
    rows = parquet(tmp_path, expected)
    assert rows.num_rows == 80
    path = tmp_path / NAME.format(5, 8)
    PARQUET_DAMAGE[damage](path)
    for _ in range(2):
        assert as_lists(rows.take(np.arange(40))) == expected[:40]
        with pytest.raises(
            InputError, match=f"{path}: (got a file that cannot be read|is missing)"
        ):
            rows.take(numbers([39, 40]))


def test_of_a_parquet_file_the_row_group_alone_is_lost_that_is_damaged(tmp_path: Path) -> None:
    expected = [[CLS, *made(1, seed=row)[0]] for row in range(80)]
    rows = parquet(tmp_path, expected, group_rows=10, compression="zstd")
    path = tmp_path / NAME.format(1, 4)
    column = pq.read_metadata(path).row_group(2).column(0)
    data = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    data[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(data)
    assert as_lists(rows.take(np.arange(20))) == expected[:20]
    for asked in ([20], [25], [0, 29], [29, 30]):
        with pytest.raises(InputError, match=f"{path}: "):
            rows.take(numbers(asked))
    sound = [3, 19, *range(30, 80)]
    assert as_lists(rows.take(numbers(sound))) == [expected[row] for row in sound]


def test_a_row_without_ids_is_told_with_its_number(tmp_path: Path) -> None:
    expected = made(40)
    rows = parquet(tmp_path, [*expected[:33], [], *expected[34:]])
    assert as_lists(rows.take(np.arange(33))) == expected[:33]
    path = tmp_path / NAME.format(5, 8)
    with pytest.raises(InputError, match=f"{path}: row 33: got 0 ids, expected at least one"):
        rows.take(np.arange(30, 40))


def test_an_index_of_rows_that_makes_one_absurdly_long_is_told(tmp_path: Path) -> None:
    rows = made(3)
    shards(tmp_path, rows, size_limit=1 << 20)
    path = tmp_path / "shard.00000.mds"
    end = (1 << 28) + 4096
    data = bytearray(path.read_bytes())
    # A file with a hole, so that the row could be that long.
    data[12:16] = data[16:20] = struct.pack("<I", end)
    path.write_bytes(data)
    os.truncate(path, end)
    with pytest.raises(InputError, match=rf"{path}: row 1: got bytes that are no row"):
        reopened(tmp_path).take(numbers([0, 1]))


def test_large_rows_come_in_parts_that_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = made(50)
    rows = shards(tmp_path, expected)
    monkeypatch.setattr("pipeline.dataset.mds.random_access._MOST_BYTES", 100)
    asked = numbers([*range(0, 50, 3)])
    assert as_lists(rows.take(asked)) == [expected[row] for row in asked]
    monkeypatch.setattr("pipeline.dataset.mds.random_access._MOST_ROWS", 7)
    assert as_lists(rows.take(np.arange(50))) == expected


def test_rows_without_bytes_are_refused_wherever_a_call_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards(tmp_path, made(60))
    path = tmp_path / "shard.00000.mds"
    data = bytearray(path.read_bytes())
    data[4:12] = data[12:16] * 2  # The first two rows begin where the third does.
    path.write_bytes(data)
    for most in (64 << 20, 100):
        monkeypatch.setattr("pipeline.dataset.mds.random_access._MOST_BYTES", most)
        with pytest.raises(InputError, match="row 0: got bytes that are no row"):
            reopened(tmp_path).take(np.arange(6))


def test_each_of_many_files_is_opened_once_in_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.dataset.mds.random_access._MOST_FILES", 3)
    pool = shards(tmp_path, made(60), size_limit=260).pool
    opened: list[Path] = []
    open_file = MdsShard.open_file

    def count(shard: MdsShard, num_rows: int) -> tuple[int, int]:
        opened.append(shard.path)
        return open_file(shard, num_rows)

    monkeypatch.setattr(MdsShard, "open_file", count)
    pool.take(np.arange(60) * 7 % 60)
    assert sorted(opened) == [shard.path for shard in pool.shards]


def test_no_more_files_are_open_than_a_part_of_what_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.dataset.mds.random_access._MOST_FILES", 3)
    expected = made(60)
    rows, samples = shuffled(shards(tmp_path, expected, size_limit=260).pool, 60)
    assert len(rows.pool.shards) > 10
    names = rows.pool.document_ids(np.arange(60))
    rows.pool.close()
    before = len(os.listdir("/proc/self/fd"))
    for start in range(0, 60, 20):
        asked = np.array(samples[start : start + 20])
        found = as_lists(rows.take(np.arange(start, start + 20)))
        assert found == [expected[sample] for sample in asked.tolist()]
        named = rows.pool.take_named(asked)
        assert as_lists(named[0]) == found
        assert [name.tobytes().decode() for name in named[1]] == [names[one] for one in asked]
        assert len(os.listdir("/proc/self/fd")) <= before + 3
    del rows
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_were_sent_to_another_process_are_the_same(tmp_path: Path, kind: str) -> None:
    rows, expected = opened(kind, tmp_path, made(40))
    rows.take(np.arange(9))
    again = pickle.loads(pickle.dumps(rows))
    assert as_lists(again.take(np.arange(5, 40))) == expected[5:]
    assert as_lists(rows.take(np.arange(9, 40))) == expected[9:]


FORK = r"""
import os, sys
import numpy as np
from pathlib import Path
from pipeline.dataset.order_folder import list_local
from pipeline.dataset.parquet import PublishedOrder
rows = PublishedOrder.of(list_local(Path(sys.argv[1])))
rows.take(np.arange(10))
child = os.fork()
found = [rows.take(np.arange(start, start + 10)).values.sum() for start in range(10, 400, 10)]
# At once, or a line of one process could end in the middle of the other's.
os.write(1, f"{found}\n".encode())
if child == 0:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""


def test_a_process_that_was_forked_in_the_middle_reads_on_by_itself(tmp_path: Path) -> None:
    parquet(tmp_path, made(400))
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    one, other = done.stdout.splitlines()
    assert one == other


def test_an_index_is_read_without_a_look_at_its_shards(tmp_path: Path) -> None:
    expected = made(20)
    shards(tmp_path, expected)
    entries = read_index(tmp_path / "index.json")
    for entry in entries:
        (tmp_path / entry["raw_data"]["basename"]).unlink()
    rows = reopened(tmp_path)
    assert rows.num_rows == 20
    assert json.loads((tmp_path / "index.json").read_bytes())["shards"] == entries
    with pytest.raises(InputError, match=r"shard\.00000\.mds: is missing, and the index names it"):
        Pool.open(tmp_path)
