"""Weights between kinds and layouts: encoder, decoder, and what `transformers` reads.

Enters: weights by name. Leaves: the same numbers under other names. Invariant: nothing is computed,
so there and back is identity.
"""

from collections.abc import Mapping

from torch import Tensor

from pipeline.config import ModelKind

_HEADS: dict[ModelKind, str] = {"encoder": "head.", "decoder": "lm_head."}
_FUSED = ".attn.Wqkv.weight"
_SPLIT = (".attn.q_proj.weight", ".attn.k_proj.weight", ".attn.v_proj.weight")
_TIED = "decoder.weight"


def cross(weights: Mapping[str, Tensor], to_kind: ModelKind) -> dict[str, Tensor]:
    """Return the weights of a model of either kind as those of a model of `to_kind`.

    All but the names of the head are the same, since queries, keys and values are one matrix in
    both kinds here.
    """
    crossed = {}
    for name, tensor in weights.items():
        head = next((head for head in _HEADS.values() if name.startswith(head)), None)
        crossed[name if head is None else _HEADS[to_kind] + name.removeprefix(head)] = tensor
    return crossed


def to_hub(weights: Mapping[str, Tensor], kind: ModelKind) -> dict[str, Tensor]:
    """Return a model's weights as `transformers` saves them: each once, a decoder's Wqkv in three.

    The matrix of the vocabulary is that of the embedding, and found by its name.
    """
    hub = {}
    for name, tensor in sorted(weights.items()):
        if name == _TIED:
            continue
        if kind == "decoder" and name.endswith(_FUSED):
            layer = name.removesuffix(_FUSED)
            for split, third in zip(_SPLIT, tensor.chunk(3), strict=True):
                hub[layer + split] = third.contiguous()
        else:
            hub[name] = tensor.contiguous()
    return hub
