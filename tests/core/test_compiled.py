"""Compiled functions: the cache on disk notices a change in any file that is compiled in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.compiled import Budget, little_work

INNER = "from numba import njit\n@njit\ndef add(x):\n    return x + {}\n"
OUTER = """
from numba import njit
{imported}
from pipeline.core.compiled import compiled

@compiled
def outer(x):
    return middle(x)

@njit
def middle(x):
    return {called}(x)

print(outer(1), sum(outer.dispatcher.stats.cache_hits.values()))
"""


def run(folder: Path) -> list[int]:
    """Return the result of the compiled function, and how often it came from the cache."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "outer.py"], cwd=folder, env=environment, capture_output=True, check=True
    )
    return [int(number) for number in done.stdout.split()]


@pytest.mark.parametrize(
    ("imported", "called"),
    [("from inner import add", "add"), ("import inner", "inner.add")],
    ids=["function", "module"],
)
def test_a_change_in_another_file_compiles_anew(tmp_path: Path, imported: str, called: str) -> None:
    (tmp_path / "outer.py").write_text(OUTER.format(imported=imported, called=called))
    (tmp_path / "inner.py").write_text(INNER.format(1))
    assert run(tmp_path) == [2, 0]
    assert run(tmp_path) == [2, 1]
    (tmp_path / "inner.py").write_text(INNER.format(2))
    assert run(tmp_path) == [3, 0]
    assert run(tmp_path) == [3, 1]


def test_of_processes_that_start_together_one_compiles(tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text(OUTER.format(imported="from inner import add", called="add"))
    (tmp_path / "inner.py").write_text(INNER.format(1))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    started = [
        subprocess.Popen(
            [sys.executable, "outer.py"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    printed = [process.communicate()[0].split() for process in started]
    assert sorted(printed) == [[b"2", b"0"], [b"2", b"1"], [b"2", b"1"]]


def test_without_a_folder_to_write_to_it_compiles_in_each_process(tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text(INNER.format(1))
    (tmp_path / "outer.py").write_text(OUTER.format(imported="from inner import add", called="add"))
    # What is compiled from a string has no file, so numba finds no place for its cache.
    command = "import sys; sys.path.insert(0, '.'); exec(open('outer.py').read())"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout.split() == [b"2", b"0"]


PRIVATE = """
import os
import numba.core.caching as caching
caching.CacheImpl._locator_classes = [caching.UserProvidedCacheLocator]
import outer
print(os.environ["NUMBA_CACHE_DIR"], len(list(os.scandir(os.environ["NUMBA_CACHE_DIR"]))))
"""


def start(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (folder / "inner.py").write_text(INNER.format(1))
    (folder / "outer.py").write_text(OUTER.format(imported="from inner import add", called="add"))
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, '.')\n{code}"],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip


def test_a_private_folder_that_is_removed_takes_the_place_of_one_that_cannot_be_written(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    done = start(tmp_path, PRIVATE, NUMBA_CACHE_DIR=str(tmp_path / "file"))
    result, private, num_inside = done.stdout.split("\n")[0], *done.stdout.split()[2:]
    assert (result, num_inside) == ("2 0", "1")
    assert done.stderr == (
        f"compiled code is kept in {private} for this command only; "
        "NUMBA_CACHE_DIR names a folder that stays\n"
    )
    assert not Path(private).exists()


def test_compiling_is_announced_once_and_only_where_the_disk_has_nothing(tmp_path: Path) -> None:
    code = """
from pipeline.core.compiled import announced, compiled
with announced(lambda: print("compiles")):
    import outer
    print(compiled(lambda x: x)(3))
"""
    first, second = (start(tmp_path, code, NUMBA_CACHE_DIR=str(tmp_path / "c")) for _ in range(2))
    assert first.stdout.split() == ["compiles", "2", "0", "3"]
    # A function of a string has no file to keep its code for.
    assert second.stdout.split() == ["2", "1", "3"]


def test_damaged_code_is_compiled_again_and_a_full_disk_costs_a_line(tmp_path: Path) -> None:
    assert start(tmp_path, "import outer", NUMBA_CACHE_DIR=str(tmp_path / "c")).stdout == "2 0\n"
    for path in (tmp_path / "c").rglob("*.nb*"):
        path.write_bytes(path.read_bytes()[:20])
    assert start(tmp_path, "import outer", NUMBA_CACHE_DIR=str(tmp_path / "c")).stdout == "2 0\n"
    assert start(tmp_path, "import outer", NUMBA_CACHE_DIR=str(tmp_path / "c")).stdout == "2 1\n"
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))\nimport outer"
    full = start(tmp_path, limited, NUMBA_CACHE_DIR=str(tmp_path / "d"))
    assert full.stdout == "2 0\n"
    assert full.stderr == (
        f"compiled code cannot be kept in {tmp_path / 'd'} (File too large); "
        "NUMBA_CACHE_DIR names another folder\n"
    )


def test_a_budget_covers_little_work_until_it_is_exceeded_once() -> None:
    budget = Budget(10)
    assert not budget.covers(1)
    with little_work():
        assert budget.covers(6)
        assert budget.covers(3)
        assert not budget.covers(3)
        assert not budget.covers(0)
    assert not Budget(10).covers(1)


def test_no_command_loads_numba_before_it_calls_compiled_code() -> None:
    rooms = "pipeline.cli, pipeline.runner, pipeline.feed, pipeline.audit"
    code = f"import sys, {rooms}; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
