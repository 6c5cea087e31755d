"""A stand-in for torch's variable-length attention, which has kernels for GPUs alone.

It follows the documentation of `torch.nn.attention.varlen.varlen_attn`: rows from `cu_seq` on, a
window (left, right) of which -1 is everything. `install` makes it what the operator does on a CPU,
so that everything around the kernel runs as it is.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import varlen


def install() -> None:
    """Register the stand-in, forward and backward; again changes nothing."""
    varlen._varlen_attn.register_kernel("cpu")(_forward)
    varlen._varlen_attn_backward.register_kernel("cpu")(_backward)


def _probabilities(q: Tensor, k: Tensor, scale: float, window: list[int]) -> Tensor:
    """Of one row: [length, H, D] -> [H, length, length]."""
    place = torch.arange(len(q))
    ahead = place[None] - place[:, None]
    left, right = window
    is_seen = ((left < 0) | (ahead >= -left)) & ((right < 0) | (ahead <= right))
    scores = torch.einsum("ihd,jhd->hij", q.float(), k.float()) * scale
    return scores.masked_fill(~is_seen, -torch.inf).softmax(-1)


def _forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    is_causal: bool = False,
    scale: float | None = None,
    window_size: list[int] | None = None,
    *others: Any,
    **more: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    assert scale is not None
    assert window_size is not None
    assert is_causal == (window_size == [-1, 0])
    assert query.dtype == key.dtype == value.dtype
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    out = torch.zeros_like(query)
    for start, stop in pairwise(cu_seq_q.tolist()):
        assert stop - start <= min(max_q, max_k)
        q, k, v = (tensor[start:stop] for tensor in (query, key, value))
        weights = _probabilities(q, k, scale, window_size)
        out[start:stop] = torch.einsum("hij,jhd->ihd", weights, v.float()).to(out.dtype)
    sums = torch.zeros(query.shape[1], len(query))
    return out, sums, torch.zeros(2, dtype=torch.uint64)


def _backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor,
    max_q: int,
    max_k: int,
    is_causal: bool,
    rng_state: Tensor,
    scale: float | None = None,
    window_size: list[int] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    assert scale is not None
    assert window_size is not None
    gradients = tuple(torch.zeros_like(tensor) for tensor in (query, key, value))
    for start, stop in pairwise(cu_seq_q.tolist()):
        q, k, v, outward = (x[start:stop].float() for x in (query, key, value, grad_out))
        weights = _probabilities(q, k, scale, window_size)
        of_weights = torch.einsum("ihd,jhd->hij", outward, v)
        inner = (of_weights * weights).sum(-1, keepdim=True)
        of_scores = weights * (of_weights - inner) * scale
        gradients[0][start:stop] = torch.einsum("hij,jhd->ihd", of_scores, k)
        gradients[1][start:stop] = torch.einsum("hij,ihd->jhd", of_scores, q)
        gradients[2][start:stop] = torch.einsum("hij,ihd->jhd", weights, outward)
    return gradients
