"""Attention within the rows of a flat micro-batch: no position attends to another row.

All rows are one sequence, and `cu_seq_lens_q` is the start of each. Both backends are
`transformers` attention functions and obey a layer's sliding window and causality.

Shapes: N positions in all, H heads, D dimensions per head, R rows.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel

from pipeline.core.errors import ConfigError

Backend = Literal["varlen", "sdpa"]
"""`varlen`: all rows in one kernel, on a GPU, in half precision; `sdpa`: row by row, anywhere."""

_masks: dict[tuple[int, bool, torch.device], Tensor] = {}


def best_backend(device: torch.device, *, is_bf16: bool) -> Backend:
    return "varlen" if device.type == "cuda" and is_bf16 else "sdpa"


def set_backend(model: PreTrainedModel, backend: Backend) -> None:
    AttentionInterface.register("rows-varlen", _attend_varlen)
    AttentionInterface.register("rows-sdpa", _attend_sdpa)
    model.set_attn_implementation(f"rows-{backend}")


def varlen_arguments(
    module: nn.Module, heads: tuple[Tensor, ...], scaling: float, rows: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments of `torch.nn.attention.varlen.varlen_attn`: tensors [N, H, D].

    heads: query, key and value, [1, H, N, D]. rows: `cu_seq_lens_q` int32 [R + 1] and
    `max_length_q`.
    """
    starts, longest = _starts(rows), rows["max_length_q"]
    query, key, value = (tensor[0].transpose(0, 1) for tensor in heads)
    return {
        "query": query,
        "key": key,
        "value": value,
        "cu_seq_q": starts,
        "cu_seq_k": starts,
        "max_q": longest,
        "max_k": longest,
        "scale": scaling,
        "window_size": _window_size(module),
    }


def _window_size(module: nn.Module) -> tuple[int, int]:
    """Return how many positions a layer sees before and after each; -1 is all of them.

    `transformers` counts the position itself into its window, in encoder and decoder.
    """
    size: int | None = module.sliding_window  # type: ignore[assignment]
    reach = -1 if size is None else size - 1
    return (reach, 0 if module.is_causal else reach)


# Called by `transformers` with query, key, value and a mask, which is None.
def _attend_varlen(
    module: nn.Module, *heads: Tensor, scaling: float, **rows: Any
) -> tuple[Tensor, None]:
    from torch.nn.attention.varlen import varlen_attn

    out = varlen_attn(**varlen_arguments(module, heads[:3], scaling, rows))
    assert isinstance(out, Tensor)
    return out.unsqueeze(0), None


@torch.compiler.disable
def _attend_sdpa(
    module: nn.Module, *heads: Tensor, scaling: float, **rows: Any
) -> tuple[Tensor, None]:
    before, after = _window_size(module)
    is_causal = after == 0
    lengths = _starts(rows).diff().tolist()
    # Not slices: the gradient of each would be as long as all rows.
    split = (torch.split(tensor, lengths, 2) for tensor in heads[:3])
    parts = []
    for length, q, k, v in zip(lengths, *split, strict=True):
        mask = None
        if 0 <= before < length - 1:
            mask = _window_mask(length, before, is_causal, heads[0].device)
        part = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=is_causal and mask is None, scale=scaling
        )
        parts.append(part)
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _window_mask(length: int, reach: int, is_causal: bool, device: torch.device) -> Tensor:
    """Return which position attends to which: bool [length, length], cut from a cached mask."""
    cached = _masks.get((reach, is_causal, device))
    if cached is None or len(cached) < length:
        positions = torch.arange(1 << (length - 1).bit_length(), device=device)
        distance = positions[:, None] - positions
        cached = (distance <= reach) & (distance >= (0 if is_causal else -reach))
        _masks[reach, is_causal, device] = cached
    return cached[:length, :length]


def _starts(rows: dict[str, Any]) -> Tensor:
    starts = rows.get("cu_seq_lens_q")
    if starts is None:
        # Without it all rows would be taken for one.
        raise ConfigError(
            "attention: got inputs without cu_seq_lens_q, expected the flat form of a feed",
            "feed with form=flat, or give the model an attention of transformers",
        )
    assert isinstance(starts, Tensor)
    return starts
