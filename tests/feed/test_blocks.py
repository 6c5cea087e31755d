"""Rows that cannot be read: an error that names them, or placeholders in their places."""

import pickle
import shutil
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped,unused-ignore]
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.fed_rows import (
    CLS,
    MLM,
    SEP,
    SPECIAL,
    Listed,
    a_feed,
    an_order,
    as_rows,
    by_row,
    digests,
    made,
    same,
)
from support.orders import write_order

from pipeline import dataset
from pipeline.core.errors import (
    InputError,
    MismatchError,
    PipelineError,
)
from pipeline.dataset.mds.writer import MdsWriter
from pipeline.feed.factory import make_feed
from pipeline.feed.feed import Feed
from pipeline.storage.http import MissingError
from pipeline.storage.retry import TransientError


def bad(rows: Iterable[int], error: PipelineError | None = None) -> dict[int, PipelineError]:
    return dict.fromkeys(rows, error or InputError("shard.00001.mds: row 3: got bytes"))


def test_damage_stops_the_feed_where_it_is_and_names_what_is_damaged() -> None:
    feed = a_feed(Listed(made(64), bad([41])))
    with pytest.raises(InputError, match=r"shard\.00001\.mds: row 3"):
        list(feed)
    assert feed.row == 40


def test_tombstones_stand_for_a_node_and_the_order_never_shifts() -> None:
    rows = made(2500)
    good = by_row(a_feed(rows))
    told: dict[str, Any] = {"on_damage": "tombstone", "digests": True}
    whole = a_feed(Listed(rows, bad([1500, 1501])), **told)
    batches = list(whole)
    gone = list(range(1024, 2048))
    assert np.concatenate([batch.tombstones for batch in batches]).tolist() == gone
    expected = good | {row: ([CLS, SEP], [-100, -100]) for row in gone}
    assert by_row(batches) == expected
    assert whole.num_tombstones == 1024
    assert [(one.start, one.stop) for one in whole.damages] == [(1024, 2048)]
    assert "shard.00001.mds" in whole.damages[0].why
    whole.seek_row(0)
    assert len(list(whole)) == len(batches)
    assert len(whole.damages) == 1
    for batch in batches:
        is_gone = np.isin(batch.rows, batch.tombstones)
        assert np.array_equal(is_gone, ~digests(batch).any(axis=1))
        alone = [expected[row][0] for row in batch.rows[~is_gone].tolist()]
        assert batch.num_tokens == sum(map(len, alone))


@pytest.mark.parametrize("world_size", [2, 8])
def test_which_rows_are_tombstones_does_not_depend_on_ranks(world_size: int) -> None:
    """Row 1500 is of rank 0 alone, and what other ranks are fed must not depend on that."""
    rows = Listed(made(2500), bad([1504]))
    straight = by_row(a_feed(rows, on_damage="tombstone"))
    ranks = [
        a_feed(rows, on_damage="tombstone", world_size=world_size, rank=rank, micro_batch_rows=1)
        for rank in range(world_size)
    ]
    assert by_row(batch for feed in ranks for batch in feed) == straight
    assert sum(feed.num_tombstones for feed in ranks) == 1024
    later = a_feed(rows, on_damage="tombstone", row=1700)
    assert by_row(later).items() <= straight.items()


def caused(cause: BaseException) -> InputError:
    error = InputError("f.parquet: cannot be read")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "here", "afar"),
    [
        (MismatchError("rows 1024:2048: are others"), True, True),
        (InputError("shard.mds: got bytes that are no row"), True, False),
        (caused(OSError("Corrupt snappy compressed data.")), True, True),
        (caused(pa.ArrowInvalid("Couldn't deserialize thrift")), True, True),
        (caused(FileNotFoundError("gone")), True, True),
        (caused(MissingError("404")), True, True),
        (MissingError("404"), True, True),
        (caused(TransientError("got 503")), False, False),
        (caused(pa.lib.ArrowMemoryError("want of memory")), False, False),
        (caused(OSError(5, "Input/output error")), True, False),
        (caused(PermissionError(13, "denied")), False, False),
        (caused(OSError(24, "Too many open files")), False, False),
        (caused(ConnectionResetError(104, "reset")), False, False),
        (caused(TimeoutError("timed out")), False, False),
        (caused(RuntimeError("what else")), False, False),
        (caused(MemoryError()), False, False),
    ],
)
def test_what_may_come_back_is_no_damage(error: PipelineError, here: bool, afar: bool) -> None:
    for where, is_damage in (("somewhere", here), ("s3://bucket/order", afar)):
        order = an_order(Listed(made(16), bad([9], error)), where=where)
        feed = a_feed([], order=order, on_damage="tombstone")
        if is_damage:
            list(feed)
            assert feed.num_tombstones == 16
        else:
            with pytest.raises(type(error)):
                list(feed)


def write_shards(folder: Path, rows: list[list[int]]) -> Path:
    """Write rows as MDS shards of about 700 rows, as published pools are."""
    folder.mkdir()
    writer = MdsWriter(folder=folder, dtype="uint16", size_limit=20_000)
    taken = as_rows(rows)
    names = [str(row).encode() for row in range(len(rows))]
    writer.write(names, np.arange(len(rows)), taken.values, taken.offsets)
    writer.finish()
    return folder


def write_parquet(folder: Path, rows: list[list[int]]) -> Path:
    return write_order(folder, rows, [1200, len(rows) - 1200])


def damage_row(path: Path, row: int) -> None:
    """Make one row of a shard longer than it is."""
    data = bytearray(path.read_bytes())
    start = int(np.frombuffer(data, "<u4", 1, 4 + 4 * row)[0])
    data[start + 4] += 100
    path.write_bytes(data)


def open_feed(folder: Path | str, **fields: Any) -> Feed:
    told: dict[str, Any] = {
        "objective": MLM, "global_batch_rows": 8, "micro_batch_rows": 3, "max_seq_len": 6,
        "special": SPECIAL,
    }  # fmt: skip
    return make_feed(dataset.open(folder), **(told | fields))


@pytest.mark.parametrize("write", [write_shards, write_parquet])
def test_files_are_fed_as_lists_are(
    tmp_path: Path, write: Callable[[Path, list[list[int]]], Path]
) -> None:
    rows = made(2500)
    feed = open_feed(write(tmp_path / "made", rows), digests=True, world_size=2, rank=1)
    expected = list(a_feed(rows, digests=True, world_size=2, rank=1))
    batches = list(feed)
    assert len(batches) == len(expected)
    assert all(map(same, batches, expected))


@pytest.mark.parametrize("write", [write_shards, write_parquet])
def test_a_feed_goes_to_another_process_and_stands_there_where_it_stood(
    tmp_path: Path, write: Callable[[Path, list[list[int]]], Path]
) -> None:
    feed = open_feed(write(tmp_path / "made", made(2500)), on_damage="tombstone")
    fresh = pickle.dumps(feed)
    next(iter(feed))
    assert len(pickle.dumps(feed)) < len(fresh) + 100  # Rows that were read stay behind.
    sent = pickle.loads(pickle.dumps(feed))
    assert sent.state_dict() == feed.state_dict()
    assert all(map(same, islice(sent, 9), feed))


def test_a_damaged_shard_is_named_or_stood_in_for(tmp_path: Path) -> None:
    rows = made(2500)
    folder = write_shards(tmp_path / "made", rows)
    shards = sorted(folder.glob("*.mds"))
    assert len(shards) > 3
    damage_row(shards[1], 5)
    with pytest.raises(InputError, match=r"shard\.00001\.mds: row 5: got bytes that are no row"):
        list(open_feed(folder))
    feed = open_feed(folder, on_damage="tombstone")
    found = by_row(feed)
    (damage,) = feed.damages
    assert feed.num_tombstones == damage.stop - damage.start == 1024
    good = by_row(a_feed(rows))
    for row in range(2496):
        is_gone = damage.start <= row < damage.stop
        assert found[row] == (([CLS, SEP], [-100, -100]) if is_gone else good[row])


def test_a_shard_that_goes_while_it_is_fed_is_named_or_stood_in_for(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "made", made(2500))
    feeds = [open_feed(folder), open_feed(folder, on_damage="tombstone")]
    last = sorted(folder.glob("*.mds"))[-1]
    for feed in feeds:
        next(iter(feed))
    last.unlink()
    with pytest.raises(InputError, match=last.name):
        list(feeds[0])
    list(feeds[1])
    assert feeds[1].damages[-1].stop == 2500
    assert last.name in feeds[1].damages[-1].why


def test_a_shard_far_away_that_is_gone_is_stood_in_for(tmp_path: Path) -> None:
    store = fsspec.filesystem("memory")
    rows = made(2500)
    store.put(str(write_shards(tmp_path / "made", rows)), "/gone", recursive=True)
    feed = open_feed("memory://gone", on_damage="tombstone")
    store.rm("/gone/shard.00002.mds")
    found = by_row(feed)
    assert feed.damages
    assert all("memory://gone/shard.00002.mds" in damage.why for damage in feed.damages)
    good = by_row(a_feed(rows))
    for row in range(2496):
        is_gone = any(damage.start <= row < damage.stop for damage in feed.damages)
        assert found[row] == (([CLS, SEP], [-100, -100]) if is_gone else good[row])


def test_damaged_parquet_is_named_or_stood_in_for(tmp_path: Path) -> None:
    folder = write_parquet(tmp_path / "made", made(2500))
    path = sorted(folder.rglob("*.parquet"))[1]
    data = bytearray(path.read_bytes())
    data[4:20] = b"\xff" * 16
    path.write_bytes(data)
    with pytest.raises(InputError, match=path.name):
        list(open_feed(folder))
    feed = open_feed(folder, on_damage="tombstone")
    straight = by_row(feed)
    assert feed.damages[0].start == 1024
    assert path.name in feed.damages[0].why
    # Wherever reading begins, and whatever was read before, the same rows are stood in for.
    for row in (1100, 1300, 1700, 2100):
        feed.seek_row(row)
        assert by_row(feed).items() <= straight.items()
        again = open_feed(folder, on_damage="tombstone", micro_batch_rows=5)
        again.seek_row(row)
        assert by_row(again).items() <= straight.items()


@pytest.mark.parametrize("on_damage", ["stop", "tombstone"])
def test_ids_that_the_tokenizer_does_not_have_are_told_with_their_file(
    tmp_path: Path, on_damage: Any
) -> None:
    rows = made(2500)
    rows[2000][0] = 4000
    folder = write_shards(tmp_path / "made", rows)
    order = dataset.open(folder)
    path = order.file_of(2000)
    assert path.startswith(f"{folder}/shard.")
    assert path != order.file_of(0)
    feed = open_feed(folder, on_damage=on_damage)
    said = (
        f"{path}: row 2,000: got id 4,000, expected ids below 100: damaged, or of another tokenizer"
    )
    # Also with stand-ins: a whole order of another tokenizer must not pass for damage.
    with pytest.raises(InputError, match=said):
        list(feed)
    assert feed.row == 2000
    assert feed.damages == []


def test_rows_that_are_others_than_the_ledger_says_are_named_or_stood_in_for(
    finished: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(finished, folder)
    path = sorted((folder / "order").glob("*/*.parquet"))[0]
    table = pq.read_table(path)
    ids = table["input_ids"].to_pylist()
    ids[3][1] += 1
    pq.write_table(table.set_column(0, "input_ids", pa.array(ids, pa.list_(pa.uint32()))), path)
    order = dataset.open(folder)
    with pytest.raises(MismatchError, match=r"rows 0 to [\d,]+ are not those of the ledger"):
        list(make_feed(order, objective=MLM, micro_batch_rows=8))
    feed = make_feed(order, objective=MLM, micro_batch_rows=8, on_damage="tombstone")
    batches = list(feed)
    assert feed.damages[0].start == 0
    assert batches[0].tombstones.tolist() == list(range(8))
