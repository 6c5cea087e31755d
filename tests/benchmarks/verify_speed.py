"""Time what it takes to verify an output against a manifest, beside reading its rows alone:

    python -m tests.benchmarks.verify_speed FOLDER [--window N] [--repetitions 5]

FOLDER: the output of a build, best of some hundred megabytes. Leaves: GB of ids, as uint32, a
second of processor time, of the parquet library reading the columns of ids (of MDS: of the rows
read), and of `verify_against` with the output's own manifest; and the ratio. Method: all from the
page cache; the two take turns, the first turn warms up; processor time is of all threads, so it is
for one core.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.audit.verify.against import verify_against
from pipeline.audit.verify.build_output import Output
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.paths import MANIFEST, ORDER
from tests.support.orders import open_rows


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--window", type=int, help="only this one (default: all)")
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args()
    told = Output.open(options.folder).manifest.order
    windows = told.windows if options.window is None else [told.windows[options.window - 1]]
    num_bytes = 4 * sum(window.num_tokens for window in windows)

    def read() -> None:
        rows = open_rows(options.folder / ORDER)
        for window in windows:
            start = window.first_row
            if isinstance(rows, MdsRows):
                for _ in rows.read(start, start + window.num_rows):
                    pass
                continue
            for path in sorted((options.folder / window.folder).iterdir()):
                file = pq.ParquetFile(path, memory_map=True)
                for group in range(file.num_row_groups):
                    file.read_row_group(group, columns=["input_ids"], use_threads=False)

    def verify() -> None:
        manifest = str(options.folder / MANIFEST)
        if not verify_against(options.folder, manifest, window=options.window).equal:
            raise SystemExit("the output is not as its manifest says")

    turns = [(_time(read), _time(verify)) for _ in range(options.repetitions + 1)][1:]
    speeds = [
        statistics.median(num_bytes / 1e9 / turn[side] for turn in turns) for side in range(2)
    ]
    ratios = [verified / read_alone for read_alone, verified in turns]
    print("| GB of ids | read, GB/s | verified, GB/s | verified : read (median) | ratios |")
    print("|---|---|---|---|---|")
    print(
        f"| {num_bytes / 1e9:.2f} | {speeds[0]:.2f} | {speeds[1]:.2f} | "
        f"**{statistics.median(ratios):.2f}** | {' '.join(f'{ratio:.2f}' for ratio in ratios)} |"
    )


def _time(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
