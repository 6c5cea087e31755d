"""Copy the metrics of training runs to Trackio or Weights & Biases.

    python examples/track.py pre ext decay --to trackio --project ettin

RUN is the `--out` of `ettin-data train`. Needs `pip install trackio` or `pip install wandb`.
"""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+")
    parser.add_argument("--to", choices=["trackio", "wandb"], default="trackio")
    parser.add_argument("--project", default="ettin-data")
    args = parser.parse_args()
    try:
        tracker = import_module(args.to)  # Both have the functions used here.
    except ModuleNotFoundError as error:
        sys.exit(f"{sys.argv[0]}: got no library {error.name!r}\nhint: pip install {args.to}")
    for run in args.runs:
        tracker.init(project=args.project, name=run.name)
        for line in (run / "metrics.jsonl").read_text().splitlines():
            facts = json.loads(line)
            kind, step = facts.pop("kind"), facts.pop("step")
            numbers = {
                f"{kind}/{name}": value
                for name, value in facts.items()
                if isinstance(value, int | float)
            }
            if numbers:
                tracker.log(numbers, step=step)
        tracker.finish()


if __name__ == "__main__":
    main()
