"""The command, run in this process, with workers and a disk that do what a seed says."""

import hashlib
import io
import json
import os
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pipeline.runner  # the modules that open clusters  # noqa: F401
from pipeline.cli.main import main
from pipeline.core import file_system
from pipeline.runner.cluster import Cluster, Tasks

from .disk import Disk, Stopped, simulated

FAULT_OF_OURS = 70


@dataclass(frozen=True)
class Done:
    """What came of a command; its code is None where the process was stopped."""

    code: int | None
    stdout: str
    stderr: str

    @property
    def is_good(self) -> bool:
        return self.code == 0

    @property
    def was_stopped(self) -> bool:
        return self.code is None

    def json(self) -> Any:
        return json.loads(self.stdout)


class Workers(Cluster):
    """A cluster whose workers finish in an order that a seed gives.

    As on a real one, a task may run twice, because the worker that finished it was lost before it
    answered. Where workers die, a stop of the disk ends one worker; its task runs anew.
    """

    def __init__(self, seed: int, dying_on: Disk | None = None) -> None:
        self._random = random.Random(seed)
        self._dying_on = dying_on

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        all_tasks = list(tasks)
        results: dict[int, Any] = {}
        for number in self._random.sample(range(len(tasks)), len(tasks)):
            for _ in range(self._random.choice((1, 1, 1, 2))):
                results[number] = self._run(function, all_tasks[number])
        yield from (results[number] for number in range(len(tasks)))

    def _run(self, function: Callable[[Any], Any], task: Any) -> Any:
        try:
            return function(task)
        except Stopped:
            if self._dying_on is None:
                raise
            self._dying_on.start_again()
            return function(task)


class _Entries:
    """What `os.scandir` returns."""

    def __init__(self, entries: Iterable[os.DirEntry[Any]]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> "_Entries":
        return self

    def __next__(self) -> os.DirEntry[Any]:
        return next(self._entries)

    def __enter__(self) -> "_Entries":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@contextmanager
def _listings(seed: int) -> Iterator[None]:
    """Let folders list their files in an order that the seed gives, not the file system."""
    listdir, scandir = os.listdir, os.scandir

    def rank(name: str | bytes) -> bytes:
        return hashlib.sha256(b"%d%s" % (seed, os.fsencode(name))).digest()

    def scandir_(path: Any = ".") -> _Entries:
        with scandir(path) as entries:
            return _Entries(sorted(entries, key=lambda entry: rank(entry.name)))

    with (
        mock.patch.object(os, "listdir", lambda path=".": sorted(listdir(path), key=rank)),
        mock.patch.object(os, "scandir", scandir_),
    ):
        yield


def run(
    *arguments: str | Path, disk: Disk | None = None, seed: int = 0, workers_die: bool = False
) -> Done:
    """Run a command to its end, or to where the disk stops it.

    Every error must be one line that says what is wrong, and a hint at most. The seed gives the
    order in which tasks are done and folders list their files.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(stdout))
        stack.enter_context(redirect_stderr(stderr))
        workers = nullcontext(Workers(seed, disk if workers_die else None))
        for name in ("replay_pool", "sampled_shards"):
            module = sys.modules[f"pipeline.runner.{name}"]
            stack.enter_context(mock.patch.object(module, "open_cluster", return_value=workers))
        stack.enter_context(_listings(seed))
        # A simulated loss of power needs no real sync, which takes milliseconds.
        stack.enter_context(mock.patch.object(os, "fsync"))
        stack.enter_context(mock.patch.object(file_system, "syncfs"))
        if disk is not None:
            stack.enter_context(simulated(disk))
        try:
            code: int | None = main([str(one) for one in arguments])
        except Stopped:
            code = None
    if code is None and disk is not None:
        disk.lose()
    done = Done(code, stdout.getvalue(), stderr.getvalue())
    assert code != FAULT_OF_OURS, f"{arguments}: {done.stderr}"
    if code in (2, 75):
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, f"{arguments}: {done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
    return done
