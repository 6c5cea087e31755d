"""Planning: the commands that say what a mixture is and would take."""

import argparse
import os
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import (
    Commands,
    find_lock,
    load_mixture,
    positive,
    with_json,
    with_lock,
    with_mixture,
)
from pipeline.cli.printing import print_json, print_lines, print_table
from pipeline.config import RAW, BudgetTable, Mixture, Replay, budget_table, in_billions, in_percent
from pipeline.core.units import format_bytes, format_tokens

if TYPE_CHECKING:
    from pipeline.runner import Estimate

# Smaller mixtures are told to the token.
_IN_BILLIONS = 10**9


def add_commands(commands: Commands) -> None:
    """Add `plan` and `schema`."""
    plan = commands.add_parser(
        "plan",
        parents=[with_json(), with_mixture(), with_lock()],
        help="show what a mixture is, and what a build of it would take",
    )
    plan.add_argument("--raw", metavar="DIR", type=Path, default=RAW, help="folder of pulled files")
    plan.add_argument(
        "--workers",
        metavar="N",
        type=positive,
        default=os.cpu_count() or 1,
        help="cores that the hours are for (default: those of this machine)",
    )
    plan.set_defaults(run=_plan)

    schema = commands.add_parser(
        "schema", parents=[with_json()], help="print the JSON Schema of mixture or recipe files"
    )
    schema.add_argument(
        "kind",
        nargs="?",
        choices=("mixture", "recipe"),
        default="mixture",
        help="whose files (default: mixture)",
    )
    schema.set_defaults(run=_schema)


def _plan(parsed: argparse.Namespace) -> int:
    from pipeline.runner import make_estimate, make_plan

    mixture = load_mixture(parsed)
    if isinstance(mixture, Replay):
        return _plan_replay(parsed, mixture)
    outlook = make_estimate(
        make_plan(mixture, find_lock(parsed, mixture), parsed.raw), parsed.workers
    )
    table = budget_table(mixture)
    if parsed.json:
        told = asdict(outlook)
        print_json(
            {
                "mixture": mixture.name,
                "fingerprint": mixture.fingerprint,
                "budget": _spell_table(table),
                "sources": told.pop("sources"),
                "outlook": told,
                "assumptions": list(mixture.assumptions),
            }
        )
        return 0
    if table.total is not None:
        _print_budget(mixture, table)
    _print_outlook(outlook)
    _print_summary(mixture, outlook, parsed.workers)
    print_lines(f"assumed: {' '.join(one.split())}" for one in mixture.assumptions)
    return 0


def _print_budget(mixture: Mixture, table: BudgetTable) -> None:
    """Print the table of amounts, as published ones are: tokens and percent, and their sums."""
    from rich.table import Table

    assert table.total is not None
    in_unit = in_billions if table.total >= _IN_BILLIONS else format_tokens
    licences = {source.name: source.licence or "not stated" for source in mixture.sources}
    printed = Table("category", "source", "licence", box=None)
    printed.add_column("tokens, B" if in_unit is in_billions else "tokens", justify="right")
    printed.add_column("%", justify="right")
    for row in sorted(table.sources, key=lambda row: (row.category, row.source or "")):
        assert row.tokens is not None
        assert row.percent is not None
        licence = licences[row.source or ""]
        amounts = in_unit(row.tokens), in_percent(row.percent)
        printed.add_row(row.category, row.source, licence, *amounts)
    printed.add_section()
    for row in table.categories:
        assert row.tokens is not None
        assert row.percent is not None
        printed.add_row(row.category, "", "", in_unit(row.tokens), in_percent(row.percent))
    printed.add_section()
    printed.add_row("total", "", "", in_unit(table.total), in_percent(Fraction(100)))
    print_table(printed)


def _print_outlook(outlook: "Estimate") -> None:
    from rich.table import Table

    printed = Table("source", "category", "asked", box=None)
    for heading in ("files", "~input", "to pull", "documents", "~available", "~drawn"):
        printed.add_column(heading, justify="right")
    for one in outlook.sources:
        printed.add_row(
            one.source,
            one.category,
            one.asked,
            _count(one.num_files),
            format_bytes(one.input_bytes),
            format_bytes(one.download_bytes),
            _count(one.num_documents),
            format_tokens(one.available_tokens),
            format_tokens(one.drawn_tokens),
        )
    print_table(printed)


def _print_summary(mixture: Mixture, outlook: "Estimate", workers: int) -> None:
    scale = "" if mixture.scale == 1 else f", scale {mixture.scale}"
    print(
        f"{mixture.name}: {mixture.chunk.algorithm} at {mixture.chunk.size}, "
        f"{mixture.order.algorithm}, view {mixture.order.view}{scale}"
    )
    requests = _count(outlook.num_requests)
    if outlook.unlocked:
        requests = f"{requests} or more"
        print(
            f"not locked yet: {', '.join(outlook.unlocked)}; their sizes are guessed from their "
            f"tokens, and what is only drawn from is larger: ettin-data lock {mixture.name}"
        )
    for one in outlook.sources:
        if one.is_short:
            print(
                f"warning: sources.{one.source}: asks for {format_tokens(one.drawn_tokens)} "
                f"tokens, and by its size has about {format_tokens(one.available_tokens)}"
            )
    sizes = (outlook.raw_bytes, outlook.chunk_bytes, outlook.output_bytes)
    raw, chunks, output = (format_bytes(size) for size in sizes)
    print_lines(
        (
            f"pull: ~{format_bytes(outlook.download_bytes)} in {requests} requests, "
            f"{outlook.pull_hours:,.1f} h at 1 Gbit/s",
            f"build: ~{outlook.build_hours:,.1f} h with {workers} workers",
            f"disk: ~{raw} raw, ~{chunks} chunks while it works, ~{output} output",
            f"cost: ~${outlook.dollars:,} for those cores, and that disk for a month "
            "(numbers with ~ are guesses)",
        )
    )


def _plan_replay(parsed: argparse.Namespace, declared: Replay) -> int:
    """Say which pool is put in which order."""
    lock, pool, order = find_lock(parsed, declared), declared.pool, declared.order
    assert pool is not None
    num_bytes = None if lock is None else sum(one.num_bytes for one in lock.sources.values())
    if parsed.json:
        print_json(
            {
                "replay": declared.name,
                "fingerprint": declared.fingerprint,
                "pool": asdict(pool),
                "pool_bytes": num_bytes,
                "order": asdict(order),
                "assumptions": list(declared.assumptions),
            }
        )
        return 0
    where = pool.path if pool.hub is None else f"hf://datasets/{pool.hub}/{pool.folder}"
    print(
        f"{declared.name}: the rows of {where} in the order of its own index under "
        f"{order.algorithm}, seed {order.seed}, {order.global_batch_size:,} rows a step, at most "
        f"{order.max_seq_len:,} tokens each, view {order.view}"
    )
    print(f"pool: {_size(num_bytes)}" + ("" if lock else ", until it is locked"))
    print_lines(f"assumed: {' '.join(one.split())}" for one in declared.assumptions)
    return 0


def _count(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _size(num_bytes: int | None) -> str:
    return "?" if num_bytes is None else format_bytes(num_bytes)


def _spell_table(table: BudgetTable) -> dict[str, object]:
    def spell(percent: Fraction | None) -> float | None:
        return None if percent is None else round(float(percent), 4)

    return {
        "sources": [{**asdict(row), "percent": spell(row.percent)} for row in table.sources],
        "categories": [{**asdict(row), "percent": spell(row.percent)} for row in table.categories],
        "total": table.total,
    }


def _schema(parsed: argparse.Namespace) -> int:
    from pipeline.config import json_schema as mixture_schema
    from pipeline.config import recipe_schema as recipe_schema

    schemas = {"mixture": mixture_schema, "recipe": recipe_schema}
    print_json(schemas[parsed.kind].document())
    return 0
