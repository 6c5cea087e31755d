"""`ettin-data feed`."""

import json
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from pipeline.cli.arguments import (
    Arguments,
    Verbs,
    add_verb,
    checked,
    natural,
    parse_range,
    positive,
)
from pipeline.cli.output import print_lines
from pipeline.core.errors import ConfigError, NotFoundError

if TYPE_CHECKING:
    from pipeline.core.arrays import Int64Array
    from pipeline.feed import Batch, Feed, Objective

_MICRO_BATCH_ROWS = 8
_BENCH_MICRO_BATCH_ROWS = 96
_BENCH_SECONDS = 10.0
_NUM_SHOWN_IDS = 8


def add(verbs: Verbs) -> None:
    summary = "show the batches that a trainer gets, or measure how fast they come"
    options = add_verb(
        verbs,
        "feed",
        run,
        summary,
        examples=(
            "ettin-data feed letters --steps 1",
            "ettin-data feed sample-out --objective mlm --rank 1 --world-size 2 --steps 1:3",
            "ettin-data feed sample-out --bench --steps 2",
        ),
        guide="docs/guide/feed.md#a-batch",
    )
    where = "output of a build, or rows in order: parquet or MDS shards, local or remote"
    options.add("where DIR", where)
    options.add("--rank R", "data-parallel rank to feed, from 0", natural, 0)
    options.add("--world-size W", "number of data-parallel ranks", positive, 1)
    steps = (
        "the first N steps, or steps A up to B, without B; they count from 1 (default: 1; with"
        " --bench: as many as fit in 10 seconds)"
    )
    options.add("--steps N|A:B", steps, _steps)
    options.add("--bench", "measure how many tokens a second the feed delivers")
    options.add(
        "--objective {mlm,clm,none}",
        "training objective to make labels for; none feeds rows as stored",
        default="none",
    )
    probability = checked(float, "a number above 0, at most 1", lambda value: 0 < value <= 1)
    options.add("--mask-prob P", "fraction of tokens to mask (with mlm; default: 0.3)", probability)
    options.add("--seed N", "seed of the masks (with mlm; default: 0)", natural)
    form = "layout of a batch: all rows in one sequence, or each row padded to the longest"
    options.add("--form {flat,padded}", form, default="flat")
    packing = (
        "algorithm that packs the rows of a micro-batch into sequences of --max-seq-len tokens"
    )
    options.add("--packing {greedy-best-fit-v1,window-best-fit-v1}", packing)
    micro_batch = "rows per micro-batch of a rank (default: 8; with --bench: 96)"
    options.add("--micro-batch N", micro_batch, positive)
    global_batch = "rows per step, over all ranks (default: that of the order)"
    options.add("--global-batch N", global_batch, positive)
    options.add("--max-seq-len N", "maximum tokens per row (default: that of the order)", positive)
    tokenizer = "tokenizer.json that encoded the order (default: its own copy, or the bundled one)"
    options.add("--tokenizer FILE", tokenizer)
    options.add("--phase NAME", "phase to feed, if the order has several")
    options.add_on_damage()


def run(parsed: Arguments) -> int:
    (_bench if parsed.bench else _show)(parsed)
    return 0


def _open(parsed: Arguments) -> "Feed":
    from pipeline import dataset
    from pipeline.feed import make_feed, special_ids

    objective = _objective(parsed)
    default_rows = _BENCH_MICRO_BATCH_ROWS if parsed.bench else _MICRO_BATCH_ROWS
    order = dataset.open(parsed.where, phase=parsed.phase)
    return make_feed(
        order,
        objective=objective,
        global_batch_rows=parsed.global_batch,
        micro_batch_rows=parsed.micro_batch or default_rows,
        rank=parsed.rank,
        world_size=parsed.world_size,
        form=parsed.form,
        packing=parsed.packing,
        max_seq_len=parsed.max_seq_len,
        special=special_ids(order, parsed.tokenizer),
        on_damage=parsed.on_damage,
    )


def _objective(parsed: Arguments) -> "Objective | None":
    from pipeline.feed import Clm, Mlm

    if parsed.objective == "mlm":
        return Mlm(mask_prob=parsed.mask_prob or 0.3, seed=parsed.seed or 0)
    if not (parsed.mask_prob is None and parsed.seed is None):
        raise ConfigError(f"--mask-prob, --seed: got --objective {parsed.objective}, expected mlm")
    return Clm() if parsed.objective == "clm" else None


def _batches(feed: "Feed", steps: tuple[int, int]) -> Iterator["Batch"]:
    """Yield the batches of steps [start, stop), which count from 1."""
    start, stop = steps
    if stop - 1 > feed.num_steps:
        raise NotFoundError(
            f"--steps: got step {stop - 1:,}, expected one of 1 to {feed.num_steps:,}, which"
            f" {feed.order.where} has",
            "steps count from 1, and A:B excludes B",
        )
    feed.seek_step(start - 1)
    for batch in feed:
        yield batch
        if batch.ends_step and batch.step == stop - 2:
            return


def _show(parsed: Arguments) -> None:
    feed = _open(parsed)
    batches = _batches(feed, parsed.steps or (1, 2))
    if parsed.json:
        print_lines(json.dumps(_batch_json(batch)) for batch in batches)
        return
    first_row, stop_row = feed.schedule.rows(0)
    print(
        f"{parsed.where}: {feed.num_rows:,} rows in {feed.num_steps:,} steps of"
        f" {stop_row - first_row:,}, {feed.num_rows_dropped:,} rows dropped;"
        f" rank {feed.rank} of {feed.world_size}; view {feed.view}"
    )
    print_lines(map(_batch_line, batches))
    print_lines(f"rows {one.start}:{one.stop} cannot be read: {one.why}" for one in feed.damages)


def _batch_json(batch: "Batch") -> dict[str, Any]:
    return {
        "step": batch.step + 1,
        "rows": batch.rows.tolist(),
        "next_row": batch.next_row,
        "ends_step": batch.ends_step,
        "num_tokens": batch.num_tokens,
        "num_tokens_cut": batch.num_tokens_cut,
        "num_labels": batch.num_labels,
        "tombstones": batch.tombstones.tolist(),
        "inputs": {
            name: value if isinstance(value, int) else list(value.shape)
            for name, value in batch.inputs.items()
        },
        "begins": _input_ids(batch)[1],
    }


def _batch_line(batch: "Batch") -> str:
    rows = batch.rows.tolist()
    shown = f"{rows[0]}" if len(rows) == 1 else f"{rows[0]} … {rows[-1]}" if rows else "none"
    counts = f"{batch.num_tokens:,} tokens, {batch.num_labels:,} labels"
    if batch.num_tokens_cut:
        counts += f", {batch.num_tokens_cut:,} stored tokens cut"
    if len(batch.tombstones):
        counts += f", {len(batch.tombstones):,} placeholder rows"
    shape, ids = _input_ids(batch)
    ends = ", ends the step" if batch.ends_step else ""
    return (
        f"step {batch.step + 1}: rows {shown}: {counts}, input_ids {'×'.join(map(str, shape))}:"
        f" {' '.join(map(str, ids))} …{ends}"
    )


def _input_ids(batch: "Batch") -> tuple[tuple[int, ...], list[int]]:
    """Return the shape of the ids of a batch, and the first few."""
    ids = cast("Int64Array", batch.inputs["input_ids"])
    return ids.shape, ids[0, :_NUM_SHOWN_IDS].tolist()


def _bench(parsed: Arguments) -> None:
    # The first batch loads compiled code, which is not what is measured. The order is opened again
    # afterwards, since this one caches what it has read.
    for _ in islice(_batches(_open(parsed), parsed.steps or (1, 2)), 1):
        pass
    deadline = _BENCH_SECONDS if parsed.steps is None else float("inf")
    began = time.perf_counter()
    feed = _open(parsed)
    open_seconds = time.perf_counter() - began
    began = time.perf_counter()
    first_batch_seconds = seconds = 0.0
    num_batches = num_rows = num_tokens = 0
    for batch in _batches(feed, parsed.steps or (1, feed.num_steps + 1)):
        seconds = time.perf_counter() - began
        first_batch_seconds = first_batch_seconds or seconds
        num_batches += 1
        num_rows += len(batch.rows)
        num_tokens += batch.num_tokens
        if seconds > deadline:
            break
    tokens_per_second = num_tokens / seconds if seconds else 0.0
    if parsed.json:
        content = {
            "where": parsed.where,
            "num_batches": num_batches,
            "num_rows": num_rows,
            "num_tokens": num_tokens,
            "num_tombstones": feed.num_tombstones,
            "open_seconds": open_seconds,
            "first_batch_seconds": first_batch_seconds,
            "seconds": seconds,
            "tokens_per_second": tokens_per_second,
        }
        print(json.dumps(content))
        return
    print(
        f"{parsed.where}: {num_tokens:,} tokens of {num_rows:,} rows in {num_batches:,} batches,"
        f" {seconds:.3f} s: {tokens_per_second:,.0f} tokens/s; opened in"
        f" {open_seconds * 1e3:.0f} ms, first batch after {first_batch_seconds * 1e3:.1f} ms"
    )


def _steps(text: str) -> tuple[int, int]:
    """Return the steps of `N` or `A:B`, from 1."""
    expected = "A:B with A below B, as 1:11: steps count from 1, and B is excluded"
    parse_steps = checked(parse_range, expected, lambda steps: steps[0] >= 1)
    return parse_steps(text) if ":" in text else (1, positive(text) + 1)
