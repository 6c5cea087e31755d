"""Small models, their twins without us, and made-up rows in the flat form."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from transformers import ModernBertDecoderForCausalLM, ModernBertForMaskedLM

from pipeline.config.recipe import ModelKind, ModelSpec
from pipeline.train.models import Model, head_of, make_config
from pipeline.train.weights import to_transformers

VOCAB_SIZE = 50_368
CLS, SEP, MASK = 50_281, 50_282, 50_284

TINY_RUN = (
    *("model.num_layers=1", "model.hidden_size=16", "model.intermediate_size=16"),
    *("model.num_heads=1", "global_batch_rows=4", "micro_batch_rows=4"),
)
"""Settings of a recipe with which a step takes a fraction of a second."""


def as_options(settings: Sequence[str]) -> list[str]:
    """Settings as options of a command."""
    return [word for one in settings for word in ("--set", one)]


def tiny(kind: ModelKind, **changes: Any) -> ModelSpec:
    """A model of two global and two local layers."""
    given: dict[str, Any] = {
        "kind": kind,
        "num_layers": 4,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_heads": 2,
        "max_positions": 512,
        "global_theta": 160_000,
        "local_theta": 10_000,
        "dropout": Fraction(0),
    }
    return ModelSpec(**{**given, **changes})


def made_up_rows(seed: int, lengths: Sequence[int]) -> list[torch.Tensor]:
    """Ids of rows: int64 [length] each, CLS first, SEP last."""
    generator = np.random.default_rng(seed)
    rows = [generator.integers(0, 50_000, length) for length in lengths]
    for row in rows:
        row[0], row[-1] = CLS, SEP
    return [torch.from_numpy(row) for row in rows]


def logits_of(model: Model, inputs: Mapping[str, Any]) -> torch.Tensor:
    """Logits at all positions of a micro-batch: [rows, positions, V]."""
    known = {name: value for name, value in inputs.items() if name not in ("labels", "num_tokens")}
    logits: torch.Tensor = model.decoder(head_of(model)(model.model(**known).last_hidden_state))
    return logits


def flat(rows: Sequence[torch.Tensor], kind: ModelKind) -> dict[str, Any]:
    """Rows in a line; labels of an encoder are every third id, those of a decoder all but CLS."""
    starts = torch.tensor([0, *np.cumsum([len(row) for row in rows])], dtype=torch.int32)
    longest = max(len(row) for row in rows)
    labels = [labels_of(row, kind) for row in rows]
    return {
        "input_ids": torch.cat(list(rows))[None],
        "labels": torch.cat(labels)[None],
        "position_ids": torch.cat([torch.arange(len(row)) for row in rows])[None],
        "cu_seq_lens_q": starts,
        "cu_seq_lens_k": starts,
        "max_length_q": longest,
        "max_length_k": longest,
        "num_tokens": int(starts[-1]),
    }


def labels_of(row: torch.Tensor, kind: ModelKind) -> torch.Tensor:
    """The labels of a row: int64 [length]."""
    labels = row.clone()
    if kind == "encoder":
        labels[torch.arange(len(row)) % 3 != 1] = -100
    else:
        labels[0] = -100
    return labels


def stock(model: Model, spec: ModelSpec, attention: str = "sdpa") -> Any:
    """The same model as the classes of `transformers` are without us, weights and all."""
    config = make_config(spec)
    config._attn_implementation = attention
    cls = ModernBertForMaskedLM if spec.kind == "encoder" else ModernBertDecoderForCausalLM
    twin = cls(config)
    missing, unexpected = twin.load_state_dict(
        to_transformers(model.state_dict(), spec.kind), strict=False
    )
    assert missing == ["decoder.weight"]
    assert not unexpected
    return twin.eval()
