"""Mutated files of every kind through the commands: no traceback, no hang, no memory, no silence.

`FUZZ=5000 python -m pytest -q -m slow tests/end_to_end/test_fuzz.py` runs as many; `FUZZ_FROM` is
the first seed, so that runs add up. A fault names its kind and seed, and `FUZZ_KIND` runs one kind.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import builds, fuzzing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(0)]

NUM_TRIALS = int(os.environ.get("FUZZ", "300"))
FIRST = int(os.environ.get("FUZZ_FROM", "0"))
KINDS = [os.environ["FUZZ_KIND"]] if "FUZZ_KIND" in os.environ else list(fuzzing.TARGETS)
ALONE_ONE_IN = 50
"""Such a share runs as a person runs it, in a process of its own."""


def plan() -> list[tuple[str, int]]:
    """Return the kind and the seed of each trial."""
    shares = [kind for kind in KINDS for _ in range(fuzzing.TARGETS[kind].share)]
    return [(shares[i % len(shares)], FIRST + i) for i in range(NUM_TRIALS)]


def test_no_mutated_file_ends_a_command_otherwise_than_in_words(tmp_path: Path) -> None:
    # In a process of its own, which has no threads that a fork would lack.
    done = subprocess.run(
        [sys.executable, __file__, tmp_path],
        env=builds.environment(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false"),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(f"{NUM_TRIALS} trials, 0 faults\n")


def main(arguments: Sequence[str]) -> int:
    """Run the trials, print what is wrong with some, and return 1 if anything is."""
    folder = Path(arguments[0])
    fuzzing.run_tasks_here()
    fuzzing.write_folder(folder / "template")
    num_faults = 0
    for number, (kind, seed) in enumerate(plan()):
        alone = number % ALONE_ONE_IN == ALONE_ONE_IN - 1
        trial = fuzzing.try_one(folder / "template", folder, kind, seed, alone=alone)
        if trial.fault is not None:
            num_faults += 1
            print(trial, flush=True)
    print(f"{NUM_TRIALS} trials, {num_faults} faults", flush=True)
    return int(num_faults > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
