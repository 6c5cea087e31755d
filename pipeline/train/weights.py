"""Initial weights by name: a seed and a parameter's name -> its numbers, the same on every machine.

Enters: a model whose parameters hold anything. Leaves: the same model, filled. Invariant: only
additions, multiplications and divisions of doubles make the numbers, and those IEEE 754 fixes to
the bit, so neither processor nor library nor process changes a weight. A pair of encoder and
decoder gets the same weights, since their parameters go by the same names (`shared_name`).

Source: `init_method: full_megatron` of the suite's configs, a normal distribution of 0.02 cut off
at two deviations; what writes to the residual stream is divided by the root of twice the layers.
"""

import math
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.core import seeds

INIT_STD = 0.02
CUTOFF = 2.0
"""In deviations; what is left has a deviation of 0.88 of the one before cutting."""

_BLOCK = 1 << 16
"""Numbers made at a time: what a core's cache holds."""
_HALF_MASS = NormalDist().cdf(CUTOFF) - 0.5
# The normal quantile at 1/2 + q is q * A(q * q) / B(q * q), to 7e-8 of it for |q| <= _HALF_MASS:
# a least-squares fit made equal over the range. Neither logarithm nor root, which machines round
# differently.
_A = (
    2.50662844461908,
    -24.410167300573058,
    79.89202108758575,
    -95.54104608469319,
    25.62148638829121,
)
_B = (1.0, -10.785426841125052, 40.86295953835454, -62.30227599173172, 29.858076210337284)


def shared_name(name: str) -> str:
    """Return the name of a parameter in the encoder, which a decoder's heads have others for."""
    return name.removeprefix("lm_") if name.startswith("lm_head.") else name


@torch.no_grad()
def fill(model: nn.Module, num_layers: int, seed: int) -> None:
    """Fill all parameters of a model: norms 1, biases 0, matrices by `seed` and name."""
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            values = initial(seed, shared_name(name), parameter.numel(), _std(name, num_layers))
            parameter.copy_(torch.from_numpy(values).view(parameter.shape))
        else:
            parameter.fill_(0.0 if name.endswith(".bias") else 1.0)


def initial(seed: int, name: str, count: int, std: float) -> NDArray[np.float32]:
    """Return the numbers of a matrix, row by row: float32 [count], within `CUTOFF` * std. Pure.

    Every 65,536 of them have a key of their own. The upper 53 bits of a key's number are a place in
    the middle of one of 2**53 equal parts of the distribution.
    """
    values = np.empty(count, dtype=np.float32)
    for start in range(0, count, _BLOCK):
        key = seeds.derive_key(seed, "weights", name, str(start // _BLOCK))
        numbers = seeds.random_numbers(key, min(_BLOCK, count - start))
        place = ((numbers >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        values[start : start + len(numbers)] = std * _quantile((place - 0.5) * (2 * _HALF_MASS))
    return values


def _quantile(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where 1/2 + q of a normal distribution lies to the left."""
    squares = q * q
    return q * _polynomial(_A, squares) / _polynomial(_B, squares)


def _polynomial(coefficients: tuple[float, ...], x: NDArray[np.float64]) -> NDArray[np.float64]:
    value = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value *= x
        value += coefficient
    return value


def _std(name: str, num_layers: int) -> float:
    is_residual = name.endswith(("attn.Wo.weight", "mlp.Wo.weight"))
    return INIT_STD / math.sqrt(2 * num_layers) if is_residual else INIT_STD
