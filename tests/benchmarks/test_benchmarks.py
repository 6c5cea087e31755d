"""Benchmarks start, and those that take small sizes run through and fill their tables."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

ROOT = REPOSITORY
MODULES = sorted(
    path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith("test_")
)

_HELP = """
import runpy, sys
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    try:
        runpy.run_module(f"tests.benchmarks.{name}", run_name="__main__")
    except SystemExit as end:
        assert not end.code, name
"""
_SMALL = {
    "build_speed": "CORPUS --shares",
    "dedup_speed": "CORPUS --copies 9 --made-up 1000 --texts 12",
    "draw_memory": "--sizes 80000 400000",
    "feed_jumps": "CORPUS/jumps --pools 100 300",
    "feed_speed": "CORPUS --work CORPUS/feed --repetitions 1 --seconds 0.01 --step-rows 8",
    "filter_speed": "CORPUS --take 0.02 --repetitions 1",
    "growth": "CORPUS --files 5 10",
    "growth_rows": "CORPUS --rows 1e5 1e6 --partitions 50",
    "largest_first": "--tasks 4 --seconds 0.01 --repetitions 1",
    "lock_speed": "--files 1500 --urls 5",
    "manifest_speed": "--partitions 40 --repetitions 1",
    "pull_speed": "--large 2 100000 --small 5 100 --repetitions 1",
    # The fewest steps that every place of reading fits in.
    "remote_bytes": "--rows 210000 --mean-length 4",
    "search_speed": "--tokens 1e6 --memory 8MiB",
    "train_speed": "CORPUS/rows --device cpu --sizes tiny --seconds 0.1",
}
"""The arguments by benchmark; `CORPUS` stands for its folder."""
_NUM_LINES = {
    "build_speed": 11,
    "dedup_speed": 4,
    "draw_memory": 2,
    "feed_jumps": 2,
    "feed_speed": 19,
    "filter_speed": 10,
    "growth": 7,
    "growth_rows": 3,
    "largest_first": 1,
    "lock_speed": 2,
    "manifest_speed": 3,
    "pull_speed": 2,
    "remote_bytes": 8,
    "search_speed": 10,
    "train_speed": 2,
}
_LIBRARIES = {
    "feed_speed": ("datasets", "torch", "transformers"),
    "filter_speed": ("datatrove",),
    "train_speed": ("torch", "transformers"),
}


def run(*arguments: str, folder: Path) -> str:
    """Run Python as a user does, with no path of its own; return what is printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**environment, "HF_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A corpus of few texts, as `tests.benchmarks.corpus` would make it."""
    for kind in ("code", "prose"):
        folder = tmp_path / "corpus" / kind
        folder.mkdir(parents=True)
        texts = [f"{kind} of number {i} has a few words.\nA line ends so." for i in range(30)]
        records = [{"id": f"{kind}-{i}", "text": text * 20} for i, text in enumerate(texts)]
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (folder / f"{kind}-0000.jsonl").write_text(lines)
    (tmp_path / "corpus" / "megabytes-200").touch()
    return tmp_path / "corpus"


def test_every_benchmark_starts(tmp_path: Path) -> None:
    out = run("-c", _HELP, *MODULES, folder=tmp_path)
    assert [line.split()[1] for line in out.splitlines() if line.startswith("usage: ")] == MODULES


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(_SMALL))
def test_a_small_benchmark_fills_its_table(name: str, tmp_path: Path, corpus: Path) -> None:
    for library in _LIBRARIES.get(name, ()):
        pytest.importorskip(library)
    arguments = _SMALL[name].replace("CORPUS", str(corpus)).split()
    out = run("-m", f"tests.benchmarks.{name}", *arguments, folder=tmp_path)
    lines = [line for line in out.splitlines() if not line.startswith("|--")]
    # The head of each table is a line more.
    filled = [line for line in lines if any(character.isdigit() for character in line)]
    assert len(filled) == _NUM_LINES[name], out
