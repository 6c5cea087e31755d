"""Rows in order from published parquet, on disk and over loopback."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.order_server import serve
from support.orders import open_rows, write_order
from support.parquet import CLS, UINT32, Ids, as_lists, made, read, write, write_phase
from support.strategies import QUICK

from pipeline.core.errors import InputError, NotFoundError
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.parquet.decoder import ColumnDecoder
from pipeline.dataset.parquet.reader import PublishedOrder
from pipeline.dataset.parquet.windows import arrange

FIRST = "checkpoint_000001/steps_000001_to_000100.parquet"


def published(source: PublishedOrder | MdsRows) -> PublishedOrder:
    assert isinstance(source, PublishedOrder)
    return source


sequences = st.lists(st.lists(st.integers(0, 50_000), max_size=6).map(lambda ids: [CLS, *ids]))
kinds = st.sampled_from(
    [pa.list_(pa.uint16()), UINT32, pa.large_list(pa.int64()), pa.list_(pa.int32()),
     pa.list_(pa.uint64())]
)  # fmt: skip


@QUICK
@given(st.data(), sequences, kinds)
def test_any_part_of_any_form_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    data: st.DataObject,
    rows: list[Ids],
    kind: pa.DataType,
) -> None:
    path = tmp_path_factory.mktemp("order") / "a.parquet"
    steps = sorted(data.draw(st.lists(st.integers(1, 4), min_size=len(rows), max_size=len(rows))))
    granularity = data.draw(st.sampled_from(["sequence", "batch"]))
    write(
        path,
        rows,
        steps,
        kind=kind,
        granularity=granularity,
        group_rows=data.draw(st.integers(1, 9)),
    )
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    order = published(open_rows(path))
    assert read(order, start, stop) == rows[start:stop]
    assert order.num_rows == len(rows)
    assert order.granularity == granularity
    assert order.dtype == str(kind.value_type)
    assert read(order) == rows


@pytest.mark.parametrize("granularity", ["sequence", "batch", "flat batch"])
def test_a_row_may_be_a_sequence_or_a_batch(tmp_path: Path, granularity: str) -> None:
    rows, steps = made(60), np.repeat(np.arange(1, 21), 3).tolist()
    path = write(tmp_path / "a.parquet", rows, steps, granularity=granularity, group_rows=7)
    order = published(open_rows(path))
    assert order.granularity == granularity
    assert read(order, 10, 31) == rows[10:31]
    assert read(order) == rows


def test_one_sequence_a_step_is_no_batch(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", made(5), [1, 2, 3, 4, 5])
    assert published(open_rows(path)).granularity == "sequence"


@pytest.mark.parametrize("statistics", [True, False])
def test_two_rows_of_a_step_are_sequences_whatever_is_in_them(
    tmp_path: Path, statistics: bool
) -> None:
    rows = [[CLS, 1, CLS, 2], [CLS, 3], [CLS, 4, CLS, 5]]
    path = write(tmp_path / "a.parquet", rows, [1, 1, 3], write_statistics=statistics)
    assert read(open_rows(path)) == rows


@QUICK
@given(st.data(), sequences, kinds)
def test_a_part_of_a_column_is_decoded_as_the_whole(
    data: st.DataObject, rows: list[Ids], kind: pa.DataType
) -> None:
    cuts = st.integers(0, len(rows))
    start, stop = sorted((data.draw(cuts), data.draw(cuts)))
    flat = pa.array(rows, kind)[start:stop]
    found = ColumnDecoder(cls_id=CLS).rows("x", flat, "sequence")
    assert as_lists(found) == rows[start:stop]
    nested = pa.array([rows, rows[start:], rows[:stop]], pa.list_(kind))[1:]
    found = ColumnDecoder(cls_id=CLS).rows("x", nested, "batch")
    assert as_lists(found) == rows[start:] + rows[:stop]


def test_a_batch_that_does_not_begin_with_cls_is_not_split(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [[CLS, 1, CLS, 2], [3, CLS, 4]], [1, 2])
    with pytest.raises(InputError, match="got a batch that does not begin with 50281"):
        read(open_rows(path))


def test_fixed_size_lists_are_read(tmp_path: Path) -> None:
    rows = [[CLS, n, n + 1] for n in range(10)]
    write(tmp_path / "a.parquet", rows, [1] * 10, kind=pa.list_(pa.uint32(), 3), group_rows=4)
    assert read(open_rows(tmp_path / "a.parquet"), 3, 9) == rows[3:9]


def test_sequences_without_ids_are_rows(tmp_path: Path) -> None:
    rows: list[Ids] = [[], [1], [], []]
    assert read(open_rows(write(tmp_path / "a.parquet", rows, [1] * 4))) == rows


def test_a_large_row_group_comes_in_blocks(tmp_path: Path) -> None:
    ids = np.arange(3 << 20, dtype=np.uint32)
    offsets = np.arange(0, len(ids) + 1, 1024, dtype=np.int32)
    column = pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids))
    steps = pa.array(np.ones(len(column), np.int64))
    pq.write_table(pa.table({"input_ids": column, "step": steps}), tmp_path / "a.parquet")
    blocks = list(open_rows(tmp_path / "a.parquet").read(0, len(column)))
    assert max(len(rows.values) for rows in blocks) <= 1 << 20
    assert np.array_equal(np.concatenate([rows.values for rows in blocks]), ids)


def test_a_window_needs_no_file_of_another(tmp_path: Path) -> None:
    rows = write_phase(tmp_path, 3)
    for path in (tmp_path / "checkpoint_000001").iterdir():
        path.write_bytes(b"not parquet")
    order = published(open_rows(tmp_path))
    assert read(order.window(2)) == rows[36:72]
    assert read(open_rows(tmp_path / "checkpoint_000003")) == rows[72:]
    with pytest.raises(
        InputError, match=r"checkpoint_000001/steps_000001_to_000004\.parquet: got a"
    ):
        read(order)


def test_rows_of_all_windows_are_one_sequence(tmp_path: Path) -> None:
    rows = write_phase(tmp_path, 3)
    write(tmp_path / "steps.parquet", made(1), [1])
    (tmp_path / "checkpoint_000001/notes.parquet").write_bytes(b"")
    order = published(open_rows(tmp_path))
    assert read(order) == rows
    assert read(order, 30, 80) == rows[30:80]
    assert [window.number for window in order.windows] == [1, 2, 3]
    assert [len(file.steps or ()) for file in order.files] == [4] * 9


@pytest.mark.parametrize(
    "ask",
    [
        lambda order: order.read(0, 37),
        lambda order: order.read(-1, 3),
        lambda order: order.read(5, 3),
    ],
)
def test_rows_beyond_the_order_are_told_before_any_is_given(
    tmp_path: Path, ask: Callable[[PublishedOrder], Iterable[Any]]
) -> None:
    write_phase(tmp_path, 1)
    with pytest.raises(NotFoundError, match="expected a range within 0 to"):
        next(iter(ask(published(open_rows(tmp_path)))))


def test_batches_beyond_the_order_are_told_at_its_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", made(6), [1, 1, 2, 2, 3, 3], granularity="batch")
    with pytest.raises(NotFoundError, match="got rows 2 to 7, expected a range within 0 to 6"):
        read(open_rows(path), 2, 7)
    with pytest.raises(NotFoundError, match="got rows 2 to 1"):
        read(open_rows(path), 2, 1)


def test_phases_come_in_the_order_of_training_and_numbers_as_numbers() -> None:
    names = [
        "decay_000001", "ext_000001", "zoo_000001", "checkpoint_999999", "checkpoint_1000000",
        "checkpoint_000002",
    ]  # fmt: skip
    files = arrange("root", [f"{name}/steps_000001_to_000100.parquet" for name in names])
    assert [file.window.folder for file in files] == [
        "checkpoint_000002", "checkpoint_999999", "checkpoint_1000000", "ext_000001",
        "decay_000001", "zoo_000001",
    ]  # fmt: skip
    steps = ["steps_000001_to_999900", "steps_1000001_to_1000100", "steps_999901_to_1000000"]
    files = arrange("ext_000004", [f"{name}.parquet" for name in steps])
    assert [file.steps.start for file in files if file.steps] == [1, 999901, 1000001]
    assert files[0].window.number == 4


def test_several_phases_are_asked_for_by_name(tmp_path: Path) -> None:
    first = write_phase(tmp_path, 1)
    second = write_phase(tmp_path, 2, phase="ext", rows_per_step=2)
    order = published(open_rows(tmp_path))
    assert order.phases == ("checkpoint", "ext")
    assert read(order) == first + second
    assert read(order.phase("ext").window(2)) == second[24:]
    with pytest.raises(InputError, match="got phases checkpoint, ext, expected one"):
        order.window(1)
    with pytest.raises(NotFoundError, match="got phase 'decay', expected 'checkpoint' or 'ext'"):
        order.phase("decay")


def test_a_window_that_is_missing_is_told_when_rows_are_counted_over_it(tmp_path: Path) -> None:
    rows = write_phase(tmp_path, 3)
    for path in (tmp_path / "checkpoint_000002").iterdir():
        path.unlink()
    order = published(open_rows(tmp_path))
    assert read(order.window(3)) == rows[72:]
    with pytest.raises(InputError, match="got no window 2 of checkpoint, expected all of 1 to 3"):
        read(order)
    with pytest.raises(NotFoundError, match="got window 4, expected 1 to 3"):
        order.window(4)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["1_to_100", "201_to_300"], "got steps from 201, expected them from 101"),
        (["1_to_100", "101_to_200", "151_to_250"], "got steps from 151, expected them from 201"),
        (["101_to_200"], "got steps from 101, expected them from 1"),
        (["100_to_1"], "got steps from 100, expected them from 1"),
        (["1_to_0"], "got steps 1 to 0 in its name, expected them to rise"),
    ],
)
def test_steps_of_a_window_that_are_missing_or_there_twice_are_told(
    names: list[str], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        arrange("root", [f"ext_000001/steps_{name}.parquet" for name in names])


INTS = pa.array([[1, 2]], UINT32)


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"input_ids": INTS}, "got columns input_ids, expected input_ids and step"),
        ({"ids": INTS, "step": pa.array([1])}, "got columns ids, step, expected"),
        (
            {"input_ids": pa.array(["a"]), "step": pa.array([1])},
            "got input_ids of type string, expected lists of integers",
        ),
        (
            {"input_ids": pa.array([[1.5]]), "step": pa.array([1])},
            "got input_ids of type list<element: double>, expected lists",
        ),
        (
            {"input_ids": pa.array([[[[1]]]]), "step": pa.array([1])},
            "expected lists of integers, or lists of lists",
        ),
        ({"input_ids": INTS, "step": pa.array([1.0])}, "got step of type double, expected int"),
        ({"input_ids": pa.array([None], UINT32), "step": pa.array([1])}, "got a list that is null"),
        ({"input_ids": pa.array([[1, None]], UINT32), "step": pa.array([1])}, "an id that is null"),
        (
            {"input_ids": pa.array([[1 << 32]], pa.list_(pa.int64())), "step": pa.array([1])},
            "got the id 4294967296 in int64, expected",
        ),
        (
            {"input_ids": pa.array([[1 << 63]], pa.list_(pa.uint64())), "step": pa.array([1])},
            "got the id 9223372036854775808 in uint64, expected",
        ),
    ],
)
def test_columns_that_are_no_order_are_told(
    tmp_path: Path, columns: dict[str, pa.Array], told: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=f"a.parquet: .*{told}"):
        read(open_rows(tmp_path / "a.parquet"))


def test_other_columns_are_passed_over(tmp_path: Path) -> None:
    table = {"id": pa.array(["x"]), "step": pa.array([1], pa.int32()), "input_ids": INTS}
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    assert read(open_rows(tmp_path / "a.parquet")) == [[1, 2]]


def test_ids_that_a_narrow_type_made_negative_are_wrapped_and_counted(tmp_path: Path) -> None:
    stored = np.array([CLS, 5, 40_000], np.uint16).view(np.int16).tolist()
    path = write(tmp_path / "a.parquet", [stored], [1], kind=pa.list_(pa.int16()))
    order = published(open_rows(path))
    assert read(order) == [[CLS, 5, 40_000]]
    assert (order.dtype, order.num_wrapped) == ("int16", 2)


def test_steps_that_fall_are_told(tmp_path: Path) -> None:
    order = published(open_rows(write(tmp_path / "a.parquet", made(3), [1, 3, 2])))
    with pytest.raises(InputError, match="got steps that fall"):
        read(order)


@pytest.mark.parametrize("statistics", [True, False])
def test_steps_beyond_int64_are_told(tmp_path: Path, statistics: bool) -> None:
    steps = pa.array([1, 1 << 63], pa.uint64())
    table = pa.table({"input_ids": pa.array(made(2), UINT32), "step": steps})
    pq.write_table(table, tmp_path / "a.parquet", write_statistics=statistics)
    told = r"a\.parquet: got step 9223372036854775808, expected numbers below 2\^63"
    with pytest.raises(InputError, match=told):
        read(open_rows(tmp_path / "a.parquet"))


@pytest.mark.parametrize("keep", [0, 3, 40, -9, -1])
def test_a_damaged_file_is_told(tmp_path: Path, keep: int) -> None:
    path = write(tmp_path / "a.parquet", made(300), [1] * 300)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"a\.parquet: got a file that cannot be read as parquet"):
        read(open_rows(path))


def test_damaged_pages_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", made(300), [1] * 300, compression="zstd")
    content = bytearray(path.read_bytes())
    content[60:160] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.parquet: got a file that cannot be read as parquet"):
        read(open_rows(path))


@pytest.mark.parametrize("granularity", ["sequence", "batch"])
def test_a_remote_order_is_the_one_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, granularity: str
) -> None:
    rows = made(400)
    steps = np.repeat(np.arange(1, 101), 4).tolist()
    write(tmp_path / FIRST, rows, steps, granularity=granularity, group_rows=30)
    faults = [
        {"kind": "status", "status": 429, "headers": {"Retry-After": "0"}},
        {"kind": "cut", "bytes": 50, "skip": 1},
        {"kind": "status", "status": 503, "headers": {"Retry-After": "0"}, "skip": 3},
    ]
    with serve(tmp_path, faults=faults) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        for where in (server.where(), server.where("checkpoint_000001"), server.where(FIRST)):
            remote = published(open_rows(where))
            assert read(remote, 100, 130) == rows[100:130]
            assert read(remote) == rows
            assert remote.granularity == granularity
            assert server.commit in remote.where


def test_what_goes_wrong_with_a_remote_file_is_told_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / FIRST, made(400), [1] * 400)
    with serve(tmp_path, gated=True, token="secret") as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_TOKEN", "other")
        with pytest.raises(InputError, match=r"got 403 .*, expected access"):
            read(open_rows(server.where()))
        monkeypatch.setenv("HF_TOKEN", "secret")
        order = open_rows(server.where())
        server.set_faults([{"kind": "changed", "skip": 1}])
        with pytest.raises(InputError, match="the file changed while it was read"):
            read(order)
        server.set_faults([])
        (tmp_path / FIRST).rename(tmp_path / "train.parquet")
        with pytest.raises(InputError, match=r"got train\.parquet, expected an order"):
            open_rows(server.where())


def test_of_a_remote_order_only_the_row_groups_come_that_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    for window in (1, 2):
        for first in (1, 101):
            rows = rng.integers(0, 50_000, (4000, 32)).tolist()
            steps = np.repeat(np.arange(first, first + 100), 40).tolist()
            name = f"ext_{window:06d}/steps_{first:06d}_to_{first + 99:06d}.parquet"
            write(tmp_path / name, rows, steps, group_rows=1000, compression="zstd")
    local = published(open_rows(tmp_path))
    with serve(tmp_path) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        order = published(open_rows(server.where())).window(2)
        asked = (3160, 4960)
        found = read(order, *asked)
        counters = server.counters()
    assert found == read(local.window(2), *asked)
    needed = 0
    for parquet, groups in zip(local.window(2).parquets, ([3], [0]), strict=True):
        metadata = pq.read_metadata(parquet.where)
        needed += sum(metadata.row_group(g).column(0).total_compressed_size for g in groups)
    assert needed <= counters["bytes"] < 1.05 * needed
    assert not any("ext_000001" in line for line in counters["log"])


def test_a_large_column_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(5).integers(0, 50_000, (4000, 64)).tolist()
    write(tmp_path / FIRST, rows, [1] * 4000)
    monkeypatch.setattr("pipeline.dataset.parquet.file._REMOTE_BUFFER_BYTES", 1 << 16)
    with serve(tmp_path) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        assert read(open_rows(server.where())) == rows
        counters = server.counters()
    size = (tmp_path / FIRST).stat().st_size
    assert counters["requests"] >= 4
    assert counters["bytes"] <= size + 4096


def test_a_long_footer_comes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / FIRST, made(200), [1] * 200, group_rows=2)
    with serve(tmp_path) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        assert open_rows(server.where()).num_rows == 200
        assert server.counters()["requests"] == 2


def test_a_file_that_is_cut_short_while_it_is_open_is_an_error(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 50_000, (2000, 100)).tolist()
    write_order(tmp_path, ids, [2000])
    program = f"""
import os, numpy as np
from pathlib import Path
from pipeline import dataset
rows = dataset.open({str(tmp_path)!r}).rows
rows.take(np.array([0]))
for path in Path({str(tmp_path)!r}).rglob("*.parquet"):
    os.truncate(path, 100)
rows.take(np.array([1999]))
"""
    # In a process of its own, which reading a mapped file would end.
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "got a file that cannot be read as parquet" in done.stderr
