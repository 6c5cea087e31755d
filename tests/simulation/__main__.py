"""Simulate as long as one likes: `python -m tests.simulation --seeds 100`.

A seed and a commit replay a failure: `python -m tests.simulation --first 17 --seeds 1 --shrink`.
"""

import argparse
import signal
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation.machine import Tally, simulate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, one after another")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--examples", type=int, default=10, help="worlds of a seed")
    parser.add_argument("--steps", type=int, default=40, help="most rules in a world")
    parser.add_argument("--shrink", action="store_true", help="look for the fewest rules that fail")
    given = parser.parse_args()
    # So that an end by a signal removes temporary folders and stops servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    tally, failed = Tally(), []
    with tempfile.TemporaryDirectory(prefix="references-") as references:
        for seed in range(given.first, given.first + given.seeds):
            try:
                simulate(
                    seed,
                    examples=given.examples,
                    steps=given.steps,
                    references=Path(references),
                    tally=tally,
                    shrinks=given.shrink,
                )
            except Exception:
                traceback.print_exc()
                failed.append(seed)
            rate = 60 * tally.num_operations / tally.seconds
            print(
                f"seed {seed}: {tally.num_operations:,} operations, {rate:,.0f} a minute, "
                f"failed seeds: {failed or 'none'}",
                flush=True,
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
