"""Measure how the published order's permutation grows:

    python -m tests.benchmarks.permutation_speed FOLDER

Enters: nothing. Leaves: time and peak memory of `permutation`, which numpy shuffles in memory, and
of `save`, which shuffles in blocks through disk, at each size, and what they come to at the
published size. Method: each figure is of one fresh process, the two side by side; the peak is the
kernel's (`ru_maxrss`), less that of a process that orders ten samples. Time per sample grows with
size, because the places that are swapped are ever less often in a cache or in the table of pages;
a line over log2(size) is laid through the sizes by least squares and read at the target. numpy's
memory is 4 bytes a sample; that of blocks does not grow. `save` also writes the file of both
halves, 8 bytes a sample, to the folder, and syncs it. `feistel-v1` stands beside them, in time per
position.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

_POSITIONS = 10_000_000


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=float, nargs="+", default=[3e7, 1e8, 3e8])
    parser.add_argument("--target", type=float, default=2.8e9)
    options = parser.parse_args()
    sizes = [int(size) for size in options.sizes]
    print(
        "| what | samples | s | ns/sample | memory, MiB | bytes/sample |\n|---|---|---|---|---|---|"
    )
    seconds: dict[str, list[float]] = {"permutation": [], "save": []}
    peaks: dict[str, int] = {}
    floors = {what: _measure(what, 10, options.folder)[1] for what in seconds}
    for size in sizes:
        for what, took_before in seconds.items():
            took, peak = _measure(what, size, options.folder)
            took_before.append(took)
            peaks[what] = peak - floors[what]
            _print(what, f"{size:,}", took, peaks[what], size)
    target = int(options.target)
    if len(sizes) > 1:
        for what, all_took in seconds.items():
            line = np.polyfit(np.log2(sizes), np.array(all_took) / sizes, 1)
            took = float(np.polyval(line, np.log2(target))) * target
            peak = 4 * target if what == "permutation" else peaks[what]
            _print(what, f"{target:,} (by the line)", took, peak, target)
    for what in ("samples", "positions"):
        took, _ = _measure(what, int(options.target), options.folder)
        print(f"| feistel-v1, {what} | {_POSITIONS:,} of {int(options.target):,} | {took:.2f} "
              f"| {took / _POSITIONS * 1e9:.0f} | | |")  # fmt: skip


def _print(what: str, size: str, took: float, peak: int, num_samples: int) -> None:
    print(
        f"| {what} | {size} | {took:.1f} | {took / num_samples * 1e9:.0f} "
        f"| {peak / 2**20:,.0f} | {peak / num_samples:.2f} |",
        flush=True,
    )


def _measure(what: str, num_samples: int, folder: Path) -> tuple[float, int]:
    """Return the seconds that one thing takes in a process of its own, and its peak in bytes."""
    code = f"from {__spec__.name} import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, what, str(num_samples), str(folder)],
        check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    told = json.loads(done.stdout)
    return told["seconds"], told["peak"]


def run() -> None:
    """Do what the arguments say; print seconds and peak."""
    from pipeline.order import (
        PermutationKey,
        load_permutation,
        pcg64dxsm_permutation,
        save_permutation,
    )

    what, num_samples, place = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place) as made:
        folder = Path(made)
        key = PermutationKey(
            algorithm="ettin-pcg64dxsm-v1", num_samples=num_samples, seed=21, epoch=0
        )
        if what in ("samples", "positions"):
            key = PermutationKey(algorithm="feistel-v1", num_samples=num_samples, seed=21, epoch=0)
            getattr(load_permutation(key, folder), what)(0, 10)  # Compiles.
        started = time.perf_counter()
        if what == "permutation":
            pcg64dxsm_permutation(num_samples, seed=21, epoch=0)
        elif what == "save":
            save_permutation(key, folder, folder)
        else:
            getattr(load_permutation(key, folder), what)(0, _POSITIONS)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main()
