"""One optimizer step: micro-batches of a rank -> gradients of all ranks -> an update.

The loss is the mean over every label of the step on all ranks: neither the world size nor the
micro-batch size matters, but for rounding.
"""

import math
from collections.abc import Generator, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from pipeline.config import Recipe
from pipeline.core import seeds
from pipeline.feed import Feed
from pipeline.train.loader import FeedLoader, TensorBatch
from pipeline.train.models import Model, compile_model, prepare_inputs, summed_loss
from pipeline.train.optimizer import set_learning_rate
from pipeline.train.ranks import Ranks


class ModelWithLoss(nn.Module):
    """A model with its loss, so that both are compiled and parallelized as one."""

    def __init__(self, model: Model, device: torch.device, *, is_bf16: bool) -> None:
        super().__init__()
        self.model = model
        self._device_type = device.type
        self._is_bf16 = is_bf16

    def forward(self, inputs: dict[str, Any]) -> Tensor:
        with torch.autocast(self._device_type, torch.bfloat16, enabled=self._is_bf16):
            return summed_loss(self.model, inputs)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """The results of a step over all ranks."""

    loss: float | None
    """Mean cross-entropy over the labels, in nats; None without labels."""
    gradient_norm: float
    num_labels: int
    num_tokens: int
    """Without padding."""


def make_forward(model: Model, recipe: Recipe, ranks: Ranks) -> nn.Module:
    """Return a module from the inputs of a micro-batch to the sum of its losses: float32 [].

    It is compiled if the recipe asks for it and the model is on a GPU.
    """
    forward: nn.Module = ModelWithLoss(model, ranks.device, is_bf16=recipe.precision == "bf16")
    if recipe.compile and ranks.device.type == "cuda":
        # Elsewhere attention is a loop over rows, which has no graph.
        compile_model(model)
    if ranks.world_size > 1:
        devices = [ranks.device.index] if ranks.device.type == "cuda" else None
        forward = DistributedDataParallel(forward, device_ids=devices, forward_sync_buffers=False)
    return forward


def load_batches(feed: Feed, model: Model) -> Generator[TensorBatch, None, None]:
    """Yield the rest of a feed, on the model's device and with the targets of its loss."""
    yield from FeedLoader(
        feed, device=model.device, prepare=lambda inputs: prepare_inputs(model, inputs)
    )


def train_step(
    forward: nn.Module,
    optimizer: Optimizer,
    batches: Iterable[TensorBatch],
    *,
    rate: float,
    seed: int,
    ranks: Ranks,
) -> StepResult:
    """Take one step at a learning rate; `batches` are those of this rank, in order.

    seed: that of dropout, whose numbers depend on it and on the rows of each micro-batch. A step
    without labels changes nothing.

    Raises: FloatingPointError when the loss or its gradient is not finite; weights are unchanged.
    """
    set_learning_rate(optimizer, rate)
    optimizer.zero_grad(set_to_none=True)
    totals = torch.zeros(3, dtype=torch.float64, device=ranks.device)
    for batch in batches:
        torch.manual_seed(_dropout_key(seed, batch, ranks.rank))
        is_local = isinstance(forward, DistributedDataParallel) and not batch.ends_step
        # Gradients are reduced over ranks in the last backward pass only.
        with forward.no_sync() if is_local else nullcontext():  # type: ignore[operator]
            loss = forward(batch.inputs)
            loss.backward()
        totals[0] += loss.detach()
        totals[1] += batch.num_labels
        totals[2] += batch.num_tokens
    loss_sum, num_labels, num_tokens = ranks.all_reduce(totals).tolist()
    counts = {"num_labels": int(num_labels), "num_tokens": int(num_tokens)}
    if not num_labels:
        return StepResult(loss=None, gradient_norm=0.0, **counts)
    loss = loss_sum / num_labels
    parameters = (one for group in optimizer.param_groups for one in group["params"])
    gradients = [one.grad for one in parameters if one.grad is not None]
    # They are those of a sum over labels, averaged over ranks.
    torch._foreach_mul_(gradients, ranks.world_size / num_labels)
    norm = float(nn.utils.get_total_norm(gradients))
    for name, value in (("loss", loss), ("gradient norm", norm)):
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} is {'NaN' if math.isnan(value) else value}")
    optimizer.step()
    return StepResult(loss=loss, gradient_norm=norm, **counts)


def _dropout_key(seed: int, batch: TensorBatch, rank: int) -> int:
    # A rank without rows in a micro-batch has a placeholder row, which needs dropout too.
    first = int(batch.rows[0]) if len(batch.rows) else -1 - rank
    return seeds.derive_key(seed, "dropout", str(batch.step), str(first)) >> 1
