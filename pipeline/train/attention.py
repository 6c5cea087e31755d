"""Attention among the rows of a flat micro-batch: no position sees another row.

Enters: queries, keys and values of all rows in a line, and where each row begins (`cu_seq_lens_q`).
Leaves: what each position gathers from its own row: from all of it, or from those at most a window
away; in a decoder from none after itself. Both backends are `transformers` attention functions.

Shapes: N positions in all, H heads, D numbers a head, R rows.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, PreTrainedModel

from pipeline.core.errors import ConfigError

Backend = Literal["varlen", "sdpa"]
"""`varlen`: all rows in one kernel, on a GPU, in half precision; `sdpa`: row by row, anywhere."""

_NAMES: dict[Backend, str] = {"varlen": "rows-varlen", "sdpa": "rows-sdpa"}
_bands: dict[tuple[int, bool, torch.device], Tensor] = {}


def best_backend(device: torch.device, *, is_bf16: bool) -> Backend:
    """Return the fastest backend there is for a device and a precision."""
    return "varlen" if device.type == "cuda" and is_bf16 else "sdpa"


def use(model: PreTrainedModel, backend: Backend) -> None:
    """Let a model attend by a backend from now on."""
    AttentionInterface.register(_NAMES["varlen"], _attend_varlen)
    AttentionInterface.register(_NAMES["sdpa"], _attend_sdpa)
    model.set_attn_implementation(_NAMES[backend])


def window_of(module: nn.Module) -> tuple[int, int]:
    """Return how many positions a layer sees before and after each; -1 is all of them.

    `transformers` counts the position itself into its window, in encoder and decoder.
    """
    size: int | None = module.sliding_window  # type: ignore[assignment]
    reach = -1 if size is None else size - 1
    return (reach, 0 if module.is_causal else reach)


def varlen_arguments(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float,
    rows: dict[str, Any],
) -> dict[str, Any]:
    """Return what `torch.nn.attention.varlen.varlen_attn` is called with: tensors [N, H, D].

    query, key, value: [1, H, N, D]. rows: `cu_seq_lens_q` int32 [R + 1] and `max_length_q`.
    """
    starts = _starts(rows)
    longest = rows["max_length_q"]
    return {
        "query": query[0].transpose(0, 1),
        "key": key[0].transpose(0, 1),
        "value": value[0].transpose(0, 1),
        "cu_seq_q": starts,
        "cu_seq_k": starts,
        "max_q": longest,
        "max_k": longest,
        "scale": scaling,
        "window_size": window_of(module),
    }


def _attend_varlen(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **rows: Any,
) -> tuple[Tensor, None]:
    from torch.nn.attention.varlen import varlen_attn

    out = varlen_attn(**varlen_arguments(module, query, key, value, scaling, rows))
    assert isinstance(out, Tensor)
    return out.unsqueeze(0), None


@torch.compiler.disable
def _attend_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float,
    **rows: Any,
) -> tuple[Tensor, None]:
    before, after = window_of(module)
    lengths = _starts(rows).diff().tolist()
    # Not slices: each would have a gradient as long as all rows.
    of_rows = zip(*(torch.split(one, lengths, 2) for one in (query, key, value)), strict=True)
    parts = []
    for length, (q, k, v) in zip(lengths, of_rows, strict=True):
        reach = -1 if length <= before + 1 else before
        if reach < 0:
            part = F.scaled_dot_product_attention(q, k, v, is_causal=after == 0, scale=scaling)
        else:
            band = _band(length, reach, after == 0, query.device)
            part = F.scaled_dot_product_attention(q, k, v, attn_mask=band, scale=scaling)
        parts.append(part)
    return torch.cat(parts, dim=2).transpose(1, 2), None


def _band(length: int, reach: int, is_causal: bool, device: torch.device) -> Tensor:
    """Return which position sees which: bool [length, length], a corner of the one kept."""
    kept = _bands.get((reach, is_causal, device))
    if kept is None or len(kept) < length:
        places = torch.arange(1 << (length - 1).bit_length(), device=device)
        distance = places[:, None] - places
        kept = (distance <= reach) & (distance >= (0 if is_causal else -reach))
        _bands[reach, is_causal, device] = kept
    return kept[:length, :length]


def _starts(rows: dict[str, Any]) -> Tensor:
    starts = rows.get("cu_seq_lens_q")
    if starts is None:
        # Without it all rows would be taken for one.
        raise ConfigError(
            "attention: got inputs without cu_seq_lens_q, expected the feed's flat form",
            "feed flat, or give the model one of the attentions of transformers",
        )
    assert isinstance(starts, Tensor)
    return starts
