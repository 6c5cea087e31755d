"""Pulling: the commands that pin what a mixture needs from outside, and bring it here."""

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.cli.arguments import (
    Commands,
    load_mixture,
    lock_path,
    positive,
    with_json,
    with_lock,
    with_mixture,
)
from pipeline.cli.printing import print_json, print_lines, print_table
from pipeline.config import RAW, Mixture
from pipeline.core.units import format_bytes

if TYPE_CHECKING:
    from pipeline.sources import DownloadPlan, Lock, LockedSource, Pulled

_MOST_TOLD = 20


def add_commands(commands: Commands) -> None:
    """Add `lock` and `pull`."""
    lock = commands.add_parser(
        "lock",
        parents=[with_json(), with_mixture(), with_lock()],
        help="ask every origin of a mixture what it has, and pin it",
    )
    lock.add_argument(
        "--check", action="store_true", help="write nothing; say what is not as it was locked"
    )
    lock.set_defaults(run=_lock)

    pull = commands.add_parser(
        "pull",
        parents=[with_json(), with_mixture(), with_lock()],
        help="bring the locked files of a mixture here; of a miniature, those that it needs",
    )
    pull.add_argument(
        "--sources", metavar="A,B", type=_names, help="only these (default: all of the mixture)"
    )
    pull.add_argument(
        "--limit-files", metavar="N", type=positive, help="of each source only the first N by path"
    )
    pull.add_argument(
        "--dest",
        metavar="DIR",
        type=Path,
        default=RAW,
        help="folder of pulled files, which mixtures may share (default: raw)",
    )
    pull.set_defaults(run=_pull)


def _names(text: str) -> list[str]:
    return text.split(",")


def _lock(parsed: argparse.Namespace) -> int:
    from pipeline.core.progress import show_progress
    from pipeline.sources import check_lock, make_lock, read_lock, write_lock

    mixture = load_mixture(parsed)
    path = lock_path(parsed, mixture)
    if parsed.check:
        lock = read_lock(path)
        with show_progress() as show:
            changes = check_lock(lock, mixture, show)
        if parsed.json:
            print_json({"lock": str(path), "changes": changes})
        else:
            print_lines(changes or [f"{path}: everything is as it was locked"])
        return 1 if changes else 0
    with show_progress() as show:
        made = make_lock(mixture, show)
    _tell_changes(path, made)
    write_lock(made, path)
    _print_locked(parsed, path, made)
    return 0


def _tell_changes(path: Path, made: "Lock") -> None:
    """Say on stderr what a lock that is about to be replaced had otherwise."""
    from pipeline.core.errors import PipelineError
    from pipeline.sources import differences, read_lock

    if not path.exists():
        return
    try:
        changes = differences(read_lock(path), made)
    except PipelineError as error:
        changes = [error.message]
    for line in changes[:_MOST_TOLD]:
        print(line, file=sys.stderr)
    if len(changes) > _MOST_TOLD:
        print(f"and {len(changes) - _MOST_TOLD:,} more changes", file=sys.stderr)


def _print_locked(parsed: argparse.Namespace, path: Path, made: "Lock") -> None:
    from rich.table import Table

    if parsed.json:
        sources = {name: _plain(source) for name, source in made.sources.items()}
        print_json({"lock": str(path), "tokenizer": made.tokenizer.digest, "sources": sources})
        return
    table = Table("source", "from", "revision", box=None)
    for heading in ("files", "size", "rows"):
        table.add_column(heading, justify="right")
    for name, source in made.sources.items():
        table.add_row(
            name,
            source.origin.kind,
            source.revision or "",
            f"{len(source.files):,}",
            format_bytes(source.num_bytes),
            "?" if source.num_rows is None else f"{source.num_rows:,}",
        )
    print_table(table)
    num_files = sum(len(source.files) for source in made.sources.values())
    num_bytes = sum(source.num_bytes for source in made.sources.values())
    print(
        f"{path}: {len(made.sources)} sources, {num_files:,} files, {format_bytes(num_bytes)}; "
        f"tokenizer {made.tokenizer.name} {made.tokenizer.digest}"
    )


def _plain(source: "LockedSource") -> dict[str, Any]:
    return {
        "from": source.origin.kind,
        "revision": source.revision,
        "num_files": len(source.files),
        "num_bytes": source.num_bytes,
        "num_rows": source.num_rows,
    }


def _pull(parsed: argparse.Namespace) -> int:
    from pipeline.core.progress import show_bytes
    from pipeline.runner import make_plan
    from pipeline.sources import check_sources, plan_download, pull_missing, read_lock

    mixture = load_mixture(parsed)
    lock = read_lock(lock_path(parsed, mixture))
    check_sources(lock, mixture)
    needed = make_plan(mixture, lock, parsed.dest).lock if isinstance(mixture, Mixture) else lock
    assert needed is not None
    ahead = plan_download(
        needed,
        mixture.folder,
        parsed.dest,
        sources=parsed.sources,
        limit_files=parsed.limit_files,
    )
    print(_ahead(ahead), file=sys.stderr)
    started = time.monotonic()
    with show_bytes() as show:
        pulled = pull_missing(ahead, show)
    _print_pulled(parsed, pulled, time.monotonic() - started)
    return 0


def _ahead(ahead: "DownloadPlan") -> str:
    from pipeline.runner import BYTES_PER_SECOND

    num_bytes = ahead.num_bytes_missing
    minutes = num_bytes / BYTES_PER_SECOND / 60
    return (
        f"{ahead.dest}: {len(ahead.missing):,} of {len(ahead.wanted):,} files to pull, "
        f"{format_bytes(num_bytes)} in at least {len(ahead.missing):,} requests, "
        f"{minutes:,.0f} minutes at 1 Gbit/s; room for {format_bytes(ahead.free_bytes)}"
    )


def _print_pulled(
    parsed: argparse.Namespace, pulled: Mapping[str, "Pulled"], seconds: float
) -> None:
    from rich.table import Table

    if parsed.json:
        told: dict[str, Any] = {name: asdict(one) for name, one in pulled.items()}
        print_json({"dest": str(parsed.dest), "seconds": round(seconds, 3), "sources": told})
        return
    table = Table("source", box=None)
    for heading in ("files", "size", "pulled", "came"):
        table.add_column(heading, justify="right")
    for name, one in pulled.items():
        table.add_row(
            name,
            f"{one.num_files:,}",
            format_bytes(one.num_bytes),
            f"{one.num_files_pulled:,}",
            format_bytes(one.num_bytes_pulled),
        )
    print_table(table)
    came = sum(one.num_bytes_pulled for one in pulled.values())
    rate = format_bytes(int(came / max(seconds, 0.001)))
    print(f"{parsed.dest}: {format_bytes(came)} came in {seconds:.1f} s, {rate}/s")
