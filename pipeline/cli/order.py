"""`ettin-data order`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import Arguments, Verbs, add_verb, cluster_options
from pipeline.cli.output import print_manifest, print_result
from pipeline.config import load_replay
from pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.core.progress import ReportProgress
    from pipeline.dataset import Manifest


def add(verbs: Verbs) -> None:
    summary = "write the rows of MDS shards in training order"
    options = add_verb(verbs, "order", run, summary)
    options.add_cluster()
    what = "folder of MDS shards with index.json, read only; with --materialise an output"
    options.add("pool POOL", what, Path)
    options.add("--out DIR", "output folder", Path)
    options.add("--format {parquet,mds}", "output format; same as --set order.format=…")
    rows = "write rows, or leave them in the pool to be read from there; same as --set order.rows=…"
    options.add("--rows {written,index}", rows)
    options.add("--materialise", "write the rows of an output of order.rows: index, in place")
    options.add_set()


def run(parsed: Arguments) -> int:
    from pipeline.core.progress import show_progress

    started = time.monotonic()
    make = _materialise if parsed.materialise else _order
    with show_progress() as report:
        manifest = make(parsed, report)
    seconds = time.monotonic() - started
    if not parsed.materialise:
        print_manifest(parsed, manifest, seconds, "ordered")
        return 0
    num_rows, root = manifest.order.num_rows, manifest.order.ledger.sequence_root
    about = {"out": str(parsed.pool), "seconds": round(seconds, 3), "num_rows": num_rows}
    line = f"{parsed.pool}: {num_rows:,} rows written in {seconds:.1f} s; order {root}"
    print_result(parsed, about, [line])
    return 0


def _order(parsed: Arguments, report: "ReportProgress") -> "Manifest":
    from pipeline.runner import replay_pool

    if parsed.out is None:
        raise ConfigError("--out: got nothing, expected the output folder")
    settings = list(parsed.set)
    for name in ("format", "rows"):
        if (value := getattr(parsed, name)) is not None:
            settings.append(f"order.{name}={value}")
    replay = load_replay(settings)
    return replay_pool(parsed.pool, parsed.out, replay, report=report, **cluster_options(parsed))


def _materialise(parsed: Arguments, report: "ReportProgress") -> "Manifest":
    from pipeline.runner import materialise

    for name in ("out", "format", "rows", "set", "update"):
        if getattr(parsed, name):
            raise ConfigError(
                f"--{name}: got it with --materialise, which writes the order as it was declared",
                "leave it out",
            )
    return materialise(parsed.pool, report=report, **cluster_options(parsed))
