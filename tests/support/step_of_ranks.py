"""One step of tiny models from several rows of an order, as one rank or one of several:

    torchrun --nproc-per-node 2 step_of_ranks.py ORDER OUT

Leaves `OUT/RANK.pt`: of each case what the step came to, its gradients, and how often a rank added
up what the others had.
"""

import sys
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from adapters.numbered import feed_of
from support.models import tiny
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from pipeline.config.load import load_recipe
from pipeline.config.recipe import ModelKind
from pipeline.feed.batch import Clm, Mlm
from pipeline.train.models import make_model
from pipeline.train.optimizer import make_optimizer
from pipeline.train.ranks import Ranks, join_ranks
from pipeline.train.step import load_batches, make_forward, train_step

# A whole step of 8 rows; then 5 rows, of which two ranks have 3 and 2, and the second a filler.
FIRST_ROWS = (0, 11)
KINDS: tuple[ModelKind, ...] = ("encoder", "decoder")


def main(order: Path, out: Path) -> None:
    """Take a step of each case, and write what is left of it."""
    with join_ranks("cpu") as ranks:
        torch.save(take_steps(order, ranks), out / f"{ranks.rank}.pt")


def take_steps(order: Path, ranks: Ranks) -> dict[tuple[ModelKind, int], dict[str, Any]]:
    """Return what is left of a step, for each kind of model and each row that it starts at."""
    return {(kind, row): _step(order, kind, row, ranks) for kind in KINDS for row in FIRST_ROWS}


def _step(order: Path, kind: ModelKind, row: int, ranks: Ranks) -> dict[str, Any]:
    recipe = load_recipe(f"sample-{kind}-pretraining")
    shape = {"num_layers": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 1}
    spec = tiny(kind, max_positions=1024, **shape)
    model = make_model(spec, seed=5)
    forward = make_forward(model, replace(recipe, model=spec, compile=False), ranks)
    sums = [0]
    if isinstance(forward, DistributedDataParallel):
        forward.register_comm_hook(sums, _counted)
    optimizer = make_optimizer(model, recipe.optimizer)
    feed = feed_of(
        order,
        Clm() if kind == "decoder" else Mlm(mask_prob=0.3, seed=7),
        rank=ranks.rank,
        world_size=ranks.world_size,
        micro_batch_rows=1,
        row=row,
    )
    counts: list[int] = []

    def noted(batch: Any) -> bool:
        counts.append(len(batch.rows))
        return int(batch.step) == row // 8

    batches = load_batches(feed, model)
    mine = list(takewhile(noted, batches))
    batches.close()
    totals = train_step(forward, optimizer, mine, rate=1e-3, seed=1, ranks=ranks)
    return {
        "loss": totals.loss,
        "counts": (totals.num_labels, totals.num_tokens),
        "rows": [batch.rows.tolist() for batch in mine],
        "gradients": {name: one.grad for name, one in model.named_parameters()},
        "sums": sums[0],
    }


def _counted(sums: list[int], bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    sums[0] += bucket.is_last()
    return allreduce_hook(None, bucket)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
