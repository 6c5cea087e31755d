"""Shuffle: files of rows in order equal a loop over rows, whether laid out on disk or not."""

import gc
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import builds
from support.mds import read, write
from support.shuffles import CLS, ONE_PASS, SEP, TWO_PASSES, Here, product, shuffled, stopped
from support.strategies import QUICK, Row, rows

from pipeline.config.declaration import OrderSpec
from pipeline.core.errors import OutputError
from pipeline.dataset import State
from pipeline.dataset.blake3 import row_digests
from pipeline.dataset.ledger import LedgerSpan, join
from pipeline.dataset.manifest import OrderedWindow
from pipeline.runner.cluster import Tasks
from pipeline.runner.shuffle import (
    Limits,
    shuffle_pool,
    step_tokens,
)
from pipeline.runner.shuffle import write as writing
from pipeline.runner.shuffle.jobs import load_files
from pipeline.runner.task_cache import OrderFileRecord

FEW = settings(QUICK, max_examples=20)

specs = st.builds(
    OrderSpec,
    algorithm=st.sampled_from(["ettin-pcg64dxsm-v1", "feistel-v1"]),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 3),
    global_batch_size=st.integers(1, 5),
    max_seq_len=st.integers(3, 20),
    view=st.sampled_from(["stored", "encoder", "decoder"]),
    window_tokens=st.integers(1, 200),
    format=st.sampled_from(["parquet", "mds"]),
)


limits = st.builds(
    Limits,
    run_bytes=st.integers(1, 2000),
    window_bytes=st.integers(1, 500),
    row_bytes=st.sampled_from([0, 20]),
    one_level_tasks=st.sampled_from([0, 1, 100]),
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_tokens, "_LEAST_ROWS", 7)
    monkeypatch.setattr(writing, "_IDS_AT_ONCE", 12)


@FEW
@given(
    written=rows(12, max_size=40),
    spec=specs,
    limits=limits,
    breaks_before=st.integers(0, 40),
)
def test_laid_out_on_disk_or_not_the_bytes_are_the_same_even_when_it_was_broken_off(
    tmp_path_factory: pytest.TempPathFactory,
    written: list[Row],
    spec: OrderSpec,
    limits: Limits,
    breaks_before: int,
) -> None:
    folder = tmp_path_factory.mktemp("ordering")
    write(folder / "pool", written, size_limit=300)
    before = builds.digests(folder / "pool")
    asked = shuffled(folder / "pool", folder / "a", spec)
    plain = shuffle_pool(**asked, cluster=Here())
    laid_out = shuffled(folder / "pool", folder / "b", spec, limits)
    with suppress(KeyboardInterrupt):
        shuffle_pool(**laid_out, cluster=Here(breaks_before))
    assert shuffle_pool(**laid_out, cluster=Here()) == plain
    assert product(folder / "b") == product(folder / "a")
    assert builds.digests(folder / "pool") == before


@FEW
@given(written=rows(12, max_size=40), spec=specs)
def test_every_row_stands_where_the_order_says_with_its_step_and_its_origin(
    tmp_path_factory: pytest.TempPathFactory, written: list[Row], spec: OrderSpec
) -> None:
    folder = tmp_path_factory.mktemp("ordering")
    out = folder / "out"
    index = write(folder / "pool", written, size_limit=300)
    assert read(folder / "pool", index) == written
    asked = shuffled(folder / "pool", out, spec, TWO_PASSES)
    described, files = shuffle_pool(**asked, cluster=Here())
    assert product(out) == {path: file.sha256 for path, file in files.items()}

    order = [written[row] for row in samples(asked)]
    seen = [look(row, spec) for row in order[: asked["job"].num_rows]]
    assert written_rows(out, described.windows, spec) == seen

    origins = [
        row
        for path in step_files(out / "provenance", described.windows, ".parquet")
        for row in pq.read_table(path).to_pylist()
    ]
    assert [one["row"] for one in origins] == list(range(len(seen)))
    assert [one["step"] for one in origins] == [
        i // spec.global_batch_size + 1 for i in range(len(seen))
    ]
    assert [one["document"] for one in origins] == [row.id for row in order[: len(seen)]]
    assert [one["num_tokens"] for one in origins] == [len(ids) for ids in seen]

    steps = pq.read_table(out / "order" / "steps.parquet").to_pylist()
    for number, step in enumerate(steps):
        ids = seen[number * spec.global_batch_size : (number + 1) * spec.global_batch_size]
        data = np.concatenate([[len(row), *row] for row in ids]).astype("<u4").tobytes()
        assert step["sha256"] == hashlib.sha256(data).hexdigest()
        assert step["num_tokens"] == sum(map(len, ids))

    span = LedgerSpan(start_row=0)
    offsets = np.cumsum([0, *map(len, seen)])
    span.add(row_digests(np.array([id_ for ids in seen for id_ in ids], np.uint32), offsets))
    assert described.ledger == join([span]).describe()


class CountsRecords(Here):
    """Notes how many records of files of rows there are, at most."""

    most = 0

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        for result in super().each(stage, function, tasks):
            count = sum(type(one) is OrderFileRecord for one in gc.get_objects())
            self.most = max(self.most, count)
            yield result


def test_the_records_of_files_of_rows_do_not_gather(tmp_path: Path) -> None:
    write(tmp_path / "pool", [Row(f"{number}", [number]) for number in range(20)])
    spec = OrderSpec(seed=1, global_batch_size=1, max_seq_len=3, window_tokens=1)
    cluster = CountsRecords()
    described, _ = shuffle_pool(
        **shuffled(tmp_path / "pool", tmp_path / "out", spec), cluster=cluster
    )
    assert len(described.windows) == 20  # Of one file each.
    assert cluster.most <= 3


def samples(asked: dict[str, Any]) -> list[int]:
    """Return the pool's rows in order."""
    return asked["job"].load_permutation().samples(0, asked["job"].num_samples).tolist()


def look(row: Row, spec: OrderSpec) -> list[int]:
    """Return a row under the view, by its words."""
    ids = list(row.ids)
    if spec.view == "stored":
        return ids
    if ids[0] != CLS:
        ids.insert(0, CLS)
    ids = ids[: spec.max_seq_len]
    if spec.view == "encoder" and ids[-1] != SEP:
        ids = [*ids[: spec.max_seq_len - 1], SEP]
    return ids


def step_files(room: Path, windows: Sequence[OrderedWindow], suffix: str) -> list[Path]:
    """Return the files of all windows, in order."""
    return [
        path
        for window in windows
        for path in sorted((room / Path(window.folder).name).iterdir())
        if path.name.endswith(suffix)
    ]


def written_rows(out: Path, windows: Sequence[OrderedWindow], spec: OrderSpec) -> list[list[int]]:
    """Read the rows back by other means than the stage's own."""
    if spec.format == "mds":
        index = json.loads((out / "order" / "index.json").read_bytes())
        return [row.ids for row in read(out / "order", index)]
    return [
        ids
        for path in step_files(out / "order", windows, ".parquet")
        for ids in pq.read_table(path)["input_ids"].to_pylist()
    ]


@pytest.mark.parametrize("data", [b"", b"[" * 5_000, b"\x93NUMPY\x01\0v\0{"])
@pytest.mark.parametrize("limits", [ONE_PASS, TWO_PASSES])
@pytest.mark.parametrize("breaks_before", [9, 60])
def test_damaged_work_of_a_stopped_run_is_made_again(
    tmp_path: Path, data: bytes, limits: Limits, breaks_before: int
) -> None:
    asked, plain = stopped(tmp_path, limits, breaks_before)
    for path in (tmp_path / "out" / ".ettin").rglob("*"):
        if path.is_file():
            path.write_bytes(data)
    assert shuffle_pool(**asked, cluster=Here()) == plain


def test_work_that_is_damaged_meanwhile_is_said_in_one_line(tmp_path: Path) -> None:
    path = State(out=tmp_path).pool_files
    path.parent.mkdir(parents=True)
    for data in (b"", b"[" * 5_000, b"7", b"\xff"):
        path.write_bytes(data)
        with pytest.raises(OutputError, match="got damaged work of an unfinished run"):
            load_files(State(out=tmp_path))
