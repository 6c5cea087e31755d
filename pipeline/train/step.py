"""A step: the micro-batches of one rank -> gradients of all ranks -> one update.

Enters: a model, an optimizer and what a loader hands out. Leaves: changed weights and what the step
saw. The loss is the mean over every label of the step, on all ranks: neither world size nor
micro-batches weigh it, but for rounding.
"""

import math
from collections.abc import Generator, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pipeline.config import Recipe
from pipeline.core import seeds
from pipeline.feed import Feed
from pipeline.train.loader import FeedLoader, Loaded
from pipeline.train.models import Model, compile_parts, loss_of, ready
from pipeline.train.optimizer import set_rate
from pipeline.train.ranks import Ranks

Forward = nn.Module
"""From the inputs of a micro-batch to the sum of its losses: float32 []."""


class SumOfLosses(nn.Module):
    """A model with its loss, so that both are compiled and run in parallel as one."""

    def __init__(self, model: Model, device: torch.device, *, is_bf16: bool) -> None:
        super().__init__()
        self.model = model
        self._device_type = device.type
        self._is_bf16 = is_bf16

    def forward(self, inputs: dict[str, Any]) -> Tensor:
        """Return the sum of the losses at the labels: float32 []."""
        with torch.autocast(self._device_type, torch.bfloat16, enabled=self._is_bf16):
            return loss_of(self.model, inputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class Totals:
    """What one step came to, over all ranks."""

    loss: float | None
    """Mean cross-entropy over the labels, in nats; None where there is none."""
    gradient_norm: float
    """Length of the gradient of that loss."""
    num_labels: int
    """Positions that were predicted."""
    num_tokens: int
    """Ids of the rows, padding left out."""


def make_forward(model: Model, recipe: Recipe, ranks: Ranks) -> Forward:
    """Return what computes a micro-batch's loss: compiled where the recipe asks for it."""
    forward: nn.Module = SumOfLosses(model, ranks.device, is_bf16=recipe.precision == "bf16")
    if recipe.compile and ranks.device.type == "cuda":
        # Row by row, as elsewhere, attention is a loop and no graph.
        compile_parts(model)
    if ranks.world_size > 1:
        devices = [ranks.device.index] if ranks.device.type == "cuda" else None
        forward = DistributedDataParallel(forward, device_ids=devices, forward_sync_buffers=False)
    return forward


def load_batches(feed: Feed, model: Model) -> Generator[Loaded, None, None]:
    """Yield what is left of a feed, where a model is and as its loss asks for it."""
    yield from FeedLoader(feed, device=model.device, prepare=lambda inputs: ready(model, inputs))


def take_step(
    forward: Forward,
    optimizer: Optimizer,
    batches: Iterable[Loaded],
    *,
    rate: float,
    seed: int,
    ranks: Ranks,
) -> Totals:
    """Take one step with a learning rate; `batches` are those of this rank, in order.

    seed: of the dropout, whose numbers follow from it and from the rows of each micro-batch. A step
    of which nothing is to be predicted changes nothing.

    Raises: FloatingPointError when the loss or its gradient is no number; the weights are then as
    they were.
    """
    set_rate(optimizer, rate)
    optimizer.zero_grad(set_to_none=True)
    totals = torch.zeros(3, dtype=torch.float64, device=ranks.device)
    for batch in batches:
        torch.manual_seed(_dropout_key(seed, batch, ranks.rank))
        with _syncing(forward, is_last=batch.ends_step):
            loss = forward(batch.inputs)
            loss.backward()
        totals[0] += loss.detach()
        totals[1] += batch.num_labels
        totals[2] += batch.num_tokens
    loss_sum, num_labels, num_tokens = ranks.sum(totals).tolist()
    counts = {"num_labels": int(num_labels), "num_tokens": int(num_tokens)}
    if not num_labels:
        return Totals(loss=None, gradient_norm=0.0, **counts)
    loss = loss_sum / num_labels
    parameters = (one for group in optimizer.param_groups for one in group["params"])
    gradients = [one.grad for one in parameters if one.grad is not None]
    # Those of a sum over labels, of which the ranks were given the mean.
    torch._foreach_mul_(gradients, ranks.world_size / num_labels)
    norm = float(nn.utils.get_total_norm(gradients))
    if not math.isfinite(loss):
        raise FloatingPointError(f"a loss of {loss}")
    if not math.isfinite(norm):
        raise FloatingPointError(f"a gradient of length {norm}")
    optimizer.step()
    return Totals(loss=loss, gradient_norm=norm, **counts)


def _dropout_key(seed: int, batch: Loaded, rank: int) -> int:
    # A rank that has no row in a micro-batch has a stand-in, which needs numbers all the same.
    first = int(batch.rows[0]) if len(batch.rows) else -1 - rank
    return seeds.derive_key(seed, "dropout", str(batch.step), str(first)) >> 1


def _syncing(forward: Forward, *, is_last: bool) -> AbstractContextManager[None]:
    """Add up gradients over ranks in a step's last backward pass alone."""
    if isinstance(forward, DistributedDataParallel) and not is_last:
        no_sync: AbstractContextManager[None] = forward.no_sync()
        return no_sync
    return nullcontext()
