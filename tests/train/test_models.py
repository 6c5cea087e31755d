"""Models have the suite's shapes and the same weights everywhere; losses are the public ones."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from fractions import Fraction
from statistics import NormalDist

import numpy as np
import pytest
import torch
from support.models import flat, labels_of, logits_of, made_up_rows, stock, tiny
from torch import Tensor, nn
from torch.nn import functional as F

from pipeline.config.load import load_recipe
from pipeline.config.recipe import ModelKind
from pipeline.train import loss as loss_module
from pipeline.train.loss import summed_cross_entropy
from pipeline.train.models import (
    make_meta_model,
    make_model,
    prepare_inputs,
    summed_loss,
)
from pipeline.train.weights import convert_kind, initial_values

KINDS: tuple[ModelKind, ...] = ("encoder", "decoder")
both_kinds = pytest.mark.parametrize("kind", KINDS)

PARAMETERS = {
    "17m": (16_913_600, 12_894_208, 3_902_720),
    "32m": (32_081_344, 19_341_312, 12_541_056),
    "68m": (68_457_664, 25_788_416, 42_355_200),
    "150m": (149_655_232, 38_682_624, 110_330_112),
    "400m": (395_881_664, 51_576_832, 343_202_816),
    "1b": (1_031_314_112, 90_259_456, 937_787_648),
}
"""Numbers in all, of the embedding, of the layers."""
# Of `initial_values(5, "a", 70_000, 0.02)`.
GOLDEN_NUMBERS = "ea69d0d35d5938c96309980ea67e1c009312aba6d94edcc944bf36502dc6c3cd"
# Of `digest_of(make_model(tiny("encoder"), seed=5).state_dict())`.
GOLDEN = "a164348badfbe665d827917653e8113d3fe95640221f86230c188e21e2c5a905"


def digest_of(weights: Mapping[str, Tensor]) -> str:
    hasher = hashlib.sha256()
    for name, tensor in sorted(convert_kind(weights, "encoder").items()):
        hasher.update(name.encode() + tensor.numpy().tobytes())
    return hasher.hexdigest()


@pytest.mark.parametrize("size", PARAMETERS)
@both_kinds
def test_a_recipe_of_the_suite_has_its_number_of_parameters(size: str, kind: ModelKind) -> None:
    model = make_meta_model(load_recipe(f"ettin-{size}-{kind}-pretraining").model)
    model.tie_weights()
    embedding = model.model.embeddings.tok_embeddings.weight.numel()
    layers = sum(p.numel() for p in model.model.layers.parameters())
    total = sum(p.numel() for p in model.parameters())
    assert (total, embedding, layers) == PARAMETERS[size]


def test_a_pair_starts_with_the_same_weights() -> None:
    pair = [make_model(tiny(kind), seed=5) for kind in KINDS]
    assert {digest_of(model.state_dict()) for model in pair} == {GOLDEN}
    assert digest_of(make_model(tiny("encoder"), seed=6).state_dict()) != GOLDEN
    for model in pair:
        assert model.decoder.weight is model.model.embeddings.tok_embeddings.weight


def test_numbers_are_the_same_on_a_processor_that_can_do_less() -> None:
    program = (
        "import hashlib; from pipeline.train.weights import initial_values\n"
        "print(hashlib.sha256(initial_values(5, 'a', 70_000, 0.02).tobytes()).hexdigest())"
    )
    settings = {"PYTHONHASHSEED": "7", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"}
    out = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.strip() == GOLDEN_NUMBERS
    assert (
        hashlib.sha256(initial_values(5, "a", 70_000, 0.02).tobytes()).hexdigest() == GOLDEN_NUMBERS
    )


def test_making_a_model_takes_nothing_from_the_generator_of_torch() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    make_model(tiny("encoder"), seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_initial_numbers_are_normal_up_to_two_deviations() -> None:
    values = np.sort(initial_values(1, "a", 200_000, 0.02).astype(np.float64)) / 0.02
    assert -2 <= values[0] < -1.999
    assert 1.999 < values[-1] <= 2
    # The cut distribution's function, at every number, is the part of numbers below.
    normal = NormalDist()
    inside = normal.cdf(2) - normal.cdf(-2)
    share = np.array([(normal.cdf(value) - normal.cdf(-2)) / inside for value in values[::100]])
    assert np.abs(share - np.arange(0, 200_000, 100) / 200_000).max() < 0.004
    assert not np.array_equal(initial_values(1, "a", 100, 0.02), initial_values(1, "b", 100, 0.02))
    assert np.array_equal(
        initial_values(1, "a", 70_000, 0.02)[:100], initial_values(1, "a", 100, 0.02)
    )


@both_kinds
def test_deviations_are_those_of_the_suite(kind: ModelKind) -> None:
    model = make_model(tiny(kind), seed=5)
    residual = 0.02 / (2 * 4) ** 0.5
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            assert (parameter == (0 if name.endswith("bias") else 1)).all()
            continue
        expected = residual if name.endswith("Wo.weight") else 0.02
        assert parameter.std().item() == pytest.approx(0.88 * expected, rel=0.03), name


@both_kinds
def test_a_model_is_told_what_its_recipe_says(kind: ModelKind) -> None:
    spec = tiny(kind, dropout=Fraction(1, 10), global_theta=160_000, local_theta=10_000)
    model = make_model(spec, seed=5)
    dropped = {name: m.p for name, m in model.named_modules() if isinstance(m, nn.Dropout) and m.p}
    assert dropped == {f"model.layers.{layer}.attn.out_drop": 0.1 for layer in range(4)}
    rotary = model.model.rotary_emb
    for kind_of_layer, theta in (("full", 160_000.0), ("sliding", 10_000.0)):
        frequencies = getattr(rotary, f"{kind_of_layer}_attention_inv_freq")
        expected = theta ** -(torch.arange(0, 32, 2) / 32)
        torch.testing.assert_close(frequencies, expected)
    eps = {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)}
    assert eps == {1e-5}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


@both_kinds
def test_dropout_acts_in_training_alone(kind: ModelKind) -> None:
    model = make_model(tiny(kind, dropout=Fraction(1, 2)), seed=5)
    inputs = prepare_inputs(model, flat(made_up_rows(1, (20,)), kind))
    with torch.no_grad():
        assert model.train() is model
        torch.manual_seed(0)
        trained = summed_loss(model, inputs)
        torch.manual_seed(0)
        assert summed_loss(model, inputs) == trained
        assert summed_loss(model, inputs) != trained
        model.eval()
        assert summed_loss(model, inputs) == summed_loss(model, inputs)


@both_kinds
def test_the_loss_is_that_of_transformers_row_by_row(kind: ModelKind) -> None:
    model = make_model(tiny(kind), seed=5).eval()
    twin = stock(model, tiny(kind))
    rows = made_up_rows(2, (40, 2, 90))
    total = summed_loss(model, flat(rows, kind))
    total.backward()
    expected = torch.zeros(())
    for row in rows:
        labels = labels_of(row, kind)
        found = twin(input_ids=row[None], labels=labels[None])
        expected = expected + found.loss * (labels != -100).sum()
    expected.backward()
    torch.testing.assert_close(total, expected)
    torch.testing.assert_close(
        model.model.embeddings.tok_embeddings.weight.grad,
        twin.model.embeddings.tok_embeddings.weight.grad,
        atol=1e-5,
        rtol=1e-4,
    )
    assert total.dtype == torch.float32
    with torch.no_grad():
        torch.testing.assert_close(summed_loss(model, flat(rows, kind)), total.detach())


@both_kinds
def test_only_positions_with_labels_reach_the_vocabulary(kind: ModelKind) -> None:
    model = make_model(tiny(kind), seed=5)
    rows = made_up_rows(2, (10, 7))
    inputs = flat(rows, kind)
    given = prepare_inputs(model, inputs)
    if kind == "encoder":
        assert given["positions"].tolist() == [1, 4, 7, 11, 14]
    else:
        # The last of a row predicts nothing, least of all what the next row begins with.
        assert given["positions"].tolist() == [*range(9), *range(10, 16)]
        following = inputs["input_ids"][0][given["positions"] + 1]
        assert torch.equal(given["targets"], following)
    assert len(given["targets"]) == (inputs["labels"] != -100).sum()
    arrays = {k: v.numpy() if isinstance(v, Tensor) else v for k, v in inputs.items()}
    assert summed_loss(model, prepare_inputs(model, arrays)) == summed_loss(model, given)


@both_kinds
def test_padded_rows_are_scored_too_under_an_attention_of_transformers(kind: ModelKind) -> None:
    model = make_model(tiny(kind), seed=5).eval()
    rows = made_up_rows(2, (10, 7))
    expected = summed_loss(model, flat(rows, kind))
    model.set_attn_implementation("sdpa")
    inputs = {
        "input_ids": nn.utils.rnn.pad_sequence(rows, True, 50_283),
        "attention_mask": nn.utils.rnn.pad_sequence([torch.ones_like(r) for r in rows], True, 0),
        "labels": nn.utils.rnn.pad_sequence([labels_of(r, kind) for r in rows], True, -100),
    }
    torch.testing.assert_close(summed_loss(model, inputs), expected)


@both_kinds
def test_a_batch_without_labels_has_loss_0_and_gradients_of_0(kind: ModelKind) -> None:
    model = make_model(tiny(kind), seed=5)
    inputs = flat(made_up_rows(2, (2,)), kind)
    loss = summed_loss(model, {**inputs, "labels": torch.full((1, 2), -100)})
    loss.backward()
    assert loss == 0
    # None is missing: ranks wait for each other's gradients.
    assert all((p.grad == 0).all() for p in model.parameters())


@both_kinds
def test_bf16_is_near_and_its_gradients_are_float32(kind: ModelKind) -> None:
    model = make_model(tiny(kind), seed=5).eval()
    inputs = flat(made_up_rows(2, (40, 30)), kind)
    exact = summed_loss(model, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        loss = summed_loss(model, inputs)
        assert logits_of(model, inputs).dtype == torch.bfloat16
    loss.backward()
    assert loss != exact
    torch.testing.assert_close(loss, exact, rtol=2e-3, atol=0)
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning", "ignore:The .grad attribute")
@pytest.mark.parametrize("is_compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_loss_in_chunks_is_the_loss_of_all(is_compiled: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    count = 3 * loss_module._CPU_CHUNK + 5
    given = [torch.randn(shape, generator=generator) for shape in ((count, 6), (50, 6), (50,))]
    targets = torch.randint(0, 50, (count,), generator=generator)
    ours, theirs = ([tensor.clone().requires_grad_() for tensor in given] for _ in range(2))
    total = summed_cross_entropy(*ours, targets, is_compiled=is_compiled)
    (3 * total).backward()
    logits = F.linear(*theirs)
    expected = F.cross_entropy(logits, targets, reduction="sum")
    (3 * expected).backward()
    torch.testing.assert_close(total, expected)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        alone = summed_cross_entropy(*ours, targets, is_compiled=is_compiled)
    torch.testing.assert_close(alone, expected.detach())


def test_logits_have_the_precision_of_autocast_and_losses_that_of_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=generator) for shape in ((40, 6), (50, 6), (50,))]
    targets = torch.randint(0, 50, (40,), generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        total = summed_cross_entropy(*given, targets, is_compiled=False)
        logits = F.linear(*given)
    assert logits.dtype == torch.bfloat16
    expected = F.cross_entropy(logits.float(), targets, reduction="sum")
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=0)
    exact = summed_cross_entropy(*given, targets, is_compiled=False)
    assert abs(total - exact) > 1e-4 * exact


def test_weights_cross_over_and_back() -> None:
    encoder, decoder = (make_model(tiny(kind), seed=9).state_dict() for kind in KINDS)
    as_decoder = convert_kind(encoder, "decoder")
    assert as_decoder.keys() == decoder.keys()
    assert convert_kind(as_decoder, "encoder").keys() == encoder.keys()
    assert convert_kind(encoder, "encoder").keys() == encoder.keys()
    for name, tensor in convert_kind(as_decoder, "encoder").items():
        assert torch.equal(tensor, encoder[name])


def test_a_model_that_crossed_over_computes_the_same() -> None:
    # Rows of one id leave causality nothing to hide, and so does a first position elsewhere.
    spec = tiny("decoder")
    decoder = make_model(spec, seed=9).eval()
    encoder = make_model(tiny("encoder"), seed=1).eval()
    encoder.load_state_dict(convert_kind(decoder.state_dict(), "encoder"))
    rows = made_up_rows(1, (2, 2, 2))
    single = flat([row[:1] for row in rows], "decoder")
    torch.testing.assert_close(logits_of(decoder, single), logits_of(encoder, single))
    # With the encoder told to look back only, all of it is the decoder.
    for layer in encoder.model.layers:
        layer.attn.is_causal = True
    inputs = flat(made_up_rows(1, (100, 30)), "decoder")
    torch.testing.assert_close(logits_of(decoder, inputs), logits_of(encoder, inputs))
