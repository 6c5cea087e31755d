"""Measure what it costs to write and read the manifest of many partitions:

    python -m tests.benchmarks.manifest_speed

Enters: nothing; the partitions are made up, of three files each. Leaves: at each number of them the
processor seconds and the peak of a process that writes the manifest, and of one that reads it, in
pieces as builds do, and whole, by `json.dumps` and `json.loads` of all of it. Method: each runs
alone in a fresh process, the two ways in turn (A B A B); the peak is the kernel's own (`VmHWM`),
imports and the records included. Both ways write the same bytes, or it stops. The whole way is
spared the checks of paths and sums.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from pipeline.core.digest import FileDigest, fingerprint, sha256_file
from pipeline.core.json_record import from_json
from pipeline.dataset import (
    BudgetRecord,
    ChunkCounts,
    DocumentCounts,
    InputRecord,
    Manifest,
    PartitionRecord,
    SourceRecord,
    TokenCounts,
    content_of,
    manifest_pieces,
    read_manifest,
)
from tests.support.manifests import manifest_of
from tests.support.process_memory import status_bytes

_SOURCES = 20
_FILES = ("index.json", "shard.00000.mds", "stats.json")
_REASONS = ("duplicate_text", "invalid_json", "length/min_chars")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--partitions", type=int, nargs="+", default=[10_000, 70_000])
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    print("| partitions | MB | what | in pieces: CPU s | MiB | whole: CPU s | MiB | ratios |")
    print("|---|---|---|---|---|---|---|---|")
    for number in options.partitions:
        with TemporaryDirectory() as folder:
            path = Path(folder, "manifest.json")
            for what in ("write", "read"):
                turns = [_turn(what, number, path) for _ in range(options.repetitions)]
                pieces, whole = zip(*turns, strict=True)
                ratios = " ".join(f"{a.seconds / b.seconds:.2f}" for a, b in turns)
                size = f"{number:,} | {path.stat().st_size / 1e6:.0f}"
                print(f"| {size} | {what} | {_cells(pieces)} | {_cells(whole)} | {ratios} |")
        made = _measure("make", number, path).peak
        print(f"| {number:,} | | its records alone | | {made} | | {made} | |", flush=True)


class Cost(NamedTuple):
    """What a task took."""

    seconds: float
    """Of processors."""
    peak: int
    """In MiB."""


def _cells(costs: Sequence[Cost]) -> str:
    return f"{median(one.seconds for one in costs):.2f} | {max(one.peak for one in costs)}"


def _turn(what: str, number: int, path: Path) -> tuple[Cost, Cost]:
    """Do it in pieces and whole. Raises: AssertionError where the bytes differ."""
    pieces = _measure(f"{what}_pieces", number, path)
    digest = sha256_file(path)
    whole = _measure(f"{what}_whole", number, path)
    assert sha256_file(path) == digest
    return pieces, whole


def _measure(task: str, number: int, path: Path) -> Cost:
    """Run one task in a process of its own."""
    code = f"from {__spec__.name} import run_task; run_task()"
    command = [sys.executable, "-c", code, task, str(number), str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds, peak = done.stdout.split()
    return Cost(float(seconds), int(peak) // 1024)


def run_task() -> None:
    """Run one task; print its processor seconds and the peak of the process in KiB."""
    task, number, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    made = None if task.startswith("read") else made_up(number)
    begun = time.process_time()
    _TASKS[task](path, made)
    seconds = time.process_time() - begun
    print(seconds, status_bytes("VmHWM") >> 10)


def _write_pieces(path: Path, manifest: Any) -> None:
    with path.open("wb") as file:
        file.writelines(manifest_pieces(manifest))


def _write_whole(path: Path, manifest: Any) -> None:
    path.write_bytes(_spelled(content_of(manifest)))


def _read_pieces(path: Path, _: object) -> object:
    return read_manifest(path)


def _read_whole(path: Path, _: object) -> object:
    data = path.read_bytes()
    content = json.loads(data)
    del content["digest"]
    assert _spelled(content) == data
    del content["digest"], content["format"]
    return from_json(Manifest, content)


def _spelled(content: dict[str, Any]) -> bytes:
    content["digest"] = fingerprint(content)
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


_TASKS: dict[str, Callable[[Path, Any], object]] = {
    "make": lambda *_: None,
    "write_pieces": _write_pieces,
    "write_whole": _write_whole,
    "read_pieces": _read_pieces,
    "read_whole": _read_whole,
}


def made_up(num_partitions: int) -> Manifest:
    """Return the manifest of a build that nobody has run."""
    sources: dict[str, SourceRecord] = {}
    files: dict[str, FileDigest] = {}
    per_source = -(-num_partitions // _SOURCES)
    for first in range(0, num_partitions, per_source):
        name = f"source_{first // per_source:02}"
        numbers = range(first, min(first + per_source, num_partitions))
        records = tuple(_partition(name, number) for number in numbers)
        sources[name] = _source(records)
        for path in (path for record in records for path in record.files):
            files[path] = FileDigest(num_bytes=10**6 + len(files), sha256=fingerprint(path))
    return replace(manifest_of(()), sources=sources, files=files)


def _partition(source: str, number: int) -> PartitionRecord:
    name = f"{source}_{number:05}"
    folder = f"train/{source}/{name}-tokenized-chunked-1024-whole"
    documents, dropped, tokens = 9_000 + number, number % 7, 4_000_000 + number
    reasons = dict.fromkeys(_REASONS[: number % 4], dropped)
    kept = documents - sum(reasons.values())
    sha256 = fingerprint(name)
    return PartitionRecord(
        task=f"draws/{source}/{name}",
        key=fingerprint([name]),
        folder=folder,
        partition=name,
        input=InputRecord(
            path=f"data/{source}/{name}.jsonl.zst", num_bytes=10**8, sha256=sha256, locked=sha256
        ),
        documents=DocumentCounts(num_in=documents, kept=kept, dropped=reasons),
        tokens=TokenCounts(
            num_in=tokens, added=9, discarded=0, written=tokens + 9, validation=0, drawn=tokens
        ),
        chunks=ChunkCounts(written=40_000, validation=0, drawn=39_000),
        together=fingerprint(source),
        files=tuple(f"{folder}/{file}" for file in _FILES),
    )


def _source(records: tuple[PartitionRecord, ...]) -> SourceRecord:
    """Return a source of some partitions, whose counts are not summed."""
    one = records[0]
    budget = BudgetRecord(
        expected=None, asked=1, available=2, drawn=1, num_repetitions=0, overshoot=0, repeated=0
    )
    return SourceRecord(
        filters={},
        documents=one.documents,
        tokens=one.tokens,
        chunks=one.chunks,
        budget=budget,
        partitions=records,
    )


if __name__ == "__main__":
    main()
