"""`ettin-data pull`."""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING

from pipeline.cli.arguments import (
    Arguments,
    Verbs,
    add_verb,
    load_mixture,
    lock_path,
    mixture_arguments,
    positive,
    record_pulled,
)
from pipeline.cli.output import print_json
from pipeline.cli.shown_progress import say_next, show_progress
from pipeline.cli.table import print_table
from pipeline.config import RAW, Mixture
from pipeline.core.mirrored import shown
from pipeline.core.units import format_bytes

if TYPE_CHECKING:
    from pipeline.sources import DownloadPlan, Lock, PullCounts


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "pull",
        run,
        "download the locked files of a mixture",
        "Intact files are kept. With --scale, downloads only the files that the miniature needs.",
        examples=(
            "ettin-data pull stories.yaml",
            "ettin-data pull stories.yaml --limit-files 1 --dest raw-sample",
        ),
        guide="docs/guide/rebuild.md#rebuild-a-phase",
    )
    options.add_mixture()
    options.add(
        "--sources A,B", "download only these sources (default: all)", lambda text: text.split(",")
    )
    options.add(
        "--limit-files N", "download only the first N files of each source, by path", positive
    )
    what = "folder to download into, or an address in an object store; mixtures can share it"
    options.add_place("--dest DIR", what, RAW)
    options.add_progress()


def run(parsed: Arguments) -> int:
    from pipeline.runner import expected_lock, make_plan, raw_folder
    from pipeline.sources import check_sources, plan_download, pull, pulled_digests, read_lock

    mixture = load_mixture(parsed)
    path = lock_path(parsed, mixture)
    lock = read_lock(path)
    check_sources(lock, mixture)
    needed: Lock | None = lock
    started = time.monotonic()
    with raw_folder(parsed.dest) as dest:
        if isinstance(mixture, Mixture):
            needed = expected_lock(make_plan(mixture, lock, dest))
        assert needed is not None
        plan = plan_download(
            needed,
            mixture.folder,
            dest,
            sources=parsed.sources,
            limit_files=parsed.limit_files,
        )
        print(_plan_line(plan), file=sys.stderr)
        with show_progress(parsed, dest) as show:
            pulled = pull(plan, show)
        record_pulled(path, pulled_digests(needed, mixture.folder, dest))
    _print_pulled(parsed, pulled, time.monotonic() - started)
    raw = [] if parsed.dest == RAW else ["--raw", parsed.dest]
    say_next(parsed, ["build", *mixture_arguments(parsed), *raw, "--out", mixture.name])
    return 0


def _plan_line(plan: "DownloadPlan") -> str:
    from pipeline.runner import BYTES_PER_SECOND

    minutes = plan.num_bytes_missing / BYTES_PER_SECOND / 60
    return (
        f"{shown(plan.dest)}: {len(plan.missing):,} of {len(plan.files):,} files to pull, "
        f"{format_bytes(plan.num_bytes_missing)} in at least {len(plan.missing):,} requests, "
        f"{minutes:,.0f} minutes at 1 Gbit/s; {format_bytes(plan.free_bytes)} free"
    )


def _print_pulled(parsed: Arguments, pulled: Mapping[str, "PullCounts"], seconds: float) -> None:
    if parsed.json:
        sources = {name: asdict(one) for name, one in pulled.items()}
        print_json({"dest": str(parsed.dest), "seconds": round(seconds, 3), "sources": sources})
        return
    print_table(
        ("source",),
        ("files", "size", "pulled files", "pulled size"),
        (
            (
                name,
                f"{one.num_files:,}",
                format_bytes(one.num_bytes),
                f"{one.num_files_pulled:,}",
                format_bytes(one.num_bytes_pulled),
            )
            for name, one in pulled.items()
        ),
    )
    num_bytes = sum(one.num_bytes_pulled for one in pulled.values())
    rate = format_bytes(int(num_bytes / max(seconds, 0.001)))
    print(f"{parsed.dest}: pulled {format_bytes(num_bytes)} in {seconds:.1f} s, {rate}/s")
