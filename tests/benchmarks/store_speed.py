"""Compare a build into a store on loopback with one onto disk, on the same text and cores:

    python -m tests.benchmarks.store_speed FOLDER

Enters: the corpus of `corpus`. Leaves: seconds of CPU, of the command and all its processes, and of
wall clock, of both, and how many times as long the store takes. Method: the command line with two
workers builds prose and code under a budget, so that chunks are written, sampled and put in order;
by turns (A B A B), the first of which warms up and is not counted. The process of the store, which
is a stand-in in Python, is not counted: it would be another machine.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from pipeline.storage.writable_store import WritableStore
from tests.benchmarks import corpus
from tests.support.store_server import serve_store

_MIXTURE = """\
name: store
chunk: {{algorithm: ettin-reencode-v1, size: 1024, min_size: 512, skip_below: 128, seed: 42}}
sources:
  code: {{from: {{path: {folder}/code/*}}, epochs: 4/5}}
  prose: {{from: {{path: {folder}/prose/*}}, epochs: 3/2}}
order: {{seed: 21, global_batch_size: 256, max_seq_len: 1024}}
shards: {{dtype: uint16, size_limit: 64MiB}}
"""


def main() -> None:
    """Parse, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    corpus.add_arguments(parser)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    with corpus.workspace(options) as work, serve_store(work, "builds"):
        _compare(options.corpus.absolute(), work, options.repetitions)


def _compare(folder: Path, work: Path, repetitions: int) -> None:
    mixture = work / "store.yaml"
    mixture.write_text(_MIXTURE.format(folder=folder))
    print("| turn | CPU on disk | CPU in a store | ratio | seconds on disk | in a store |")
    print("|---|---|---|---|---|---|")
    ratios = []
    for turn in range(repetitions + 1):
        disk = _build(mixture, work / "out", work)
        shutil.rmtree(work / "out")
        address = f"s3://builds/{turn}"
        store = _build(mixture, address, work)
        objects = WritableStore(address)
        objects.delete(objects.list())
        ratio = store[0] / disk[0]
        name = turn or "first"
        print(
            f"| {name} | {disk[0]:.1f} | {store[0]:.1f} | {ratio:.2f} | {disk[1]:.1f} |"
            f" {store[1]:.1f} |",
            flush=True,
        )
        if turn:
            ratios.append(ratio)
    print(f"median ratio of CPU: {statistics.median(ratios):.2f}")


def _build(mixture: Path, out: Path | str, work: Path) -> tuple[float, float]:
    """Build; return seconds of CPU and of wall clock."""
    command = [sys.executable, "-m", "pipeline", "build", mixture, "--out", out]
    options = ["--workers", "2", "--scratch", work / "scratch"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [*command, *options], env=os.environ, capture_output=True, text=True, check=False
    )
    seconds = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, seconds


if __name__ == "__main__":
    main()
