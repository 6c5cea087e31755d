"""Models to start from: an export is read back to the bit, and what is no such model is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.models import tiny
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

from pipeline.config.recipe import ModelKind
from pipeline.core.errors import InputError
from pipeline.stages.tokenizer import read_json
from pipeline.train.export import export_model
from pipeline.train.models import make_model
from pipeline.train.pretrained import (
    declared_model,
    fill_model,
    find_model,
    load_weights,
    weights_digest,
)
from pipeline.train.weights import convert_kind, from_transformers, to_transformers

KINDS: tuple[ModelKind, ...] = ("encoder", "decoder")
LOADERS: dict[str, Any] = {"encoder": AutoModelForMaskedLM, "decoder": AutoModelForCausalLM}


def export(kind: ModelKind, out: Path) -> Any:
    model = make_model(tiny(kind), seed=5)
    export_model(model, tiny(kind), 400, read_json("modernbert"), out, {"checkpoint": "step3"})
    return model


@pytest.mark.parametrize("to_kind", KINDS)
@pytest.mark.parametrize("kind", KINDS)
def test_an_export_is_read_back_to_the_bit(
    tmp_path: Path, kind: ModelKind, to_kind: ModelKind
) -> None:
    model = export(kind, tmp_path / "model")
    found = find_model(tmp_path / "model")
    assert found == tmp_path / "model"
    weights = load_weights(found, tiny(to_kind))
    expected = convert_kind(model.state_dict(), to_kind)
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    again = make_model(tiny(to_kind), seed=9)
    again.load_state_dict(weights)
    tied = again.model.embeddings.tok_embeddings.weight
    assert again.decoder.weight.data_ptr() == tied.data_ptr()


@pytest.mark.parametrize("kind", KINDS)
def test_what_transformers_saves_again_is_read_too(tmp_path: Path, kind: ModelKind) -> None:
    model = export(kind, tmp_path / "model")
    loaded = LOADERS[kind].from_pretrained(tmp_path / "model", dtype=torch.bfloat16)
    loaded.save_pretrained(tmp_path / "again")
    shutil.copy(tmp_path / "model" / "tokenizer.json", tmp_path / "again")
    weights = load_weights(tmp_path / "again", tiny(kind))
    for name, tensor in model.state_dict().items():
        assert torch.equal(weights[name], tensor.bfloat16().float())


@pytest.mark.parametrize("kind", KINDS)
def test_layouts_are_inverse(kind: ModelKind) -> None:
    weights = make_model(tiny(kind), seed=1).state_dict()
    again = from_transformers(to_transformers(weights, kind), kind)
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def change(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))


def test_other_models_are_refused_in_words(tmp_path: Path) -> None:
    out = tmp_path / "model"
    export("decoder", out)
    spec = tiny("decoder")

    def refused(match: str, *, of: Any = spec) -> None:
        with pytest.raises(InputError, match=match):
            load_weights(out, of)
        shutil.rmtree(out)
        export("decoder", out)

    refused("num_hidden_layers 4, here 7", of=tiny("decoder", num_layers=7))
    change(out / "config.json", architectures=["LlamaForCausalLM"])
    refused(r"got the architectures \['LlamaForCausalLM'\], expected one of ModernBertForMaskedLM")
    change(out / "config.json", architectures=None)
    refused("got the architectures None")
    change(out / "config.json", architectures=5)
    refused("got the architectures 5, expected one of")
    (out / "config.json").write_text("[]")
    refused("config.json: got list, expected an object")
    (out / "config.json").write_text("{")
    refused("config.json: is not valid JSON")
    tokenizer = json.loads((out / "tokenizer.json").read_bytes())
    vocab = tokenizer["model"]["vocab"]
    first, second = list(vocab)[:2]
    vocab[first], vocab[second] = vocab[second], vocab[first]
    (out / "tokenizer.json").write_text(json.dumps(tokenizer))
    refused("got another tokenizer, expected modernbert")
    (out / "tokenizer.json").write_text('{"added_tokens": [3]}')
    refused("got another tokenizer, expected modernbert")
    (out / "tokenizer.json").unlink()
    refused("tokenizer.json: cannot be read")
    (out / "model.safetensors").write_bytes(b"no tensors")
    refused("model.safetensors: cannot be read")
    (out / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"got no model\.safetensors"):
        weights_digest(out)
    refused("model.safetensors: cannot be read")
    change(out / "config.json", architectures=["ModernBertForMaskedLM"])
    with pytest.raises(RuntimeError, match="Missing key"):
        make_model(tiny("encoder"), seed=1).load_state_dict(load_weights(out, tiny("encoder")))


def test_weights_of_other_shapes_are_refused(tmp_path: Path) -> None:
    export("decoder", tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    weights = load_file(path)
    name = next(one for one in weights if one.endswith("k_proj.weight"))
    save_file({**weights, name: weights[name][:, :3].contiguous()}, path)
    model = make_model(tiny("decoder"), seed=1)
    with pytest.raises(InputError, match="got weights of another model: Sizes of tensors"):
        fill_model(model, tmp_path / "model", tiny("decoder"))


@pytest.mark.parametrize(
    ("key", "value", "match"),
    [
        ("vocab_size", 10, "vocab_size: got 10, expected at least 50,368, the ids of"),
        ("max_position_embeddings", 0, "max_positions: got 0, expected an integer from 1"),
        ("rope_parameters", [1], "got a model of another shape"),
    ],
)
def test_shapes_that_no_model_has_are_refused(
    tmp_path: Path, key: str, value: object, match: str
) -> None:
    export("encoder", tmp_path / "model")
    change(tmp_path / "model" / "config.json", **{key: value})
    with pytest.raises(InputError, match=match):
        declared_model(tmp_path / "model")


def test_a_folder_without_a_configuration_is_no_model(tmp_path: Path) -> None:
    assert find_model(tmp_path) is None
    assert find_model(tmp_path / "none") is None
