"""Time a pull beside the Hub's own downloader, of the same files from the same server:

    python -m tests.benchmarks.pull_speed [--folder DIR] [--repetitions 5]

Enters: nothing; 8 files of 64 MB and 2,000 of 20 kB are made and served by a process on loopback.
Leaves: for each of the two sets the seconds that `pull` takes from a lock, those that
`huggingface_hub.snapshot_download` takes with as many threads, and the ratio. Method: the two take
turns, into an empty folder each time; the first turn warms up; medians count. `pull` hashes every
byte and syncs every file, the other does neither. Nothing is compressed or deduplicated on the way,
since the server has no Xet. `--folder` is where files go: on a disk, syncing counts.
"""

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from pipeline.config.load import load_mixture
from pipeline.sources.download.download_plan import plan_download
from pipeline.sources.download.pull import pull
from pipeline.sources.lock.create import make_lock
from pipeline.sources.lock.lock import Lock
from tests.support.source_server import serve

NUM_THREADS = 8
_SIZE = "how many, and the bytes of each"

MIXTURE = """\
name: {name}
chunk: {{algorithm: whole-v1, size: 128}}
sources: {{all: {{from: {{hub: org/files, files: "{name}/*"}}}}}}
order: {{seed: 21, global_batch_size: 16, max_seq_len: 128}}
"""


def main() -> None:
    """Make, serve, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="where files go (default: a temporary folder)")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--large", type=int, nargs=2, default=(8, 64_000_000), help=_SIZE)
    parser.add_argument("--small", type=int, nargs=2, default=(2000, 20_000), help=_SIZE)
    options = parser.parse_args()
    sets = {"large": options.large, "small": options.small}
    with TemporaryDirectory(dir=options.folder) as scratch:
        root = Path(scratch)
        for name, size in sets.items():
            make(root / "files" / name, *size)
        with serve({"org/files": root / "files"}) as server:
            os.environ.update(HF_ENDPOINT=server.endpoint, HF_HOME=str(root / "home"))
            os.environ.update(HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_PROGRESS_BARS="1")
            print("| files | bytes | pull, s | MB/s | snapshot_download, s | MB/s | ratio | all |")
            print("|---|---|---|---|---|---|---|---|")
            for name, size in sets.items():
                print(measure(root, name, *size, options.repetitions))


def make(folder: Path, number: int, num_bytes: int) -> None:
    """Write files that cannot be compressed."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(3)
    for index in range(number):
        (folder / f"part-{index:04d}.jsonl.zst").write_bytes(generator.bytes(num_bytes))


def measure(root: Path, name: str, number: int, num_bytes: int, repetitions: int) -> str:
    """Let the two take turns; return a line of the table."""
    mixture = root / f"{name}.yaml"
    mixture.write_text(MIXTURE.format(name=name))
    lock = make_lock(load_mixture(mixture), quiet)
    kinds: list[Callable[[Path], None]] = [
        lambda dest: ours(lock, root, dest),
        lambda dest: theirs(name, dest),
    ]
    total = number * num_bytes
    turns = [[timed(kind, root / "dest", total) for kind in kinds] for _ in range(repetitions + 1)]
    del turns[0]
    seconds = [statistics.median(turn[side] for turn in turns) for side in range(2)]
    ratios = [ours / theirs for ours, theirs in turns]
    rates = [total / 1e6 / one for one in seconds]
    return (
        f"| {number:,} | {total:,} | {seconds[0]:.2f} | {rates[0]:.0f} | "
        f"{seconds[1]:.2f} | {rates[1]:.0f} | **{statistics.median(ratios):.2f}** | "
        f"{' '.join(f'{ratio:.2f}' for ratio in ratios)} |"
    )


def ours(lock: Lock, folder: Path, dest: Path) -> None:
    """Pull all that is locked."""
    pull(plan_download(lock, folder, dest), quiet)


def theirs(name: str, dest: Path) -> None:
    """Download the repository."""
    # Imported here: the address of the server is read when it is.
    from huggingface_hub import snapshot_download

    snapshot_download(
        "org/files",
        repo_type="dataset",
        allow_patterns=f"{name}/*",
        local_dir=dest,
        max_workers=NUM_THREADS,
    )


def timed(kind: Callable[[Path], None], dest: Path, num_bytes: int) -> float:
    """Return how long it takes into an empty folder, after a look at what came."""
    began = time.perf_counter()
    kind(dest)
    seconds = time.perf_counter() - began
    files = [path for path in dest.rglob("*.jsonl.zst") if path.is_file()]
    assert sum(path.stat().st_size for path in files) == num_bytes
    shutil.rmtree(dest)
    os.sync()
    return seconds


def quiet(*told: Any) -> None:
    """Report nothing."""


if __name__ == "__main__":
    main()
