"""`ettin-data order`."""

import time
from pathlib import Path

from pipeline.cli.arguments import Arguments, Verbs, add_verb, cluster_options
from pipeline.cli.output import print_manifest
from pipeline.config import load_replay


def add(verbs: Verbs) -> None:
    summary = "write the rows of MDS shards in training order"
    options = add_verb(verbs, "order", run, summary)
    options.add_cluster()
    options.add("pool POOL", "folder of MDS shards with index.json; read only", Path)
    options.add("--out DIR", "output folder", Path, required=True)
    options.add("--format {parquet,mds}", "output format; same as --set order.format=…")
    rows = "write the rows, or read them from the pool in order; same as --set order.rows=…"
    options.add("--rows {written,index}", rows)
    options.add_set()


def run(parsed: Arguments) -> int:
    from pipeline.core.progress import show_progress
    from pipeline.runner import replay_pool

    settings = list(parsed.set)
    if parsed.format is not None:
        settings.append(f"order.format={parsed.format}")
    if parsed.rows is not None:
        settings.append(f"order.rows={parsed.rows}")
    replay = load_replay(settings)
    started = time.monotonic()
    with show_progress() as report:
        manifest = replay_pool(
            parsed.pool, parsed.out, replay, report=report, **cluster_options(parsed)
        )
    print_manifest(parsed, manifest, time.monotonic() - started, "ordered")
    return 0
