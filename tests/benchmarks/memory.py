"""Measure the peak memory of a worker's tasks:

    python -m tests.benchmarks.memory FOLDER

Enters: the corpus of `corpus`. Leaves: the peak resident set of a process that makes one partition
from one large file, for each chunk algorithm, and of one that then orders its rows in large
batches. Method: each task runs alone in a fresh process with the allocator's settings of a worker;
the peak is the kernel's own (`VmHWM`), shared pages of mapped files included. The large file is the
whole corpus, plain and repeated with new ids until it has the size, since memory does not depend
on what the text says.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks import corpus
from tests.benchmarks.build_speed import ALGORITHMS

_BATCHES = ((1024, 4096), (8192, 4096))
_CUT = {"min_size": 512, "skip_below": 128, "add_eos": False, "seed": 42}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_arguments(parser)
    parser.add_argument("--file-megabytes", type=float, default=600)
    options = parser.parse_args()
    with corpus.workspace(options) as work:
        size = _write_large(options.corpus, work / "large.jsonl", options.file_megabytes * 1e6)
        print(f"one file of {size / 1e6:.0f} MB of text\n")
        print("| task | peak, MiB |\n|---|---|")
        print(f"| imports and tokenizer alone | {_measure(work, 'nothing', {})} |")
        for algorithm in ALGORITHMS:
            for rows, batch in _BATCHES:
                mixture = _mixture(algorithm, rows, batch)
                peak = _measure(work, "partition", mixture)
                print(f"| partition, {algorithm} at {rows} | {peak} |", flush=True)
                if algorithm == ALGORITHMS[0]:
                    shutil.rmtree(work / "out" / "order")  # Made again; the shards are kept.
                    peak = _measure(work, "order", mixture)
                    print(f"| order, steps of {batch:,} rows of at most {rows} ids | {peak} |")
                shutil.rmtree(work / "out")


def _write_large(folder: Path, path: Path, num_bytes: float) -> float:
    size = 0
    with path.open("wb") as file:
        for number, text in enumerate(_forever(folder)):
            file.write(json.dumps({"id": str(number), "text": text}).encode() + b"\n")
            size += len(text.encode())
            if size >= num_bytes:
                return size
    return size


def _forever(folder: Path) -> Iterator[str]:
    while True:
        for kind in corpus.KINDS:
            for path in corpus.files(folder, kind):
                yield from corpus.read(path)


def _mixture(algorithm: str, size: int, batch: int) -> dict[str, object]:
    cut = {} if algorithm == "whole-v1" else _CUT
    return {
        "name": "memory",
        "description": "One large file.",
        "phase": "checkpoint",
        "tokenizer": {"name": "modernbert", "add_prefix_space": True},
        "chunk": {"algorithm": algorithm, "size": size, **cut},
        "sources": {
            "large": {"category": "mixed", "from": {"path": "large.jsonl"}, "tokens": "all"}
        },
        "order": {
            "algorithm": "ettin-pcg64dxsm-v1",
            "seed": 21,
            "epoch": 0,
            "global_batch_size": batch,
            "max_seq_len": size,
            "view": "encoder",
        },
        "shards": {"dtype": "uint32", "size_limit": "64MiB"},
    }


def _measure(work: Path, task: str, mixture: dict[str, object]) -> int:
    """Run one task in a process of its own and return its peak in MiB."""
    path = work / "mixture.yaml"
    path.write_text(json.dumps(mixture))  # JSON is YAML.
    code = f"from {__spec__.name} import run_task; run_task()"
    done = subprocess.run(
        [sys.executable, "-c", code, task, str(path), str(work / "out")],
        check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **_worker_environment()},
    )  # fmt: skip
    return int(done.stdout.splitlines()[-1]) // 1024


def _worker_environment() -> dict[str, str]:
    from pipeline.runner.local_cluster import WORKER_ENVIRONMENT

    return {name: str(value) for name, value in WORKER_ENVIRONMENT.items()}


def run_task() -> None:
    """Run one task as a worker would, between the others of a build; print its peak in KiB."""
    from contextlib import contextmanager

    from pipeline.config.declaration import TokenizerSpec
    from pipeline.config.load import load_mixture
    from pipeline.runner import run as building
    from pipeline.runner import sampled_shards
    from pipeline.runner.cluster import Cluster, Tasks
    from pipeline.runner.output_tokenizer import cached_tokenizer
    from pipeline.runner.shuffle.write import order_rows
    from pipeline.runner.tasks.make_partition import make_partition

    task, path, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    peak = 0

    class Here(Cluster):
        def each(
            self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]
        ) -> Iterator[Any]:
            nonlocal peak
            for one in tasks:
                _forget_peak()
                result = function(one)
                if function is {"partition": make_partition, "order": order_rows}[task]:
                    peak = max(peak, _peak())
                yield result

    @contextmanager
    def here(*_: object, **__: object) -> Iterator[Here]:
        yield Here()

    if task == "nothing":
        cached_tokenizer(TokenizerSpec(add_prefix_space=True), Path())
        print(_peak())
        return
    sampled_shards.open_cluster = here  # type: ignore[assignment]
    building.build(load_mixture(path, []), out, workers=1, scheduler=None, report=lambda *_: None)
    print(peak)


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
