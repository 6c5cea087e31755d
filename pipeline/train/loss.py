"""Cross-entropy over a large vocabulary, in chunks of positions.

Only one chunk's logits exist at a time, and each is computed once: the forward pass also computes
the gradients, so that the backward pass has nothing to recompute.

Shapes: P predicted positions, D dimensions, V ids.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_GPU_CHUNK = 8192
"""Positions; with 50,368 ids their logits in bf16 are 0.8 GB."""
_CPU_CHUNK = 128
"""Their logits are 26 MB of float32; malloc maps and unmaps anything larger on every call."""


@torch.compiler.disable
def summed_cross_entropy(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, *, is_compiled: bool
) -> Tensor:
    """Return the sum of the cross-entropies: float32 [].

    hidden: [P, D]. weight: float32 [V, D]. bias: float32 [V]. targets: int64 [P]. Logits have the
    dtype of autocast, where it is on; softmax is in float32.
    """
    device_type = hidden.device.type
    dtype = hidden.dtype
    if torch.is_autocast_enabled(device_type):
        dtype = torch.get_autocast_dtype(device_type)
    with torch.autocast(device_type, enabled=False):
        if torch.is_grad_enabled():
            total = _Sum.apply(hidden, weight, bias, targets, dtype, is_compiled)  # type: ignore[no-untyped-call]
        else:
            chunks = _chunks(hidden, weight, bias, targets, dtype)
            losses = [_chunk_losses(*chunk)[0].sum() for chunk in chunks]
            total = torch.stack([*losses, hidden.new_zeros((), dtype=torch.float32)]).sum()
    assert isinstance(total, Tensor)
    return total


@torch.no_grad()
def cross_entropies(hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each position: float32 [P]; arguments as above."""
    losses = [
        _chunk_losses(*chunk)[0] for chunk in _chunks(hidden, weight, bias, targets, hidden.dtype)
    ]
    return torch.cat([*losses, hidden.new_zeros(0, dtype=torch.float32)])


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor,
        targets: Tensor,
        dtype: torch.dtype,
        is_compiled: bool,
    ) -> Tensor:
        of_chunk = _fractions_compiled if is_compiled else _fractions
        total = hidden.new_zeros((), dtype=torch.float32)
        hidden_gradients = torch.empty_like(hidden)
        weight_gradient = torch.zeros_like(weight)
        bias_gradient = torch.zeros_like(bias)
        start = 0
        for chunk in _chunks(hidden, weight, bias, targets, dtype):
            loss, numerators, sums = of_chunk(*chunk)
            stop = start + len(sums)
            total += loss
            # Rows of D are divided, not rows of V.
            hidden_gradients[start:stop] = (numerators @ chunk[1]) / sums
            weight_gradient += numerators.T @ (chunk[0] / sums).to(dtype)
            bias_gradient += (numerators.T @ sums.reciprocal().to(dtype))[:, 0]
            start = stop
        ctx.save_for_backward(hidden_gradients, weight_gradient, bias_gradient)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return (*(gradient * saved for saved in ctx.saved_tensors), None, None, None)


Chunk = tuple[Tensor, Tensor, Tensor, Tensor]
"""hidden, weight, bias and targets of `summed_cross_entropy`, for one chunk of positions."""


def _chunks(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor, dtype: torch.dtype
) -> list[Chunk]:
    weight, bias = weight.to(dtype), bias.to(dtype)
    size = _GPU_CHUNK if hidden.is_cuda else _CPU_CHUNK
    parts = zip(torch.split(hidden.to(dtype), size), torch.split(targets, size), strict=True)
    return [(part, weight, bias, right) for part, right in parts if len(right)]


def _chunk_losses(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the losses [P]; exp of the logits less their largest [P, V], and its sums [P, 1]."""
    logits = F.linear(hidden, weight, bias).float()
    largest = logits.amax(1, keepdim=True)
    of_targets = logits.gather(1, targets[:, None])
    # In place: to map another array of this size takes longer than to compute it.
    exponentials = logits.sub_(largest).exp_()
    sums = exponentials.sum(1, keepdim=True)
    return (sums.log() + largest - of_targets)[:, 0], exponentials, sums


def _fractions(
    hidden: Tensor, weight: Tensor, bias: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the sum of losses, and the gradients of the logits as a fraction.

    The numerators have the dtype of `hidden`: [P, V]. The denominators are float32 [P, 1].
    """
    losses, exponentials, sums = _chunk_losses(hidden, weight, bias, targets)
    exponentials.scatter_add_(1, targets[:, None], -sums)
    return losses.sum(), exponentials.to(hidden.dtype), sums


def _fractions_compiled(*chunk: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Call `_fractions`, compiled for any number of positions."""
    for tensor in (chunk[0], chunk[3]):
        torch._dynamo.maybe_mark_dynamic(tensor, 0)
    return _compiled()(*chunk)


@cache
def _compiled() -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    return torch.compile(_fractions)
