"""Making: the commands that write outputs."""

import argparse
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.arguments import (
    Commands,
    add_overrides,
    find_lock,
    load_mixture,
    with_json,
    with_lock,
    with_mixture,
    with_workers,
)
from pipeline.cli.printing import print_json, print_table
from pipeline.config import RAW, Replay, load_replay
from pipeline.core.errors import ConfigError

if TYPE_CHECKING:
    from pipeline.core.progress import ReportProgress

# Published amounts are given to a tenth of a billion, a fiftieth of the smallest but one.
_TOLERANCE = Fraction(2, 100)


def add_commands(commands: Commands) -> None:
    """Add `build` and `order`."""
    build = commands.add_parser(
        "build",
        parents=[with_json(), with_mixture(), with_lock(), with_workers()],
        help="build ordered shards from a mixture",
    )
    build.add_argument("--out", metavar="DIR", type=Path, required=True, help="output folder")
    build.add_argument(
        "--raw",
        metavar="DIR",
        type=Path,
        default=RAW,
        help="folder of pulled files, to which missing ones are pulled (default: raw)",
    )
    build.add_argument(
        "--no-keep-raw",
        action="store_true",
        help="pull each file when it is read, and remove it after; bounds the disk used",
    )
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


def _build(parsed: argparse.Namespace) -> int:
    # Imported here: compiled stages take a second to load, and other commands need none of them.
    from pipeline.core.progress import show_progress
    from pipeline.runner import build

    mixture = load_mixture(parsed)
    started = time.monotonic()
    with show_progress() as report:
        if isinstance(mixture, Replay):
            manifest = _replay_pool(parsed, mixture, report)
        else:
            manifest = build(
                mixture,
                parsed.out,
                lock=find_lock(parsed, mixture),
                raw=parsed.raw,
                keeps_raw=not parsed.no_keep_raw,
                workers=parsed.workers,
                scheduler=parsed.scheduler,
                report=report,
                memory_bytes=parsed.memory,
            )
    _print_made(parsed, manifest, time.monotonic() - started, "built")
    return 0


def _replay_pool(
    parsed: argparse.Namespace, declared: Replay, report: "ReportProgress"
) -> dict[str, Any]:
    """Put the rows of a published pool in order, pulled first where it is not here."""
    from pipeline.runner import pool_folder, replay_pool
    from pipeline.sources import check_sources, pull

    if parsed.no_keep_raw:
        raise ConfigError(
            "--no-keep-raw: got it for a pool, whose rows are read in another order than they lie",
            "leave it out",
        )
    lock = find_lock(parsed, declared)
    if lock is None:
        raise ConfigError(
            "pool: is not locked", "find out once what there is: ettin-data lock MIXTURE"
        )
    check_sources(lock, declared)
    pull(lock, declared.folder, parsed.raw, report=report)
    return replay_pool(
        pool_folder(lock, declared, parsed.raw),
        parsed.out,
        declared,
        lock=lock,
        raw=parsed.raw,
        workers=parsed.workers,
        scheduler=parsed.scheduler,
        report=report,
        memory_bytes=parsed.memory,
    )


def _print_made(
    parsed: argparse.Namespace, manifest: dict[str, Any], seconds: float, done: str
) -> None:
    if parsed.json:
        print_json({"out": str(parsed.out), "seconds": round(seconds, 3), "manifest": manifest})
        return
    if manifest["sources"]:
        _print_sources(manifest)
    for warning in _warnings(manifest):
        print(f"warning: {warning}", file=sys.stderr)
    order = manifest["order"]
    print(
        f"{parsed.out}: {order['num_steps']:,} steps of {order['num_rows']:,} rows, "
        f"{order['num_tokens']:,} tokens; {order['num_rows_dropped']:,} rows dropped from the "
        f"incomplete last step; order {order['ledger']['sequence_root']}"
    )
    print(f"{done} in {seconds:.1f} s", file=sys.stderr)


def _warnings(manifest: dict[str, Any]) -> Iterator[str]:
    """Yield what is not as a mixture says, though nothing of it is wrong by itself."""
    is_miniature = Fraction(manifest["mixture"]["declaration"].get("scale", 1)) < 1
    for name, source in manifest["sources"].items():
        tokens, expected = source["tokens"], source["budget"]["expected"]
        # What is set aside was expected, too.
        came = source["budget"]["asked"] + tokens["validation"]
        if not tokens["written"]:
            yield f"sources.{name}: came to no tokens, of {source['documents']['in']:,} documents"
        elif expected and not is_miniature and abs(came - expected) > _TOLERANCE * expected:
            yield f"sources.{name}: came to {came:,} tokens, expected {expected:,}"
    order = manifest["order"]
    if not order["num_steps"]:
        yield (
            f"order: {order['num_samples']:,} rows make no step; lower it with "
            "--set order.global_batch_size=16"
        )


def _print_sources(manifest: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table("source", box=None)
    headings = ("documents", "dropped", "tokens", "discarded", "validation", "available", "asked",
                "drawn", "repeated")  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, source in manifest["sources"].items():
        documents, tokens, budget = source["documents"], source["tokens"], source["budget"]
        numbers = (
            documents["kept"],
            documents["in"] - documents["kept"],
            tokens["in"],
            tokens["discarded"],
            tokens["validation"],
            budget["available"],
            budget["asked"],
            budget["drawn"],
            budget["repeated"],
        )
        table.add_row(name, *(f"{number:,}" for number in numbers))
    print_table(table)


def _order(parsed: argparse.Namespace) -> int:
    from pipeline.core.progress import show_progress
    from pipeline.runner import replay_pool

    settings = list(parsed.set)
    if parsed.format is not None:
        settings.append(f"order.format={parsed.format}")
    declared = load_replay(settings)
    started = time.monotonic()
    with show_progress() as report:
        manifest = replay_pool(
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
