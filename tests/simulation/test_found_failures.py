"""Failures that the simulation found: the operation that failed, by its name and path.

Numbers of operations change with every change of the package, so that a seed alone would soon
replay something else.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from pipeline.core import file_system

from . import commands
from .disk import Disk
from .model import World


@dataclass(frozen=True)
class Failure:
    """A fault at the first operation of a build that matches a pattern."""

    kind: str
    operation: str
    is_again: bool = False
    """Whether the output was whole before."""
    is_harmless: bool = False
    """Whether the build ends well all the same."""
    warning: str = ""


FOUND = {
    "a broken disk was a fault of ours": Failure("eio", r"write .*\.mds"),
    "a full disk at the owner's name": Failure("full", r"open .*/out/.ettin/tmp/"),
    "a full disk at the lock": Failure("full", r"open .*/out/.ettin/lock"),
    "a holdout that could not be claimed refused the next build": Failure(
        "eio", r"open .*/validation/.ettin/lock"
    ),
    "what cannot be cleaned up ended a build": Failure(
        "eio", r"unlink .*/.ettin/tmp/", is_harmless=True
    ),
    "state that stayed without a word": Failure(
        "eio",
        r"unlink .*/out/.ettin/records/",
        is_again=True,
        is_harmless=True,
        warning="more cannot be removed: run the same command again",
    ),
}


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("references")


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_stays_mended(
    name: str, tmp_path: Path, references: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failure, world = FOUND[name], World(tmp_path, references)
    if failure.is_again:
        assert world.build("one pass").is_good
    before = Disk(world.folder)
    assert world.build("one pass", disk=before).is_good
    lines = enumerate(before.log, 1)
    at = next(number for number, line in lines if re.match(failure.operation, line))
    if not failure.is_again:
        shutil.rmtree(world.out)
    failed = world.build("one pass", disk=Disk(world.folder, failure.kind, at))
    assert failed.is_good == failure.is_harmless
    assert failure.warning in caplog.text
    assert world.build("one pass").is_good
    world.note_whole()


def test_a_stranger_that_a_build_removes_stays_away(tmp_path: Path, references: Path) -> None:
    world = World(tmp_path, references)
    assert world.build("one pass").is_good
    for stranger in ("order/stranger.bin", "train/alone/stranger.bin"):
        (world.out / stranger).parent.mkdir(exist_ok=True)
        (world.out / stranger).write_bytes(b"mine")
    disk = Disk(world.folder, "lost names")
    assert world.build("one pass", disk=disk).is_good
    disk.lose()
    world.note_whole(leaves_state=True)


def test_a_name_that_a_killed_build_left_is_durable_once_another_ends(
    tmp_path: Path, references: Path
) -> None:
    world = World(tmp_path, references)
    with mock.patch.object(file_system, "has_syncfs", return_value=False):
        before = Disk(world.folder)
        assert world.build("in memory", disk=before).is_good
        shutil.rmtree(world.out)
        named = f"rename {world.out}/order/steps.parquet"
        at = before.log.index(f"fsync {world.out}/order", before.log.index(named)) + 1
        killed = Disk(world.folder, "stop", at)
        assert world.build("in memory", disk=killed).was_stopped
        disk = Disk(world.folder, "lost names", after=killed)
        assert world.build("in memory", disk=disk).is_good
    disk.lose()
    world.note_whole(leaves_state=True)


def test_a_digest_that_is_killed_leaves_nothing_in_sight(tmp_path: Path, references: Path) -> None:
    out = World(tmp_path, references).reference().out
    manifest = tmp_path / "made" / "manifest.json"
    manifest.parent.mkdir()
    disk = Disk(manifest.parent, "stop", 3)
    assert commands.run("digest", out / "order", "--out", manifest, disk=disk).was_stopped
    [left] = manifest.parent.iterdir()
    assert left.name.startswith(".partial-")
