"""A few hundred simulated operations, and bugs that are put in to be found."""

import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from pipeline.audit.trace import lookup
from pipeline.audit.verify import check_output
from pipeline.core import files
from pipeline.core.digest import FileDigest
from pipeline.feed.feed import Feed
from pipeline.runner import output_lock
from pipeline.runner.shuffle import gather
from pipeline.stages import holdout
from pipeline.stages.dedup import clusters

from . import commands
from .disk import Disk
from .machine import Tally, simulate
from .model import INPUTS, NUM_VERSIONS, VARIANTS, World

MOST_OPERATIONS = 1000
Patch = Callable[[], AbstractContextManager[Any]]


@pytest.mark.parametrize("seed", range(2))
def test_nothing_that_happens_changes_a_byte(seed: int, tmp_path: Path) -> None:
    tally = Tally()
    simulate(seed, examples=3, steps=40, references=tmp_path, tally=tally, shrinks=False)
    assert tally.num_operations > 100


@pytest.mark.slow
def test_a_seed_replays(tmp_path: Path) -> None:
    def traced() -> list[str]:
        trace: list[str] = []
        main, count = commands.main, Disk.operation

        def run(arguments: list[str]) -> int:
            trace.append(arguments[0])
            trace.append(f"{main(arguments)}")
            return int(trace[-1])

        def operation(disk: Disk, name: str, path: str) -> bool:
            trace.append(f"{name} {disk.num_operations}")
            return count(disk, name, path)

        with (
            mock.patch.object(commands, "main", run),
            mock.patch.object(Disk, "operation", operation),
        ):
            simulate(0, examples=2, steps=20, references=tmp_path, tally=Tally(), shrinks=False)
        return trace

    traced()  # References are built once.
    first = traced()
    assert len(first) > 100
    assert traced() == first


def replaced(where: Any, name: str, value: Any) -> Patch:
    return partial(mock.patch.object, where, name, value)


def _later(rows: Any) -> Any:
    def rows_(self: Any, span: Any) -> Any:
        return (
            rows(self, replace(span, start_row=span.start_row - 1, stop_row=span.stop_row - 1))
            if span.start_row
            else rows(self, span)
        )

    return rows_


def _turned(place: Any) -> Any:
    return lambda values, ends, target, places: place(values, ends, target, places[::-1].copy())


def _skips_one(load: Any) -> Any:
    def load_state_dict(self: Feed, state: Any) -> None:
        load(self, state)
        self.row += 1

    return load_state_dict


BUGS: dict[str, Patch] = {
    "damage to finished work is not noticed": replaced(FileDigest, "matches", lambda *_: True),
    "files of an earlier build stay": replaced(output_lock, "_remove_unknown", lambda *_: None),
    "an output of another mixture is taken": replaced(output_lock, "_check_owner", lambda *_: None),
    "files are not synced": replaced(files, "sync", lambda _: None),
    "verify reads no file": replaced(check_output, "_check", lambda *_: None),
    "verify sees no strangers": replaced(check_output, "_files", lambda _: set()),
    "a feed goes on a row late": replaced(
        Feed, "load_state_dict", _skips_one(Feed.load_state_dict)
    ),
    "texts that recur are compared unsorted": replaced(
        clusters, "_sorted", lambda records: records
    ),
    "the seed of a holdout is left out": replaced(holdout, "_numbers", lambda digests, _: digests),
    "rows on disk are put in another order": replaced(gather, "_place", _turned(gather._place)),
    "trace is off by one": replaced(lookup.Trace, "rows", _later(lookup.Trace.rows)),
}


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every mixture and version of inputs comes to, built before a bug is put in."""
    folder = tmp_path_factory.mktemp("references")
    (folder / "world").mkdir()
    world = World(folder / "world", folder)
    for versions in itertools.product(range(NUM_VERSIONS), repeat=len(INPUTS)):
        for variant in VARIANTS:
            world.reference((variant, versions))
    return folder


def hunt(references: Path, tally: Tally) -> None:
    """Simulate until something is found, or most operations are done."""
    for seed in itertools.count():
        simulate(seed, examples=5, steps=40, references=references, tally=tally, shrinks=False)
        if tally.num_operations > MOST_OPERATIONS:
            return


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_that_is_put_in_is_found(bug: str, references: Path) -> None:
    tally = Tally()
    # Whatever a bug leads to: a wrong byte, a message that is missing, an error of Python.
    with BUGS[bug](), pytest.raises(Exception) as found:  # noqa: PT011
        hunt(references, tally)
    print(f"{bug}: {tally.num_operations:,} operations: {str(found.value)[:100]}")
