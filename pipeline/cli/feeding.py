"""Feeding: the command that shows what a trainer is fed, or measures how fast."""

import argparse
import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from pipeline.cli.arguments import Commands, half_open, natural, positive, with_json
from pipeline.cli.printing import print_lines
from pipeline.core.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from pipeline.core.arrays import Int64Array
    from pipeline.feed import Batch, Feed, Objective

_MICRO_BATCH_ROWS = 8
_BENCH_MICRO_BATCH_ROWS = 96
_BENCH_SECONDS = 10.0
_NUM_SHOWN_IDS = 8


def add_commands(commands: Commands) -> None:
    """Add `feed`."""
    feed = commands.add_parser(
        "feed", parents=[with_json()], help="show what a trainer is fed, or measure how fast"
    )
    feed.add_argument(
        "where",
        metavar="DIR",
        help="the output of a build, or rows in order, parquet or MDS shards, here or far away",
    )
    feed.add_argument(
        "--rank", metavar="R", type=natural, default=0, help="whose rows (default: 0)"
    )
    feed.add_argument(
        "--world-size", metavar="W", type=positive, default=1, help="how many ranks (default: 1)"
    )
    feed.add_argument(
        "--steps",
        metavar="N or A:B",
        type=_steps,
        help="the first N steps, or those from A on and before B; steps count from 1 (default: the"
        " first; with --bench, as many as take 10 seconds)",
    )
    feed.add_argument(
        "--bench", action="store_true", help="read as fast as it goes, and say how fast that was"
    )
    feed.add_argument(
        "--objective",
        choices=("mlm", "clm", "none"),
        default="none",
        help="what labels there are (default: none, and rows as they are stored)",
    )
    feed.add_argument(
        "--mask-prob", metavar="P", type=_probability, help="with mlm: how many (default: 0.3)"
    )
    feed.add_argument(
        "--seed", metavar="N", type=natural, help="with mlm: what masks follow from (default: 0)"
    )
    feed.add_argument(
        "--form", choices=("flat", "padded"), default="flat", help="how rows are laid out"
    )
    feed.add_argument(
        "--micro-batch",
        metavar="N",
        type=positive,
        help="rows of a rank at once (default: 8; with --bench, 96)",
    )
    feed.add_argument(
        "--global-batch",
        metavar="N",
        type=positive,
        help="rows of a step over all ranks (default: as the order was made for)",
    )
    feed.add_argument(
        "--max-seq-len",
        metavar="N",
        type=positive,
        help="ids of the longest row (default: as the order was made for)",
    )
    feed.add_argument(
        "--tokenizer",
        metavar="FILE",
        help="the tokenizer.json of the order's ids (default: that of the suite)",
    )
    feed.add_argument("--phase", metavar="NAME", help="which phase, where an order has several")
    feed.add_argument(
        "--on-damage",
        choices=("stop", "tombstone"),
        default="stop",
        help="what becomes of rows that cannot be read: an error, or a stand-in that is counted",
    )
    feed.set_defaults(run=_feed)


def _feed(parsed: argparse.Namespace) -> int:
    if parsed.bench:
        _bench(parsed)
    else:
        _show(parsed, _open(parsed))
    return 0


def _open(parsed: argparse.Namespace) -> "Feed":
    from pipeline.feed import make_feed, open_order, special_ids

    objective = _objective(parsed)
    default = _BENCH_MICRO_BATCH_ROWS if parsed.bench else _MICRO_BATCH_ROWS
    order = open_order(parsed.where, phase=parsed.phase)
    return make_feed(
        order,
        objective=objective,
        global_batch_rows=parsed.global_batch,
        micro_batch_rows=parsed.micro_batch or default,
        rank=parsed.rank,
        world_size=parsed.world_size,
        form=parsed.form,
        max_seq_len=parsed.max_seq_len,
        special=special_ids(order, parsed.tokenizer),
        on_damage=parsed.on_damage,
    )


def _objective(parsed: argparse.Namespace) -> "Objective | None":
    from pipeline.feed import Clm, Mlm

    if parsed.objective != "mlm" and not (parsed.mask_prob is None and parsed.seed is None):
        raise ConfigError(f"--mask-prob, --seed: got --objective {parsed.objective}, expected mlm")
    if parsed.objective == "mlm":
        mask_prob = 0.3 if parsed.mask_prob is None else parsed.mask_prob
        return Mlm(mask_prob=mask_prob, seed=parsed.seed or 0)
    return Clm() if parsed.objective == "clm" else None


def _asked(feed: "Feed", steps: tuple[int, int]) -> Iterator["Batch"]:
    """Yield the batches of steps that count from 1, the second being one past the last."""
    start, stop = steps
    if stop - 1 > feed.num_steps:
        raise NotFoundError(
            f"--steps: got step {stop - 1:,}, expected one of 1 to {feed.num_steps:,}, which"
            f" {feed.order.where} has",
            "steps count from 1; of A:B the last is the one before B",
        )
    feed.seek_step(start - 1)
    for batch in feed:
        yield batch
        if batch.ends_step and batch.step == stop - 2:
            return


def _show(parsed: argparse.Namespace, feed: "Feed") -> None:
    first_row, stop_row = feed.schedule.rows(0)
    if not parsed.json:
        print(
            f"{parsed.where}: {feed.num_rows:,} rows in {feed.num_steps:,} steps of"
            f" {stop_row - first_row:,}, {feed.num_rows_dropped:,} rows dropped;"
            f" rank {feed.rank} of {feed.world_size}; view {feed.view}"
        )
    for batch in _asked(feed, parsed.steps or (1, 2)):
        if parsed.json:
            print(json.dumps(_batch_json(batch)))
        else:
            print(_batch_line(batch))
    if not parsed.json:
        print_lines(
            f"rows {one.start}:{one.stop} cannot be read: {one.why}" for one in feed.damages
        )


def _batch_json(batch: "Batch") -> dict[str, Any]:
    return {
        "step": batch.step + 1,
        "rows": batch.rows.tolist(),
        "next_row": batch.next_row,
        "ends_step": batch.ends_step,
        "num_tokens": batch.num_tokens,
        "num_labels": batch.num_labels,
        "tombstones": batch.tombstones.tolist(),
        "inputs": {
            name: value if isinstance(value, int) else list(value.shape)
            for name, value in batch.inputs.items()
        },
        "begins": _begins(batch),
    }


def _batch_line(batch: "Batch") -> str:
    rows = batch.rows.tolist()
    shown = f"{rows[0]}" if len(rows) == 1 else f"{rows[0]} … {rows[-1]}" if rows else "none"
    counts = f"{batch.num_tokens:,} tokens, {batch.num_labels:,} labels"
    if len(batch.tombstones):
        counts += f", {len(batch.tombstones):,} tombstones"
    shape = "×".join(map(str, _input_ids(batch).shape))
    ids = " ".join(map(str, _begins(batch)))
    ends = ", ends the step" if batch.ends_step else ""
    return f"step {batch.step + 1}: rows {shown}: {counts}, input_ids {shape}: {ids} …{ends}"


def _begins(batch: "Batch") -> list[int]:
    ids: list[int] = _input_ids(batch)[0, :_NUM_SHOWN_IDS].tolist()
    return ids


def _input_ids(batch: "Batch") -> "Int64Array":
    return cast("Int64Array", batch.inputs["input_ids"])


def _bench(parsed: argparse.Namespace) -> None:
    # What is compiled is loaded from disk when it is first called, which is no part of a feed. The
    # order is opened anew after that, since this one holds what it has read.
    first = _open(parsed)
    for _ in islice(_asked(first, parsed.steps or (1, 2)), 1):
        pass
    deadline = _BENCH_SECONDS if parsed.steps is None else float("inf")
    began = time.perf_counter()
    feed = _open(parsed)
    open_seconds = time.perf_counter() - began
    began = time.perf_counter()
    first_batch_seconds = seconds = 0.0
    num_batches = num_rows = num_tokens = 0
    for batch in _asked(feed, parsed.steps or (1, feed.num_steps + 1)):
        seconds = time.perf_counter() - began
        first_batch_seconds = first_batch_seconds or seconds
        num_batches += 1
        num_rows += len(batch.rows)
        num_tokens += batch.num_tokens
        if seconds > deadline:
            break
    found = {
        "where": parsed.where,
        "num_batches": num_batches,
        "num_rows": num_rows,
        "num_tokens": num_tokens,
        "num_tombstones": feed.num_tombstones,
        "open_seconds": open_seconds,
        "first_batch_seconds": first_batch_seconds,
        "seconds": seconds,
        "tokens_per_second": num_tokens / seconds if seconds else 0.0,
    }
    if parsed.json:
        print(json.dumps(found))
        return
    print(
        f"{parsed.where}: {num_tokens:,} tokens of {num_rows:,} rows in {num_batches:,} batches,"
        f" {seconds:.3f} s: {found['tokens_per_second']:,.0f} tokens/s; opened in"
        f" {open_seconds * 1e3:.0f} ms, first batch after {first_batch_seconds * 1e3:.1f} ms"
    )


def _steps(text: str) -> tuple[int, int]:
    """Return the steps of `N` or `A:B`, from 1."""
    if ":" not in text:
        return 1, positive(text) + 1
    try:
        start, stop = half_open(text)
    except argparse.ArgumentTypeError:
        start = stop = 0
    if start < 1:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, expected A:B with A below B, as 1:11: steps count from 1, and B is not"
            " one of them"
        )
    return start, stop


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a number above 0, at most 1")
    return value
