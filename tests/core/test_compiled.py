"""Compiled functions: the cache on disk notices a change in any file that is compiled in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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

print(outer(1), sum(outer.stats.cache_hits.values()))
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


def test_without_a_folder_to_write_to_it_compiles_in_each_process(tmp_path: Path) -> None:
    (tmp_path / "inner.py").write_text(INNER.format(1))
    (tmp_path / "outer.py").write_text(OUTER.format(imported="from inner import add", called="add"))
    # What is compiled from a string has no file, so numba finds no place for its cache.
    command = "import sys; sys.path.insert(0, '.'); exec(open('outer.py').read())"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout.split() == [b"2", b"0"]
