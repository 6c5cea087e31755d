"""StableAdamW with fully decoupled weight decay, from `torch-optimi`, as the suite was trained.

Enters: a model and a recipe's numbers. Leaves: an optimizer. Invariant: the clip of an update is
per tensor, so encoder and decoder of a pair must have the same tensors (`models`).

Source: Wortsman et al., "Stable and low-precision training for large-scale vision-language models",
2023; B. Warner, torch-optimi 0.3.3.
"""

from typing import Any

import torch
from optimi import StableAdamW
from torch import nn

from pipeline.config import OptimizerSpec


def make_optimizer(model: nn.Module, spec: OptimizerSpec) -> StableAdamW:
    """Return the optimizer of a model; a weight decays by `weight_decay` a step at the peak rate.

    Biases and norms do not decay, the embedding does. On a GPU it runs as Triton kernels, unless
    torch is to be deterministic: they add up in any order.
    """
    peak_rate = float(spec.peak_rate)
    return StableAdamW(
        _groups(model, float(spec.weight_decay)),
        lr=peak_rate,
        max_lr=peak_rate,
        betas=(float(spec.beta1), float(spec.beta2)),
        eps=float(spec.epsilon),
        decouple_lr=True,
        kahan_sum=False,
        foreach=False,
        triton=_uses_triton(model),
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the next steps have a learning rate; the peak that decay is relative to stays."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def load_state(optimizer: StableAdamW, state: dict[str, Any]) -> None:
    """Take up moments and step counts from a `state_dict`; all other numbers stay the recipe's.

    What runs the optimizer here stays too, so a state from a GPU goes on without one.
    """
    ours = [
        {name: value for name, value in group.items() if name not in ("params", "step", "setup")}
        for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    for group, kept in zip(optimizer.param_groups, ours, strict=True):
        group.update(kept)
    _fit_state(optimizer)


def _fit_state(optimizer: StableAdamW) -> None:
    """Give each tensor's state what Triton kernels want beside the moments, or take it away."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state[parameter]
            if not state:
                continue
            if group["triton"]:
                state["kahan_comp"] = torch.zeros(1, dtype=torch.uint8, device=parameter.device)
                state["mean_square"] = torch.zeros(1, device=parameter.device)
            else:
                state["kahan_comp"] = None
                state.pop("mean_square", None)


def _groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    kept: list[nn.Parameter] = []
    decayed: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_kept = parameter.ndim <= 1 or name.endswith(".bias")
        (kept if is_kept else decayed).append(parameter)
    return [
        {"params": kept, "weight_decay": 0.0},
        {"params": decayed, "weight_decay": weight_decay},
    ]


def _uses_triton(model: nn.Module) -> bool:
    is_on_gpu = all(parameter.is_cuda for parameter in model.parameters())
    return is_on_gpu and not torch.are_deterministic_algorithms_enabled()
