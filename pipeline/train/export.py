"""Export a checkpoint as a folder that `transformers` loads, without code of ours.

Weights, a model's shape, a tokenizer and provenance enter; `config.json`, `model.safetensors`,
tokenizer files, a card and `provenance.json` leave, published whole or not at all. The exported
model has the logits of the trained one.
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
from pipeline.train.models import Model, make_config, make_uninitialized
from pipeline.train.weights import to_transformers

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


def export_checkpoint(checkpoint: Path, out: Path) -> None:
    """Export a checkpoint, or the latest in a folder of them; replaces an earlier export.

    Raises: InputError when there is no checkpoint, or one of another version; MismatchError when it
    is damaged; OutputError when `out` holds something else, or cannot be written.
    """
    checkpoint = find_checkpoint(checkpoint)
    spec = _spec_of(checkpoint, read_record(checkpoint))
    model = make_uninitialized(spec)
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
    """Export a model with a tokenizer; `about` is its provenance, in JSON values.

    Raises: OutputError when `out` holds something else, or cannot be written.
    """
    _check_out(out)
    config = make_config(spec)
    # For inference: a decoder generates with a cache, an encoder has logits at every position.
    for name, value in (("use_cache", True), ("sparse_prediction", False)):
        if hasattr(config, name):
            setattr(config, name, value)
    config.architectures = [_CLASSES[spec.kind]]
    config.dtype = "float32"
    card = _card(spec, out.name, about)
    scratch = out.parent / ".partial"
    with publish(out, scratch) as temporary:
        temporary.mkdir()
        weights = to_transformers(model.state_dict(), spec.kind)
        save_file(weights, temporary / "model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(temporary)
        (temporary / "tokenizer.json").write_bytes(tokenizer_json)
        _write_json(temporary / "tokenizer_config.json", _tokenizer_config(spec))
        _write_json(temporary / "special_tokens_map.json", _SPECIAL)
        _write_json(temporary / PROVENANCE, {"format": FORMAT, **about})
        (temporary / "README.md").write_text(card)
    # It stays if another export uses it.
    with suppress(OSError):
        scratch.rmdir()


def example(kind: str, folder: str) -> str:
    """Return the example on the card: fill-mask for an encoder, generation for a decoder."""
    return f"folder = {folder!r}\n\n{_LOADING[kind]}"


def _spec_of(checkpoint: Path, record: CheckpointRecord) -> ModelSpec:
    """Return the model shape of a checkpoint."""
    try:
        declared = record.recipe["declaration"]["model"]
        return ModelSpec(**{**declared, "dropout": Fraction(declared["dropout"])})
    except (KeyError, TypeError, ValueError, PipelineError) as error:
        raise InputError(
            f"{checkpoint}: got a model that another version declared ({error}), expected"
            f" {', '.join(one.name for one in fields(ModelSpec))}",
            f"export it with the versions that made it: {record.code}",
        ) from error


def _check_out(out: Path) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        is_ours = json.loads((out / PROVENANCE).read_bytes())["format"] == FORMAT
    except (OSError, ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise OutputError(
            f"{out}: got other content, expected none, or an earlier export",
            "choose another --out",
        )


def _tokenizer_config(spec: ModelSpec) -> dict[str, Any]:
    return {
        **_SPECIAL,
        # With True, older versions decode " ." as ".".
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": spec.max_positions,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _card(spec: ModelSpec, name: str, about: dict[str, Any]) -> str:
    task = "fill-mask" if spec.kind == "encoder" else "text-generation"
    layers = "1 layer" if spec.num_layers == 1 else f"{spec.num_layers} layers"
    facts = [f"| {key.replace('_', ' ')} | {_cell(value)} |\n" for key, value in about.items()]
    return f"""\
---
library_name: transformers
pipeline_tag: {task}
---
# {name}

A ModernBERT {spec.kind} of {layers} and width {spec.hidden_size}.

```python
{example(spec.kind, name).rstrip()}
```

## Provenance

| | |
|---|---|
{"".join(facts)}"""


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
