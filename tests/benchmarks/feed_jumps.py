"""Measure how soon a feed goes on anywhere, and what memory it takes:

    python -m tests.benchmarks.feed_jumps FOLDER [--pools 100000 10000000]

Enters: numbers of rows of pools, made here of short rows and kept. Leaves: for each, milliseconds
of opening it in an order that is computed, to the first batch, and to the first batch after a jump
to any step, the median and the longest of 40; and the peak resident set of the process after
5,000 batches more, by the kernel's own count (`VmHWM`). Method: masked flat batches, each pool in a
process of its own. Opening and the first batch include what a process does once, such as to load
compiled code. With `--order DIR`, rows of the output of a build come first, compared with its
ledger.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np

_STEP_ROWS = 4608
_MICRO_BATCH_ROWS = 72
_NUM_JUMPS = 40
_NUM_BATCHES = 5000


def main() -> None:
    """Parse, make pools, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pools", type=int, nargs="+", default=(100_000, 10_000_000))
    parser.add_argument("--order", type=Path, nargs="*", default=(), metavar="DIR")
    options = parser.parse_args()
    print("| rows of | rows | open, ms | first, ms | after a jump, ms | worst | peak, MiB |")
    print("|---|---|---|---|---|---|---|")
    for order in options.order:
        _print_jumps(order.name, order, 0)
    for num_rows in options.pools:
        folder = options.folder / f"pool-{num_rows}"
        if not (folder / "index.json").exists():
            _make_pool(folder, num_rows)
        _print_jumps("pool", folder, num_rows)


def _print_jumps(name: str, folder: Path, num_rows: int) -> None:
    code = f"from {__spec__.name} import run_jumps; run_jumps()"
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(num_rows)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    print(
        f"| {name} | {found['rows']:,} | {found['open']:.0f} | {found['first']:.0f} | "
        f"{found['jump']:.1f} | {found['worst']:.1f} | {found['peak'] >> 10} |",
        flush=True,
    )


def _make_pool(folder: Path, num_rows: int) -> None:
    """Write a pool of short rows."""
    from pipeline.dataset.mds.writer import MdsWriter, index_bytes, merge_indexes

    (folder / "part").mkdir(parents=True)
    draw = np.random.default_rng(0)
    writer = MdsWriter(folder=folder / "part", dtype="uint16", size_limit=64 << 20)
    for start in range(0, num_rows, 65536):
        count = min(65536, num_rows - start)
        offsets = np.concatenate([[0], np.cumsum(draw.integers(8, 33, count))])
        ids = draw.integers(0, 50_000, offsets[-1]).astype(np.uint32)
        names = [f"{number:x}".encode() for number in range(start, start + count)]
        writer.write(names, np.arange(count), ids, offsets)
    index = merge_indexes([("part", writer.finish())])
    (folder / "index.json").write_bytes(index_bytes(index, merged=True))


def run_jumps() -> None:
    """Measure a pool of so many rows, or the output of a build where that is 0; print."""
    from pipeline import dataset
    from pipeline.feed.batch import Mlm
    from pipeline.feed.factory import make_feed
    from pipeline.order import PermutationKey

    folder, num_rows = Path(sys.argv[1]), int(sys.argv[2])

    def first(step: int) -> float:
        started = time.perf_counter()
        feed.seek_step(step)
        next(iter(feed))
        return 1000 * (time.perf_counter() - started)

    started = time.perf_counter()
    if num_rows:
        key = PermutationKey(algorithm="feistel-v1", num_samples=num_rows, seed=21, epoch=0)
        order = dataset.open_pool(folder, key, folder.with_suffix(".scratch"))
    else:
        order = dataset.open(folder)
    feed = make_feed(
        order,
        objective=Mlm(mask_prob=0.3, seed=1),
        micro_batch_rows=_MICRO_BATCH_ROWS,
        global_batch_rows=min(_STEP_ROWS, order.rows.num_rows),
        max_seq_len=1024,
    )
    opened = 1000 * (time.perf_counter() - started)
    beginning = first(feed.num_steps // 2)
    steps = np.random.default_rng(0).integers(0, feed.num_steps, _NUM_JUMPS)
    jumps = [first(step) for step in steps.tolist()]
    feed.seek_step(0)
    for _ in islice(feed, _NUM_BATCHES):
        pass
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    found = {"rows": order.rows.num_rows, "open": opened, "first": beginning, "peak": peak}
    print(json.dumps({**found, "jump": statistics.median(jumps), "worst": max(jumps)}))


if __name__ == "__main__":
    main()
