"""The guide to existing Streaming code, run by the public MDS package.

Needs the interpreter that `tests/oracle/setup.sh FOLDER` makes:
`ETTIN_ORACLE_PYTHON=FOLDER/bin/python python -m pytest -m oracle`.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support import pages
from support.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "guide" / "streaming.md"
_PYTHON = os.environ.get("ETTIN_ORACLE_PYTHON")

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(_PYTHON is None, reason="ETTIN_ORACLE_PYTHON names no interpreter"),
]


@pytest.fixture(scope="module")
def folder(sample_output: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder: the sample, what the page builds, and its scripts."""
    folder = tmp_path_factory.mktemp("streaming")
    shutil.copytree(sample_output, folder / "sample-out")
    for block in pages.blocks(PAGE):
        if block.kind == "run":
            pages.run_block(block, folder)
        elif block.kind == "file":
            (folder / block.about).write_text(block.text)
    return folder


def public(script: str, folder: Path) -> str:
    """Run a shell script with the interpreter of the public package; return its stdout."""
    assert _PYTHON is not None
    path = f"{Path(_PYTHON).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=folder, env={**os.environ, "PATH": path, "PYTHONWARNINGS": "ignore", "PYTHONPATH": ""},
        stdout=subprocess.PIPE, text=True, timeout=300, check=True,
    ).stdout  # fmt: skip


def commands(file: str) -> list[str]:
    """Return the commands of the page that run a file."""
    shown = [block.text for block in pages.blocks(PAGE) if block.kind == "covered"]
    return [line for text in shown for line in text.splitlines() if file in line]


def ordered_rows(folder: Path, out: str) -> list[list[int]]:
    files = sorted((folder / out).glob("order/checkpoint_*/*.parquet"))
    return [row for file in files for row in pq.read_table(file)["input_ids"].to_pylist()]


def test_sources_are_read_as_they_are(folder: Path) -> None:
    [command] = commands("read_sources.py")
    counted = [int(number) for number in re.findall(r"^(\d+) rows", public(command, folder), re.M)]
    manifest = json.loads((folder / "sample-out" / "manifest.json").read_bytes())
    assert counted[0] == manifest["order"]["num_samples"]
    assert 0 < counted[1] < counted[0]


def test_rows_come_in_our_order_on_one_rank_and_on_two(folder: Path) -> None:
    rows = ordered_rows(folder, "sample-out")
    for world_size, command in enumerate(commands("read_order.py"), 1):
        found = [
            (int(size), int(longest), json.loads(ids))
            for size, longest, ids in re.findall(
                r"Size\(\[(\d+), (\d+)\]\) (\[.*?\])", public(command, folder)
            )
        ]
        rows_of_step = 4 * world_size
        steps = [rows[at : at + rows_of_step] for at in range(0, len(rows), rows_of_step)]
        batches = [step[rank::world_size] for step in steps for rank in range(world_size)]
        expected = [(len(batch), max(map(len, batch)), batch[0][:8]) for batch in batches]
        # Of two ranks, lines come as they are printed.
        assert sorted(found) == sorted(expected)
        assert world_size == 2 or found == expected


CHECKS = """
import json
from read_order import make_loader

def rows(batches):
    found = []
    for batch in batches:
        for ids, mask in zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist()):
            found.append(ids[: sum(mask)])
    return found

everything = rows(make_loader("ordered/order"))
loader = make_loader("ordered/order")
ahead = iter(loader)
head = rows(next(ahead) for _ in range(3))
state = loader.state_dict()
del ahead, loader
again = make_loader("ordered/order")
again.load_state_dict(state)
remote = rows(make_loader("cache", "ordered/order"))
reordered = rows(make_loader("reordered/order"))
print(json.dumps([everything, head + rows(again), remote, reordered]))
"""


def test_every_row_comes_whole_after_resuming_too_and_from_a_remote_folder(folder: Path) -> None:
    (folder / "checks.py").write_text(CHECKS)
    everything, resumed, remote, reordered = json.loads(public("python checks.py", folder))
    assert everything == ordered_rows(folder, "sample-out")
    assert resumed == remote == everything
    assert len(reordered) == len(everything)
    assert reordered != everything


PARTITIONS = """
import json
from streaming.base.partition import get_partitions

steps = []
for nodes, ranks in ((1, 1), (1, 2), (1, 8), (2, 4), (4, 1)):
    for workers in (1, 2):
        # By node, rank of the node, worker, batch and place.
        given = get_partitions("relaxed", 64, 1, nodes, ranks, workers, 2)
        for batch in range(given.shape[3]):
            for worker in range(workers):
                steps.append(sorted(given[:, :, worker, batch].ravel().tolist()))
print(json.dumps(steps))
"""


def test_a_batch_of_all_ranks_is_a_range_of_rows(folder: Path) -> None:
    steps = json.loads(public(f"python - <<'END'\n{PARTITIONS}\nEND", folder))
    assert len(steps) > 100
    assert all(step == list(range(step[0], step[0] + len(step))) for step in steps)
