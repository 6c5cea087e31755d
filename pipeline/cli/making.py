"""Making: the commands that write outputs, and those that say what they would be."""

import argparse
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.amounts import format_bytes, format_tokens
from pipeline.cli.arguments import Commands, add_overrides, with_json, with_mixture, with_workers
from pipeline.cli.printing import print_json, print_table
from pipeline.mixture import load, load_replay
from pipeline.shipped import mixture_path


def add_commands(commands: Commands) -> None:
    """Add `build`, `order`, `plan` and `schema`."""
    build = commands.add_parser(
        "build",
        parents=[with_json(), with_mixture(), with_workers()],
        help="build ordered shards from a mixture",
    )
    build.add_argument("--out", metavar="DIR", type=Path, required=True, help="output folder")
    build.set_defaults(run=_build)

    order = commands.add_parser(
        "order",
        parents=[with_json(), with_workers()],
        help="write the rows of MDS shards in the order in which a trainer sees them",
    )
    order.add_argument(
        "pool", metavar="POOL", type=Path, help="a folder of MDS shards with index.json; only read"
    )
    order.add_argument("--out", metavar="DIR", type=Path, required=True, help="output folder")
    order.add_argument(
        "--format", choices=("parquet", "mds"), help="short for --set order.format=…"
    )
    add_overrides(order)
    order.set_defaults(run=_order)

    plan = commands.add_parser(
        "plan", parents=[with_json(), with_mixture()], help="show what a build would do"
    )
    plan.set_defaults(run=_plan)

    schema = commands.add_parser(
        "schema", parents=[with_json()], help="print the JSON Schema of mixture files"
    )
    schema.set_defaults(run=_schema)


def _build(parsed: argparse.Namespace) -> int:
    # Imported here: compiled stages take a second to load, and other commands need none of them.
    from pipeline.build import build
    from pipeline.progress import show_progress

    mixture = load(mixture_path(parsed.mixture), parsed.set)
    started = time.monotonic()
    with show_progress() as report:
        manifest = build(
            mixture,
            parsed.out,
            workers=parsed.workers,
            scheduler=parsed.scheduler,
            report=report,
            memory_bytes=parsed.memory,
        )
    _print_made(parsed, manifest, time.monotonic() - started, "built")
    return 0


def _print_made(
    parsed: argparse.Namespace, manifest: dict[str, Any], seconds: float, done: str
) -> None:
    if parsed.json:
        print_json({"out": str(parsed.out), "seconds": round(seconds, 3), "manifest": manifest})
        return
    if manifest["sources"]:
        _print_sources(manifest)
    order = manifest["order"]
    print(
        f"{parsed.out}: {order['num_steps']:,} steps of {order['num_rows']:,} rows, "
        f"{order['num_tokens']:,} tokens; {order['num_rows_dropped']:,} rows dropped from the "
        f"incomplete last step; order {order['ledger']['sequence_root']}"
    )
    print(f"{done} in {seconds:.1f} s", file=sys.stderr)


def _print_sources(manifest: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("source", box=None)
    for heading in ("documents", "dropped", "chunks", "tokens", "discarded", "drawn"):
        table.add_column(heading, justify="right")
    for name, source in manifest["sources"].items():
        documents, tokens = source["documents"], source["tokens"]
        numbers = (
            documents["kept"],
            documents["in"] - documents["kept"],
            source["chunks"]["drawn"],
            tokens["in"],
            tokens["discarded"],
            tokens["drawn"],
        )
        table.add_row(name, *(f"{number:,}" for number in numbers))
    print_table(table)


def _order(parsed: argparse.Namespace) -> int:
    from pipeline.progress import show_progress
    from pipeline.replay import replay

    settings = list(parsed.set)
    if parsed.format is not None:
        settings.append(f"order.format={parsed.format}")
    declared = load_replay(settings)
    started = time.monotonic()
    with show_progress() as report:
        manifest = replay(
            parsed.pool,
            parsed.out,
            declared,
            workers=parsed.workers,
            scheduler=parsed.scheduler,
            report=report,
            memory_bytes=parsed.memory,
        )
    _print_made(parsed, manifest, time.monotonic() - started, "ordered")
    return 0


def _plan(parsed: argparse.Namespace) -> int:
    from rich.table import Table

    from pipeline.plan import look_ahead, make_plan

    mixture = load(mixture_path(parsed.mixture), parsed.set)
    outlooks = look_ahead(make_plan(mixture))
    if parsed.json:
        print_json(
            {
                "mixture": mixture.name,
                "fingerprint": mixture.fingerprint,
                "sources": [asdict(outlook) for outlook in outlooks],
            }
        )
        return 0
    table = Table("source", "category", "asked", box=None)
    for heading in ("files", "input", "documents", "~tokens", "~output"):
        table.add_column(heading, justify="right")
    for outlook in outlooks:
        table.add_row(
            outlook.source,
            outlook.category,
            outlook.asked,
            f"{outlook.num_files:,}",
            format_bytes(outlook.input_bytes),
            "?" if outlook.num_documents is None else f"{outlook.num_documents:,}",
            format_tokens(outlook.estimated_tokens),
            format_bytes(outlook.estimated_bytes),
        )
    print_table(table)
    total = sum(outlook.estimated_bytes for outlook in outlooks)
    print(
        f"{mixture.name}: {mixture.chunk.algorithm} at {mixture.chunk.size}, "
        f"{mixture.order.algorithm}, view {mixture.order.view}; about {format_bytes(total)} of "
        "disk (numbers with ~ are guesses from the size of the files)"
    )
    return 0


def _schema(parsed: argparse.Namespace) -> int:
    from pipeline.mixture.schema import document

    print_json(document())
    return 0
