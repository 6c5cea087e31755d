"""The rows of an order without any of its own, written later: the bytes of one that had them."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from support import builds
from support.index_orders import INDEX, ON_DISK, exchange, order, write_pool

from pipeline import dataset
from pipeline.core.errors import ConfigError
from pipeline.runner import output_lock
from pipeline.runner.shuffle import write

BUILT_INDEX = ("--set", "order.rows=index")


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pool(tmp_path_factory.mktemp("of") / "pool")


@pytest.fixture(scope="module")
def built(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small mixture without rows in order; not to be changed."""
    out = tmp_path_factory.mktemp("built") / "out"
    builds.run_well("build", small, "--out", out, *BUILT_INDEX)
    return out


def same(one: Path, other: Path) -> None:
    assert builds.differences(builds.digests(one), builds.digests(other)) == []


@pytest.mark.parametrize("memory", [(), ON_DISK], ids=["in memory", "on disk"])
@pytest.mark.parametrize(("view", "form"), [("encoder", "mds"), ("decoder", "parquet")])
def test_rows_written_later_are_those_that_are_written_at_once(
    view: str, form: str, memory: tuple[str, ...], pool: Path, tmp_path: Path
) -> None:
    written = order(pool, tmp_path / "written", view=view, form=form)
    out = order(pool, tmp_path / "out", *INDEX, view=view, form=form)
    told = builds.run_well("order", out, "--materialise", *memory)
    assert told.startswith(f"{out}: 80 rows written")
    same(out, written)


def test_a_build_without_rows_is_the_build_once_they_are_written(
    built: Path, small: Path, finished: Path, tmp_path: Path
) -> None:
    assert [path.name for path in (built / "order").iterdir() if path.is_dir()] == []
    builds.run_well("verify", built)
    builds.run_well("verify", built, "--manifest", finished / "manifest.json")
    assert dataset.open(built).digest == dataset.open(finished).digest
    out = tmp_path / "out"
    shutil.copytree(built, out)
    builds.run_well("order", out, "--materialise")
    same(out, finished)
    # No input is read again, and nothing made again, once it is a build like any other.
    builds.run_well("build", small, "--out", out)
    same(out, finished)


def test_a_manifest_with_rows_proves_the_permutation_that_it_does_not_list(
    built: Path, finished: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(built, tmp_path / "out")
    exchange(out, next((out / "order").glob("*.npy")), at=128)
    builds.run_well("verify", out)
    told = builds.run("verify", out, "--manifest", finished / "manifest.json")
    assert told.returncode == 1
    assert "are not those of the ledger" in told.stdout


def test_the_same_output_takes_either_setting(
    built: Path, small: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(built, out)
    builds.run_well("build", small, "--out", out)
    same(out, finished)
    builds.run_well("build", small, "--out", out, *BUILT_INDEX)
    same(out, built)
    builds.run_well("build", small, "--out", out, *BUILT_INDEX)
    same(out, built)


def test_a_holdout_has_rows_of_its_own(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    builds.run_well("build", small, "--out", out, *BUILT_INDEX, "--set", "validation.fraction=0.5")
    builds.run_well("verify", out)
    assert [*(out / "validation/order").glob("*/*.parquet")]
    assert not [*(out / "order").glob("*/*.parquet")]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_one_that_is_stopped_can_be_read_and_goes_on(
    after: int, pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = order(pool, tmp_path / "written")
    out = order(pool, tmp_path / "out", *INDEX)
    made: list[str] = []
    real = write._write

    def some(task: write.OrderTask) -> object:
        if len(made) == after:
            raise KeyboardInterrupt
        made.append(task.file.path)
        return real(task)

    monkeypatch.setattr(write, "_write", some)
    assert builds.run("order", out, "--materialise").returncode == 130
    assert dataset.open(out).rows.num_rows == 80
    made.clear()
    monkeypatch.setattr(write, "_write", lambda task: made.append(task.file.path) or real(task))
    builds.run_well("order", out, "--materialise")
    # What was there is not made again.
    assert len(made) == len(list((written / "order").glob("checkpoint_*/*"))) - after
    same(out, written)


def test_one_that_is_stopped_at_the_very_end_leaves_nothing_of_its_own(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, out = order(pool, tmp_path / "written"), order(pool, tmp_path / "out", *INDEX)

    def stop(state: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(output_lock, "release", stop)
        assert builds.run("order", out, "--materialise").returncode == 130
    assert (out / ".ettin").exists()
    builds.run_well("order", out, "--materialise")
    same(out, written)


def test_work_of_one_setting_is_not_taken_for_that_of_the_other(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    real = write._write

    def some(task: write.OrderTask) -> object:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(task.file.path)
        return real(task)

    with monkeypatch.context() as patch:
        patch.setattr(write, "_write", some)
        with pytest.raises(AssertionError, match="exit 130"):
            order(pool, tmp_path / "out")
    order(pool, tmp_path / "out", *INDEX)
    same(tmp_path / "out", order(pool, tmp_path / "index", *INDEX))


def test_workers_of_other_machines_must_see_the_pool(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = order(pool, tmp_path / "out", *INDEX)
    asked: dict[str, Any] = {}

    def ask(*arguments: object, **options: object) -> None:
        asked.update(options)
        raise ConfigError("asked")

    monkeypatch.setattr(sys.modules["pipeline.runner.materialise"], "open_cluster", ask)
    assert builds.run("order", out, "--materialise").returncode == 2
    assert asked["files"] == [pool / "index.json"]


def test_what_it_cannot_do_is_an_error_that_says_why(pool: Path, tmp_path: Path) -> None:
    written = order(pool, tmp_path / "written")
    for arguments, said in [
        ((written, "--materialise"), "got an order whose rows are written"),
        ((written, "--materialise", "--out", tmp_path / "x"), "--out: got it with --materialise"),
        ((pool, "--materialise"), "manifest.json: cannot be read"),
        ((pool,), "--out: got nothing, expected the output folder"),
    ]:
        told = builds.run("order", *arguments)
        assert told.returncode in (1, 2)
        assert said in told.stderr


def test_rows_of_another_pool_are_not_put_in_its_place(pool: Path, tmp_path: Path) -> None:
    shutil.copytree(pool, tmp_path / "pool")
    out = order(tmp_path / "pool", tmp_path / "out", *INDEX)
    before = builds.digests(out)
    path = tmp_path / "pool/shard.00003.mds"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    told = builds.run("order", out, "--materialise")
    assert told.returncode == 1
    assert "got other rows than those of the ledger" in told.stderr
    path.write_bytes(data)
    now = builds.digests(out)
    assert {name: now[name] for name in before} == before
    builds.run_well("order", out, "--materialise")
    same(out, order(pool, tmp_path / "written"))
