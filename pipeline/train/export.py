"""Export a checkpoint as a folder that `transformers` loads, without code of ours.

Weights, a model's shape, a tokenizer and provenance enter; `config.json`, `model.safetensors`,
tokenizer files, a card and `provenance.json` leave, published whole or not at all. The exported
model has the logits of the trained one, in `transformers` 5 and, save for decoders with two rotary
bases, in 4.56 and later: older keys of the configuration stand beside the present ones.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from pipeline.config import ModelSpec, read_model
from pipeline.core.errors import ConfigError, InputError, OutputError
from pipeline.core.files import publish
from pipeline.core.json_record import parse_json
from pipeline.dataset import CheckpointRecord, checkpoints_in, find_checkpoint, read_record
from pipeline.stages.tokenizer import EMBEDDED, read_json
from pipeline.train import checkpoints
from pipeline.train.hub_models import PROVENANCE
from pipeline.train.models import Model, make_config, make_uninitialized
from pipeline.train.pretrained import CONFIG, KINDS, TOKENIZER, WEIGHTS, check_vocab
from pipeline.train.weights import to_transformers

FORMAT = "ettin-export-v1"

_CLASSES = {kind: name for name, kind in KINDS.items()}
_BEGIN, _END = "[CLS]", "[SEP]"
_SPECIAL = {
    "cls_token": _BEGIN,
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
    "sep_token": _END,
    "unk_token": "[UNK]",
}
_OF_DECODER = {"bos_token": _BEGIN, "eos_token": _END}
_CITATION = """\
@misc{weller2025seqvsseq,
  title = {Seq vs Seq: An Open Suite of Paired Encoders and Decoders},
  author = {Orion Weller and Kathryn Ricci and Marc Marone and Antoine Chaffin and Dawn Lawrie
            and Benjamin Van Durme},
  year = {2025},
  eprint = {2507.11412},
  archivePrefix = {arXiv}
}
"""
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
prompt = tokenizer("The capital of France is", return_tensors="pt")
continued = model.generate(**prompt, max_new_tokens=20, do_sample=False)
print(tokenizer.decode(continued[0], skip_special_tokens=True))
""",
}


def export_checkpoint(checkpoint: Path, out: Path) -> str:
    """Export a checkpoint, or the latest in a folder of them; replaces an earlier export.

    Returns the versions of `transformers` that load it as trained, in words.

    Raises: InputError when there is no checkpoint, or one of another version; MismatchError when it
    is damaged; OutputError when `out` holds something else, or cannot be written.
    """
    checkpoint = find_checkpoint(checkpoint)
    spec, length = shape_of(checkpoint, read_record(checkpoint))
    model = make_uninitialized(spec)
    record = checkpoints.load(checkpoint, model, None)
    about = {
        "checkpoint": record.name,
        "checkpoint_digest": record.digest,
        "recipe": record.recipe.name,
        "recipe_fingerprint": record.recipe.fingerprint,
        "order": record.seen.order,
        "rows": [0, record.clock.next_row],
        "num_steps": record.clock.num_steps,
        "num_tokens": record.clock.num_tokens,
        "begun_from": record.begun_from,
    }
    export_model(model, spec, length, read_json(EMBEDDED), out, about)
    return _loaded_by(spec)


def export_checkpoints(where: Path, out: Path) -> Iterator[tuple[Path, bool]]:
    """Export every checkpoint in a folder, each to a folder of its name below `out`, by steps.

    Yields each folder, and whether it is new: an earlier export of the same checkpoint is kept if
    no file of the model was removed.

    Raises: as `export_checkpoint`.
    """
    for checkpoint in checkpoints_in(where) or [find_checkpoint(where)]:
        record = read_record(checkpoint)
        folder = out / record.name
        is_whole = all((folder / name).is_file() for name in (CONFIG, WEIGHTS, TOKENIZER))
        is_new = provenance_of(folder).get("checkpoint_digest") != record.digest or not is_whole
        if is_new:
            export_checkpoint(checkpoint, folder)
        yield folder, is_new


def export_model(
    model: Model,
    spec: ModelSpec,
    length: int,
    tokenizer_json: bytes,
    out: Path,
    about: dict[str, Any],
) -> None:
    """Export a model with a tokenizer; `about` is its provenance, in JSON values.

    length: tokens of the longest row that it was trained on, which configuration and tokenizer name
    as theirs (7,999 in the published suite).

    Raises: OutputError when `out` holds something else, or cannot be written.
    """
    _check_out(out)
    card = _card(spec, out.name, about)
    scratch = out.parent / ".partial"
    with publish(out, scratch) as temporary:
        temporary.mkdir()
        config = _config(spec, length)
        _write_json(temporary / CONFIG, config)
        weights = temporary / WEIGHTS
        save_file(
            to_transformers(model.state_dict(), spec.kind), weights, metadata={"format": "pt"}
        )
        # It is written for its owner alone; the other files have the permissions of the umask.
        weights.chmod((temporary / CONFIG).stat().st_mode)
        if spec.kind == "decoder":
            ends = {name: config[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
            _write_json(temporary / "generation_config.json", ends)
            tokenizer_json = _without_end(tokenizer_json)
        (temporary / TOKENIZER).write_bytes(tokenizer_json)
        special = _SPECIAL | (_OF_DECODER if spec.kind == "decoder" else {})
        _write_json(temporary / "tokenizer_config.json", _tokenizer_config(special, length))
        _write_json(temporary / "special_tokens_map.json", special)
        _write_json(temporary / PROVENANCE, {"format": FORMAT, **about})
        (temporary / "README.md").write_text(card)
    # It stays if another export uses it.
    with suppress(OSError):
        scratch.rmdir()


def example(kind: str, folder: str) -> str:
    """Return the example on the card: fill-mask for an encoder, generation for a decoder."""
    return f"folder = {folder!r}\n\n{_LOADING[kind]}"


def _loaded_by(spec: ModelSpec) -> str:
    if spec.kind == "decoder" and spec.global_theta != spec.local_theta:
        return "transformers 5 or later (4.x has one rotary base for all layers of a decoder)"
    return "transformers 4.56 or later"


def shape_of(checkpoint: Path, record: CheckpointRecord) -> tuple[ModelSpec, int]:
    """Return the model of a checkpoint, and the longest row that it was trained on.

    Raises: InputError when another version declared it.
    """
    declaration = record.recipe.declaration
    try:
        spec = read_model(declaration["model"], "model")
        length = declaration["max_seq_len"]
        if type(length) is not int or not 0 < length <= spec.max_positions:
            most = f"an integer from 1 to {spec.max_positions:,}"
            raise ConfigError(f"max_seq_len: got {length!r}, expected {most}")
        check_vocab(spec)
    except (ConfigError, KeyError, TypeError) as error:
        raise InputError(
            f"{checkpoint}: got a model that another version declared ({error})",
            f"export it with the versions that made it: {record.code}",
        ) from error
    return spec, length


def _check_out(out: Path) -> None:
    # A folder on the way to it may not be there yet, as in `new/../old`.
    found = out.resolve()
    if not found.exists() or (found.is_dir() and not any(found.iterdir())):
        return
    if provenance_of(found).get("format") != FORMAT:
        raise OutputError(
            f"{out}: got other content, expected none, or an earlier export",
            "choose another --out",
        )


def provenance_of(out: Path) -> dict[str, Any]:
    """Return what an export says of itself; nothing where there is none."""
    try:
        content = parse_json((out / PROVENANCE).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _config(spec: ModelSpec, length: int) -> dict[str, Any]:
    """Return `config.json`, for inference: a decoder generates with a cache, an encoder has logits
    at every position.

    Versions before 5 know one rotary base by name and the distance of global layers; without them
    they silently take other defaults.
    """
    config = make_config(spec)
    config.architectures = [_CLASSES[spec.kind]]
    config.dtype = "float32"
    config.max_position_embeddings = length
    if spec.kind == "decoder":
        config.use_cache = True
    else:
        config.sparse_prediction = False
    more = {
        "classifier_pooling": "mean",
        "global_rope_theta": float(spec.global_theta),
        "local_rope_theta": float(spec.local_theta),
        "global_attn_every_n_layers": spec.global_every,
        "layer_norm_eps": config.norm_eps,
        "position_embedding_type": "sans_pos",
    }
    return {**json.loads(config.to_json_string()), **more}


def _without_end(tokenizer_json: bytes) -> bytes:
    """Return a tokenizer that begins a text with `[CLS]` and leaves its end open.

    A decoder continues what it is given; behind the `[SEP]` that the rows of training end with, it
    would begin another document.
    """
    tokenizer = json.loads(tokenizer_json)
    frame = tokenizer["post_processor"]
    for form in ("single", "pair"):
        frame[form] = [
            part for part in frame[form] if part.get("SpecialToken", {}).get("id") != _END
        ]
    return json.dumps(tokenizer, ensure_ascii=False).encode()


def _tokenizer_config(special: dict[str, str], length: int) -> dict[str, Any]:
    return {
        **special,
        # With True, older versions decode " ." as ".".
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": length,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _card(spec: ModelSpec, name: str, about: dict[str, Any]) -> str:
    task = "fill-mask" if spec.kind == "encoder" else "text-generation"
    layers = "1 layer" if spec.num_layers == 1 else f"{spec.num_layers} layers"
    facts = [f"| {key.replace('_', ' ')} | {_cell(value)} |\n" for key, value in about.items()]
    return f"""\
---
language: en
library_name: transformers
license: mit
pipeline_tag: {task}
tags:
- modernbert
- ettin
- {spec.kind}
---
# {name}

A ModernBERT {spec.kind} of {layers} and width {spec.hidden_size}. Needs {_loaded_by(spec)}.

```python
{example(spec.kind, name).rstrip()}
```

## Provenance

| | |
|---|---|
{"".join(facts)}
## Citation

The recipe is that of the Ettin suite:

```bibtex
{_CITATION}```
"""


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
