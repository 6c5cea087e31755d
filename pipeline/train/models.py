"""Models of the suite, built from `transformers`: a shape and a seed -> an encoder or a decoder.

The two of a pair have the same tensors, weights and names except for the head's names, since
StableAdamW clips per tensor: queries, keys and values are one matrix in the decoder too.

Source: the suite's configs and the fork of ModernBERT that they are for; `export` renames the
weights to those of `transformers`.
"""

from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet

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
from pipeline.train.loader import to_tensors
from pipeline.train.loss import cross_entropies, summed_cross_entropy
from pipeline.train.weights import initialize

Model = ModernBertForMaskedLM | ModernBertDecoderForCausalLM

_compiled: WeakSet[Model] = WeakSet()


def make_model(spec: ModelSpec, *, seed: int) -> Model:
    """Return a model on the CPU, in float32, with the initial weights of a seed."""
    model = make_uninitialized(spec)
    initialize(model, spec.num_layers, seed)
    return model


def make_uninitialized(spec: ModelSpec) -> Model:
    """Return a model on the CPU whose weights are not set, for others to be loaded."""
    model = make_meta_model(spec)
    model.to_empty(device="cpu")
    # That also empties tables that are no weights, and unties what was tied.
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config)
    model.tie_weights()
    attention.set_backend(model, "sdpa")
    return model


def make_meta_model(spec: ModelSpec) -> Model:
    """Return a model on torch's `meta` device: shapes without values."""
    config = make_config(spec)
    with torch.device("meta"):
        if isinstance(config, ModernBertConfig):
            model: Model = ModernBertForMaskedLM(config)
        else:
            model = ModernBertDecoderForCausalLM(config)
            for index, layer in enumerate(model.model.layers):
                layer.attn = FusedAttention(config, index)
    for layer in model.model.layers:
        # The config has one number for this and for dropout of the attention weights.
        layer.attn.out_drop = nn.Dropout(float(spec.dropout))
    return model


def make_config(spec: ModelSpec) -> ModernBertConfig | ModernBertDecoderConfig:
    """Return the configuration with which `transformers` saves and loads a model."""
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
    # In a decoder half of it includes the position itself, so 2 more see as far as an encoder.
    return ModernBertDecoderConfig(**shared, local_attention=spec.local_window + 2, use_cache=False)


def compile_model(model: Model) -> None:
    """Compile the layers, the head and the loss of a model, for batches of any size.

    Layers of one kind share compiled code, so 28 compile as fast as 7. Compiling the whole model
    would gain little: activations between layers are kept for the backward pass anyway.
    """
    for part in (model.model.embeddings, *model.model.layers, head_of(model)):
        part.compile(dynamic=True)
    _compiled.add(model)


class FusedAttention(ModernBertDecoderAttention):
    """Decoder attention with one matrix for queries, keys and values, as in the encoder."""

    def __init__(self, config: ModernBertDecoderConfig, layer_idx: int) -> None:
        super().__init__(config, layer_idx)
        out = self.Wo
        del self.q_proj, self.k_proj, self.v_proj, self.Wo
        # In the encoder's order, so that optimizer states match.
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


def prepare_inputs(model: Model, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs of a micro-batch with labels replaced by what `summed_loss` needs.

    inputs: those of a feed's batch, arrays or tensors. Labels become `positions` int64 [P], which
    have one, and `targets` int64 [P], their ids. On the CPU this waits for no GPU.
    """
    tensors = to_tensors(inputs)
    labels = tensors.pop("labels")
    if isinstance(model, ModernBertDecoderForCausalLM):
        # Each position predicts the next; a row's first id is no label, so rows do not mix.
        labels = nn.functional.pad(labels[:, 1:], (0, 1), value=IGNORED)
    flat = labels.flatten()
    positions = (flat != IGNORED).nonzero().flatten()
    return {**tensors, "positions": positions, "targets": flat[positions]}


def summed_loss(model: Model, inputs: Mapping[str, Any]) -> Tensor:
    """Return the sum of the cross-entropies at all labels of a micro-batch: float32 [].

    inputs: those of `prepare_inputs`, or of a feed's batch where waiting for a GPU does not matter.
    Only predicted positions reach the head. Divided by the number of labels it is the loss that
    `transformers` computes.
    """
    if "positions" not in inputs:
        inputs = prepare_inputs(model, inputs)
    known, hidden = _hidden_of_labels(model, inputs)
    loss: Tensor = summed_cross_entropy(
        hidden,
        model.decoder.weight,
        model.decoder.bias,
        known["targets"],
        is_compiled=model in _compiled,
    )
    return loss


def label_losses(model: Model, inputs: Mapping[str, Any]) -> Tensor:
    """Return the cross-entropy at each label of a micro-batch: float32 [P].

    inputs: those of `prepare_inputs`, for a model that is evaluated.
    """
    known, hidden = _hidden_of_labels(model, inputs)
    weight, bias = model.decoder.weight, model.decoder.bias
    return cross_entropies(hidden, weight, bias, known["targets"])


def _hidden_of_labels(model: Model, inputs: Mapping[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """Return the inputs on the model's device, and what the head makes of predicted positions."""
    inputs = {
        name: value.to(model.device) if isinstance(value, Tensor) else value
        for name, value in inputs.items()
    }
    for_loss = ("positions", "targets")
    known = {name: value for name, value in inputs.items() if name not in for_loss}
    hidden = model.model(**known).last_hidden_state.flatten(0, 1)
    return inputs, head_of(model)(hidden.index_select(0, inputs["positions"]))


def head_of(model: Model) -> nn.Module:
    return model.lm_head if isinstance(model, ModernBertDecoderForCausalLM) else model.head
