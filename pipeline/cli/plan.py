"""`ettin-data plan`."""

from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.arguments import Arguments, Verbs, add_verb, checked, find_lock, load_mixture
from pipeline.cli.output import print_json, print_lines, print_result
from pipeline.cli.shown_progress import say_compiling
from pipeline.cli.table import count
from pipeline.config import (
    RAW,
    BudgetTable,
    Mixture,
    Replay,
    Source,
    budget_table,
    format_share,
)
from pipeline.core.errors import ConfigError
from pipeline.core.units import format_bytes, format_cents, format_hours

if TYPE_CHECKING:
    from pipeline.runner import Estimate, Plan, Redo


# A copy of the rows that is worth going without.
_LARGE_ORDER = 10**11


def add(verbs: Verbs) -> None:
    options = add_verb(
        verbs,
        "plan",
        run,
        "show the budget of a mixture, and estimate what a build takes",
        "Reads the mixture, its lock, and some documents of each source that is here; sends no"
        " request. What becomes of documents and tokens is estimated from these.",
        examples=(
            "ettin-data plan letters.yaml",
            "ettin-data plan ettin-decay --workers 64 --price-core-hour 0.05",
        ),
        guide="docs/guide/rebuild.md#what-it-takes",
    )
    options.add_mixture()
    options.add("--raw DIR", "folder that holds the downloaded input files", Path, RAW)
    options.add_allow_code()
    options.add_workers("worker processes to estimate the time for")
    price = checked(Fraction, "dollars, such as 0.05", lambda dollars: dollars >= 0)
    options.add(
        "--price-core-hour DOLLARS",
        "price of one core for an hour; adds an estimate of the cost",
        price,
    )
    options.add(
        "--price-tb-month DOLLARS",
        "price of one TB for a month; adds an estimate of the cost",
        price,
    )
    what = "output of an earlier build: list what `build --update` would redo in it"
    options.add_place("--against DIR", what)
    options.add(
        "--assumptions", "print in full what is assumed where the published record is silent"
    )


def run(parsed: Arguments) -> int:
    from pipeline.runner import describe_redo, make_estimate, make_plan, this_machine

    mixture = load_mixture(parsed)
    if isinstance(mixture, Replay):
        return _plan_replay(parsed, mixture)
    plan = make_plan(mixture, find_lock(parsed, mixture), parsed.raw)
    with say_compiling():
        estimate = make_estimate(
            plan,
            parsed.workers,
            machine=this_machine(Path()),
            price_core_hour=parsed.price_core_hour,
            price_tb_month=parsed.price_tb_month,
            allows_code=parsed.allow_code,
        )
    redo = None if parsed.against is None else _redo(parsed.against, plan)
    table = budget_table(mixture)
    if parsed.json:
        content = asdict(estimate)
        print_json(
            {
                "mixture": mixture.name,
                "fingerprint": mixture.fingerprint,
                "budget": _budget_json(table),
                "sources": content.pop("sources"),
                "outlook": content,
                "samples": {
                    one.source.name: {"algorithm": one.sample.algorithm, "first": one.sample.first}
                    for one in plan.sources
                    if one.takes_part
                },
                "skipped": {one.source.name: one.skipped for one in plan.sources if one.skipped},
                "assumptions": _assumptions_json(mixture),
                **({} if redo is None else {"against": asdict(redo)}),
            }
        )
        return 0
    _print_estimate(mixture, estimate)
    print_lines(f"warning: {line}" for line in plan.skipped)
    print_lines(_summary(mixture, estimate, parsed.workers))
    print_lines(_samples(plan))
    if redo is not None:
        print_lines([f"against {parsed.against}: {describe_redo(redo)}"])
    print_lines(_assumptions(mixture, parsed.assumptions))
    return 0


def _redo(where: Path | str, plan: "Plan") -> "Redo":
    """Return what a build would redo in an output. Raises: ConfigError where there is none."""
    from pipeline.dataset import is_build_folder, readable_folder
    from pipeline.runner import find_redo

    with readable_folder(where) as out:
        if not is_build_folder(out):
            raise ConfigError(
                f"--against {where}: got no output of a build, finished or not",
                "name the --out of an earlier build",
            )
        return find_redo(plan, out)


def _budget_json(table: BudgetTable) -> dict[str, object]:
    content = asdict(table)
    for row in (*content["sources"], *content["categories"]):
        if row["percent"] is not None:
            row["percent"] = round(float(row["percent"]), 4)
    return content


def _print_estimate(mixture: Mixture, estimate: "Estimate") -> None:
    """Print documents and bytes of each source, why documents go, and what becomes of tokens."""
    from pipeline.cli.source_tables import (
        Column,
        bytes_column,
        print_documents,
        print_reasons,
        print_tokens,
    )

    sources = sorted(estimate.sources, key=lambda one: (one.category, one.source))
    rows = [one.counts for one in sources]
    print_documents(
        rows,
        Column(heading="files", by_source={one.source: one.num_files for one in sources}),
        bytes_column("~input", {one.source: one.input_bytes for one in sources}),
        bytes_column("to pull", {one.source: one.download_bytes for one in sources}),
        licence={one.name: one.licence or "not stated" for one in mixture.sources},
        asked={one.name: _asked(one) for one in mixture.sources},
    )
    print_reasons(rows)
    print_lines(_about_drops(mixture, estimate))
    print_tokens(rows)


def _about_drops(mixture: Mixture, estimate: "Estimate") -> Iterator[str]:
    """Say how far what is dropped is known."""
    measured = [one for one in estimate.sources if one.is_measured]
    sampled = [one.source for one in measured if not one.is_whole]
    if sampled and any(one.counts.dropped for one in measured):
        yield f"dropped: estimated from a sample of the documents of {', '.join(sampled)}"
    if measured and mixture.dedup is not None:
        known = "equal texts within a source" if mixture.dedup.exact else "none"
        sample = "'s sample" if sampled else ""
        yield (f"duplicates: {known}{sample} are counted here, so a build drops at least as many")
    if measured and mixture.decontaminate is not None:
        yield "contaminated documents are not counted here"


def _asked(source: Source) -> str:
    """Return what a mixture asks of a source, as it is declared."""
    if source.share is not None:
        return f"share {format_share(source.share)}"
    if source.epochs is not None:
        return f"{source.epochs} epochs"
    return "tokens" if isinstance(source.tokens, int) else "all"


def _summary(mixture: Mixture, estimate: "Estimate", workers: int) -> Iterator[str]:
    from pipeline.runner import describe_short

    scale = "" if mixture.scale == 1 else f", scale {mixture.scale}"
    yield (
        f"{mixture.name}: {mixture.chunk.algorithm} at {mixture.chunk.size}, "
        f"{mixture.order.algorithm}, view {mixture.order.view}{scale}"
    )
    size, longest = mixture.chunk.size, mixture.order.max_seq_len
    if size > longest:
        refused = ""
        if mixture.chunk.algorithm == "whole-v1" and not mixture.order.allow_cut:
            refused = "; a build with more than 0.1 % of such tokens is refused"
        yield (
            f"warning: chunk.size {size:,} is above order.max_seq_len {longest:,}: up to"
            f" {1 - longest / size:.1%} of the tokens lie where no trainer sees them{refused}"
        )
    requests = count(estimate.num_requests)
    if estimate.unlocked:
        requests = f"{requests} or more"
        yield (
            f"not locked: {', '.join(estimate.unlocked)}; their sizes are guessed from their"
            " budgets, and a source that is sampled is larger than its budget: ettin-data lock"
            f" {mixture.name}"
        )
    if unread := [one.source for one in estimate.sources if not one.is_measured]:
        yield (
            f"not measured, since none of their files is here: {', '.join(unread)}; their tokens"
            " and the speed of their filters are guessed"
        )
    yield from (f"warning: a build here would be refused: {line}" for line in estimate.unasked)
    for one in estimate.sources:
        if one.num_files_unread:
            yield (
                f"sources.{one.source}: about {count(one.num_files)} of"
                f" {count((one.num_files or 0) + one.num_files_unread)} files are read, one after"
                " the other until the budget is met"
            )
        if one.is_short:
            yield f"warning: {describe_short(one)}"
    if estimate.num_requests_unkept > estimate.num_requests:
        requests += f" ({estimate.num_requests_unkept:,} with --no-keep-raw)"
    disk, memory, time = estimate.disk, estimate.memory, estimate.time
    if estimate.num_requests or estimate.num_requests_unkept or estimate.unlocked:
        yield (
            f"pull: ~{format_bytes(estimate.download_bytes)} in {requests} requests, "
            f"~{format_hours(time.pull_hours)} at 1 Gbit/s"
        )
    else:
        yield "pull: nothing, all files are here"
    yield f"build: ~{format_hours(time.build_hours)} with {workers} workers ({_shares(estimate)})"
    yield (
        f"disk: ~{format_bytes(estimate.raw_bytes)} raw; in the output "
        f"~{format_bytes(disk.peak_bytes)} in {disk.peak_files:,} files at the peak, "
        f"~{format_bytes(disk.output_bytes)} in {disk.output_files:,} files at the end"
    )
    yield from _about_rows(mixture, disk.bytes_by_kind.get("rows in order", 0))
    yield (
        f"memory: ~{format_bytes(memory.driver_bytes)} for the command, "
        f"~{format_bytes(memory.worker_bytes)} for each worker"
    )
    yield from (f"warning: this machine is too small: {line}" for line in estimate.exceeds)
    if estimate.cents is not None:
        cost = format_cents(estimate.cents)
        yield f"cost: ~{cost} for those cores and a month of that disk, as priced"


def _about_rows(declared: Mixture | Replay, num_bytes: int) -> Iterator[str]:
    """Say how to do without a second copy of the rows, if it would be large."""
    if declared.order.rows == "index":
        yield (
            "order.rows: index: rows are read from the pool in order, and not written; `ettin-data"
            " order DIR --materialise` writes them later"
        )
    elif num_bytes >= _LARGE_ORDER:
        yield (
            f"order.rows: ~{format_bytes(num_bytes)} are a second copy of the rows, in order; with"
            " --set order.rows=index it is not written, and rows are read from the pool at random,"
            " which a disk with a low latency does fast enough; all else is the same"
        )


def _shares(estimate: "Estimate") -> str:
    """Return the stages that take most of the cores' time."""
    time = estimate.time
    stages = sorted(time.core_hours_by_stage.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {hours / time.core_hours:.0%}" for name, hours in stages[:3])


def _samples(plan: "Plan") -> Iterator[str]:
    """Yield the algorithms that choose chunks of sources, and which partitions come first."""
    sampled = [one for one in plan.sources if one.takes_part]
    for algorithm in sorted({one.sample.algorithm for one in sampled}):
        named = [
            f"{one.source.name} ({', '.join(one.sample.first)} first)"
            if one.sample.first
            else one.source.name
            for one in sampled
            if one.sample.algorithm == algorithm
        ]
        yield f"sampled by {algorithm}: {', '.join(named)}"


def _plan_replay(parsed: Arguments, replay: Replay) -> int:
    from pipeline.sources import POOL, PoolLayout

    if parsed.against is not None:
        raise ConfigError(
            "--against: got a pool, whose rows are all put in order again, expected sources",
            "leave it out",
        )
    lock, pool, order = find_lock(parsed, replay), replay.pool, replay.order
    assert pool is not None
    layout = None if lock is None else PoolLayout.of(lock.sources[POOL])
    content = {
        "replay": replay.name,
        "fingerprint": replay.fingerprint,
        "pool": asdict(pool),
        "pool_bytes": layout and layout.num_bytes,
        "layout": layout and layout.words,
        "order": asdict(order),
        "assumptions": _assumptions_json(replay),
    }
    where = pool.path if pool.hub is None else f"hf://datasets/{pool.hub}/{pool.folder}"
    has_index = layout is None or layout.index is not None
    partitions = order.listing or ("its own index" if has_index else "its partitions by name")
    lines = (
        f"{replay.name}: the rows of {where} in the order of {partitions} under "
        f"{order.algorithm}, seed {order.seed}, {order.global_batch_size:,} rows a step, at most "
        f"{order.max_seq_len:,} tokens each, view {order.view}",
        f"pool: {layout.words}; {format_bytes(layout.num_bytes)}"
        if layout
        else "pool: ? until it is locked",
        *_about_rows(replay, layout.num_bytes if layout else 0),
        *_assumptions(replay, parsed.assumptions),
    )
    print_result(parsed, content, lines)
    return 0


def _assumptions_json(declared: Mixture | Replay) -> list[dict[str, object]]:
    return [
        {
            "says": one.says,
            "confidence": None if one.confidence is None else float(one.confidence),
            "because": list(one.because),
        }
        for one in declared.assumptions
    ]


def _assumptions(declared: Mixture | Replay, in_full: bool) -> Iterator[str]:
    """Yield how many assumptions there are; or each, how likely it is, and what it follows from."""
    number = len(declared.assumptions)
    if number and not in_full:
        yield f"assumed: {number} {'thing' if number == 1 else 'things'}; see --assumptions"
        return
    for one in declared.assumptions:
        likely = "" if one.confidence is None else f" ({float(one.confidence):.0%})"
        yield f"assumed{likely}: {' '.join(one.says.split())}"
        yield from (f"  because: {reason}" for reason in one.because)
