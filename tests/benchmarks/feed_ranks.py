"""Count what several ranks on one host spend on one order:

    python -m tests.benchmarks.feed_ranks OUTPUT [--ranks 1 2 4 8] [--rows 65536]

Enters: the output of a build. Leaves: for each number of ranks, processor seconds of all ranks for
each million ids, without a ledger, with one and each rank for itself, and with digests shared; and
the rows that were hashed, as a multiple of the rows fed. Method: a process for each rank, all over
the same rows from the page cache, at the same time; the three ways take turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

_MICRO_BATCH_ROWS = 72
_WAYS = ("none", "alone", "shared")


def main() -> None:
    """Parse, feed, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--ranks", type=int, nargs="+", default=(1, 2, 4, 8))
    parser.add_argument("--rows", type=int, default=65536, help="that all ranks are fed together")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    print("| ranks | no ledger | each alone | shared | alone / shared | hashed alone | shared |")
    print("|---|---|---|---|---|---|---|")
    for num_ranks in options.ranks:
        turns = [
            {way: _feed_all(options.output, num_ranks, options.rows, way) for way in _WAYS}
            for _ in range(options.repetitions)
        ]
        none, alone, shared = (statistics.median(turn[way][0] for turn in turns) for way in _WAYS)
        hashed = [statistics.median(turn[way][1] for turn in turns) for way in _WAYS[1:]]
        print(
            f"| {num_ranks} | {none:.4f} | {alone:.4f} | {shared:.4f} | {alone / shared:.2f} |"
            f" {hashed[0]:.2f} | {hashed[1]:.2f} |",
            flush=True,
        )


def _feed_all(output: Path, num_ranks: int, num_rows: int, way: str) -> tuple[float, float]:
    """Return processor seconds for each million ids, and rows hashed for each row fed."""
    code = f"from {__spec__.name} import run_rank; run_rank()"
    told = [str(output), str(num_ranks), str(num_rows), way]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank), *told],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for rank in range(num_ranks)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # It has loaded everything.
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    seconds, num_ids, num_hashed, num_fed = (sum(column) for column in zip(*found, strict=True))
    return 1e6 * seconds / num_ids, num_hashed / num_fed


def run_rank() -> None:
    """Feed one rank in this process, and print what it took."""
    from pipeline import dataset
    from pipeline.dataset import rows as module
    from pipeline.feed.factory import make_feed

    rank, output, num_ranks, num_rows, way = sys.argv[1:]
    feed = make_feed(
        dataset.open(output, checks=way != "none"),
        objective=None,
        micro_batch_rows=_MICRO_BATCH_ROWS,
        rank=int(rank),
        world_size=int(num_ranks),
    )
    if way == "alone" and isinstance(feed.order.rows, module.CheckedRows):
        feed.order.rows.shared = None
    num_hashed, digests_of = 0, module.row_digests

    def counted(values: object, offsets: object) -> object:
        nonlocal num_hashed
        num_hashed += len(offsets) - 1  # type: ignore[arg-type]
        return digests_of(values, offsets)  # type: ignore[arg-type]

    module.row_digests = counted  # type: ignore[assignment]
    next(iter(feed.batches()))
    print("ready", flush=True)
    sys.stdin.readline()
    num_hashed = num_ids = num_fed = 0
    started = time.process_time()
    for batch in feed.batches():
        num_ids += batch.num_tokens
        num_fed += len(batch.rows)
        if batch.next_row >= int(num_rows):
            break
    print(json.dumps([time.process_time() - started, num_ids, num_hashed, num_fed]), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
