"""`ettin-data order`."""

import time
from typing import TYPE_CHECKING

from pipeline.cli.arguments import Arguments, Verbs, add_verb, cluster_options, open_out
from pipeline.cli.output import print_manifest, print_result
from pipeline.cli.shown_progress import say_next, show_progress
from pipeline.config import load_replay
from pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.core.progress import ReportProgress
    from pipeline.dataset import Manifest


def add(verbs: Verbs) -> None:
    summary = "write the rows of MDS shards in training order"
    options = add_verb(
        verbs,
        "order",
        run,
        summary,
        examples=(
            "ettin-data order sample-out/train --out ordered --set order.global_batch_size=16",
            "ettin-data order sample-index --materialise",
        ),
        guide="docs/guide/rebuild.md#an-order-without-a-copy",
    )
    options.add_cluster()
    what = (
        "folder of MDS shards with index.json, or its address in an object store, only read; with"
        " --materialise, an output"
    )
    options.add_place("pool POOL", what)
    options.add_out(required=False)
    options.add("--format {parquet,mds}", "output format; same as --set order.format=…")
    rows = (
        "write the rows, or an index of rows to be read from the pool; same as --set order.rows=…"
    )
    options.add("--rows {written,index}", rows)
    options.add("--materialise", "write the rows into an output that was made with --rows index")
    options.add_set()
    options.add_progress()


def run(parsed: Arguments) -> int:

    started = time.monotonic()
    make = _materialise if parsed.materialise else _order
    with show_progress(parsed, parsed.out or parsed.pool) as report:
        manifest = make(parsed, report)
    seconds = time.monotonic() - started
    if not parsed.materialise:
        print_manifest(parsed, manifest, seconds, "ordered")
        say_next(parsed, ["verify", parsed.out], ["feed", parsed.out])
        return 0
    num_rows, root = manifest.order.num_rows, manifest.order.ledger.sequence_root
    about = {"out": str(parsed.pool), "seconds": round(seconds, 3), "num_rows": num_rows}
    line = f"{parsed.pool}: {num_rows:,} rows written in {seconds:.1f} s; order {root}"
    print_result(parsed, about, [line])
    say_next(parsed, ["verify", parsed.pool])
    return 0


def _order(parsed: Arguments, report: "ReportProgress") -> "Manifest":
    from pipeline.dataset import readable_folder
    from pipeline.runner import replay_pool
    from pipeline.storage import is_store_address

    if parsed.out is None:
        raise ConfigError("--out: got nothing, expected the output folder")
    settings = list(parsed.set)
    for name in ("format", "rows"):
        if (value := getattr(parsed, name)) is not None:
            settings.append(f"order.{name}={value}")
    replay = load_replay(settings)
    if is_store_address(parsed.pool) and replay.order.rows == "index":
        raise ConfigError(
            f"order.rows: got index with the pool {parsed.pool}, expected one on this machine",
            "leave it out: rows of a step lie in as many shards, which are fetched whole",
        )
    with readable_folder(parsed.pool, scratch=parsed.scratch) as pool, open_out(parsed):
        return replay_pool(pool, parsed.folder, replay, report=report, **cluster_options(parsed))


def _materialise(parsed: Arguments, report: "ReportProgress") -> "Manifest":
    from pipeline.runner import materialise, working_folder

    for name in ("out", "format", "rows", "set", "update"):
        if getattr(parsed, name):
            raise ConfigError(
                f"--{name}: got it with --materialise, which writes the order as it was declared",
                "leave it out",
            )
    shares = parsed.scheduler is not None
    with working_folder(parsed.pool, scratch=parsed.scratch, shares=shares) as out:
        return materialise(out, report=report, **cluster_options(parsed))
