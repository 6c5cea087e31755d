"""What it saves that the largest files run first: seconds of a stage of tasks that only wait.

All but one take as long as each other; the last in the listing takes much longer.
"""

import argparse
import time

from pipeline.runner.open_cluster import open_cluster


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tasks", type=int, default=16, help="of the usual length")
    parser.add_argument("--seconds", type=float, default=0.2, help="of each")
    parser.add_argument(
        "--longest", type=float, default=8, help="length of the last, in usual ones"
    )
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    lengths = [options.seconds] * options.tasks + [options.seconds * options.longest]
    print("as listed, s | largest first, s | ratio")
    with open_cluster(options.workers, None, lambda *_: None) as cluster:
        cluster.map("warm up", time.sleep, [0.0] * options.workers)
        for _ in range(options.repetitions):
            began = time.monotonic()
            cluster.map("as listed", time.sleep, lengths)
            between = time.monotonic()
            cluster.map_by_size("largest first", time.sleep, lengths, lambda one: int(one * 1000))
            listed, first = between - began, time.monotonic() - between
            print(f"{listed:.2f} | {first:.2f} | {listed / first:.2f}")


if __name__ == "__main__":
    main()
