"""The feed: resume anywhere equals never stopping, and the order never shifts."""

import dataclasses
import json
import pickle
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import fsspec  # type: ignore[import-untyped,unused-ignore]
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.orders import write_order
from support.schedules import schedules
from support.strategies import QUICK

from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.errors import (
    ConfigError,
    InputError,
    MismatchError,
    NotFoundError,
    PipelineError,
)
from pipeline.core.ragged import Rows
from pipeline.dataset.ledger import row_digests
from pipeline.dataset.mds.writer import MdsWriter
from pipeline.feed.batch import Batch, Clm, Mlm, Objective, SpecialIds
from pipeline.feed.factory import make_feed
from pipeline.feed.feed import Feed
from pipeline.feed.open_order import FeedOrder, open_order
from pipeline.order.schedule import ConstantSchedule, Schedule
from pipeline.storage.http import MissingError
from pipeline.storage.retry import TransientError

CLS, SEP, PAD, MASK = 90, 91, 92, 93
_IS_SPECIAL = np.isin(np.arange(100), [CLS, SEP, PAD, MASK])
SPECIAL = SpecialIds(cls_id=CLS, sep_id=SEP, pad_id=PAD, mask_id=MASK, is_special=_IS_SPECIAL)
MLM = Mlm(mask_prob=0.3, seed=21)
OBJECTIVES: list[Objective | None] = [MLM, Clm(), None]


@dataclass
class Listed:
    """Rows of a list; some nodes may be out of reach."""

    rows: list[list[int]]
    bad: dict[int, PipelineError] = field(default_factory=dict)
    """The error of reading each of these rows."""
    num_taken: int = 0

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def take(self, rows: Int64Array) -> Rows:
        assert (np.diff(rows) > 0).all()
        for row in rows.tolist():
            if row in self.bad:
                raise self.bad[row]
        self.num_taken += len(rows)
        return as_rows([self.rows[row] for row in rows.tolist()])


def as_rows(rows: list[list[int]]) -> Rows:
    offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
    return Rows(values=np.array([id_ for row in rows for id_ in row], np.uint32), offsets=offsets)


def made(num_rows: int, seed: int = 0) -> list[list[int]]:
    """Rows of one to nine ids, some with CLS in front and some with SEP at the end."""
    draw = np.random.default_rng(seed)
    rows = []
    for row in range(num_rows):
        body = draw.integers(0, 90, int(draw.integers(1, 8))).tolist()
        rows.append([CLS] * (row % 3 > 0) + body + [SEP] * (row % 2))
    return rows


def an_order(rows: Listed, **fields: Any) -> FeedOrder:
    told: dict[str, Any] = {
        "where": "somewhere",
        "rows": rows,
        "digest": "ab" * 32,
        "manifest": None,
        "view": "stored",
        "num_rows_per_step": 8,
        "max_seq_len": 6,
        "tokenizer_digest": None,
        "phase": "train",
    }
    return FeedOrder(**(told | fields))


def a_feed(rows: Listed | list[list[int]], **fields: Any) -> Feed:
    told: dict[str, Any] = {
        "order": an_order(rows if isinstance(rows, Listed) else Listed(rows)),
        "schedule": ConstantSchedule(num_rows_per_step=8),
        "micro_batch_rows": 3,
        "objective": MLM,
        "max_seq_len": 6 if "objective" not in fields or fields["objective"] else 99,
        "special": SPECIAL,
    }
    return Feed(**(told | fields))


def array(batch: Batch, name: str) -> NDArray[Any]:
    """Return one of the arrays that a model is given."""
    found = batch.inputs[name]
    assert isinstance(found, np.ndarray)
    return found


def digests(batch: Batch) -> Uint8Array:
    assert batch.digests is not None
    return batch.digests


def same(one: Batch, other: Batch) -> bool:
    """Whether two batches are equal in every field and every byte."""
    pairs = [
        (getattr(one, told.name), getattr(other, told.name))
        for told in dataclasses.fields(Batch)
        if told.name != "inputs"
    ]
    assert list(one.inputs) == list(other.inputs)
    pairs += zip(one.inputs.values(), other.inputs.values(), strict=True)
    return all(
        type(a) is type(b)
        and getattr(a, "dtype", None) == getattr(b, "dtype", None)
        and np.array_equal(a, b)
        for a, b in pairs
    )


def by_row(batches: Iterable[Batch]) -> dict[int, tuple[list[int], list[int]]]:
    """Return ids and labels of each row that flat batches hold; none twice."""
    found: dict[int, tuple[list[int], list[int]]] = {}
    for batch in batches:
        bounds = array(batch, "cu_seq_lens_q")
        for row, start, stop in zip(batch.rows.tolist(), bounds[:-1], bounds[1:], strict=False):
            assert row not in found
            parts = [array(batch, key)[0, start:stop].tolist() for key in ("input_ids", "labels")]
            found[row] = (parts[0], parts[1])
    return found


# Resume.


@QUICK
@given(
    schedules(),
    st.lists(
        st.tuples(*(st.integers(1, top) for top in (5, 7, 4)), st.integers(0, 8)),
        min_size=4,
        max_size=4,
    ),
    st.sampled_from(OBJECTIVES[:2]),
    st.randoms(use_true_random=False),
)
def test_any_chain_of_three_resumes_feeds_what_one_run_feeds(
    drawn: tuple[Schedule, int],
    legs: list[tuple[int, int, int, int]],
    objective: Objective,
    random: Any,
) -> None:
    """World size, micro-batch and workers change at each stop, which may be inside a step."""
    schedule, num_rows = drawn
    listed = Listed(made(num_rows))
    told: dict[str, Any] = {"schedule": schedule, "objective": objective}
    straight = by_row(a_feed(listed, **told, micro_batch_rows=4))
    assert list(straight) == list(range(a_feed(listed, **told).num_rows))
    state = a_feed(listed, **told).state_dict()
    resumed: list[Batch] = []
    for i, (world_size, size, num_workers, stop) in enumerate(legs):
        states = []
        for rank in range(world_size):
            feed = a_feed(listed, **told, micro_batch_rows=size, world_size=world_size, rank=rank)
            feed.load_state_dict(json.loads(json.dumps(state)))
            workers = [feed.batches(worker, num_workers) for worker in range(num_workers)]
            batches = list(islice(in_turn(workers), None if i == 3 else stop))
            feed.seek_row(feed.position_after(len(batches)))
            states.append(feed.state_dict())
            resumed += batches
        assert all(one == states[0] for one in states)
        state = random.choice(states)
    assert sorted(by_row(resumed).items()) == list(straight.items())


def in_turn(workers: list[Iterator[Batch]]) -> Iterator[Batch]:
    """Yield one of each in turn, as a loader takes them, to the end of the first that ends."""
    while True:
        for worker in workers:
            batch = next(worker, None)
            if batch is None:
                return
            yield batch


@QUICK
@given(
    schedules(),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from(OBJECTIVES),
    st.sampled_from(["flat", "padded"]),
    st.data(),
)
def test_to_resume_anywhere_is_never_to_have_stopped(
    drawn: tuple[Schedule, int],
    world_size: int,
    size: int,
    objective: Objective | None,
    form: str,
    data: st.DataObject,
) -> None:
    schedule, num_rows = drawn
    rank = data.draw(st.integers(0, world_size - 1))
    told: dict[str, Any] = {
        "schedule": schedule, "objective": objective, "form": form, "rank": rank,
        "world_size": world_size, "micro_batch_rows": size, "digests": True,
    }  # fmt: skip
    listed = Listed(made(num_rows))
    straight = list(a_feed(listed, **told))
    stop = data.draw(st.integers(0, len(straight)))
    first = a_feed(listed, **told)
    begun = list(islice(first, stop))
    second = a_feed(listed, **told)
    second.load_state_dict(first.state_dict())
    batches = [*begun, *second]
    assert len(batches) == len(straight)
    assert all(map(same, batches, straight))
    assert list(second) == []


def test_a_feed_goes_on_where_it_stands_and_moves_with_each_batch() -> None:
    feed = a_feed(made(24))
    first = next(iter(feed))
    assert (first.rows.tolist(), feed.row, feed.state_dict()["row"]) == ([0, 1, 2], 3, 3)
    assert [batch.rows[0] for batch in feed] == [3, 6, 8, 11, 14, 16, 19, 22]
    feed.seek_step(1)
    assert next(iter(feed)).rows.tolist() == [8, 9, 10]
    assert [batch.rows[0] for batch in feed.batches(1, 2)] == [14, 19]
    assert feed.row == 11


def test_seeking_beyond_the_order_is_refused() -> None:
    feed = a_feed(made(20))
    assert (feed.num_steps, feed.num_rows, feed.num_rows_dropped) == (2, 16, 4)
    feed.seek_step(2)
    assert list(feed) == []
    with pytest.raises(NotFoundError, match="somewhere: got step 3, expected one of 0 to 2"):
        feed.seek_step(3)
    feed.seek_row(20)
    assert list(feed) == []
    for row in (-1, 21):
        with pytest.raises(NotFoundError, match=f"somewhere: got row {row}, expected one of 0 to"):
            feed.seek_row(row)


def test_a_state_takes_whatever_a_framework_hands_it_and_comes_from_any_rank() -> None:
    feeds = [a_feed(made(24), rank=rank, world_size=2) for rank in range(2)]
    for feed in feeds:
        next(iter(feed))
    state = {"format": "ettin-feed-v1", "row": 6, "num_rows": 24, "order": "ab" * 32}
    assert [feed.state_dict(128, True) for feed in feeds] == [state, state]


def test_a_state_of_another_order_is_refused_and_the_feed_stays_where_it_was() -> None:
    feed = a_feed(made(24), row=8)
    other = a_feed(Listed(made(23)))
    with pytest.raises(MismatchError, match=r"somewhere: is order .* of 24 rows"):
        feed.load_state_dict(other.state_dict())
    with pytest.raises(InputError, match="state: got the format None"):
        feed.load_state_dict({})
    assert feed.row == 8


# Batches.


def test_a_batch_says_what_it_holds() -> None:
    listed = Listed(made(24))
    feed = a_feed(listed, world_size=2, rank=1, digests=True, objective=Clm())
    batches = list(feed)
    assert [batch.rows.tolist() for batch in batches[:2]] == [[1, 3, 5], [7]]
    assert [(batch.step, batch.next_row, batch.ends_step) for batch in batches[:3]] == [
        (0, 6, False), (0, 8, True), (1, 14, False),
    ]  # fmt: skip
    for batch in batches:
        stored = as_rows([listed.rows[row] for row in batch.rows])
        assert np.array_equal(digests(batch), row_digests(stored.values, stored.offsets))
        assert batch.num_tokens == array(batch, "input_ids").size == batch.inputs["num_tokens"]
        assert batch.num_labels == batch.num_tokens - len(batch.rows)
        assert not len(batch.tombstones)
    unlabelled = next(iter(a_feed(listed, objective=None)))
    assert unlabelled.num_labels == 0
    assert unlabelled.digests is None
    assert "labels" not in unlabelled.inputs


@pytest.mark.parametrize("form", ["flat", "padded"])
def test_a_rank_without_a_row_is_fed_one_of_which_nothing_is_predicted(form: str) -> None:
    feed = a_feed(made(8), world_size=4, rank=3, row=5, form=form, digests=True, objective=Clm())
    (batch,) = feed
    assert (batch.rows.tolist(), batch.next_row, batch.ends_step) == ([], 8, True)
    assert array(batch, "input_ids").tolist() == [[CLS, SEP]]
    assert array(batch, "labels").tolist() == [[-100, -100]]
    assert (batch.num_tokens, batch.num_labels, digests(batch).shape) == (0, 0, (0, 32))


def test_rows_are_fed_under_the_view_of_the_objective() -> None:
    rows = [[1, 2, 3, 4, 5, 6, 7]] * 8
    views: dict[Objective | None, list[int]] = {
        Mlm(mask_prob=1e-9, seed=0): [CLS, 1, 2, 3, 4, SEP],
        Clm(): [CLS, 1, 2, 3, 4, 5],
        None: [1, 2, 3, 4, 5, 6, 7],
    }
    for objective, row in views.items():
        (batch,) = a_feed(rows, objective=objective, micro_batch_rows=8, form="padded")
        assert array(batch, "input_ids").tolist() == [row] * 8


def test_a_rank_reads_its_own_rows_alone() -> None:
    listed = Listed(made(240))
    list(a_feed(listed, world_size=4, rank=2))
    assert listed.num_taken == 60


def test_a_row_that_is_too_long_and_not_to_be_cut_is_named() -> None:
    rows = [*made(8), [1] * 30, *made(15)]
    with pytest.raises(InputError, match="somewhere: row 8: got 30 ids, expected at most 29"):
        list(a_feed(rows, objective=None, max_seq_len=29))
    assert len(list(a_feed(rows, objective=None, max_seq_len=30))) == 9


def test_memory_is_bounded_by_ids_whatever_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.feed.feed._BLOCK_IDS", 50)
    asked = []

    class Watched(Listed):
        def take(self, rows: Int64Array) -> Rows:
            asked.append(len(rows))
            return super().take(rows)

    list(a_feed(Watched([[1] * 5] * 80), objective=None))
    assert asked[0] == 3  # The first micro-batch comes by itself.
    assert max(asked) == 11  # Ten rows, to the end of a micro-batch.
    asked.clear()
    monkeypatch.setattr("pipeline.feed.feed._MOST_BLOCK_ROWS", 7)
    list(a_feed(Watched([[1]] * 80), objective=None))
    assert max(asked) == 8


# Damage.


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
    return make_feed(open_order(folder), **(told | fields))


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
    order = open_order(folder)
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
    order = open_order(folder)
    with pytest.raises(MismatchError, match=r"rows 0 to [\d,]+ are not those of the ledger"):
        list(make_feed(order, objective=MLM, micro_batch_rows=8))
    feed = make_feed(order, objective=MLM, micro_batch_rows=8, on_damage="tombstone")
    batches = list(feed)
    assert feed.damages[0].start == 0
    assert batches[0].tombstones.tolist() == list(range(8))


# What cannot be fed.


@pytest.mark.parametrize(
    ("world_size", "nearest"), [(5, "the nearest: 4, 8"), (7, "the nearest: 4, 8"), (9, "is 8")]
)
def test_a_world_size_that_does_not_divide_a_step_is_told_the_nearest_that_do(
    world_size: int, nearest: str
) -> None:
    with pytest.raises(ConfigError, match=f"got {world_size}, expected one .* 8 rows.*{nearest}"):
        make(an_order(Listed(made(24))), world_size=world_size)


def test_the_nearest_world_sizes_of_a_large_step_are_told_at_once() -> None:
    order = an_order(Listed([]))
    order = dataclasses.replace(order, rows=Many(2_000_000_011))
    with pytest.raises(ConfigError, match="the nearest: 1, 2000000011"):
        make(order, global_batch_rows=2_000_000_011, world_size=2)
    with pytest.raises(InputError, match="got 24 rows, expected at least the 2,000,000,011"):
        make(an_order(Listed(made(24))), global_batch_rows=2_000_000_011, world_size=2)


@dataclass
class Many:
    """So many rows, none of which can be taken."""

    num_rows: int

    def take(self, rows: Int64Array) -> Rows:
        raise AssertionError(rows)


def make(order: FeedOrder, **fields: Any) -> Feed:
    told: dict[str, Any] = {"objective": MLM, "micro_batch_rows": 3, "special": SPECIAL}
    return make_feed(order, **(told | fields))


def test_a_feed_is_made_of_what_the_order_says() -> None:
    feed = make(an_order(Listed(made(24))))
    assert (feed.num_steps, feed.max_seq_len, feed.view, feed.row) == (3, 6, "encoder", 0)
    other = make(an_order(Listed(made(24))), global_batch_rows=5, max_seq_len=4, objective=Clm())
    assert (other.num_steps, other.max_seq_len, other.view) == (4, 4, "decoder")
    assert make(an_order(Listed(made(24))), micro_batch_rows=99).num_steps == 3
    assert len(list(make(an_order(Listed(made(24))), micro_batch_rows=99))) == 3
    padded = next(iter(make(an_order(Listed(made(24))), pad_to_multiple=64, digests=True)))
    assert array(padded, "input_ids").shape == (1, 64)
    assert padded.num_tokens < 64
    assert len(digests(padded)) == 3
    rowwise = next(iter(make(an_order(Listed(made(24))), form="padded")))
    assert array(rowwise, "labels").shape == (3, 6)
    long = an_order(Listed([[1] * 50] * 8))
    assert next(iter(make(long, objective=None))).num_tokens == 150


@pytest.mark.parametrize(
    ("told", "fields", "complaint"),
    [
        ({}, {"rank": 2, "world_size": 2}, "rank: got 2 of world size 2, expected one of 0 to"),
        ({}, {"rank": -1}, "rank: got -1 of world size 1"),
        ({}, {"micro_batch_rows": 0}, "micro_batch_rows, pad_to_multiple: got 0, 1, expected 1"),
        ({}, {"pad_to_multiple": 0}, "micro_batch_rows, pad_to_multiple: got 3, 0"),
        ({}, {"global_batch_rows": 0}, "global_batch_rows: got 0, expected at least 1"),
        ({}, {"max_seq_len": 2}, "max_seq_len: got 2, expected at least 3"),
        ({}, {"objective": Mlm(mask_prob=0.0, seed=1)}, "mask_prob: got 0.0, expected above 0"),
        (
            {},
            {"objective": "mlm"},
            "objective: got 'mlm', expected Mlm(mask_prob=…, seed=…), Clm()",
        ),
        (
            {},
            {"objective": Mlm},
            "objective: got <class 'pipeline.feed.batch.Mlm'>, expected Mlm(",
        ),
        ({}, {"objective": Mlm(mask_prob="0.3", seed=1)}, "mask_prob: got '0.3', expected above 0"),  # type: ignore[arg-type]
        ({}, {"objective": Mlm(mask_prob=0.3, seed=0.5)}, "seed: got 0.5, expected an integer"),  # type: ignore[arg-type]
        ({}, {"form": "padding"}, "form: got 'padding', expected 'flat' or 'padded'"),
        ({}, {"on_damage": "skip"}, "on_damage: got 'skip', expected 'stop' or 'tombstone'"),
        ({}, {"micro_batch_rows": 2.5}, "micro_batch_rows: got 2.5, expected an integer"),
        ({}, {"micro_batch_rows": "3"}, "micro_batch_rows: got '3', expected an integer"),
        ({}, {"world_size": 1.0}, "world_size: got 1.0, expected an integer"),
        ({}, {"global_batch_rows": 8.0}, "global_batch_rows: got 8.0, expected an integer"),
        ({}, {"max_seq_len": 6.5}, "max_seq_len: got 6.5, expected an integer"),
        ({}, {"pad_to_multiple": True}, "pad_to_multiple: got True, expected an integer"),
        ({}, {"pad_to_multiple": 8, "form": "padded"}, "pad_to_multiple: got 8 with form 'padded'"),
        ({"num_rows_per_step": None}, {}, "somewhere: says nothing of the rows of a step"),
        ({"max_seq_len": None}, {}, "somewhere: says nothing of its longest row"),
        ({"view": "decoder"}, {}, "somewhere: was written for the view decoder, expected encoder"),
        ({"view": "encoder"}, {"objective": Clm()}, "view encoder, expected decoder, or stored"),
    ],
)
def test_what_cannot_be_fed_is_refused(
    told: dict[str, Any], fields: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make(an_order(Listed(made(24)), **told), **fields)
    assert complaint in caught.value.message


def test_an_order_of_less_than_a_step_is_refused() -> None:
    with pytest.raises(InputError, match="got 7 rows, expected at least the 8 of a step"):
        make(an_order(Listed(made(7))))


def test_an_order_written_for_a_view_is_fed_under_it_or_as_it_is() -> None:
    order = an_order(Listed(made(24)), view="decoder")
    for objective in (Clm(), None):
        assert make(order, objective=objective).num_steps == 3


def test_an_order_of_another_tokenizer_is_refused() -> None:
    order = an_order(Listed(made(24)), tokenizer_digest="cd" * 32)
    with pytest.raises(MismatchError, match=f"got ids of the tokenizer {'cd' * 32}, expected"):
        make(order, special=None)
    large = Listed([*made(20), [5, 100, 7], *made(3)])
    with pytest.raises(InputError, match="row 20: got id 100, expected ids below 100"):
        list(make(an_order(large), on_damage="tombstone"))
