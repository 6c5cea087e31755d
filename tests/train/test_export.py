"""What is exported loads without us, computes the same, and runs the card's examples."""

import ast
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
import yaml
from support.models import flat, logits_of, made_up_rows, tiny
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from pipeline.config.load import load_recipe
from pipeline.config.recipe import ModelKind
from pipeline.core.errors import InputError, OutputError
from pipeline.dataset.checkpoint_record import (
    CheckpointRecord,
    Clock,
    RecipeRecord,
    Seen,
    write_record,
)
from pipeline.stages.tokenizer import read_json
from pipeline.train.export import PROVENANCE, example, export_checkpoint, export_model
from pipeline.train.models import make_model
from pipeline.train.weights import to_transformers

KINDS: tuple[ModelKind, ...] = ("encoder", "decoder")
LOADERS: dict[str, Any] = {"encoder": AutoModelForMaskedLM, "decoder": AutoModelForCausalLM}
ABOUT = {"checkpoint": "step3", "order": "ab" * 32, "rows": [0, 48], "num_tokens": 12_345}
TOKENIZER = read_json("modernbert")
LENGTH = 400


@pytest.fixture(scope="module", params=KINDS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A kind, a model of it, and the folder that it was exported to."""
    kind: ModelKind = request.param
    spec = tiny(kind)
    model = make_model(spec, seed=5).eval()
    out = tmp_path_factory.mktemp("export") / f"tiny-{kind}"
    export_model(model, spec, LENGTH, TOKENIZER, out, ABOUT)
    return kind, model, out


@torch.no_grad()
def test_the_loaded_model_gives_the_logits_of_the_trained_one(exported: Any) -> None:
    kind, model, out = exported
    loaded, about = LOADERS[kind].from_pretrained(out, output_loading_info=True)
    assert not any(about[problem] for problem in ("missing_keys", "unexpected_keys"))
    assert not loaded.training
    for row in made_up_rows(1, (3, 150)):
        ours = logits_of(model, flat([row], kind))
        theirs = loaded(input_ids=row[None]).logits
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_the_folder_has_weights_once_under_the_names_of_transformers(exported: Any) -> None:
    kind, model, out = exported
    names = to_transformers(model.state_dict(), kind)
    parts = {name.split(".attn.")[1] for name in names if ".attn." in name}
    fused = {"Wqkv.weight", "Wo.weight"}
    split = {"q_proj.weight", "k_proj.weight", "v_proj.weight", "Wo.weight"}
    assert parts == (fused if kind == "encoder" else split)
    num_bytes = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert num_bytes < (out / "model.safetensors").stat().st_size < num_bytes + 10_000
    config = json.loads((out / "config.json").read_bytes())
    assert config["local_attention"] == (128 if kind == "encoder" else 130)
    assert config["rope_parameters"]["full_attention"]["rope_theta"] == 160_000.0
    assert config["rope_parameters"]["sliding_attention"]["rope_theta"] == 10_000.0
    assert config["norm_eps"] == 1e-5
    assert config["dtype"] == "float32"
    names = {path.name for path in out.iterdir()}
    generates = {"generation_config.json"} if kind == "decoder" else set()
    assert names == generates | {
        "README.md",
        "config.json",
        "model.safetensors",
        PROVENANCE,
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }


def test_the_configuration_says_the_same_to_versions_before_5(exported: Any) -> None:
    kind, _, out = exported
    config = json.loads((out / "config.json").read_bytes())
    assert config["global_rope_theta"] == 160_000.0
    assert config["local_rope_theta"] == 10_000.0
    assert config["global_attn_every_n_layers"] == 3
    assert config["layer_norm_eps"] == 1e-5
    assert config["position_embedding_type"] == "sans_pos"
    assert config["classifier_pooling"] == "mean"
    assert config["max_position_embeddings"] == LENGTH
    special = json.loads((out / "tokenizer_config.json").read_bytes())
    assert special["model_max_length"] == LENGTH
    assert [special.get(name) for name in ("bos_token", "eos_token")] == (
        ["[CLS]", "[SEP]"] if kind == "decoder" else [None, None]
    )


def test_others_may_read_what_the_umask_lets_them_read(tmp_path: Path) -> None:
    spec = tiny("encoder", num_layers=1)
    old = os.umask(0o027)
    try:
        export_model(make_model(spec, seed=5), spec, LENGTH, TOKENIZER, tmp_path / "out", ABOUT)
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "out").iterdir()} == {0o640}


def test_the_loaded_tokenizer_gives_the_ids_that_the_rows_were_made_of(exported: Any) -> None:
    kind, _, out = exported
    loaded = AutoTokenizer.from_pretrained(out)
    plain = tokenizers.Tokenizer.from_str(TOKENIZER.decode())
    for text in (
        "The capital of France is [MASK].",
        "  two\n\nlines é 中",
        "def f(x):\n    return x",
    ):
        ids = loaded(text).input_ids
        expected = plain.encode(text).ids
        # A decoder continues a text, so its end stays open.
        assert ids == (expected if kind == "encoder" else expected[:-1])
        if "[MASK]" not in text:
            assert loaded.decode(ids, skip_special_tokens=True) == text
    # True is warned about at each text.
    assert loaded.clean_up_tokenization_spaces is False
    special = (loaded.cls_token_id, loaded.sep_token_id, loaded.pad_token_id, loaded.mask_token_id)
    assert special == (50_281, 50_282, 50_283, 50_284)
    if kind == "encoder":
        assert (out / "tokenizer.json").read_bytes() == TOKENIZER
        return
    assert (loaded.bos_token_id, loaded.eos_token_id) == (50_281, 50_282)
    parts = [plain.encode(text, add_special_tokens=False).ids for text in ("One.", " Two.")]
    pair = loaded("One.", " Two.", return_token_type_ids=True)
    assert pair.input_ids == [50_281, *parts[0], *parts[1]]
    assert set(pair.token_type_ids) == {0}


def test_the_program_of_the_card_runs(exported: Any, capsys: pytest.CaptureFixture[str]) -> None:
    kind, _, out = exported
    card = (out / "README.md").read_text()
    assert example(kind, out.name).rstrip() in card
    exec(compile(example(kind, str(out)), "README.md", "exec"), {})
    printed = capsys.readouterr().out
    if kind == "encoder":
        assert len(ast.literal_eval(printed)) == 5
    else:
        assert printed.startswith("The capital of France is")


@pytest.mark.parametrize("exported", ["decoder"], indirect=True)
@torch.no_grad()
def test_generating_with_a_cache_continues_as_the_trained_model_would(exported: Any) -> None:
    kind, model, out = exported
    loaded = LOADERS[kind].from_pretrained(out)
    assert loaded.config.use_cache
    assert loaded.generation_config.eos_token_id == 50_282
    # Beyond the window of local layers, so that what the cache forgets matters.
    row = made_up_rows(1, (70,))[0][:-1]
    continued = loaded.generate(row[None], max_new_tokens=6, do_sample=False, eos_token_id=None)[0]
    for _ in range(6):
        best = logits_of(model, flat([row], kind))[0, -1].argmax()
        row = torch.cat([row, best[None]])
    assert torch.equal(continued, row)


def test_the_card_and_the_provenance_say_where_it_came_from(exported: Any) -> None:
    kind, _, out = exported
    card = (out / "README.md").read_text()
    assert f"pipeline_tag: {'fill-mask' if kind == 'encoder' else 'text-generation'}\n" in card
    assert f"| order | `{'ab' * 32}` |\n| rows | `[0, 48]` |" in card
    assert "| num tokens | 12,345 |" in card
    versions = "4.56 or later" if kind == "encoder" else "5 or later (4.x has one rotary base"
    assert f"A ModernBERT {kind} of 4 layers and width 64. Needs transformers {versions}" in card
    head = yaml.safe_load(card.split("---\n")[1])
    assert head["license"] == "mit"
    assert head["tags"] == ["modernbert", "ettin", kind]
    assert "eprint = {2507.11412}" in card
    provenance = json.loads((out / PROVENANCE).read_bytes())
    assert provenance == {"format": "ettin-export-v1", **ABOUT}


def test_an_export_replaces_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    spec = tiny("encoder", num_layers=1)
    model = make_model(spec, seed=5)
    out = tmp_path / "out"
    export_model(model, spec, LENGTH, TOKENIZER, out, ABOUT)
    assert "A ModernBERT encoder of 1 layer and width 64. " in (out / "README.md").read_text()
    export_model(model, spec, LENGTH, TOKENIZER, out, {**ABOUT, "checkpoint": "step4"})
    assert json.loads((out / PROVENANCE).read_bytes())["checkpoint"] == "step4"
    (out / PROVENANCE).unlink()
    for named in (out, tmp_path / "new" / ".." / "out"):
        with pytest.raises(OutputError, match="got other content"):
            export_model(model, spec, LENGTH, TOKENIZER, named, ABOUT)
    assert (out / "config.json").exists()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="got other content"):
        export_model(model, spec, LENGTH, TOKENIZER, tmp_path / "file", ABOUT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_experts", 8),
        ("num_layers", None),
        ("dropout", "a tenth"),
        ("dropout", None),
        ("vocab_size", "1/1000000"),
        ("vocab_size", 1),
        ("local_theta", [1]),
    ],
)
def test_a_checkpoint_of_another_version_is_told(tmp_path: Path, name: str, value: object) -> None:
    declaration = load_recipe("sample-encoder-pretraining").declaration()
    model = {**declaration["model"], name: value}
    if value is None:
        del model[name]
    record = CheckpointRecord(
        name="step3",
        recipe=RecipeRecord(name="r", fingerprint="", declaration={**declaration, "model": model}),
        clock=Clock(num_steps=3, next_row=48, num_tokens=9),
        feed={},
        seen=Seen(order="", since_row=0, multiset_root="", tombstones=()),
        begun_from=None,
        code={"ettin-data": "9.9"},
        files={},
    )
    write_record(tmp_path, record)
    told = f"another version declared .model.*(?:{name}|got other keys).*that made it: .*9.9"
    with pytest.raises(InputError, match=re.compile(told, re.DOTALL)):
        export_checkpoint(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
