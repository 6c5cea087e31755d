"""StableAdamW with fully decoupled weight decay, from `torch-optimi`, as the suite was trained.

Updates are clipped per tensor, so the encoder and decoder of a pair must have the same tensors.

Source: Wortsman et al., "Stable and low-precision training for large-scale vision-language models",
2023; B. Warner, torch-optimi 0.3.3.
"""

from typing import Any

import torch
from optimi import StableAdamW
from torch import nn

from pipeline.config import OptimizerSpec

_MOMENTS = ("exp_avg", "exp_avg_sq")


def make_optimizer(model: nn.Module, spec: OptimizerSpec) -> StableAdamW:
    """Return the optimizer of a model; at the peak rate a weight decays by `weight_decay` a step.

    Biases and norms do not decay, the embedding does. On a GPU it uses Triton kernels, unless torch
    must be deterministic: they sum in any order.
    """
    peak_rate = float(spec.peak_rate)
    is_on_gpu = all(parameter.is_cuda for parameter in model.parameters())
    return StableAdamW(
        _groups(model, float(spec.weight_decay)),
        lr=peak_rate,
        max_lr=peak_rate,
        betas=(float(spec.beta1), float(spec.beta2)),
        eps=float(spec.epsilon),
        decouple_lr=True,
        kahan_sum=False,
        foreach=False,
        triton=is_on_gpu and not torch.are_deterministic_algorithms_enabled(),
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next steps; the peak that decay is relative to stays."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def load_state(optimizer: StableAdamW, state: dict[str, Any]) -> None:
    """Load moments and step counts from a `state_dict`; hyperparameters stay the recipe's.

    So does the implementation: the state of a GPU can be loaded without one.

    Raises: ValueError for the state of another model, as `torch` does for some.
    """
    ours = [
        {name: value for name, value in group.items() if name not in ("params", "step", "setup")}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, ours, strict=True):
        group.update(kept)
        if getattr(group.get("step"), "shape", None) != ():
            raise ValueError(f"{group.get('step')!r} as the number of steps")
        for parameter in group["params"]:
            # Of a parameter that never had a gradient there are none.
            if (moments := optimizer.state.get(parameter, {})) == {}:
                continue
            if not isinstance(moments, dict):
                raise ValueError(f"{moments!r} as the moments of {tuple(parameter.shape)}")
            shapes = [getattr(moments.get(name), "shape", None) for name in _MOMENTS]
            if any(shape != parameter.shape for shape in shapes):
                raise ValueError(f"moments of the shapes {shapes} for {tuple(parameter.shape)}")
            moments["eps_sq"] = torch.tensor(group["eps"] ** 2).to(parameter)
            # Triton kernels need more than the moments.
            if group["triton"]:
                moments["kahan_comp"] = torch.zeros(1, dtype=torch.uint8, device=parameter.device)
                moments["mean_square"] = torch.zeros(1, device=parameter.device)
            else:
                moments["kahan_comp"] = None
                moments.pop("mean_square", None)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    kept: dict[str, Any] = {"params": [], "weight_decay": 0.0}
    decayed: dict[str, Any] = {"params": [], "weight_decay": weight_decay}
    for name, parameter in model.named_parameters():
        group = decayed if parameter.ndim > 1 and not name.endswith(".bias") else kept
        group["params"].append(parameter)
    return [kept, decayed]
