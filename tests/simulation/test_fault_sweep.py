"""Operations on files of a command fail, in every way; the next run mends it."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from support import builds
from support.source_server import serve

from pipeline.core import file_system
from pipeline.sources.download import pull

from . import commands, training
from .disk import KINDS, Disk
from .model import INPUTS, VARIANTS, write_input
from .pass_rules import go_on
from .passes import memory

_SCRATCH = {".ettin", ".scratch"}


@dataclass(frozen=True)
class Job:
    """A command that writes below a folder, and what it must have written in the end."""

    arguments: tuple[str | Path, ...]
    writes: Path
    digests: Callable[[Path], dict[str, str]] = builds.digests
    runs: Callable[..., commands.Done] = commands.run
    stride: int = 697
    """In CI one operation in so many fails."""
    lasts: bool = True
    """Whether a loss of power takes nothing once it has ended; pulled files may come again."""

    def run(self, disk: Disk | None = None) -> commands.Done:
        return self.runs(*self.arguments, disk=disk)


def published(folder: Path) -> dict[str, str]:
    """Return the digests of files, without what a kill left in a hidden folder."""
    found = builds.digests(folder)
    return {name: digest for name, digest in found.items() if ".partial" not in name}


@contextmanager
def build_job(folder: Path, variant: str, size: str = "one pass") -> Iterator[Job]:
    for name in INPUTS:
        # With passes, ids are there twice.
        write_input(folder, name, 3 if size == "passes" else 0)
    mixture = builds.write_mixture(folder, VARIANTS[variant])
    out = folder / "made" / "out"
    words = ("build", mixture, "--out", out, "--memory", memory(size))
    yield Job(words, out.parent, runs=partial(commands.run, size=size))


def make(folder: Path, part: str = "") -> Path:
    """Build, and return a part of the output, or all of it, moved out of the way."""
    with build_job(folder, "plain") as build:
        assert build.run().is_good
    return Path(shutil.move(folder / "made" / "out" / part, folder / "input"))


@contextmanager
def order_job(folder: Path, size: str = "one pass") -> Iterator[Job]:
    pool = make(folder, "train")
    out = folder / "ordered" / "out"
    settings = ("order.seed=3", "order.global_batch_size=4", "order.max_seq_len=64")
    words = [word for one in settings for word in ("--set", one)]
    command = ("order", pool, "--out", out, "--memory", memory(size), *words)
    yield Job(command, out.parent, runs=partial(commands.run, size=size))


@contextmanager
def digest_job(folder: Path) -> Iterator[Job]:
    order = make(folder, "order")
    out = folder / "digest" / "manifest.json"
    yield Job(("digest", order, "--out", out), out.parent, published, stride=1)


@contextmanager
def pull_job(folder: Path) -> Iterator[Job]:
    for number in range(2):
        path = folder / "there" / f"part-{number}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(builds.json_lines(builds.documents(path.stem, 30, 200)))
    with serve(files={"there": folder / "there"}) as server:
        address = server.url("there", "part-{0..1}.jsonl")
        sources = f'sources: {{there: {{from: {{url: "{address}"}}}}}}\n'
        text = "name: pulled\nchunk: {algorithm: whole-v1, size: 64}\n" + sources
        order = "order: {seed: 1, global_batch_size: 4, max_seq_len: 64}\n"
        mixture = builds.write_mixture(folder, text + order)
        lock, dest = folder / "lock.json", folder / "pulled" / "raw"
        assert commands.run("lock", mixture, "--lock", lock).is_good
        words = ("pull", mixture, "--lock", lock, "--dest", dest)
        with mock.patch.object(pull, "_NUM_THREADS", 1):  # So that operations have an order.
            yield Job(words, dest.parent, published, stride=17, lasts=False)


@contextmanager
def train_job(folder: Path) -> Iterator[Job]:
    data = make(folder)
    recipe, out = training.write_recipe(folder), folder / "trained" / "out"
    command = training.command(recipe, data, out)
    yield Job(command, out.parent, training.left, training.run, stride=57)


@contextmanager
def build_without_syncfs(folder: Path) -> Iterator[Job]:
    """Build where each file and folder must be synced, as on FUSE and before Linux 5.17."""
    with (
        build_job(folder, "plain") as job,
        mock.patch.object(file_system, "has_syncfs", return_value=False),
    ):
        yield job


JOBS: dict[str, Callable[[Path], object]] = {
    "build": lambda folder: build_job(folder, "plain"),
    "build without syncfs": build_without_syncfs,
    "build with dedup": lambda folder: build_job(folder, "dedup"),
    "build in passes": lambda folder: build_job(folder, "plain", "passes"),
    "order": order_job,
    "order in passes": lambda folder: order_job(folder, "passes"),
    "digest": digest_job,
    "pull": pull_job,
    "train": train_job,
}


SWEPT = 16
"""Operations that fail of each command with each fault, in a sweep."""
_OF_SYNCS = ("stop", "lost data", "lost names")
IN_CI = [
    *product(("build in passes", "order in passes", "digest", "pull", "train"), KINDS),
    *product(("build without syncfs",), _OF_SYNCS),
]
"""The commands and faults of CI; the other commands do less."""


def sweep(job: Job, kind: str, choose: Callable[[int], Sequence[int]]) -> tuple[int, int]:
    """Fail some operations, each in a run; return how many did, and how many there are."""
    writes = job.writes
    clear(writes)
    disk = Disk(writes)
    assert job.run(disk).is_good
    expected, num_struck = job.digests(writes), 0
    for at in choose(disk.num_operations):
        clear(writes)
        failing = Disk(writes, kind, at)
        done = job.run(failing)
        num_struck += failing.has_struck
        where = f"{kind} at {at}, {failing.log[-1]}"
        if done.is_good:
            failing.lose()
            assert_same(job.digests(writes), expected, where, is_done=True)
        else:
            assert failing.has_struck, done.stderr
            assert done.code in (None, 2), f"{where}: {done}"
        # Of a process that was killed, what it had not synced is not yet durable.
        after = Disk(writes, "lost names", after=failing if kind == "stop" else None)
        go_on(partial(job.run, after))
        assert_same(job.digests(writes), expected, where)
        if job.lasts:
            after.lose()
            where = f"{where}, and a loss of power"
            assert_same(job.digests(writes), expected, where, is_done=True)
    clear(writes)
    return num_struck, disk.num_operations


def assert_same(
    found: dict[str, str], expected: dict[str, str], where: str, *, is_done: bool = False
) -> None:
    """Compare files; a command that ended well may leave state that it could not remove."""
    differences = [*builds.differences(found, expected)]
    if is_done:
        differences = [one for one in differences if not _SCRATCH & {*Path(one).parts}]
    assert differences == [], f"{where}: {differences}"


def clear(folder: Path) -> None:
    for one in (folder, Path(f"{folder}.backups")):
        shutil.rmtree(one, ignore_errors=True)
    folder.mkdir()


@pytest.mark.parametrize(("name", "kind"), IN_CI)
def test_some_operations_that_fail_leave_no_wrong_byte(
    name: str, kind: str, tmp_path: Path
) -> None:
    with JOBS[name](tmp_path) as job:  # type: ignore[attr-defined]
        stride = job.stride
        assert sweep(job, kind, lambda number: range(stride // 2, number + 1, stride))[0] > 0


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", JOBS)
def test_no_operation_that_fails_leaves_a_wrong_byte(name: str, kind: str, tmp_path: Path) -> None:
    def choose(number: int) -> list[int]:
        """Draw operations by a seed; all of them, of seven builds, would take hours."""
        return Random(f"{name}, {kind}").sample(range(1, number + 1), min(number, SWEPT))

    with JOBS[name](tmp_path) as job:  # type: ignore[attr-defined]
        num_struck, number = sweep(job, kind, choose)
    print(f"{name}, {kind}: {num_struck:,} of {number:,} operations failed")
    assert num_struck > 0
