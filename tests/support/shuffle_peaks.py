"""The memory that the stages of a shuffle take, by the kernel's count, in a process of its own.

    python -m support.shuffle_peaks FOLDER MEBIBYTES ROW_IDS FORMAT RUN_MEBIBYTES

Leaves: a pool of so many mebibytes of shards, of rows of so many ids, its order, and on stdout for
each stage by how many bytes the process grew at most over what it had before (`VmHWM`, `VmRSS`),
without the pages of files that it has then (`RssFile`): those of libraries differ by 14 MiB.
Allocation is set as in a worker. Of what libraries load nothing is counted, since a small pool
comes first, and nothing is compiled, since another process has done so.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from support.builds import environment
from support.process_memory import status_bytes
from support.shuffles import Here, shuffled

from pipeline.config.declaration import OrderSpec
from pipeline.dataset.mds.writer import MdsWriter
from pipeline.runner.cluster import Tasks
from pipeline.runner.local_cluster import WORKER_ENVIRONMENT
from pipeline.runner.shuffle import Limits, shuffle_pool

MIB = 1 << 20
# Of a row of a shard beside its ids: where it is, sizes, name, and what says its shape.
_ROW_BYTES = 30
_SMALL, _LIMITS = 1, Limits(run_bytes=1 << 18, window_bytes=1 << 18, one_level_tasks=1)


def peaks(
    folder: Path, mebibytes: int, row_ids: int, format_: str, run_mebibytes: int
) -> dict[str, int]:
    """Return by stage the bytes that a process grows by, as above."""
    allocation = {name: str(value) for name, value in WORKER_ENVIRONMENT.items()}
    command = [sys.executable, "-m", "support.shuffle_peaks", str(folder), str(mebibytes)]
    command += [str(row_ids), format_, str(run_mebibytes)]
    # Compiling takes 17 MiB that stay, so another process does that, where nothing is cached yet.
    small = [*command[:3], str(folder / "compiled"), str(_SMALL), *command[5:-1], str(_SMALL)]
    subprocess.run(small, check=True, capture_output=True, env=environment(**allocation))
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=environment(**allocation)
    )
    found: dict[str, int] = json.loads(done.stdout)
    return found


class Watched(Here):
    """Runs tasks in this process, and notes its peak."""

    def __init__(self) -> None:
        super().__init__()
        self.peaks: dict[str, int] = {}

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        """Run a function on every task."""
        with suppress(OSError):  # Where that is not allowed, a stage has the peaks before it, too.
            Path("/proc/self/clear_refs").write_text("5")
        yield from super().each(stage, function, tasks)
        self.peaks[stage] = status_bytes("VmHWM") - status_bytes("RssFile")


def write_pool(folder: Path, num_bytes: int, row_ids: int) -> None:
    """Write shards of so many bytes of rows, of a document each."""
    folder.mkdir(parents=True)
    writer = MdsWriter(folder=folder, dtype="uint16", size_limit=min(64 * MIB, num_bytes // 4))
    num_rows = num_bytes // (2 * row_ids + _ROW_BYTES)
    at_once = max(1, (4 << 20) // row_ids)
    for start in range(0, num_rows, at_once):
        count = min(at_once, num_rows - start)
        names = [b"d%09d" % number for number in range(start, start + count)]
        ids = np.arange(count * row_ids, dtype=np.uint32) % 50_000
        writer.write(names, np.arange(count), ids, np.arange(count + 1) * row_ids)
    writer.finish()


def order_pool(folder: Path, num_bytes: int, row_ids: int, format_: Any, limits: Limits) -> Watched:
    """Write a pool and its order, in files of some millions of ids; return what was seen."""
    write_pool(folder / "pool", num_bytes, row_ids)
    batch = max(1, (1 << 17) // row_ids)
    spec = OrderSpec(
        algorithm="feistel-v1", global_batch_size=batch, max_seq_len=8192, seed=1, epoch=0,
        format=format_, view="decoder",
    )  # fmt: skip
    asked = shuffled(folder / "pool", folder / "out", spec, limits)
    job = replace(asked["job"], id_bytes=2)
    asked = {**asked, "job": job, "tables": [replace(one, job=job) for one in asked["tables"]]}
    cluster = Watched()
    shuffle_pool(**asked, cluster=cluster)
    return cluster


def main() -> None:
    """Parse, order a small pool and the large one, print."""
    folder, (mebibytes, row_ids), format_ = Path(sys.argv[1]), map(int, sys.argv[2:4]), sys.argv[4]
    order_pool(folder / "small", _SMALL * MIB, row_ids, format_, _LIMITS)
    before = status_bytes("VmRSS") - status_bytes("RssFile")
    run_bytes = int(sys.argv[5]) * MIB
    limits = Limits(run_bytes=run_bytes, window_bytes=run_bytes // 16, one_level_tasks=1)
    seen = order_pool(folder / "large", mebibytes * MIB, row_ids, format_, limits)
    print(json.dumps({stage: peak - before for stage, peak in seen.peaks.items()}))


if __name__ == "__main__":
    main()
