"""Weights by name: initial values, and conversion between kinds and layouts.

A seed and a parameter's name give its values, the same on every machine: they are made by addition,
multiplication and division of doubles alone, which IEEE 754 fixes to the bit. So the encoder and
decoder of a pair, whose parameters share names, get the same weights.

Source: `init_method: full_megatron` of the suite's configs, a normal distribution of 0.02 cut off
at two deviations; layers that write to the residual stream are divided by the root of twice the
number of layers.
"""

import math
import re
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.config import ModelKind
from pipeline.core import seeds

INIT_STD = 0.02
CUTOFF = 2.0
"""In deviations; the truncated distribution has 0.88 of the deviation."""

_BLOCK = 1 << 16
"""Values made at a time, which fit into a core's cache."""
_HALF_MASS = NormalDist().cdf(CUTOFF) - 0.5
# The normal quantile at 1/2 + q is q * A(q * q) / B(q * q), to 7e-8 of it for |q| <= _HALF_MASS:
# a least-squares fit with equal error over the range. It needs neither logarithm nor root, which
# machines round differently.
_A = (
    2.50662844461908,
    -24.410167300573058,
    79.89202108758575,
    -95.54104608469319,
    25.62148638829121,
)
_B = (1.0, -10.785426841125052, 40.86295953835454, -62.30227599173172, 29.858076210337284)

_HEADS: dict[ModelKind, str] = {"encoder": "head.", "decoder": "lm_head."}
_FUSED = ".attn.Wqkv.weight"
_SPLIT = (".attn.q_proj.weight", ".attn.k_proj.weight", ".attn.v_proj.weight")
_TIED = "decoder.weight"
_EMBEDDING = "model.embeddings.tok_embeddings.weight"


@torch.no_grad()
def initialize(model: nn.Module, num_layers: int, seed: int) -> None:
    """Initialize all parameters: norms 1, biases 0, matrices by `seed` and name."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            is_residual = name.endswith(("attn.Wo.weight", "mlp.Wo.weight"))
            std = INIT_STD / math.sqrt(2 * num_layers) if is_residual else INIT_STD
            # In the decoder only the head has another name.
            values = initial_values(seed, name.removeprefix("lm_"), parameter.numel(), std)
            parameter.copy_(torch.from_numpy(values).view(parameter.shape))
        else:
            parameter.fill_(0.0 if name.endswith(".bias") else 1.0)


def initial_values(seed: int, name: str, count: int, std: float) -> NDArray[np.float32]:
    """Return the values of a matrix, row by row: float32 [count], within `CUTOFF` * std. Pure.

    Every 65,536 of them have a key of their own. The upper 53 bits of a random number select one of
    2**53 equal parts of the distribution, whose middle is taken.
    """
    values = np.empty(count, dtype=np.float32)
    for start in range(0, count, _BLOCK):
        key = seeds.derive_key(seed, "weights", name, str(start // _BLOCK))
        numbers = seeds.random_numbers(key, min(_BLOCK, count - start))
        place = ((numbers >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        values[start : start + len(numbers)] = std * _quantile((place - 0.5) * (2 * _HALF_MASS))
    return values


def convert_kind(weights: Mapping[str, Tensor], to_kind: ModelKind) -> dict[str, Tensor]:
    """Return the weights of a model of either kind under the names of a model of `to_kind`.

    Only the head's names differ: both kinds here have one matrix for queries, keys and values.
    """
    head = _HEADS[to_kind]
    return {re.sub(r"^(lm_)?head\.", head, name): tensor for name, tensor in weights.items()}


def to_transformers(weights: Mapping[str, Tensor], kind: ModelKind) -> dict[str, Tensor]:
    """Return a model's weights as `transformers` saves them.

    The decoder's Wqkv is split into three. The matrix tied to the embedding is left out.
    """
    found = {}
    for name, tensor in sorted(weights.items()):
        if kind == "decoder" and name.endswith(_FUSED):
            layer = name.removesuffix(_FUSED)
            for split, third in zip(_SPLIT, tensor.chunk(3), strict=True):
                found[layer + split] = third.contiguous()
        elif name != _TIED:
            found[name] = tensor.contiguous()
    return found


def from_transformers(weights: Mapping[str, Tensor], kind: ModelKind) -> dict[str, Tensor]:
    """Return weights as a model here has them, from what `transformers` saves: the inverse of
    `to_transformers`. Raises: KeyError when a tensor is missing.
    """
    found = {}
    for name, tensor in weights.items():
        if kind == "decoder" and name.endswith(_SPLIT[0]):
            layer = name.removesuffix(_SPLIT[0])
            found[layer + _FUSED] = torch.cat([weights[layer + split] for split in _SPLIT])
        elif not name.endswith(_SPLIT):
            found[name] = tensor
    return {**found, _TIED: weights[_EMBEDDING]}


def _quantile(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quantile of the normal distribution at 1/2 + q."""
    squares = q * q
    return q * _polynomial(_A, squares) / _polynomial(_B, squares)


def _polynomial(coefficients: tuple[float, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value *= x
        value += coefficient
    return value
