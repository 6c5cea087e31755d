"""A hundred simulated operations, and the hunt for bugs that are put in."""

import itertools
import traceback
from pathlib import Path
from unittest import mock

import pytest

from . import commands
from .disk import Disk
from .machine import Tally, simulate
from .seeded_bugs import BUGS

MOST_OPERATIONS = 1000


def test_nothing_that_happens_changes_a_byte(tmp_path: Path) -> None:
    tally = Tally()
    simulate(0, examples=3, steps=40, references=tmp_path, tally=tally, shrinks=False)
    assert tally.num_operations > 90


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


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """References, made on the first request and shared by all hunts."""
    return tmp_path_factory.mktemp("references")


def hunt(rules: tuple[type, ...], references: Path, tally: Tally) -> None:
    """Simulate until something is found, or most operations are done."""
    for seed in itertools.count():
        simulate(
            seed,
            examples=5,
            steps=40,
            references=references,
            tally=tally,
            rules=rules,
            shrinks=False,
        )
        if tally.num_operations >= MOST_OPERATIONS:
            return


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_replaces_what_is_there(name: str) -> None:
    bug = BUGS[name]
    right = getattr(bug.where, bug.name)
    with bug.put_in():
        assert getattr(bug.where, bug.name) is not right


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", BUGS)
def test_a_bug_that_is_put_in_is_found(name: str, references: Path) -> None:
    bug, tally = BUGS[name], Tally()
    # Whatever a bug leads to: a wrong byte, a message that is missing, an error of Python.
    with bug.put_in(), pytest.raises(Exception) as found:  # noqa: PT011
        hunt(bug.rules, references, tally)
    assert tally.num_operations <= MOST_OPERATIONS
    places = traceback.extract_tb(found.value.__traceback__)
    by = [one.name for one in places if one.filename.endswith("rules.py")]
    print(f"{name}: {tally.num_operations:,} operations, {by}: {str(found.value)[:300]}")


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("rules", dict.fromkeys(bug.rules for bug in BUGS.values()))
def test_without_a_bug_the_same_seeds_find_nothing(
    rules: tuple[type, ...], references: Path
) -> None:
    hunt(rules, references, Tally())
