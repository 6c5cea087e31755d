"""The command, run in this process, with workers and a disk that do what a seed says."""

import hashlib
import io
import json
import os
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock

import pipeline.runner  # the modules that open clusters  # noqa: F401
from pipeline.cli.main import main
from pipeline.core import file_system, record_log
from pipeline.core.record_log import RecordLog
from pipeline.runner import task_cache
from pipeline.runner.cluster import Cluster, Tasks

from .disk import Disk, Stopped, simulated
from .passes import sized

FAULT_OF_OURS = 70
_LOG_NUMBERS: defaultdict[Path, Iterator[int]] = defaultdict(count)
_NUM_WORKERS = 3
Before = Callable[[str, list[Any]], None]
"""Takes the name of a stage and its tasks, before the first of them runs."""


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


def _nothing(stage: str, tasks: list[Any]) -> None:
    """Look at no stage."""


class Workers(Cluster):
    """A cluster whose workers finish in an order that a seed gives.

    As on a real one, a task may run twice, because the worker that finished it was lost before it
    answered. Where workers die, a stop of the disk ends one worker; its task runs anew. Each worker
    has a log of records of its own, and lives longer than a command, and so has each command.
    """

    def __init__(self, seed: int, dying_on: Disk | None = None, before: Before = _nothing) -> None:
        self._random = random.Random(seed)
        self._dying_on, self._before = dying_on, before
        self._running = 0
        """The worker whose task runs; 0 for the process of the command."""
        self._own_log = cache(RecordLog)

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        all_tasks = list(tasks)
        self._before(stage, all_tasks)
        results: dict[int, Any] = {}
        for number in self._random.sample(range(len(tasks)), len(tasks)):
            for _ in range(self._random.choice((1, 1, 1, 2))):
                results[number] = self._run(function, all_tasks[number])
        yield from (results[number] for number in range(len(tasks)))

    def open_log(self, folder: Path) -> RecordLog:
        """Return the log that the running process adds to."""
        return _log_of(self._running, folder) if self._running else self._own_log(folder)

    def _run(self, function: Callable[[Any], Any], task: Any) -> Any:
        self._running = self._random.randint(1, _NUM_WORKERS)
        try:
            return function(task)
        except Stopped:
            if self._dying_on is None:
                raise
            self._dying_on.start_again()
            return function(task)
        finally:
            self._running = 0


@lru_cache(maxsize=8 * _NUM_WORKERS)
def _log_of(worker: int, folder: Path) -> RecordLog:
    return RecordLog(folder)


def _new_log(folder: Path) -> Path:
    """Name a log as none was named before, but by a number, so that a seed gives its name."""
    return folder / f"{next(_LOG_NUMBERS[folder]):06d}.log"


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
    *arguments: str | Path,
    disk: Disk | None = None,
    seed: int = 0,
    workers_die: bool = False,
    size: str = "in memory",
    before: Before = _nothing,
) -> Done:
    """Run a command to its end, or to where the disk stops it.

    Every error must be one line that says what is wrong, and a hint at most. The seed gives the
    order in which tasks are done and folders list their files. size: of the passes, as `sized`.
    """
    stdout, stderr = io.StringIO(), io.StringIO()
    workers = Workers(seed, disk if workers_die else None, before)
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(stdout))
        stack.enter_context(redirect_stderr(stderr))
        for name in ("replay_pool", "sampled_shards"):
            module = sys.modules[f"pipeline.runner.{name}"]
            opened = mock.patch.object(module, "open_cluster", return_value=nullcontext(workers))
            stack.enter_context(opened)
        stack.enter_context(mock.patch.object(task_cache, "open_log", workers.open_log))
        stack.enter_context(mock.patch.object(record_log, "_new_log", _new_log))
        stack.enter_context(sized(size))
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
    if disk is not None:
        assert disk.complaints == [], disk.complaints
        if code is None:
            disk.lose()
    done = Done(code, stdout.getvalue(), stderr.getvalue())
    assert code != FAULT_OF_OURS, f"{arguments}: {done.stderr}"
    if code in (2, 75):
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, f"{arguments}: {done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
    return done
