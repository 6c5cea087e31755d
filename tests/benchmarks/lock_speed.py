"""Time the lock of a large data set, from the first request to the file:

    python -m tests.benchmarks.lock_speed [--files 70000] [--urls 2419]

Enters: nothing; a data set of so many made files, and so many addresses at a plain host, are served
by a process on loopback. Leaves: for each the requests, the seconds to ask for all files, to write
the lock, and to read it again; and its bytes. A data set is listed in pages of 1,000, as on the
Hub; of addresses each is asked for by itself. The server makes its pages before the clock starts.
"""

import argparse
import os
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from pipeline.config.load import load_mixture
from pipeline.sources.lock.create import make_lock
from pipeline.sources.lock.lock_file import read_lock, write_lock
from tests.support.source_server import Server, serve

MIXTURE = """\
name: {name}
chunk: {{algorithm: whole-v1, size: 128}}
sources: {{all: {{from: {origin}}}}}
order: {{seed: 21, global_batch_size: 16, max_seq_len: 128}}
"""


def main() -> None:
    """Serve, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=70_000)
    parser.add_argument("--urls", type=int, default=2_419)
    options = parser.parse_args()
    with (
        TemporaryDirectory() as scratch,
        serve({"org/large": options.files}, files={"large": options.urls}) as server,
    ):
        os.environ.update(HF_ENDPOINT=server.endpoint, HF_HOME=scratch)
        with urlopen(f"{server.endpoint}/api/datasets/org/large/tree/main?recursive=true") as page:
            page.read()
        # Made files lie in folders of 1,000.
        names = [f"data/{i // 1000:04d}/part-{i:06d}.jsonl.zst" for i in range(options.urls)]
        addresses = [server.url("large", name) for name in names]
        print("| origin | files | requests | ask, s | write, s | read, s | bytes |")
        print("|---|---|---|---|---|---|---|")
        print(measure(server, Path(scratch), "hub", '{hub: org/large, files: "**"}'))
        print(measure(server, Path(scratch), "url", f"{{url: [{', '.join(addresses)}]}}"))


def measure(server: Server, root: Path, name: str, origin: str) -> str:
    """Lock one mixture; return a line of the table."""
    path, mixture = root / f"{name}.lock.json", root / f"{name}.yaml"
    mixture.write_text(MIXTURE.format(name=name, origin=origin))
    declared = load_mixture(mixture)
    server.reset()
    times = [time.perf_counter()]
    lock = make_lock(declared, quiet)
    times.append(time.perf_counter())
    write_lock(lock, path)
    times.append(time.perf_counter())
    assert read_lock(path) == lock
    times.append(time.perf_counter())
    seconds = [after - before for before, after in pairwise(times)]
    return (
        f"| {name} | {len(lock.sources['all'].files):,} | {len(server.log()):,} | "
        f"{seconds[0]:.2f} | {seconds[1]:.2f} | {seconds[2]:.2f} | {path.stat().st_size:,} |"
    )


def quiet(*told: Any) -> None:
    """Report nothing."""


if __name__ == "__main__":
    main()
