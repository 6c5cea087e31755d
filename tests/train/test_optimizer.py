"""The optimizer follows the published equations, and goes on from its state to the bit."""

import copy
import io
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.models import tiny
from support.strategies import QUICK
from torch import nn

from pipeline.config.recipe import OptimizerSpec
from pipeline.train.models import make_meta_model
from pipeline.train.optimizer import load_state, make_optimizer, set_learning_rate

SPEC = OptimizerSpec(peak_rate=Fraction(3, 1000), weight_decay=Fraction(3, 10_000))
Array = NDArray[np.float64]


class Small(nn.Module):
    """A matrix, a bias, a norm: what decays and what does not."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(5, 3)
        self.norm = nn.LayerNorm(3, bias=False)
        generator = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data.normal_(generator=generator)


class Reference:
    """StableAdamW as its equations read, in doubles, one tensor."""

    def __init__(self, weight: Array, decay: float) -> None:
        self.weight, self.decay = weight, decay
        self.mean, self.square = np.zeros_like(weight), np.zeros_like(weight)
        self.steps = 0

    def step(self, gradient: Array, rate: float, peak: float) -> None:
        self.steps += 1
        beta1, beta2 = (
            beta * (1 - beta ** (self.steps - 1)) / (1 - beta**self.steps) for beta in (0.9, 0.98)
        )
        self.mean = beta1 * self.mean + (1 - beta1) * gradient
        self.square = beta2 * self.square + (1 - beta2) * gradient**2
        rms = np.sqrt((gradient**2 / np.maximum(self.square, 1e-6**2)).mean())
        clipped = rate / max(1.0, rms)
        self.weight = self.weight * (1 - clipped / peak * self.decay)
        self.weight = self.weight - clipped * self.mean / (np.sqrt(self.square) + 1e-6)


def give_gradients(model: nn.Module, generator: np.random.Generator) -> None:
    for parameter in model.parameters():
        # Far apart in size, so that some updates are clipped and some are not.
        size = 10.0 ** generator.integers(-4, 3)
        gradient = generator.normal(size=tuple(parameter.shape)) * size
        parameter.grad = torch.from_numpy(gradient.astype(np.float32))


@QUICK
@given(seed=st.integers(0, 10**6), rates=st.lists(st.floats(0, 0.003), min_size=1, max_size=8))
def test_steps_are_those_of_the_equations(seed: int, rates: list[float]) -> None:
    model = Small(seed)
    optimizer = make_optimizer(model, SPEC)
    references = {
        name: Reference(p.detach().double().numpy(), 3e-4 if name == "linear.weight" else 0.0)
        for name, p in model.named_parameters()
    }
    generator = np.random.default_rng(seed)
    for rate in rates:
        give_gradients(model, generator)
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            references[name].step(parameter.grad.double().numpy(), rate, 0.003)
        set_learning_rate(optimizer, rate)
        optimizer.step()
    for name, parameter in model.named_parameters():
        # The decay alone moves a weight by 3e-4 of it, ten times what is let pass.
        np.testing.assert_allclose(
            parameter.detach().numpy(), references[name].weight, rtol=3e-5, atol=1e-6
        )


def test_matrices_and_the_embedding_decay_and_nothing_else() -> None:
    model = make_meta_model(tiny("encoder"))
    model.tie_weights()
    kept, decayed = make_optimizer(model, SPEC).param_groups
    assert (kept["weight_decay"], decayed["weight_decay"]) == (0.0, 3e-4)
    assert all(parameter.ndim == 1 for parameter in kept["params"])
    assert any(p is model.model.embeddings.tok_embeddings.weight for p in decayed["params"])
    assert len(kept["params"]) + len(decayed["params"]) == len(list(model.parameters()))
    for group in (kept, decayed):
        assert (group["lr"], group["max_lr"], group["eps"]) == (0.003, 0.003, 1e-6)
        assert (group["beta1"], group["beta2"]) == (0.9, 0.98)
        assert group["decouple_lr"] is True


def test_a_pair_has_the_same_tensors_in_the_same_places() -> None:
    shapes = []
    for kind in ("encoder", "decoder"):
        model = make_meta_model(tiny(kind))
        model.tie_weights()
        groups = make_optimizer(model, SPEC).param_groups
        shapes.append([[tuple(p.shape) for p in group["params"]] for group in groups])
    assert shapes[0] == shapes[1]


def saved_and_loaded(state: dict[str, Any]) -> Any:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_going_on_from_a_state_is_as_never_having_stopped() -> None:
    straight = Small()
    broken = Small()
    optimizers = [make_optimizer(model, SPEC) for model in (straight, broken)]
    generators = [np.random.default_rng(4) for _ in range(2)]
    for step in range(6):
        if step == 3:
            state = saved_and_loaded(optimizers[1].state_dict())
            broken = copy.deepcopy(broken)
            optimizers[1] = make_optimizer(broken, SPEC)
            load_state(optimizers[1], state)
            assert [int(group["step"]) for group in optimizers[1].param_groups] == [3, 3]
        for model, optimizer, generator in zip(
            (straight, broken), optimizers, generators, strict=True
        ):
            give_gradients(model, generator)
            set_learning_rate(optimizer, 0.003 / (step + 1))
            optimizer.step()
    for ours, other in zip(straight.parameters(), broken.parameters(), strict=True):
        assert torch.equal(ours, other)


def test_a_state_brings_moments_and_the_recipe_all_else() -> None:
    model = Small()
    optimizer = make_optimizer(model, SPEC)
    give_gradients(model, np.random.default_rng(1))
    optimizer.step()
    state = optimizer.state_dict()
    # As a GPU would have left it.
    for group in state["param_groups"]:
        group["triton"] = True
    for tensors in state["state"].values():
        tensors["kahan_comp"] = torch.zeros(1, dtype=torch.uint8)
        tensors["mean_square"] = torch.zeros(1)
    other = OptimizerSpec(peak_rate=Fraction(1, 1000), weight_decay=Fraction(1, 10_000))
    onward = make_optimizer(model, other)
    # What it did before does not count.
    onward.step()
    onward.step()
    load_state(onward, state)
    for group, decay in zip(onward.param_groups, (0.0, 1e-4), strict=True):
        assert (group["lr"], group["max_lr"], group["weight_decay"]) == (0.001, 0.001, decay)
        assert (group["triton"], group["foreach"], int(group["step"])) == (False, False, 1)
    for parameter in model.parameters():
        assert torch.equal(
            onward.state[parameter]["exp_avg"], optimizer.state[parameter]["exp_avg"]
        )
    # It is a hyperparameter, though the optimizer keeps it beside the moments.
    state["state"][0]["eps_sq"] = torch.zeros(0)
    load_state(onward, state)
    eps_sq = onward.state[next(model.parameters())]["eps_sq"]
    assert eps_sq == torch.tensor(float(SPEC.epsilon) ** 2)
    give_gradients(model, np.random.default_rng(2))
    onward.step()


def test_a_state_of_another_shape_is_refused() -> None:
    state = make_optimizer(Small(), SPEC).state_dict()
    with pytest.raises(ValueError, match="parameter group"):
        load_state(make_optimizer(nn.Linear(2, 2), SPEC), {**state, "param_groups": []})


@pytest.mark.parametrize("broken", [None, [], {"exp_avg": None}, 7])
def test_a_state_without_moments_where_it_has_some_is_refused(broken: object) -> None:
    model = Small()
    optimizer = make_optimizer(model, SPEC)
    give_gradients(model, np.random.default_rng(1))
    optimizer.step()
    state = optimizer.state_dict()
    state["state"][1] = broken
    with pytest.raises(ValueError, match=r"as the moments of|moments of the shapes"):
        load_state(make_optimizer(Small(), SPEC), state)
