"""Limits: that on open files is raised; what is too low is refused before any work."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from support import builds

from pipeline.core import limits
from pipeline.core.errors import ConfigError
from pipeline.core.limits import (
    check_memory,
    check_open_files,
    default_memory_bytes,
    machine_memory_bytes,
    num_cores,
    part_of_open_files,
    process_memory_bytes,
    raise_open_files,
)
from pipeline.runner.open_cluster import open_cluster


@pytest.fixture(autouse=True)
def _restored() -> object:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_becomes_the_hard_one() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    raise_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_part_of_the_limit_is_that_of_now() -> None:
    """Not of when a module was imported, which is before the limit is raised."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    assert (part_of_open_files(4, 1000), part_of_open_files(4, 50)) == (64, 50)
    raise_open_files()
    assert part_of_open_files(4, 4096) == min(hard // 4, 4096) > 64
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
    assert part_of_open_files(4, 1000) == 16


def test_a_pool_keeps_as_many_files_open_as_the_raised_limit_allows() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    program = (
        "import resource\n"
        f"resource.setrlimit(resource.RLIMIT_NOFILE, (64, {hard}))\n"
        "import numpy as np\n"
        "from pipeline.core.limits import raise_open_files\n"
        "from pipeline.dataset.mds.pool import Pool\n"
        "from pipeline.dataset.mds.random_access import ShardFiles\n"
        "raise_open_files()\n"
        "none = np.empty(0, np.int64)\n"
        "print(Pool(shards=(), num_rows=none)._most_open, ShardFiles((), none)._most_files)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=builds.environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(min(256, hard // 4)), str(min(4096, hard // 2))]


def test_a_limit_that_is_too_low_is_refused() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    check_open_files(256, "here", ", or leave")
    expected = (
        r"^here: got a limit of 256 open files, expected at least 257\n"
        r"hint: .*`ulimit -n 257`.*, or leave$"
    )
    with pytest.raises(ConfigError, match=expected):
        check_open_files(257, "here", ", or leave")


@pytest.mark.parametrize(
    ("limit", "workers", "where", "needed"),
    [(100, ("--workers", "40"), "--workers 40", 568), (40, (), "this process", 64)],
    ids=["workers", "one process"],
)
def test_a_build_says_before_it_begins_that_the_limit_is_too_low(
    limit: int, workers: tuple[str, ...], where: str, needed: int, tmp_path: Path
) -> None:
    mixture = builds.write_inputs(tmp_path)
    command = (sys.executable, "-m", "pipeline", "build", mixture, "--out", tmp_path / "out")
    done = subprocess.run(
        ["sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh", *command, *workers],
        env=builds.environment(), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    error, hint, _guide = done.stderr.splitlines()
    assert error == f"error: {where}: got a limit of {limit} open files, expected at least {needed}"
    assert hint.startswith(f"hint: raise it with `ulimit -n {needed}`")


def test_memory_is_that_of_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    physical = machine_memory_bytes()
    monkeypatch.setattr(limits, "_GROUPS", tmp_path)
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("1048576\n")
        assert (machine_memory_bytes(), default_memory_bytes()) == (1 << 20, 1 << 19)
        path.write_text("max\n")
        assert machine_memory_bytes() >= physical


def test_cores_are_those_of_the_container_and_of_the_affinity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_GROUPS", tmp_path)
    monkeypatch.setattr(limits.os, "sched_getaffinity", lambda _: {*range(8)})
    assert num_cores() == 8
    (tmp_path / "cpu.max").write_text("350000 100000\n")
    assert num_cores() == 3
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert num_cores() == 8
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    for quota, cores in ((50_000, 1), (600_000, 6), (-1, 8), (900_000, 8)):
        (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        assert num_cores() == cores


@pytest.mark.parametrize("limit", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_memory_of_a_process_is_what_its_limits_allow(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert process_memory_bytes() <= machine_memory_bytes()
    infinite = resource.RLIM_INFINITY
    monkeypatch.setattr(
        resource, "getrlimit", lambda of: (1 << 20 if of == limit else infinite, infinite)
    )
    assert process_memory_bytes() == 1 << 20 < machine_memory_bytes()
    assert default_memory_bytes() == 1 << 19
    with pytest.raises(ConfigError, match=r"here: got a limit of 1MiB of memory a .* least 768MiB"):
        check_memory(1, "here")


def test_workers_that_have_too_little_memory_are_not_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "machine_memory_bytes", lambda: 384 << 20)
    check_memory(3, "here")
    expected = r"^--workers 3: got 384MiB of memory for 4 processes, expected at least 512MiB\nhint"
    with (
        pytest.raises(ConfigError, match=expected),
        open_cluster(3, None, lambda *_: None),
    ):
        pass
