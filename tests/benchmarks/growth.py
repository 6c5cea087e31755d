"""Measure what one more partition costs the process that runs a build:

    python -m tests.benchmarks.growth FOLDER [--files 100 1000 5000 20000] [--shapes whole sampled]

Enters: nothing; files of three short documents are made up. Leaves: for each number of files,
seconds of build and verify, processor seconds of the driver and of its workers, the driver's peak
(`VmHWM`), the most files that it has open, its tasks, and the files of the output; then, by least
squares, what each partition adds, and the line at 70,000 files. Method: `ettin-data build` with two
workers in a process whose limit on open files is 1,024, soft and hard, and `ettin-data verify`; one
partition a file. `--trace` builds once more with `tracemalloc`, and prints which lines of code hold
most when the manifest is written, and processor seconds of the driver by stage.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.support.process_memory import status_bytes

_MIXTURE = """\
name: growth
chunk: {size: 64}
sources: {all: {from: {path: "in/*/*.jsonl"}OF_SHAPE}}
order: {algorithm: feistel-v1, seed: 1, global_batch_size: 64, max_seq_len: 64}
"""
SHAPES = {"whole": "", "sampled": ", epochs: 3/2"}
"""What a source says besides its files."""
_OPEN_FILES = 1024
_WORKERS = 2
_DOCUMENTS = 3
_FILES_A_FOLDER = 1000
_FULL_SIZE = 70_000
_SECONDS_BETWEEN_LOOKS = 0.05
_LINES_TRACED = 25
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What one build took."""

    num_files: int
    seconds: float
    driver_seconds: float
    """Of its processor."""
    worker_seconds: float
    """Of the processors of all workers."""
    peak_bytes: int
    num_open: int
    num_tasks: int
    num_written: int
    verify_seconds: float


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where files are made up and built")
    parser.add_argument("--files", type=int, nargs="+", default=[100, 1000, 5000, 20_000])
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=[*SHAPES])
    parser.add_argument("--trace", action="store_true")
    options = parser.parse_args()
    work = options.folder / "growth"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        _compare(work, options)
    finally:
        shutil.rmtree(work)


def _compare(work: Path, options: argparse.Namespace) -> None:
    print(
        "| shape | files | build, s | driver, CPU s | workers, CPU s | driver, MiB | open files ",
        end="",
    )
    print("| tasks | files written | verify, s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    costs: dict[str, list[Cost]] = {shape: [] for shape in options.shapes}
    made = 0
    for num_files in sorted(options.files):
        _write_files(work, range(made, num_files))
        made = num_files
        for shape in options.shapes:
            (work / "mixture.yaml").write_text(_MIXTURE.replace("OF_SHAPE", SHAPES[shape]))
            cost = _measure(work, num_files)
            costs[shape].append(cost)
            print(_line(shape, cost), flush=True)
    if len(options.files) > 1:
        print("\n| shape | a partition: CPU ms | KiB | tasks ", end="")
        print("| at 70,000 files: CPU s | MiB | tasks |\n|---|---|---|---|---|---|---|")
        for shape, own in costs.items():
            print(_slopes(shape, own))
    if options.trace:
        for shape in options.shapes:
            (work / "mixture.yaml").write_text(_MIXTURE.replace("OF_SHAPE", SHAPES[shape]))
            traced = _build(work, "traced")
            print(f"\n{shape}, {made} files:\n" + "\n".join(traced["traced"]))


def _write_files(work: Path, numbers: range) -> None:
    for number in numbers:
        folder = work / "in" / f"{number // _FILES_A_FOLDER:03}"
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps({"id": f"{number}-{row}", "text": f"Document {row} of file {number}. " * 4})
            for row in range(_DOCUMENTS)
        ]
        (folder / f"{number:06}.jsonl").write_text("\n".join(lines) + "\n")


def _measure(work: Path, num_files: int) -> Cost:
    """Build, verify, and remove what was built."""
    built = _build(work, "measured")
    out = work / "out"
    num_written = sum(len(names) for _, _, names in os.walk(out))
    started = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "pipeline", "verify", str(out)],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    verify_seconds = time.monotonic() - started
    shutil.rmtree(out)
    return Cost(
        num_files=num_files,
        num_written=num_written,
        verify_seconds=verify_seconds,
        **{name: built[name] for name in Cost.__dataclass_fields__ if name in built},
    )


def _build(work: Path, how: str) -> dict[str, Any]:
    """Build in a process of its own; return what it reports."""
    report, log = work / "report.json", work / "log.txt"
    code = f"from {__spec__.name} import build_{how}; build_{how}()"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, (work / "mixture.yaml", work / "out", report))],
            stdout=file, stderr=file,
        )  # fmt: skip
        num_open = 0
        while process.poll() is None:
            num_open = max(num_open, _count_open(process.pid))
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    seconds = time.monotonic() - started
    if process.returncode:
        raise SystemExit(f"the build ended with {process.returncode}:\n{log.read_text()}")
    reported: dict[str, Any] = json.loads(report.read_text())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    all_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    worker_seconds = all_seconds - reported["driver_seconds"]
    return {
        **reported, "seconds": seconds, "num_open": num_open, "worker_seconds": worker_seconds
    }  # fmt: skip


def _count_open(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0  # It has just ended.


def build_measured() -> None:
    """Build as the command does, under the limit; report what this process took."""
    from pipeline.cli.main import main as command
    from pipeline.dataset.blake3 import derive_pairs
    from pipeline.runner.dask_cluster import DaskCluster

    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    mixture, out, report = sys.argv[1:]
    # Compiled code, which larger orders alone would load.
    derive_pairs(np.zeros((1, 64), np.uint8), "", bytes(32))
    num_tasks, each = 0, DaskCluster.each

    def counted(*arguments: Any) -> Iterator[Any]:
        nonlocal num_tasks
        num_tasks += len(arguments[-1])
        return each(*arguments)

    DaskCluster.each = counted  # type: ignore[method-assign]
    status = command(["build", mixture, "--out", out, "--workers", str(_WORKERS)])
    Path(report).write_text(
        json.dumps(
            {
                "driver_seconds": time.process_time(),
                "peak_bytes": status_bytes("VmHWM"),
                "num_tasks": num_tasks,
            }
        )
    )
    sys.exit(status)


def build_traced() -> None:
    """Build with the allocations of this process traced; report what holds most at the end."""
    from pipeline.config.load import load_mixture
    from pipeline.runner import run as building

    mixture, out, report = sys.argv[1:]
    lines: list[str] = []
    stages: dict[str, float] = {}
    last = time.process_time()

    def note(stage: str, done: int, total: int, *_: object) -> None:
        nonlocal last
        now = time.process_time()
        stages[stage] = stages.get(stage, 0.0) + now - last
        last = now

    def finish(*arguments: Any) -> Any:
        snapshot = tracemalloc.take_snapshot()
        for one in snapshot.statistics("lineno")[:_LINES_TRACED]:
            where = one.traceback[0]
            lines.append(f"{one.size / _MIB:8.2f} MiB  {one.count:8}  {where}")
        return real(*arguments)

    real: Callable[..., Any] = building.finish
    building.finish = finish  # type: ignore[assignment]
    tracemalloc.start()
    building.build(
        load_mixture(Path(mixture), []), Path(out), workers=_WORKERS, scheduler=None, report=note
    )
    note("manifest", 1, 1)
    lines += [f"{seconds:8.2f} CPU s  {stage}" for stage, seconds in stages.items()]
    Path(report).write_text(json.dumps({"traced": lines, "driver_seconds": time.process_time()}))


def _line(shape: str, cost: Cost) -> str:
    return (
        f"| {shape} | {cost.num_files:,} | {cost.seconds:.1f} | {cost.driver_seconds:.1f}"
        f" | {cost.worker_seconds:.1f} | {cost.peak_bytes / _MIB:.0f} | {cost.num_open}"
        f" | {cost.num_tasks:,} | {cost.num_written:,} | {cost.verify_seconds:.1f} |"
    )


def _slopes(shape: str, costs: Sequence[Cost]) -> str:
    """Return what a partition adds, and the lines at full size, as a row of a table."""
    seconds = _fit(costs, lambda cost: cost.driver_seconds)
    memory = _fit(costs, lambda cost: cost.peak_bytes)
    tasks = _fit(costs, lambda cost: cost.num_tasks)
    return (
        f"| {shape} | {seconds[0] * 1000:.2f} | {memory[0] / 1024:.1f} | {tasks[0]:.2f}"
        f" | {_at_full_size(seconds):,.0f} | {_at_full_size(memory) / _MIB:,.0f}"
        f" | {_at_full_size(tasks):,.0f} |"
    )


def _fit(costs: Sequence[Cost], value: Callable[[Cost], float]) -> tuple[float, float]:
    """Return slope and start of the line through the costs, by least squares."""
    slope, start = np.polyfit([cost.num_files for cost in costs], [*map(value, costs)], 1)
    return float(slope), float(start)


def _at_full_size(line: tuple[float, float]) -> float:
    return line[0] * _FULL_SIZE + line[1]


if __name__ == "__main__":
    main()
