"""Models of the suite, as `transformers` has them: a shape and a seed -> an encoder or a decoder.

Enters: a `ModelSpec`. Leaves: a `ModernBertForMaskedLM` or `ModernBertDecoderForCausalLM`, filled
with initial weights, and the loss of one on a micro-batch. Invariant: the two of a pair have the
same tensors of the same weights under the same names but for the head's, since StableAdamW clips
tensor by tensor: queries, keys and values are one matrix in the decoder too.

Source: the suite's configs and the fork of ModernBERT that they are for; `export` has the names
that `transformers` reads.
"""

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    ModernBertConfig,
    ModernBertDecoderConfig,
    ModernBertDecoderForCausalLM,
    ModernBertForMaskedLM,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb
from transformers.models.modernbert_decoder.modeling_modernbert_decoder import (
    ModernBertDecoderAttention,
    eager_attention_forward,
)

from pipeline.config import ModelSpec
from pipeline.feed import IGNORED
from pipeline.train import attention
from pipeline.train.loss import vocabulary_loss
from pipeline.train.weights import fill

Model = ModernBertForMaskedLM | ModernBertDecoderForCausalLM

_compiled: WeakSet[Model] = WeakSet()


def make_model(spec: ModelSpec, *, seed: int) -> Model:
    """Return a model on the processor, in float32, with the weights that `seed` stands for."""
    model = make_empty(spec)
    fill(model, spec.num_layers, seed)
    return model


def make_empty(spec: ModelSpec) -> Model:
    """Return a model on the processor whose weights are anything, for others to be put there."""
    model = make_shape(spec)
    model.to_empty(device="cpu")
    # Tables that are no weights are emptied too, and what was tied is no longer.
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    model.tie_weights()
    attention.use(model, "sdpa")
    return model


def make_shape(spec: ModelSpec) -> Model:
    """Return a model on torch's `meta` device: shapes without numbers."""
    config = make_config(spec)
    with torch.device("meta"):
        if isinstance(config, ModernBertConfig):
            model: Model = ModernBertForMaskedLM(config)
        else:
            model = ModernBertDecoderForCausalLM(config)
            for index, layer in enumerate(model.model.layers):
                layer.attn = FusedAttention(config, index)
    for layer in model.model.layers:
        # The config has one number for this and for dropout among attention's own weights.
        layer.attn.out_drop = nn.Dropout(float(spec.dropout))
    return model


def make_config(spec: ModelSpec) -> ModernBertConfig | ModernBertDecoderConfig:
    """Return the configuration that `transformers` saves and loads a model by."""
    shared: dict[str, Any] = {
        "vocab_size": spec.vocab_size,
        "num_hidden_layers": spec.num_layers,
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.intermediate_size,
        "num_attention_heads": spec.num_heads,
        "max_position_embeddings": spec.max_positions,
        "layer_types": [
            "sliding_attention" if layer % spec.global_every else "full_attention"
            for layer in range(spec.num_layers)
        ],
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": float(spec.global_theta)},
            "sliding_attention": {"rope_type": "default", "rope_theta": float(spec.local_theta)},
        },
        "norm_eps": 1e-5,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
    }
    if spec.kind == "encoder":
        return ModernBertConfig(**shared, local_attention=spec.local_window, sparse_prediction=True)
    # Half of it counts the position itself in a decoder, so one more sees as far as an encoder.
    return ModernBertDecoderConfig(**shared, local_attention=spec.local_window + 2, use_cache=False)


def compile_parts(model: Model) -> None:
    """Compile the layers, the head and the loss of a model, for batches of any size.

    Layers of one kind share what is compiled, so a model of 28 is ready as soon as one of 7. What
    goes from layer to layer is kept for the backward pass anyway, so little is left to gain from
    compiling over their edges.
    """
    for part in (model.model.embeddings, *model.model.layers, _head(model)):
        part.compile(dynamic=True)
    _compiled.add(model)


class FusedAttention(ModernBertDecoderAttention):
    """A decoder's attention with queries, keys and values of one matrix, as in the encoder."""

    def __init__(self, config: ModernBertDecoderConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        out = self.Wo
        del self.q_proj, self.k_proj, self.v_proj, self.Wo
        # In the encoder's order, so that an optimizer has the same tensors in the same places.
        self.Wqkv = nn.Linear(config.hidden_size, 3 * self.all_head_size, bias=False)
        self.Wo = out

    def forward(
        self,
        hidden_states: Tensor,
        position_embeddings: Any,
        attention_mask: Tensor | None,
        past_key_values: Any = None,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """As the class above."""
        shape = hidden_states.shape[:-1]
        parts = self.Wqkv(hidden_states).view(*shape, 3, -1, self.head_dim)
        query, key, value = (part.transpose(1, 2) for part in parts.unbind(-3))
        query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend: Callable[..., tuple[Tensor, Tensor | None]] = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        out, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=0.0,
            scaling=self.scaling,
            sliding_window=self.sliding_window,
            **kwargs,
        )
        return self.out_drop(self.Wo(out.reshape(*shape, -1))), weights


def ready(model: Model, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of a micro-batch with what `loss_of` asks for.

    inputs: those of a feed's batch, arrays or tensors. Labels become `positions` int64 [P], where
    something is predicted, and `targets` int64 [P], what. They are found where the labels are: on
    the processor, before a GPU is sent them, no one waits for the GPU.
    """
    tensors = {
        name: torch.as_tensor(value)
        for name, value in inputs.items()
        if isinstance(value, Tensor | np.ndarray)
    }
    labels = tensors.pop("labels")
    if isinstance(model, ModernBertDecoderForCausalLM):
        # Each position predicts the next; no row's first id is a label, so none predicts a row on.
        labels = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    flat = labels.flatten()
    positions = (flat != IGNORED).nonzero().flatten()
    tensors |= {"positions": positions, "targets": flat[positions]}
    others = {name: value for name, value in inputs.items() if isinstance(value, int)}
    return {**others, **tensors}


def loss_of(model: Model, inputs: Mapping[str, Any]) -> Tensor:
    """Return the sum of the cross-entropies at all labels of a micro-batch: float32 [].

    inputs: of `ready`, or of a feed's batch where waiting for a GPU is no matter. Only positions
    that predict something reach the head and the vocabulary. Divided by the number of labels it is
    the loss that `transformers` computes.
    """
    if "positions" not in inputs:
        inputs = {
            name: value.to(model.device) if isinstance(value, Tensor) else value
            for name, value in ready(model, inputs).items()
        }
    predicting = _hidden(model, inputs).flatten(0, 1).index_select(0, inputs["positions"])
    total: Tensor = vocabulary_loss(
        _head(model)(predicting),
        model.decoder.weight,
        model.decoder.bias,
        inputs["targets"],
        is_compiled=model in _compiled,
    )
    return total


def logits_of(model: Model, inputs: Mapping[str, Any]) -> Tensor:
    """Return the logits at all positions of a micro-batch: [rows, positions, V]."""
    logits: Tensor = model.decoder(_head(model)(_hidden(model, inputs)))
    return logits


def _hidden(model: Model, inputs: Mapping[str, Any]) -> Tensor:
    ours = ("labels", "num_tokens", "positions", "targets")
    known = {name: value for name, value in inputs.items() if name not in ours}
    hidden: Tensor = model.model(**known).last_hidden_state
    return hidden


def _head(model: Model) -> nn.Module:
    return model.lm_head if isinstance(model, ModernBertDecoderForCausalLM) else model.head
