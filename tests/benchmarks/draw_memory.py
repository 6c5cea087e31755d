"""Measure what the driver holds while it draws chunks by `keyed-v1`:

    python -m tests.benchmarks.draw_memory

Enters: nothing; lengths of chunks are made up. Leaves: at each number of chunks, the peak of what
Python allocates in the driver and the bytes of all tasks and results, with the search over bins and
with the plain form that sorts all numbers, and seconds of each. Method: tasks run in another
process, as a worker's; partitions have 40,000 chunks each, as in the published pool, so that what
grows beside the chunks is a partition's rule.
"""

import argparse
import pickle
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np

from pipeline.core.arrays import Int64Array, Uint64Array
from pipeline.core.seeds import random_numbers
from pipeline.runner.cluster import Cluster, Tasks
from pipeline.runner.threshold import Search, find_last
from pipeline.stages.sampling import draw_keyed, key_of

_ROWS_EACH = 40_000
_MIB = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeUp:
    """A partition whose chunks are computed."""

    key: int
    num_rows: int

    def numbers(self) -> tuple[Uint64Array, Int64Array]:
        return random_numbers(self.key, self.num_rows), self.lengths()

    def lengths(self) -> Int64Array:
        return np.arange(self.num_rows) % 1000 + 1


class Elsewhere(Cluster):
    """Runs tasks in another process, and counts the bytes that go there and back."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool
        self.num_bytes = 0

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        for task in tasks:
            result = self._pool.submit(function, task).result()
            self.num_bytes += len(pickle.dumps(task)) + len(pickle.dumps(result))
            yield result


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e5, 1e6, 1e7])
    parser.add_argument("--largest-plain", type=float, default=1e7)
    options = parser.parse_args()
    print("| chunks | partitions | search: driver, MiB | sent, MiB | s | sorted: driver, MiB | s |")
    print("|---|---|---|---|---|---|---|")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(MadeUp(key=1, num_rows=9).numbers).result()
        for size in map(int, options.sizes):
            names = [f"{number:05}" for number in range(size // _ROWS_EACH)]
            cluster = Elsewhere(pool)
            taken, peak, seconds = _measured(partial(_search, cluster, names))
            sent = f"{cluster.num_bytes / _MIB:.2f}"
            found = f"| {size:,} | {len(names):,} | {peak:.2f} | {sent} | {seconds:.2f} "
            if size <= options.largest_plain:
                plain, peak, seconds = _measured(partial(_sorted, names))
                assert plain == taken
                found += f"| {peak:.2f} | {seconds:.2f} |"
            else:
                found += "| | |"
            print(found, flush=True)


def _measured(work: Callable[[], int]) -> tuple[int, float, float]:
    """Return the result of some work, its peak in MiB, and its seconds."""
    tracemalloc.start()
    begun = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - begun
    peak = tracemalloc.get_traced_memory()[1] / _MIB
    tracemalloc.stop()
    return result, peak, seconds


def _search(cluster: Cluster, names: list[str]) -> int:
    """Draw a third of the tokens by the search; return how many chunks that is of the first."""
    parts = [MadeUp(key=key_of("made up", name, 21), num_rows=_ROWS_EACH) for name in names]
    goal = len(parts) * int(parts[0].lengths().sum()) // 3
    [last] = find_last(
        cluster, "draw", [Search(parts=parts, goal=goal, count=len(parts) * _ROWS_EACH)]
    )
    draws = draw_keyed("made up", names, 21, last)
    return int(draws[names[0]].taken(parts[0].lengths()).sum())


def _sorted(names: list[str]) -> int:
    """Do the same by sorting the numbers of all chunks."""
    keys = [key_of("made up", name, 21) for name in names]
    lengths = np.tile(MadeUp(key=0, num_rows=_ROWS_EACH).lengths(), len(names))
    order = np.argsort(np.concatenate([random_numbers(key, _ROWS_EACH) for key in keys]))
    sums = np.cumsum(lengths[order])
    taken = order[: int(np.searchsorted(sums, int(lengths.sum()) // 3)) + 1]
    return int(np.count_nonzero(taken < _ROWS_EACH))


if __name__ == "__main__":
    main()
