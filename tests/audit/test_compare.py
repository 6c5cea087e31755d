"""Comparing: rows and nodes that differ are named, whatever blocks they come in."""

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.orders import Row, write_order
from support.strategies import QUICK
from support.verified import BATCH, EQUAL, NUM_ROWS, WINDOWS, digested, quiet, verdicts

from pipeline.audit.verify import compare
from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.compare import compare_rows, digest_rows
from pipeline.audit.verify.report import as_json, lines
from pipeline.audit.verify.target import ForwardReader
from pipeline.core.ragged import Rows
from pipeline.dataset.blake3 import row_digests
from pipeline.dataset.ledger import LedgerSpan, join, multiset_of, root_of_multiset
from pipeline.dataset.order_manifest import digest_order


def test_a_changed_id_is_named_by_its_row_and_step(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    changed = [*rows]
    changed[1700] = [*rows[1700][:-2], 7, rows[1700][-1]]
    order = write_order(tmp_path / "order", changed, WINDOWS)
    report = verify_against(finished, str(order))
    assert verdicts(report) == [EQUAL, EQUAL, (False, False, 1, 1700), EQUAL]
    assert report.comparison.differing.tolist() == [1700]
    text = lines(report)
    assert text[3] == "checkpoint_000003: rows 1,696:2,560: 1 differs, first at row 1,700, step 107"
    assert "rows that differ: 1,700" in text
    assert text[-1] == "not equal"
    told = as_json(report)
    assert told["first_difference"] == 1700
    assert told["differing"] == [1700]
    json.dumps(told)


def test_rows_in_another_order_are_said_to_be_the_same_set(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    swapped = [*rows]
    swapped[10], swapped[20] = rows[20], rows[10]
    swapped[900], swapped[2000] = rows[2000], rows[900]
    report = verify_against(finished, str(write_order(tmp_path / "order", swapped, WINDOWS)))
    assert verdicts(report) == [
        (False, True, 2, 10),
        (False, False, 1, 900),
        (False, False, 1, 2000),
        EQUAL,
    ]
    assert report.comparison.same_multiset
    text = "\n".join(lines(report))
    assert "rows 0:848 are the same in another order, first at row 10, step 1" in text
    assert "all rows together are the same, in another order" in text


@pytest.mark.parametrize("missing", [1, 100, 128, 1700])
def test_where_one_side_ends_first_the_rest_is_compared_and_the_numbers_are_said(
    finished: Path, rows: list[Row], tmp_path: Path, missing: int
) -> None:
    kept = NUM_ROWS - missing
    windows = [kept] if kept < 2560 else [*WINDOWS[:3], kept - 2560]
    order = write_order(tmp_path / "order", rows[:kept], [n for n in windows if n])
    for what in (str(order), digested(order, tmp_path / "order.json")):
        report = verify_against(finished, what)
        assert not report.equal
        assert report.comparison.num_differing == 0
        assert report.comparison.stop == kept
        assert report.comparison.num_missing == missing
        said = f"number of rows: {NUM_ROWS:,} here, {kept:,} there ({-missing:+,})"
        assert said in lines(report)


def test_rows_beyond_ours_are_counted(finished: Path, rows: list[Row], tmp_path: Path) -> None:
    order = write_order(tmp_path / "order", [*rows, [5, 6], [7]], [*WINDOWS[:3], 130])
    report = verify_against(finished, str(order))
    assert (report.comparison.num_differing, report.comparison.num_missing) == (0, 2)
    report = verify_against(finished, digested(order, tmp_path / "order.json"))
    assert not report.equal
    assert report.comparison.num_differing == 0
    # Its last node holds the two rows, so those before them cannot be told from others.
    assert report.comparison.stop == 2048
    assert report.comparison.notes[0].startswith("rows 2,048:2,688 were not compared")


def test_a_manifest_tells_the_node_that_differs(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    changed = [*rows]
    changed[1700] = [1, 2, 3]
    changed[2600], changed[2601] = rows[2601], rows[2600]
    order = write_order(tmp_path / "order", changed, WINDOWS)
    report = verify_against(finished, digested(order, tmp_path / "order.json"))
    assert report.comparison.rows_per_unit == 1024
    assert report.comparison.differing.tolist() == [1024, 2048]
    assert report.comparison.num_differing == 1024 + 640
    # Of each window the manifest also tells the set of rows.
    assert verdicts(report) == [
        EQUAL,
        (False, True, 1696 - 1024, 1024),
        (False, False, 864, 1696),
        (False, True, 128, 2560),
    ]
    assert "up to 864 differ, first at row 1,696, step 107" in lines(report)[3]


def test_another_row_of_a_pool_is_named_with_its_partition(finished: Path, tmp_path: Path) -> None:
    pool = shutil.copytree(finished / "train", tmp_path / "pool")
    shard = sorted(pool.glob("prose/prose_1-*/shard.00000.mds"))[0]
    data = bytearray(shard.read_bytes())
    data[-4] ^= 1  # The last id of the last row.
    shard.write_bytes(data)
    report = verify_against(finished, str(pool))
    assert report.comparison.of == "pool"
    bad = [one for one in report.comparison.windows if not one.equal]
    assert [one.name.split("/")[-1].split("-")[0] for one in bad] == ["prose_1"]
    assert [(one.num_differing, one.first_difference) for one in bad] == [(1, bad[0].stop - 1)]


def test_more_differences_than_are_kept_are_counted(
    finished: Path, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "MOST_EVIDENCE", 100)
    changed = [*rows[:500], *([*row, 1] for row in rows[500:1000]), *rows[1000:]]
    report = verify_against(finished, str(write_order(tmp_path / "order", changed, WINDOWS)))
    compared = report.comparison
    assert compared.num_differing == 500
    assert compared.differing.tolist() == list(range(500, 600))
    assert len(compared.our_digests) == len(compared.their_digests) == 100
    assert len(as_json(report)["differing"]) == 20
    assert any("and 480 more" in line for line in lines(report))


def test_ids_in_a_type_that_is_too_narrow_are_compared_and_named(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    narrow = [[one - 65536 if one > 32767 else one for one in row] for row in rows]
    order = write_order(tmp_path / "order", narrow, WINDOWS, kind=pa.int16())
    for part in ({}, {"window": 2}):
        report = verify_against(finished, str(order), **part)  # type: ignore[arg-type]
        assert report.equal
        assert [finding.kind for finding in report.findings] == ["dtype"]
        assert "negative in int16" in lines(report)[-2]
    made = digest_order(str(order), quiet)
    assert made.num_wrapped > 2 * NUM_ROWS
    assert made.ledger == digest_order(str(finished), quiet).ledger


def test_a_row_a_batch_is_compared_by_its_rows(
    finished: Path, rows: list[Row], tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint_000001"
    folder.mkdir()
    batches = [rows[start : start + BATCH] for start in range(0, NUM_ROWS, BATCH)]
    table = pa.table(
        {
            "input_ids": pa.array(batches, pa.list_(pa.list_(pa.uint32()))),
            "step": pa.array(range(1, 169)),
        }
    )
    pq.write_table(table, folder / "steps_000001_to_000168.parquet", row_group_size=50)
    assert verify_against(finished, str(tmp_path)).equal
    assert verify_against(finished, str(tmp_path), rows=(1000, 1003)).equal


@dataclass(frozen=True)
class Listed:
    """Rows in blocks of given sizes; a `RowSource`."""

    rows: list[Row]
    sizes: list[int]

    @property
    def num_rows(self) -> int:
        return len(self.rows)

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        number = 0
        while start < stop:
            size = min(self.sizes[number % len(self.sizes)], stop - start)
            yield packed(self.rows[start : start + size])
            start, number = start + size, number + 1


def packed(rows: list[Row]) -> Rows:
    return Rows(
        values=np.array([one for row in rows for one in row], np.uint32),
        offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
    )


few_rows = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=2), max_size=12)


sizes = st.lists(st.integers(1, 5), min_size=1, max_size=3)


@given(st.data(), few_rows, sizes, sizes)
@QUICK
def test_a_comparison_says_what_a_naive_one_does(
    data: st.DataObject, ours: list[Row], our_sizes: list[int], their_sizes: list[int]
) -> None:
    theirs = data.draw(
        st.one_of(
            st.permutations(ours),
            st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=2),
                     min_size=len(ours), max_size=len(ours)),
        )
    )  # fmt: skip
    cut = data.draw(st.integers(0, len(ours)))
    parts = [("one", 0, cut), ("two", cut, len(ours))]
    tally = compare_rows(Listed(ours, our_sizes), Listed(theirs, their_sizes), parts, quiet)
    bad = [i for i in range(len(ours)) if ours[i] != theirs[i]]
    assert np.concatenate(tally.differing).tolist() == bad
    assert tally.num_differing == len(bad)
    assert (tally.excess % 2**256 == 0) == (sorted(ours) == sorted(theirs))
    for window, (_, start, stop) in zip(tally.windows, parts, strict=True):
        inside = [i for i in bad if start <= i < stop]
        assert window.num_differing == len(inside)
        assert window.first_difference == (inside[0] if inside else None)
        same = sorted(ours[start:stop]) == sorted(theirs[start:stop])
        assert window.same_multiset == same
    digests = np.concatenate(tally.theirs)
    if bad:
        expected = packed(theirs[bad[0] :])
        assert tally.digests_start == bad[0]
        assert np.array_equal(digests, row_digests(expected.values, expected.offsets))
    else:
        assert len(digests) == 0


@given(st.data(), few_rows, sizes)
@QUICK
def test_rows_that_are_looked_at_first_are_read_all_the_same(
    data: st.DataObject, rows: list[Row], sizes: list[int]
) -> None:
    reader = ForwardReader(rows=Listed(rows, sizes), stop=len(rows))
    places = st.integers(0, len(rows))
    start = 0
    for _ in range(4):
        first, last = sorted((data.draw(places), data.draw(places)))
        assert joined(reader.peek(first, last)) == rows[first:last]
        # Where the last reading ended, or anywhere else.
        start = data.draw(st.sampled_from([start, first, last, 0]))
        stop = data.draw(st.integers(start, len(rows)))
        assert joined(reader.read(start, stop)) == rows[start:stop]
        start = stop


def joined(blocks: Iterable[Rows]) -> list[Row]:
    return [
        block.values[start:stop].tolist()
        for block in blocks
        for start, stop in pairwise(block.offsets.tolist())
    ]


@given(few_rows, sizes, st.integers(0, 12), st.integers(0, 12))
@QUICK
def test_nodes_and_sums_do_not_depend_on_blocks(
    rows: list[Row], sizes: list[int], one: int, other: int
) -> None:
    start, stop = sorted((min(one, len(rows)), min(other, len(rows))))
    ledger, roots = digest_rows(Listed(rows, sizes), 0, len(rows), [("part", start, stop)], quiet)
    block = packed(rows)
    digests = row_digests(block.values, block.offsets)
    span = LedgerSpan(start_row=0)
    span.add(digests)
    assert ledger.describe() == join([span]).describe()
    assert roots == [root_of_multiset(multiset_of(digests[start:stop]))]
