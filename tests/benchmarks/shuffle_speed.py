"""Measure the external shuffle: speed, and peak memory of a worker:

    python -m tests.benchmarks.shuffle_speed FOLDER

Enters: how large a pool to make, ids of real rows from the sample corpus repeated under new ids of
documents. Leaves: ids a second and core, and the same in bytes of uint32, for rows in order as
parquet and as MDS, laid out on disk first; and the peak resident set of the largest worker, by the
kernel's own count (`VmHWM`). The memory given is a tenth of the pool. A plain copy of the pool's
files, of the same ids counted as uint32, right before each order says what the disk itself gives.
"""

import argparse
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from pipeline.config.load import load_mixture
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.writer import MdsWriter, index_bytes, merge_indexes

_ROWS_AT_ONCE = 8192
_SHARDS = "s/part_{:04d}"
_PART_BYTES = 512 << 20


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where to work; three times the pool must fit")
    parser.add_argument("--gigabytes", type=float, default=10, help="size of the pool in uint16")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    work: Path = options.folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        num_ids = _make_pool(work / "pool", options.gigabytes)
        num_bytes = sum(path.stat().st_size for path in (work / "pool").rglob("*.mds"))
        print(f"pool of {num_bytes / 1e9:.1f} GB, {num_ids / 1e9:.2f} billion ids in uint16")
        print(
            "| rows as | copy, MB/s | seconds | M ids/s a core | MB/s a core | of copy"
            " | peak of a worker, MiB |"
        )
        print("|---|---|---|---|---|---|---|")
        for form in ("mds", "parquet"):
            copied = 4 * num_ids / 1e6 / _copy(work)
            seconds, peak = _order(work, form, options.workers, num_bytes // 10)
            speed = num_ids / 1e6 / seconds / options.workers
            ratio = 4 * speed * options.workers / copied
            print(
                f"| {form} | {copied:.0f} | {seconds:.0f} | {speed:.0f} | {4 * speed:.0f}"
                f" | {ratio:.2f} | {peak} |",
                flush=True,
            )
            shutil.rmtree(work / "out")
    finally:
        shutil.rmtree(work)


def _make_pool(folder: Path, gigabytes: float) -> int:
    """Write a pool of rows of the sample; return its number of ids."""
    lengths, ids = _sample_rows(folder.parent)
    draw = np.random.default_rng(0)
    indexes = []
    num_ids = document = 0
    while num_ids * 2 < gigabytes * 1e9:
        name = _SHARDS.format(len(indexes))
        (folder / name).mkdir(parents=True)
        writer = MdsWriter(folder=folder / name, dtype="uint16", size_limit=64 << 20)
        part = 0
        while part < _PART_BYTES:
            rows = draw.integers(0, len(lengths), _ROWS_AT_ONCE)
            taken = lengths[rows]
            starts = np.cumsum(lengths) - lengths
            places = np.repeat(starts[rows] - (np.cumsum(taken) - taken), taken)
            flat = ids[places + np.arange(taken.sum())]
            names = [f"document-{document + i}".encode() for i in range(_ROWS_AT_ONCE)]
            offsets = np.concatenate([[0], np.cumsum(taken)])
            writer.write(names, np.arange(_ROWS_AT_ONCE), flat, offsets)
            document += _ROWS_AT_ONCE
            part += int(taken.sum()) * 2
        indexes.append((name, writer.finish()))
        num_ids += part // 2
    (folder / "index.json").write_bytes(index_bytes(merge_indexes(indexes), merged=True))
    return num_ids


def _sample_rows(work: Path) -> tuple[np.ndarray, np.ndarray]:
    """Build the sample and return its rows: int64 [num_rows], uint32."""
    from pipeline.core.bundled import mixture_path
    from pipeline.runner.run import build

    mixture = load_mixture(mixture_path("sample"))
    build(mixture, work / "sample", workers=1, scheduler=None, report=lambda *_: None)
    pool = Pool.open(work / "sample" / "train")
    lengths = pool.lengths()
    ids = pool.gather(np.arange(len(lengths)), lengths)
    shutil.rmtree(work / "sample")
    return lengths, ids


def _copy(work: Path) -> float:
    started = time.monotonic()
    shutil.copytree(work / "pool", work / "copy")
    seconds = time.monotonic() - started
    shutil.rmtree(work / "copy")
    return seconds


def _order(work: Path, form: str, workers: int, memory_bytes: int) -> tuple[float, int]:
    """Order the pool by the command; return seconds and the peak of a worker in MiB."""
    command = [
        sys.executable, "-m", "pipeline", "order", str(work / "pool"), "--out", str(work / "out"),
        "--format", form, "--memory", str(memory_bytes), "--workers", str(workers),
    ]  # fmt: skip
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peaks: dict[int, int] = {}
    watcher = threading.Thread(target=_watch, args=(process, peaks))
    watcher.start()
    code = process.wait()
    seconds = time.monotonic() - started
    watcher.join()
    assert code == 0, f"order ended with {code}"
    return seconds, max(peaks.values()) // 1024


def _watch(process: "subprocess.Popen[bytes]", peaks: dict[int, int]) -> None:
    """Note the peak of each process below the command until it ends, in KiB."""
    while process.poll() is None:
        for pid in _descendants(process.pid):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                continue
            for line in status.splitlines():
                if line.startswith("VmHWM"):
                    peaks[pid] = max(peaks.get(pid, 0), int(line.split()[1]))
        time.sleep(0.2)


def _descendants(pid: int) -> list[int]:
    # Each thread has children of its own.
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text().split())
    return [one for child in found for one in (child, *_descendants(child))]


if __name__ == "__main__":
    main()
