"""Rules of passes: what may happen to the files of cells that one pass leaves for the next.

Whatever is lost or damaged between two passes, no byte of it is used. If it is there when a command
begins, it is made again; if a command finds it later, one line says where, and the next goes on.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from .disk import KINDS, Disk, Stopped
from .model import INPUTS, World
from .passes import FOLDERS

READ = ("sort", "order", "merge documents", "index documents", "find repeated ids", "compare texts")
"""The stages that read what another pass left."""
OTHERS = ("scatter", "sort documents", "drop repeated ids", "hold out", "draw", "sample", "count")
_SIZE = st.sampled_from(["one pass", "passes", "passes"])
_SEED = st.integers(0, 99)
_PLACE = st.integers(0, 10**6)
_NUMBER = re.compile(rb"[:,\[](\d+)")
HOW = ("flip", "cut", "zero", "remove", "exchange", "remove all")


class PassRule:
    """Damage what a pass left, and go on at once or after the process was stopped."""

    world: World

    @precondition(lambda self: self.world.is_ours)
    @rule(
        size=_SIZE,
        seed=_SEED,
        stage=st.sampled_from(READ),
        how=st.sampled_from(HOW),
        file=_PLACE,
        place=_PLACE,
        stops=st.booleans(),
    )
    def damage_between_passes(
        self, size: str, seed: int, stage: str, how: str, file: int, place: int, stops: bool
    ) -> None:
        world = self.world
        hit: list[Path] = []

        def strike(begun: str, tasks: list[Any]) -> None:
            if begun != stage or hit or not tasks:
                return
            hit.extend(damage_cells(world.out, how, file, place))
            if hit and stops:
                raise Stopped

        done = world.build(size, seed=seed, before=strike)
        if done.was_stopped:
            world.note_begun()
            done = world.build(size, seed=seed + 1)
            # Whether all bytes of a file are right is seen by whoever reads them.
            assert done.is_good or how == "flip", done.stderr
        if not done.is_good:
            check_told(done.stderr, hit)
            world.note_begun()
            done = world.build(size, seed=seed + 2)
            assert done.is_good, done.stderr
        world.note_whole()


class ChangedInputRule:
    """Change an input while a build is stopped between two passes: old cells do not count."""

    world: World

    @precondition(lambda self: self.world.is_ours)
    @rule(
        size=_SIZE,
        seed=_SEED,
        stage=st.sampled_from(READ),
        name=st.sampled_from(INPUTS),
        version=st.integers(0, 1),
    )
    def change_an_input_between_passes(
        self, size: str, seed: int, stage: str, name: str, version: int
    ) -> None:
        world = self.world

        def stop(begun: str, tasks: list[Any]) -> None:
            if begun == stage and tasks:
                raise Stopped

        world.put_input(name, version)
        if world.build(size, seed=seed, before=stop).was_stopped:
            world.note_begun()
        # Of as many rows, so that cells are where they were.
        world.put_input(name, 1 - version)
        done = world.build(size, seed=seed)
        assert done.is_good, done.stderr
        world.note_whole()


class StoppedPassRule:
    """Build on a disk that fails at an operation of a pass, and go on."""

    world: World

    @precondition(lambda self: self.world.is_ours)
    @rule(
        size=_SIZE,
        seed=_SEED,
        stage=st.sampled_from((*READ, *OTHERS)),
        kind=st.sampled_from(KINDS),
        after=st.integers(1, 40),
        goes_on=st.booleans(),
    )
    def build_on_a_disk_that_fails_in_a_pass(
        self, size: str, seed: int, stage: str, kind: str, after: int, goes_on: bool
    ) -> None:
        world = self.world
        disk = Disk(world.folder, kind)

        def strike(begun: str, tasks: list[Any]) -> None:
            if begun == stage and tasks and disk.at is None:
                disk.at = disk.num_operations + after

        done = world.build(size, seed=seed, disk=disk, before=strike)
        assert done.is_good or disk.has_struck, done.stderr
        if done.is_good:
            disk.lose()
            world.note_whole(leaves_state=True)
        else:
            world.note_begun()
        shutil.rmtree(f"{world.folder}.backups", ignore_errors=True)
        if goes_on and not done.is_good:
            go_on(lambda: world.build(size, seed=seed + 1))
            world.note_whole()


class RecordRule:
    """Change a number in a record of unfinished work, tear a log, or save all of it once more."""

    world: World

    @precondition(lambda self: self.world.is_ours)
    @rule(
        size=_SIZE,
        seed=_SEED,
        name=st.sampled_from(INPUTS),
        version=st.integers(0, 1),
        stage=st.sampled_from((*READ, *OTHERS)),
        how=st.sampled_from(["change", "change", "tear", "repeat"]),
        place=_PLACE,
    )
    def damage_a_log(
        self, size: str, seed: int, name: str, version: int, stage: str, how: str, place: int
    ) -> None:
        world = self.world

        def stop(begun: str, tasks: list[Any]) -> None:
            if begun == stage and tasks:
                raise Stopped

        world.put_input(name, version)
        done = world.build(size, seed=seed, before=stop)
        assert done.was_stopped or done.is_good, done.stderr
        if done.was_stopped:
            world.note_begun()
            for path in logs_in(world.out)[place % 2 :: 2]:
                path.write_bytes(_damaged(path.read_bytes(), how, place))
            go_on(lambda: world.build(size, seed=seed))
        world.note_whole()


def _damaged(log: bytes, how: str, place: int) -> bytes:
    numbers = _numbers_of_records(log)
    if how == "change" and numbers:
        number, content = numbers[place % len(numbers)], bytearray(log)
        at = number[place % len(number)]
        content[at] = ord("0") + (content[at] - ord("0") + 1 + place % 9) % 10
        return bytes(content)
    return log[: place % (len(log) + 1)] if how == "tear" else 2 * log


def logs_in(out: Path) -> list[Path]:
    """Return the logs of records in an output and its holdout."""
    return sorted(out.rglob(".ettin/records/*.log"))


def _numbers_of_records(log: bytes) -> list[range]:
    """Return where the numbers of records are, such as counts and sizes.

    Not those of lines, nor digits of digests, which are compared with files whatever they say.
    """
    places, start = [], 0
    for line in log.splitlines(keepends=True):
        first = start + line.rfind(b"\t") + 1
        record = log[first : start + len(line)]
        places += [
            range(first + one.start(1), first + one.end(1)) for one in _NUMBER.finditer(record)
        ]
        start += len(line)
    return places


def go_on(again: Callable[[], Any]) -> None:
    """Run a command that was stopped again; after a loss of power it may refuse once."""
    done = again()
    if not done.is_good:
        assert "of an unfinished run" in done.stderr, done.stderr
        done = again()
    assert done.is_good, done.stderr


def check_told(stderr: str, hit: list[Path]) -> None:
    """Insist that a message names a file that was damaged, and what to do."""
    [line] = [one for one in stderr.splitlines() if one.startswith("error: ")]
    assert any(str(path) in line for path in hit), (line, hit)
    assert "run the same command again" in stderr, stderr


def cells_in(out: Path) -> list[Path]:
    """Return the files of cells that passes have left in an output and its holdout."""
    found = [path for name in FOLDERS for path in out.rglob(f".ettin/{name}/**/*")]
    return sorted(path for path in found if path.is_file())


def damage_cells(out: Path, how: str, file: int, place: int) -> list[Path]:
    """Damage a file of cells, the numbers say which and where; return those that are not right."""
    found = cells_in(out)
    if not found:
        return []
    path = found[file % len(found)]
    content = bytearray(path.read_bytes())
    at = place % len(content)
    if how == "flip":
        content[at] ^= 1 << place % 8
    elif how == "cut":
        del content[at:]
    elif how == "zero":
        content = bytearray(len(content))
    if how in ("flip", "cut", "zero"):
        path.unlink()
        path.write_bytes(content)
        return [path]
    if how == "remove":
        path.unlink()
        return [path]
    beside = [one for one in found if one.parent == path.parent]
    if how == "remove all":
        shutil.rmtree(path.parent)
        return beside
    other = beside[beside.index(path) - 1]
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)
    return [path, other]


PASS_RULES = (PassRule, ChangedInputRule, StoppedPassRule, RecordRule)
