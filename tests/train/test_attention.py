"""No row sees another, windows end where they should, and both are as in `transformers`."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import torch
from support import varlen_on_cpu
from support.models import flat, made_up_rows, stock, tiny
from torch import Tensor
from torch._dynamo.utils import counters

from pipeline.config.recipe import ModelKind
from pipeline.core.errors import ConfigError
from pipeline.train import attention
from pipeline.train.models import Model, compile_model, make_model, prepare_inputs, summed_loss

KINDS: tuple[ModelKind, ...] = ("encoder", "decoder")
BACKENDS: tuple[attention.Backend, ...] = ("sdpa", "varlen")
# Shorter than a window, at its edge, beyond it, beyond both sides of it.
LENGTHS = (3, 64, 65, 66, 2, 129, 130, 200)

both_kinds = pytest.mark.parametrize("kind", KINDS)
both_backends = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(autouse=True)
def _varlen() -> None:
    varlen_on_cpu.install()


@cache
def _made(kind: ModelKind) -> Model:
    return make_model(tiny(kind), seed=5).eval()


def made(kind: ModelKind, backend: attention.Backend) -> Model:
    """The one model of a kind, without gradients, set to a backend."""
    model = _made(kind)
    model.zero_grad()
    attention.set_backend(model, backend)
    return model


@cache
def _stock(kind: ModelKind, implementation: str) -> Any:
    return stock(_made(kind), tiny(kind), implementation)


def hidden_of(model: Model, inputs: Mapping[str, Any]) -> Tensor:
    """What the layers make of a batch: [positions, 64]."""
    known = {name: value for name, value in inputs.items() if name not in ("labels", "num_tokens")}
    hidden: Tensor = model.model(**known).last_hidden_state[0]
    return hidden


@both_backends
@both_kinds
@torch.no_grad()
def test_rows_in_a_line_give_what_transformers_gives_for_each_alone(
    kind: ModelKind, backend: attention.Backend
) -> None:
    model, rows = made(kind, backend), made_up_rows(1, LENGTHS)
    hidden = hidden_of(model, flat(rows, kind)).split(LENGTHS)
    for implementation in ("sdpa", "eager"):
        twin = _stock(kind, implementation)
        for ours, row in zip(hidden, rows, strict=True):
            theirs = twin.model(input_ids=row[None], use_cache=False).last_hidden_state[0]
            torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


@both_backends
@both_kinds
def test_a_row_changes_nothing_of_another(kind: ModelKind, backend: attention.Backend) -> None:
    model = made(kind, backend)
    first, second, third = made_up_rows(2, (90, 140, 70))
    changed = second.flip(0)
    found = [hidden_of(model, flat([first, row, third], kind)) for row in (second, changed)]
    assert torch.equal(found[0][:90], found[1][:90])
    assert torch.equal(found[0][230:], found[1][230:])
    assert not torch.equal(found[0][90:230], found[1][90:230])
    inputs = flat([first, second, third], kind)
    embedded = model.model.embeddings.tok_embeddings(inputs.pop("input_ids")).detach()
    embedded.requires_grad_()
    hidden_of(model, {**inputs, "inputs_embeds": embedded})[90:230].square().sum().backward()
    assert embedded.grad is not None
    touched = embedded.grad[0].abs().sum(1) > 0
    assert touched.nonzero().flatten().tolist() == list(range(90, 230))


@both_backends
@pytest.mark.parametrize("layer", [0, 1])
@both_kinds
def test_a_position_sees_64_to_each_side_in_local_layers_and_all_in_global_ones(
    kind: ModelKind, layer: int, backend: attention.Backend
) -> None:
    model = made(kind, backend)
    positions = [0, 64, 65, 90, 115, 179]
    seen = _seen_by_layer(model, layer, positions, 180)
    distance = torch.tensor(positions)[:, None] - torch.arange(180)
    expected = torch.ones_like(seen) if layer == 0 else distance.abs() <= 64
    if kind == "decoder":
        expected &= distance >= 0
    assert torch.equal(seen, expected)


def _seen_by_layer(model: Model, layer: int, positions: list[int], length: int) -> Tensor:
    """What positions of a row hang on, by gradients: bool [positions, length]."""
    hidden = torch.randn(1, length, 64, generator=torch.Generator().manual_seed(0))
    hidden.requires_grad_()
    kind: ModelKind = "decoder" if hasattr(model, "lm_head") else "encoder"
    inputs = flat(made_up_rows(0, [length]), kind)
    attend = model.model.layers[layer].attn
    # Turned by nothing, so that no product is zero by chance.
    turned = (torch.ones(1, length, 32), torch.zeros(1, length, 32))
    rows = {name: inputs[name] for name in ("cu_seq_lens_q", "max_length_q")}
    out = attend(hidden, position_embeddings=turned, attention_mask=None, **rows)[0]
    seen = []
    for position in positions:
        (gradient,) = torch.autograd.grad(out[0, position].sum(), hidden, retain_graph=True)
        seen.append(gradient[0].abs().sum(1) > 0)
    return torch.stack(seen)


@both_kinds
def test_both_backends_give_the_same_gradients(kind: ModelKind) -> None:
    inputs = flat(made_up_rows(3, (100, 7, 150)), kind)
    gradients = []
    for backend in BACKENDS:
        model = made(kind, backend)
        summed_loss(model, inputs).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        model.zero_grad()
    assert all(gradient is not None for gradient in gradients[0].values())
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)


@both_backends
@both_kinds
@torch.no_grad()
def test_in_bf16_the_layers_give_about_the_same(
    kind: ModelKind, backend: attention.Backend
) -> None:
    model, inputs = made(kind, backend), flat(made_up_rows(1, (20, 90)), kind)
    exact = hidden_of(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        hidden = hidden_of(model, inputs)
    # What goes from layer to layer stays float32, each product has 8 bits.
    assert hidden.dtype == torch.float32
    assert 0 < (hidden - exact).abs().max() < 0.05


@both_kinds
def test_the_kernel_is_called_with_rows_in_a_line_and_windows_of_the_layer(
    kind: ModelKind,
) -> None:
    model = made(kind, "varlen")
    heads = torch.randn(1, 2, 30, 32).bfloat16().transpose(1, 2).contiguous().transpose(1, 2)
    starts = torch.tensor([0, 10, 30], dtype=torch.int32)
    rows = {"cu_seq_lens_q": starts, "max_length_q": 20}
    for index, layer in enumerate(model.model.layers):
        given = attention.varlen_arguments(layer.attn, (heads, heads, heads), 0.5, rows)
        assert given["query"].shape == (30, 2, 32)
        assert given["query"].is_contiguous()
        assert given["query"].dtype == torch.bfloat16
        assert given["cu_seq_q"] is given["cu_seq_k"] is starts
        assert (given["max_q"], given["max_k"], given["scale"]) == (20, 20, 0.5)
        before = -1 if index in (0, 3) else 64
        assert given["window_size"] == (before, before if kind == "encoder" else 0)


def test_the_fastest_backend_needs_a_gpu_and_half_precision() -> None:
    gpu, processor = torch.device("cuda"), torch.device("cpu")
    assert attention.best_backend(gpu, is_bf16=True) == "varlen"
    assert attention.best_backend(gpu, is_bf16=False) == "sdpa"
    assert attention.best_backend(processor, is_bf16=True) == "sdpa"


@both_backends
@both_kinds
def test_inputs_that_do_not_say_where_rows_begin_are_refused(
    kind: ModelKind, backend: attention.Backend
) -> None:
    model = made(kind, backend)
    with pytest.raises(ConfigError, match="attention: got inputs without cu_seq_lens_q"):
        model(input_ids=torch.ones(2, 8, dtype=torch.int64))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:The .grad attribute")
@both_kinds
def test_a_compiled_model_gives_the_same_losses_and_gradients(kind: ModelKind) -> None:
    torch.compiler.reset()
    counters.clear()
    plain = made(kind, "varlen")
    model = make_model(tiny(kind), seed=5).eval()
    attention.set_backend(model, "varlen")
    compile_model(model)
    sizes = ((90, 70), (130, 20, 7), (80, 85))
    num_graphs = []
    for batch in (flat(made_up_rows(4, size), kind) for size in sizes):
        inputs = prepare_inputs(model, batch)
        expected, loss = summed_loss(plain, inputs), summed_loss(model, inputs)
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
        expected.backward()
        loss.backward()
        num_graphs.append(counters["stats"]["unique_graphs"])
    torch.testing.assert_close(
        {name: p.grad for name, p in model.named_parameters()},
        {name: p.grad for name, p in plain.named_parameters()},
        atol=1e-4,
        rtol=1e-3,
    )
    # The first layer, a local and a global one, what is before and after, and the loss; other sizes
    # add none.
    assert num_graphs == [6, 6, 6]
    assert not counters["graph_break"]
    torch.compiler.reset()
