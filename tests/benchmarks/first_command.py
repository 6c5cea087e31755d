"""The first command on a fresh machine: the sample build, without compiled code and with it.

Enters: two trees of this repository, such as before and after a change. Leaves: CPU and wall
seconds of each, the least of some pairs of runs, and the ratios of the second tree to the first.

Cold runs find no cache of compiled code, warm ones that of the run before. Bytecode of Python is
there in both, as an installer leaves it. CPU seconds are of the command and all its workers.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Seconds(NamedTuple):
    """What a command took."""

    cpu: float
    wall: float


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("before", type=Path, nargs="?", default=ROOT)
    parser.add_argument("after", type=Path, nargs="?", default=ROOT)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--mixture", default="sample", help="what is built, such as a larger one")
    options = parser.parse_args()
    trees = (options.before.resolve(), options.after.resolve())
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for tree in trees:
            subprocess.run(
                [sys.executable, "-m", "compileall", "-q", tree / "pipeline"], check=True
            )
        cold: list[list[Seconds]] = [[], []]
        warm: list[list[Seconds]] = [[], []]
        for _ in range(options.repetitions):
            for number, tree in enumerate(trees):
                shutil.rmtree(work / "compiled", ignore_errors=True)
                cold[number].append(_build(tree, work, options.mixture))
                warm[number].append(_build(tree, work, options.mixture))
    print("| run | CPU s before | after | ratio | wall s before | after | ratio |")
    print("|--|--|--|--|--|--|--|")
    for name, runs in (("cold", cold), ("warm", warm)):
        one, other = (Seconds(*map(min, zip(*part, strict=True))) for part in runs)
        cells = (*_cells(one.cpu, other.cpu), *_cells(one.wall, other.wall))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _cells(before: float, after: float) -> tuple[str, str, str]:
    return f"{before:.1f}", f"{after:.1f}", f"{after / before:.2f}"


def _build(tree: Path, work: Path, mixture: str) -> Seconds:
    """Build in a process of its own; leave compiled code in `work`."""
    out = work / "out"
    shutil.rmtree(out, ignore_errors=True)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PYTHONPATH": str(tree),
        "NUMBA_CACHE_DIR": str(work / "compiled"),
    }
    command = [sys.executable, "-m", "pipeline", "build", mixture, "--out", str(out)]
    started, before = time.monotonic(), _cpu_seconds()
    subprocess.run(command, env=environment, cwd=work, check=True, capture_output=True)
    return Seconds(cpu=_cpu_seconds() - before, wall=time.monotonic() - started)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
