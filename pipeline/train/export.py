"""Export: a checkpoint -> a folder that `transformers` loads, with no code of ours.

Enters: weights, the model's shape, a tokenizer, where all came from. Leaves: `config.json`,
`model.safetensors`, the tokenizer's files, a card and `provenance.json`, published whole or not at
all. Invariant: the model that is loaded from there gives the logits of the model that was trained.
"""

import json
from contextlib import suppress
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from pipeline.config import ModelSpec
from pipeline.core.errors import InputError, OutputError, PipelineError
from pipeline.core.files import publish
from pipeline.dataset import CheckpointRecord, find_checkpoint, read_record
from pipeline.stages.tokenizer import EMBEDDED, read_json
from pipeline.train import checkpoints
from pipeline.train.convert import to_hub
from pipeline.train.models import Model, make_config, make_empty

FORMAT = "ettin-export-v1"
PROVENANCE = "provenance.json"

_CLASSES = {"encoder": "ModernBertForMaskedLM", "decoder": "ModernBertDecoderForCausalLM"}
_SPECIAL = {
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
}
_LOADING = {
    "encoder": """\
from transformers import AutoModelForMaskedLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForMaskedLM.from_pretrained(folder)
inputs = tokenizer("The capital of France is [MASK].", return_tensors="pt")
masked = inputs.input_ids[0] == tokenizer.mask_token_id
best = model(**inputs).logits[0, masked].topk(5).indices[0]
print(tokenizer.batch_decode(best[:, None]))
""",
    "decoder": """\
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
# The tokenizer closes what it is given with [SEP], and nothing goes on from there.
prompt = tokenizer("The capital of France is", return_tensors="pt").input_ids[:, :-1]
continued = model.generate(prompt, max_new_tokens=20, do_sample=False)
print(tokenizer.decode(continued[0], skip_special_tokens=True))
""",
}


def export(checkpoint: Path, out: Path) -> None:
    """Export a checkpoint to a folder that is not there yet, or an earlier export.

    checkpoint: its folder, or one of several, of which that of the most steps is taken.

    Raises: InputError when `checkpoint` is none, or of another version; MismatchError when it is
    damaged; OutputError when `out` holds something else, or cannot be written.
    """
    checkpoint = find_checkpoint(checkpoint)
    spec = _spec_of(checkpoint, read_record(checkpoint))
    model = make_empty(spec)
    record = checkpoints.load(checkpoint, model, None)
    about = {
        "checkpoint": record.name,
        "checkpoint_digest": record.digest,
        "recipe": record.recipe["name"],
        "recipe_fingerprint": record.recipe["fingerprint"],
        "order": record.seen.order,
        "rows": [0, record.clock.next_row],
        "num_steps": record.clock.num_steps,
        "num_tokens": record.clock.num_tokens,
        "begun_from": record.begun_from,
    }
    export_model(model, spec, read_json(EMBEDDED), out, about)


def export_model(
    model: Model, spec: ModelSpec, tokenizer_json: bytes, out: Path, about: dict[str, Any]
) -> None:
    """Export a model with a tokenizer; `about` says where it came from, in values of JSON.

    Raises: OutputError when `out` holds something else, or cannot be written.
    """
    _refuse_others(out)
    config = make_config(spec)
    # Loaded, a decoder generates with a cache, and an encoder says something of every position.
    for name, value in (("use_cache", True), ("sparse_prediction", False)):
        if hasattr(config, name):
            setattr(config, name, value)
    config.architectures = [_CLASSES[spec.kind]]
    config.dtype = "float32"
    card = _card(spec, out.name, about)
    scratch = out.parent / ".partial"
    with publish(out, scratch) as temporary:
        temporary.mkdir()
        weights = to_hub(model.state_dict(), spec.kind)
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(temporary)
        (temporary / "tokenizer.json").write_bytes(tokenizer_json)
        _write_json(temporary / "tokenizer_config.json", _tokenizer_config(spec))
        _write_json(temporary / "special_tokens_map.json", _SPECIAL)
        _write_json(temporary / PROVENANCE, {"format": FORMAT, **about})
        (temporary / "README.md").write_text(card)
    # Unless another is being exported beside it.
    with suppress(OSError):
        scratch.rmdir()


def example(kind: str, folder: str) -> str:
    """Return the program of the card: fill-mask of an encoder, generation of a decoder."""
    return f"folder = {folder!r}\n\n{_LOADING[kind]}"


def _spec_of(checkpoint: Path, record: CheckpointRecord) -> ModelSpec:
    """Return the shape of the model that a checkpoint is of."""
    try:
        declared = record.recipe["declaration"]["model"]
        return ModelSpec(**{**declared, "dropout": Fraction(declared["dropout"])})
    except (KeyError, TypeError, ValueError, PipelineError) as error:
        raise InputError(
            f"{checkpoint}: got a model declared as another version does ({error}), expected"
            f" {', '.join(one.name for one in fields(ModelSpec))}",
            f"export it with what it was made with: {record.code}",
        ) from error


def _refuse_others(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        is_ours = json.loads((out / PROVENANCE).read_bytes())["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise OutputError(
            f"{out}: got a place that holds something else, expected none, or an earlier export",
            "choose another --out",
        )


def _tokenizer_config(spec: ModelSpec) -> dict[str, Any]:
    return {
        **_SPECIAL,
        # True, older versions bring " ." back as ".".
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": spec.max_positions,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _card(spec: ModelSpec, name: str, about: dict[str, Any]) -> str:
    task = "fill-mask" if spec.kind == "encoder" else "text-generation"
    layers = "1 layer" if spec.num_layers == 1 else f"{spec.num_layers} layers"
    facts = [f"| {key.replace('_', ' ')} | {_told(value)} |" for key, value in about.items()]
    lines = [
        "---",
        "library_name: transformers",
        f"pipeline_tag: {task}",
        "---",
        f"# {name}",
        "",
        f"A ModernBERT {spec.kind} of {layers} and width {spec.hidden_size}.",
        "",
        "```python",
        example(spec.kind, name).rstrip(),
        "```",
        "",
        "## Provenance",
        "",
        "| | |",
        "|---|---|",
        *facts,
    ]
    return "\n".join(lines) + "\n"


def _told(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
