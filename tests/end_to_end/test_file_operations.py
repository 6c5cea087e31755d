"""Opened files and syncs that one more partition costs, counted: at 70,000, each one is hours."""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support import builds
from support.here import Here, run_here

import pipeline.runner  # the modules that open clusters  # noqa: F401
from pipeline.cli.main import main
from pipeline.core import file_system

MIXTURE = """\
name: counted
chunk: {algorithm: whole-v1, size: 64}
sources: {a: {from: {path: "in/*.jsonl"}OF_SOURCE}}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64, window_tokens: 1M}
"""
FEW, MANY = 4, 12
# Of one partition: opens, syncs. As written it has one file of input and one shard.
MOST = {
    "whole": (15, 1),
    "sampled": (32, 2),
    "validation": (53, 2),
    "ordered": (6, 0),
    "scanned": (40, 2),
}
SAMPLED = ", epochs: 3/2"
DEDUP = "dedup: {exact: true, minhash: {}}\n"
VALIDATION = "validation: {fraction: 0.2}\n"
ORDER = ("order.global_batch_size=4", "order.max_seq_len=64", "order.window_tokens=1M")


@dataclass
class Counts:
    """Of one build, by what was done."""

    opens: list[str] = field(default_factory=list)
    syncs: list[str] = field(default_factory=list)


_COUNTING: list[tuple[str, Counts]] = []
"""The folder whose files are counted, and where to; an audit hook cannot be removed."""


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _COUNTING:
        folder, counts = _COUNTING[-1]
        path = arguments[0]
        if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(folder):
            counts.opens.append(os.fsdecode(path))


sys.addaudithook(_note)


@contextmanager
def counting(folder: Path) -> Iterator[Counts]:
    """Count what this process opens below a folder, and what it syncs."""
    counts = Counts()
    with ExitStack() as stack:
        for where, name in ((os, "fsync"), (os, "fdatasync"), (file_system, "syncfs")):
            real = getattr(where, name)

            def sync(file: int, name: str = name, real: Callable[[int], None] = real) -> None:
                counts.syncs.append(f"{name} {os.readlink(f'/proc/self/fd/{file}')}")
                real(file)

            stack.enter_context(mock.patch.object(where, name, sync))
        _COUNTING.append((str(folder), counts))
        stack.callback(_COUNTING.pop)
        yield counts


def run(*arguments: str | Path) -> Counts:
    """Run a command in this process, and count."""
    with pytest.MonkeyPatch.context() as patched:
        for name in ("sampled_shards", "replay_pool"):
            run_here(patched, sys.modules[f"pipeline.runner.{name}"], Here())
        out = Path(arguments[arguments.index("--out") + 1])
        with counting(out.parent) as counts:
            assert main([str(one) for one in arguments]) == 0
    return counts


def build(folder: Path, num_files: int, of_source: str = "", text: str = "") -> Counts:
    """Build so many files of about the same size, each a partition."""
    (folder / "in").mkdir(parents=True)
    for number in range(num_files):
        lines = builds.json_lines(builds.documents(f"d{number}", 12, 60))
        (folder / "in" / f"{number:03d}.jsonl").write_bytes(lines)
    mixture = builds.write_mixture(folder, MIXTURE.replace("OF_SOURCE", of_source) + text)
    return run("build", mixture, "--out", folder / "out")


def order(folder: Path, num_files: int) -> Counts:
    """Order the shards of so many partitions as those of others are, laid out by position."""
    build(folder, num_files)
    settings = [word for one in ORDER for word in ("--set", one)]
    pool, out = folder / "out" / "train", folder / "ordered"
    return run("order", pool, "--out", out, "--memory", "1", *settings)


SHAPES: dict[str, Callable[[Path, int], Counts]] = {
    "whole": build,
    "sampled": lambda folder, number: build(folder, number, SAMPLED),
    "validation": lambda folder, number: build(folder, number, SAMPLED, VALIDATION),
    "ordered": order,
    "scanned": lambda folder, number: build(folder, number, text=DEDUP),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_partition_opens_and_syncs_few_files(shape: str, tmp_path: Path) -> None:
    few, many = (SHAPES[shape](tmp_path / str(n), n) for n in (FEW, MANY))
    added = MANY - FEW
    opens = (len(many.opens) - len(few.opens)) / added
    syncs = (len(many.syncs) - len(few.syncs)) / added
    print(f"{shape}: {opens} opens, {syncs} syncs a partition")
    most_opens, most_syncs = MOST[shape]
    assert opens <= most_opens, explained(few, many)
    assert syncs <= most_syncs, explained(few, many)
    # Fewer is progress, to be written down.
    assert opens > most_opens - 1
    assert syncs > most_syncs - 1


def explained(few: Counts, many: Counts) -> str:
    """Return what each added partition opens and syncs, by the form of the name."""
    found: Counter[str] = Counter()
    for sign, counts in ((1, many), (-1, few)):
        for name in (*counts.opens, *counts.syncs):
            place = re.split(r"/(?:out|ordered)/", name)[-1]
            found[re.sub(r"[0-9a-f]{32}|\b\d{3,}\b", "*", place)] += sign
    each = {name: count / (MANY - FEW) for name, count in sorted(found.items()) if count}
    return "\n".join(f"{count:8} {name}" for name, count in each.items())
