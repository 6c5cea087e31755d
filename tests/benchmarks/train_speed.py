"""Train each size of the suite for some seconds, and compare with what is published of it:

    python -m tests.benchmarks.train_speed FOLDER [--sizes 17m 150m] [--kinds encoder]

Enters: a folder for made-up rows, kept and used again: ids drawn evenly, lengths with the mean of
the suite's rows. Leaves: for each size as encoder and as decoder, at 1,024 and for 150M at 7,999
too, tokens a second, the part of the chip's peak that it comes to, the part of the time that it
waits for rows, and how many times the published speed it is. Method: the feed, the model, the
optimizer and the step of the trainer, with the micro-batch of the recipe, 8 of them a step; three
steps to warm up, then whole steps for some seconds. A line as each is done, the table last.

FLOPs are those of the matrix products, three times the forward pass: layers, attention over the
rows' own mean length (half of it in a decoder, a window in local layers), head and vocabulary where
something is predicted. It waits for rows at most as long as the loop does while the GPU has no work
left. Published: 2T tokens in so many hours on 4 H100; peak: 989.4 TFLOP/s, dense bf16.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.config.recipe import Recipe
    from pipeline.feed.feed import Feed
    from pipeline.train.loader import TensorBatch
    from pipeline.train.models import Model

_PUBLISHED = {"17m": 985, "32m": 655, "68m": 463, "150m": 296, "400m": 146, "1b": 64}
"""Thousand tokens a second and GPU."""
_PEAK = 989.4e12
_MICRO_BATCHES = 8
_WARM_UP = 3
# Rows and the part of them that is as long as can be: the mean is 615 at 1,024.
_ROWS = {1024: (40_000, 0.175), 7999: (4_000, 0.5)}


@dataclass(frozen=True, kw_only=True)
class Line:
    """What is found of one model."""

    size: str
    kind: str
    length: int
    tokens_per_second: float
    flops_per_token: float
    waited: float
    """Part of the time, from 0 to 1."""
    seconds_to_ready: float
    """For warming up, compilation included."""


def main() -> None:
    """Parse, make rows, time, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--sizes", nargs="+", choices=("tiny", *_PUBLISHED), default=[*_PUBLISHED])
    parser.add_argument("--kinds", nargs="+", choices=("encoder", "decoder"))
    parser.add_argument("--seconds", type=float, default=8, help="that a model is timed for")
    options = parser.parse_args()
    kinds = options.kinds or ["encoder", "decoder"]
    lines = []
    for size in options.sizes:
        for length in (1024, 7999) if size == "150m" else (1024,):
            for kind in kinds:
                line = _time(size, kind, length, options)
                lines.append(line)
                print(_told(line), file=sys.stderr, flush=True)
    print("| size | as | rows up to | tokens/s | × published | MFU | waits for rows | ready in |")
    print("|---|---|---|---|---|---|---|---|")
    for line in lines:
        print(_told(line))


def _told(line: Line) -> str:
    published = _PUBLISHED.get(line.size)
    ratio = "" if published is None else f"{line.tokens_per_second / published / 1000:.2f}"
    mfu = line.tokens_per_second * line.flops_per_token / _PEAK
    return (
        f"| {line.size} | {line.kind} | {line.length:,} | {line.tokens_per_second:,.0f} | {ratio} |"
        f" {mfu:.1%} | {line.waited:.2%} | {line.seconds_to_ready:.0f} s |"
    )


def _time(size: str, kind: str, length: int, options: argparse.Namespace) -> Line:
    """Train one model for some seconds."""
    import torch

    from pipeline.train.optimizer import make_optimizer
    from pipeline.train.step import make_forward, train_step

    began = time.perf_counter()
    recipe = _recipe(size, kind, length, options.device)
    if recipe.compile:
        torch.compiler.reset()
    ranks = _ranks(options.device)
    model = _model(recipe, ranks.device)
    forward = make_forward(model, recipe, ranks)
    optimizer = make_optimizer(model, recipe.optimizer)
    feed, mean_length = _feed(options.folder, recipe)
    waiting = _Waiting(ranks.device)
    batches = _endless(feed, model)

    num_micro_batches = recipe.global_batch_rows // recipe.micro_batch_rows

    def step() -> Any:
        part = waiting.over(islice(batches, num_micro_batches))
        return train_step(forward, optimizer, part, rate=1e-4, seed=1, ranks=ranks)

    for _ in range(_WARM_UP):
        step()
    started, num_tokens, num_labels = time.perf_counter(), 0, 0
    waiting.seconds = 0.0
    while (seconds := time.perf_counter() - started) < options.seconds or not num_tokens:
        # It ends by asking for the loss, so the GPU is done with it.
        totals = step()
        num_tokens += totals.num_tokens
        num_labels += totals.num_labels
    seconds = time.perf_counter() - started
    batches.close()
    return Line(
        size=size,
        kind=kind,
        length=length,
        tokens_per_second=num_tokens / seconds,
        flops_per_token=_flops(recipe, mean_length, num_labels / num_tokens),
        waited=waiting.seconds / seconds,
        seconds_to_ready=started - began,
    )


def _recipe(size: str, kind: str, length: int, device: str) -> "Recipe":
    from pipeline.config.load import load_recipe

    phase = "pretraining" if length == 1024 else "extension"
    name = "sample" if size == "tiny" else f"ettin-{size}"
    recipe = load_recipe(f"{name}-{kind}-{phase}")
    if device == "cuda":
        return replace(recipe, global_batch_rows=_MICRO_BATCHES * recipe.micro_batch_rows)
    # A row a step, to see that all of this runs.
    few = {"global_batch_rows": 1, "micro_batch_rows": 1}
    return replace(recipe, compile=False, precision="fp32", **few)


def _ranks(device: str) -> Any:
    import torch

    from pipeline.train.ranks import Ranks

    place = torch.device("cuda", 0) if device == "cuda" else torch.device("cpu")
    return Ranks(rank=0, world_size=1, device=place)


def _model(recipe: "Recipe", device: Any) -> "Model":
    """Return a model whose weights are drawn where it is, since a billion take a while by name."""
    import torch

    from pipeline.train import attention
    from pipeline.train.models import make_uninitialized

    model = make_uninitialized(recipe.model).to(device)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1) if parameter.ndim == 1 else parameter.normal_(std=0.02)
    attention.set_backend(model, attention.best_backend(device, is_bf16=recipe.precision == "bf16"))
    return model.train()


def _feed(folder: Path, recipe: "Recipe") -> tuple["Feed", float]:
    """Return a feed of made-up rows, and the mean length of the row that a token is in."""
    import numpy as np

    from pipeline import dataset
    from pipeline.feed.batch import Clm, Mlm
    from pipeline.feed.factory import make_feed

    length = 7999 if recipe.max_seq_len > 1024 else 1024
    lengths = _lengths(length)
    pool = folder / f"rows-{length}"
    if not (pool / "index.json").exists():
        _make_pool(pool, lengths)
    prob = recipe.objective.mask_prob
    feed = make_feed(
        dataset.open(pool),
        objective=Clm() if prob is None else Mlm(mask_prob=float(prob), seed=1),
        micro_batch_rows=recipe.micro_batch_rows,
        global_batch_rows=recipe.global_batch_rows,
        max_seq_len=recipe.max_seq_len,
    )
    fed = np.minimum(lengths, recipe.max_seq_len)
    return feed, float((fed * fed).sum() / fed.sum())


def _lengths(length: int) -> Any:
    import numpy as np

    num_rows, at_most = _ROWS[length]
    draw = np.random.default_rng(length)
    lengths = draw.integers(length // 32, length + 1, num_rows)
    return np.where(draw.random(num_rows) < at_most, length, lengths)


def _make_pool(folder: Path, lengths: Any) -> None:
    import numpy as np

    from pipeline.dataset.mds.writer import MdsWriter, index_bytes, merge_indexes

    (folder / "part").mkdir(parents=True)
    writer = MdsWriter(folder=folder / "part", dtype="uint16", size_limit=64 << 20)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.random.default_rng(1).integers(0, 50_000, offsets[-1]).astype(np.uint32)
    ids[offsets[:-1]], ids[offsets[1:] - 1] = 50_281, 50_282
    names = [f"{number:x}".encode() for number in range(len(lengths))]
    writer.write(names, np.arange(len(lengths)), ids, offsets)
    index = merge_indexes([("part", writer.finish())])
    (folder / "index.json").write_bytes(index_bytes(index, merged=True))


def _endless(feed: "Feed", model: "Model") -> Any:
    """Yield micro-batches, again from the first row when the order is over."""
    from pipeline.train.step import load_batches

    while True:
        feed.seek_row(0)
        yield from load_batches(feed, model)


class _Waiting:
    """Counts the seconds in which nothing is computed because the next rows are not there."""

    def __init__(self, device: Any) -> None:
        self.seconds = 0.0
        self._is_gpu = device.type == "cuda"

    def over(self, batches: "Iterator[TensorBatch]") -> "Iterator[TensorBatch]":
        """Yield the batches, and count."""
        import torch

        while True:
            done = torch.cuda.Event() if self._is_gpu else None
            if done is not None:
                done.record()
            began = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            # With work left, the GPU has not noticed.
            if done is None or done.query():
                self.seconds += time.perf_counter() - began
            yield batch


def _flops(recipe: "Recipe", mean_length: float, labels_per_token: float) -> float:
    """Return the floating point operations of a token, forward and backward."""
    spec = recipe.model
    side = 1.0 if spec.kind == "encoder" else 0.5
    products = 0.0
    for layer in range(spec.num_layers):
        window = spec.local_window * side + 1
        is_local = layer % spec.global_every > 0
        keys = min(window, mean_length * side) if is_local else mean_length * side
        projections = 4 * spec.hidden_size**2 + 3 * spec.hidden_size * spec.intermediate_size
        products += projections + 2 * keys * spec.hidden_size
    head = spec.hidden_size**2 + spec.hidden_size * spec.vocab_size
    return 3 * 2 * (products + labels_per_token * head)


if __name__ == "__main__":
    main()
