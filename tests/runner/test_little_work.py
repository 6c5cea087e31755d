"""Little work is done in one process without compiled code, to the same bytes."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import builds
from support.little import cover
from support.mds import read, write
from support.strategies import QUICK, rows

from pipeline.config.load import load_mixture
from pipeline.core.compiled import Compiled
from pipeline.core.ragged import Rows, copy_ranges, offsets_of
from pipeline.dataset.mds import kernels, writer
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.shard import Columns, MdsShard, table_of
from pipeline.dataset.provenance import document_index
from pipeline.order import view
from pipeline.order.permutation import feistel
from pipeline.order.permutation.key import PermutationKey
from pipeline.runner import open_cluster
from pipeline.runner.cluster import InProcess
from pipeline.runner.run import build
from pipeline.runner.shuffle import write as order_writer
from pipeline.stages.tokenizer import Tokenizer

KILLS = 2


def _quiet(stage: str, done: int, total: int, *_: object) -> None:
    pass


def test_the_sample_is_built_without_compiled_code(tmp_path: Path) -> None:
    folder, out = tmp_path / "compiled", tmp_path / "out"
    builds.run_well("build", "sample", "--out", out, NUMBA_CACHE_DIR=str(folder))
    assert not folder.exists()
    builds.run_well("verify", out, "--manifest", "sample")


@pytest.mark.parametrize(
    "answers", [(False,), (True,), (True, False), (True, True, False)], ids=str
)
def test_with_and_without_compiled_code_and_in_turn_the_bytes_are_the_same(
    small: Path,
    expected: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answers: tuple[bool, ...],
) -> None:
    cover(monkeypatch, *answers)
    # The tokenizer that another test has loaded stays with the kernel.
    monkeypatch.setattr(Tokenizer, "has_loaded", False)
    out = tmp_path / "out"
    build(load_mixture(small), out, workers=None, scheduler=None, report=_quiet)
    assert builds.differences(builds.digests(out), expected) == []


def test_a_build_in_one_process_that_is_killed_goes_on_to_the_same_bytes(
    small: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    out, rng = tmp_path / "out", random.Random(21)
    began = time.monotonic()
    builds.well(builds.run_alone("build", small, "--out", tmp_path / "timed"))
    seconds = time.monotonic() - began
    for _ in range(KILLS):
        process = builds.start("build", small, "--out", out)
        time.sleep(rng.uniform(0.3, 1) * seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    builds.run_well("build", small, "--out", out)
    assert builds.differences(builds.digests(out), expected) == []


def test_ctrl_c_ends_a_build_in_one_process(
    small: Path, expected: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = builds.start("build", small, "--out", out, stderr=subprocess.PIPE)
    while not (out / ".ettin" / "records").exists():
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=builds.SECONDS)
    assert process.returncode == 130
    assert stderr.endswith("interrupted; run the same command again to resume\n")
    builds.run_well("build", small, "--out", out)
    assert builds.differences(builds.digests(out), expected) == []


class _Local:
    """What starts workers, without them."""

    started: ClassVar[list[int]] = []

    def __init__(self, number: int) -> None:
        self.started.append(number)

    def start(self) -> None: ...

    def stop(self) -> None: ...


@pytest.mark.parametrize(
    ("workers", "num_bytes", "started"),
    [
        (None, 8 << 20, []),
        (None, (8 << 20) + 1, [os.cpu_count()]),
        (None, None, [os.cpu_count()]),
        (3, 1, [3]),
    ],
)
def test_workers_are_started_for_more_than_little_or_where_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    workers: int | None,
    num_bytes: int | None,
    started: list[int | None],
) -> None:
    monkeypatch.setattr("pipeline.runner.local_cluster.LocalWorkers", _Local)
    monkeypatch.setattr(_Local, "started", [])
    with open_cluster.open_cluster(workers, None, _quiet, None, num_bytes) as cluster:
        assert isinstance(cluster, InProcess) == (not started)
    assert _Local.started == started


# Each function that may run as Python, against itself compiled

MODULES = (kernels, writer, document_index, view, feistel, order_writer)
LATE = {
    *("copy_ranges", "read_lengths", "copy_rows", "copy_names", "scan_rows", "locate_column"),
    *("locate_ids", "_encode_rows", "document_hashes", "_apply", "_walk", "_put_lengths"),
    *("_differ_from_next", "read_bounds", "read_rows", "copy_ids"),
}


def both(function: Compiled, *arguments: object) -> None:
    """Call a function both ways; insist on equal results and equal arrays afterwards."""

    def copies() -> list[object]:
        return [one.copy() if isinstance(one, np.ndarray) else one for one in arguments]

    compiled, python = copies(), copies()
    results = function.dispatcher(*compiled), function._run_as_python(tuple(python))
    np.testing.assert_equal(*results)
    for one, other in zip(compiled, python, strict=True):
        np.testing.assert_array_equal(one, other)


def test_every_function_that_may_run_as_python_is_tested_here() -> None:
    found = {
        one.py_func.__name__
        for module in MODULES
        for one in vars(module).values()
        if isinstance(one, Compiled) and one._budget is not None
    }
    assert found == LATE - {"copy_ranges"}


numbers = st.integers(0, (1 << 32) - 1)
lists = st.lists(st.lists(numbers, max_size=9), min_size=1, max_size=9)


@QUICK
@given(lists, st.integers(-1, 1), st.booleans(), st.integers(0, 9))
def test_loops_over_rows(drawn: list[list[int]], cls_id: int, is_encoder: bool, most: int) -> None:
    stored = Rows.pack([np.array(one, np.uint32) for one in drawn])
    starts, lengths = stored.offsets[:-1], stored.lengths()
    both(copy_ranges, stored.values, starts[::-1].copy(), lengths[::-1].copy(),
         np.zeros_like(stored.values), np.cumsum(lengths[::-1]) - lengths[::-1])  # fmt: skip
    out = np.zeros(int(stored.offsets[-1]) + len(stored), np.uint32)
    both(order_writer._put_lengths, stored.values, stored.offsets, out)
    offsets = offsets_of(np.minimum(lengths + 1, most))
    shown = np.zeros(int(offsets[-1]), np.uint32)
    both(view._apply, stored.values, stored.offsets, offsets, is_encoder, cls_id, 7, shown)
    texts = stored.values.view(np.uint8), 4 * stored.offsets
    both(document_index.document_hashes, *texts)
    both(document_index._differ_from_next, *texts)


@QUICK
@given(st.integers(1, 5000), st.lists(st.integers(0, 1 << 62)), st.integers(0, 1 << 40))
def test_a_permutation(num_samples: int, places: list[int], seed: int) -> None:
    key = PermutationKey(algorithm="feistel-v1", seed=seed, epoch=0, num_samples=num_samples)
    made = feistel.load(key, Path())
    cells = np.array([place % num_samples for place in places], np.uint64)
    for is_forward in (True, False):
        both(feistel._walk, cells, np.uint64(num_samples), np.uint64(made.side),
             made.round_keys, is_forward)  # fmt: skip


@QUICK
@given(st.data())
def test_shards(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["uint16", "uint32"]))
    written = data.draw(rows(np.iinfo(dtype).max))
    seen = []
    for answer in (False, True):
        folder = tmp_path_factory.mktemp("rows")
        with pytest.MonkeyPatch.context() as patch:
            cover(patch, answer)
            index = write(folder, written, dtype=dtype)
            assert read(folder, index) == written
            shards = [
                MdsShard(
                    path=folder / one["raw_data"]["basename"], columns=Columns.of(one, "index")
                )
                for one in index["shards"]
            ]
            tables = [table_of(shard, 1, 2).tobytes() for shard in shards]
            ids, names = Pool.open(folder).take_named(np.arange(len(written))[::-1])
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        seen.append((files, tables, [one.tolist() for one in (*ids, *names)]))
    assert seen[0] == seen[1]
