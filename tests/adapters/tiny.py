"""Models of the suite's classes that train in milliseconds; the vocabulary is most of them."""

from typing import Any

import torch
from transformers import (
    ModernBertConfig,
    ModernBertDecoderConfig,
    ModernBertDecoderForCausalLM,
    ModernBertForMaskedLM,
)

_SHAPE: dict[str, Any] = {
    "vocab_size": 50368,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    # So that what a model sees makes a difference, untrained as it is.
    "initializer_range": 0.3,
    "pad_token_id": 50283,
    "bos_token_id": 50281,
    "eos_token_id": 50282,
    "cls_token_id": 50281,
    "sep_token_id": 50282,
}


def encoder() -> ModernBertForMaskedLM:
    """Return an encoder, the same each time."""
    torch.manual_seed(1)
    return ModernBertForMaskedLM(ModernBertConfig(**_SHAPE))


def decoder() -> ModernBertDecoderForCausalLM:
    """Return a decoder, the same each time."""
    torch.manual_seed(1)
    return ModernBertDecoderForCausalLM(ModernBertDecoderConfig(**_SHAPE, use_cache=False))
