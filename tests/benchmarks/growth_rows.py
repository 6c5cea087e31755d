"""Measure what one more row costs the process that orders rows:

    python -m tests.benchmarks.growth_rows FOLDER [--rows 1e6 1e8 2.8e9] [--partitions 70000]

Enters: nothing; rows are made up, those of a step as one. Leaves: for each number of rows, in as
many partitions each time, processor seconds and the peak (`VmHWM`) of the process that orders them,
its tasks, and bytes of tasks and results; then, by least squares, what a million rows add.
Method: `shuffle_pool` in a process of its own, which splits, sends, joins and writes all that it
does of a build, with rows laid out on disk; in place of workers, each task is answered with what it
would return, digests made up. `draw_memory` measures the search for the last row that is drawn.
"""

import argparse
import json
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from pipeline.config import OrderSpec, ShardSpec
from pipeline.core.digest import FileDigest
from pipeline.core.files import publish_array
from pipeline.dataset import LedgerSpan, provenance_file
from pipeline.dataset.ledger import DIGEST_BYTES, ROWS_PER_NODE
from pipeline.runner.cluster import Cluster, Tasks
from pipeline.runner.shuffle import PoolFolder, ShuffleJob, shuffle_pool
from pipeline.runner.shuffle.index_rows import PartTask, write_part
from pipeline.runner.shuffle.jobs import OrderTask
from pipeline.runner.shuffle.passes import Passes
from pipeline.runner.shuffle.scatter import scatter_rows
from pipeline.runner.shuffle.step_tokens import CountTask, RowCounts, count_rows
from pipeline.runner.shuffle.write import describe_span, order_rows
from pipeline.runner.task_cache import OrderFileRecord, TaskRecord
from tests.support.process_memory import status_bytes

_STEP_ROWS = 4608
_ROW_TOKENS = 600
_ID_BYTES = 2
_MIB = 1 << 20
_MILLION = 1_000_000


class MadeUp(Cluster):
    """Answers each task at once, and counts the bytes that would go there and back."""

    def __init__(self) -> None:
        self.num_tasks = self.num_bytes = 0

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        answers: dict[Callable[[Any], Any], Callable[[Any], Any]] = {
            count_rows: _counted, order_rows: _ordered, write_part: _indexed,
            scatter_rows: lambda task: [],
        }  # fmt: skip
        answer = answers.get(function, lambda task: None)
        for task in tasks:
            sent = pickle.dumps(task)
            result = pickle.dumps(answer(task))
            self.num_tasks += 1
            self.num_bytes += len(sent) + len(result)
            yield pickle.loads(result)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the state of each order goes")
    parser.add_argument("--rows", type=float, nargs="+", default=[1e5, 1e6, 1e7, 1e8, 2.8e9])
    parser.add_argument("--partitions", type=int, default=70_000)
    options = parser.parse_args()
    print("| rows | steps | CPU s | peak, MiB | tasks | tasks and results, MiB |")
    print("|---|---|---|---|---|---|")
    costs = []
    for num_rows in map(int, options.rows):
        cost = _measure(options.folder / "growth_rows", num_rows, options.partitions)
        costs.append((num_rows, *cost))
        seconds, peak_bytes, num_tasks, num_bytes = cost
        print(
            f"| {num_rows:,} | {num_rows // _STEP_ROWS:,} | {seconds:.1f} | {peak_bytes / _MIB:.0f}"
            f" | {num_tasks:,} | {num_bytes / _MIB:.1f} |",
            flush=True,
        )
    rows, seconds, peaks, tasks, sent = np.array(costs).T
    slopes = [np.polyfit(rows, values, 1)[0] * _MILLION for values in (seconds, peaks, tasks, sent)]
    print("\n| a million rows: CPU ms | KiB | tasks | tasks and results, KiB |\n|---|---|---|---|")
    print(
        f"| {slopes[0] * 1000:.1f} | {slopes[1] / 1024:.1f} | {slopes[2]:.2f}"
        f" | {slopes[3] / 1024:.1f} |"
    )


def _measure(work: Path, num_rows: int, num_partitions: int) -> tuple[float, int, int, int]:
    """Order made-up rows in a process of its own; return what it took."""
    shutil.rmtree(work, ignore_errors=True)
    code = f"from {__spec__.name} import order_made_up; order_made_up()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(work), str(num_rows), str(num_partitions)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    shutil.rmtree(work)
    seconds, peak_bytes, num_tasks, num_bytes = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak_bytes, num_tasks, num_bytes


def order_made_up() -> None:
    """Order made-up rows; print what this process took."""
    out, num_rows, num_partitions = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    started = time.process_time()
    cluster = MadeUp()
    job = ShuffleJob(
        out=out,
        pool=out,
        run="run",
        key="key",
        stamp="",
        num_samples=num_rows,
        id_bytes=_ID_BYTES,
        spec=OrderSpec(
            algorithm="feistel-v1", seed=1, global_batch_size=_STEP_ROWS, max_seq_len=1024
        ),
        shards=ShardSpec(),
        cls_id=1,
        sep_id=2,
        hashes_all=False,
    )
    bounds = [num_rows * number // num_partitions for number in range(num_partitions + 1)]
    folders = [
        PoolFolder(
            table=f"train/source/{number:06}",
            source="source",
            files=(f"in/{number:06}.jsonl",),
            num_rows=stop - start,
            num_bytes=(stop - start) * _ROW_TOKENS * _ID_BYTES,
        )
        for number, (start, stop) in enumerate(pairwise(bounds))
    ]
    # No row is laid out, so that none needs room.
    with mock.patch.object(Passes, "_check_room"):
        shuffle_pool(
            job, cluster, phase="phase", folders=folders, tables=None, scatters=True,
            owner="owner", allows_cut=True,
        )  # fmt: skip
    seconds = time.process_time() - started
    print(json.dumps([seconds, status_bytes("VmHWM"), cluster.num_tasks, cluster.num_bytes]))


def _counted(task: CountTask) -> RowCounts:
    """Save the tokens of each step as the task would; those of its part of the rows."""
    state, batch_size = task.job.state, task.job.spec.global_batch_size
    num_rows = sum(part.rows[1] - part.rows[0] for part in task.parts)
    tokens = np.full(task.job.num_rows // batch_size + 1, num_rows * _ROW_TOKENS, np.int64)
    tokens //= task.job.num_samples // batch_size + 1
    path = state.order(f"tokens/{task.number:02d}")
    publish_array(path, state.scratch, tokens.dtype, len(tokens), [tokens])
    return RowCounts(num_tokens=num_rows * _ROW_TOKENS)


def _ordered(task: OrderTask) -> OrderFileRecord:
    """Return the record of a file of rows with any digests."""
    start, stop = task.rows
    first, last = -(-start // ROWS_PER_NODE), stop // ROWS_PER_NODE
    span = LedgerSpan(
        start_row=start,
        num_rows=stop - start,
        multiset=start,
        head=_digests(first * ROWS_PER_NODE - start),
        nodes=bytearray(_digests(last - first).tobytes()),
        tail=_digests(stop - last * ROWS_PER_NODE),
    )
    path = task.file.path
    return OrderFileRecord(
        key=task.key,
        num_tokens=(_STEP_ROWS * _ROW_TOKENS,) * task.file.num_steps,
        sha256=tuple(f"{start + step:064x}" for step in range(task.file.num_steps)),
        span=describe_span(span),
        files={name: FileDigest(num_bytes=1, sha256=f"{start:064x}")
               for name in (path, provenance_file(path))},
    )  # fmt: skip


def _digests(number: int) -> Any:
    return np.random.default_rng(number).integers(0, 256, (number, DIGEST_BYTES), np.uint8)


def _indexed(task: PartTask) -> TaskRecord:
    return TaskRecord(
        key=task.key, files={task.name: FileDigest(num_bytes=1, sha256=f"{task.part:064x}")}
    )


if __name__ == "__main__":
    main()
