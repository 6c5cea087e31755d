"""Models to start from: a folder that `transformers` loads, or a repository of the Hub, -> weights.

An export of ours is one, and so are the published models of the suite. Of their two layouts the
decoder's is joined again: queries, keys and values are one matrix here.
"""

import json
from pathlib import Path
from typing import Any, Final

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, float32

from pipeline.config import ModelKind, ModelSpec, read_model
from pipeline.core.digest import FileDigest
from pipeline.core.errors import ConfigError, InputError
from pipeline.stages.tokenizer import EMBEDDED, read_json, read_special_ids
from pipeline.train.hub_models import PROVENANCE, download_model, is_hub_model
from pipeline.train.models import Model
from pipeline.train.weights import convert_kind, from_transformers

CONFIG: Final = "config.json"
WEIGHTS: Final = "model.safetensors"
TOKENIZER: Final = "tokenizer.json"
KINDS: Final[dict[str, ModelKind]] = {
    "ModernBertForMaskedLM": "encoder",
    "ModernBertDecoderForCausalLM": "decoder",
}
# By the names of `transformers`.
_SHAPE: Final = {
    "num_hidden_layers": "num_layers",
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "num_attention_heads": "num_heads",
    "vocab_size": "vocab_size",
}


def find_model(where: str | Path) -> Path | None:
    """Return the folder of a model in the layout of `transformers`; None if there is none.

    where: a path, or hf://ORG/NAME[@REVISION], which is downloaded into the cache of the Hub.

    Raises: InputError or NetworkError when a repository cannot be read.
    """
    if is_hub_model(where):
        return download_model(str(where), [CONFIG, WEIGHTS, TOKENIZER, PROVENANCE])
    folder = Path(where)
    return folder if (folder / CONFIG).is_file() else None


def weights_digest(folder: Path) -> str:
    """Return the sha256 of the weights of a model. Raises: InputError when it has none."""
    try:
        return FileDigest.of(folder / WEIGHTS).sha256
    except OSError as error:
        raise InputError(
            f"{folder}: got no {WEIGHTS} ({error.strerror}), expected the weights in one file"
        ) from error


def declared_model(folder: Path) -> tuple[ModelSpec, int]:
    """Return the shape that a model declares, and the longest row that it takes.

    Raises: InputError when the folder is no such model.
    """
    path = folder / CONFIG
    config = _read(path)
    kind = _kind(path, config)
    try:
        bases = config.get("rope_parameters") or {}
        # Older versions name the bases; of a decoder 2 more positions are declared than are seen.
        shape = {
            "kind": kind,
            **{ours: int(config[theirs]) for theirs, ours in _SHAPE.items()},
            "max_positions": int(config["max_position_embeddings"]),
            "global_theta": _base(bases.get("full_attention"), config.get("global_rope_theta")),
            "local_theta": _base(bases.get("sliding_attention"), config.get("local_rope_theta")),
            "local_window": int(config["local_attention"]) - (2 if kind == "decoder" else 0),
            "global_every": int(config["global_attn_every_n_layers"]),
            "dropout": "0/1",
        }
        spec = read_model(shape, "model")
        check_vocab(spec)
        return spec, spec.max_positions
    except (AttributeError, ConfigError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: got a model of another shape: {error}") from error


def check_vocab(spec: ModelSpec) -> None:
    """Raises: ConfigError for a model that knows fewer ids than the tokenizer has."""
    least = read_special_ids(EMBEDDED, read_json(EMBEDDED)).vocab_size
    if spec.vocab_size < least:
        got = f"model.vocab_size: got {spec.vocab_size:,}"
        raise ConfigError(f"{got}, expected at least {least:,}, the ids of the tokenizer")


def _base(of_layers: Any, named: Any) -> int:
    return int(of_layers["rope_theta"] if of_layers else named)


def load_weights(folder: Path, spec: ModelSpec) -> dict[str, Tensor]:
    """Return the weights of a model of either kind by the names of a model of `spec`, as float32.

    Raises: InputError when the folder is no such model, or one of another shape or tokenizer.
    """
    kind = _check_config(folder, spec)
    _check_tokenizer(folder)
    try:
        stored = load_file(folder / WEIGHTS)
        weights = from_transformers(stored, kind)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder / WEIGHTS}: cannot be read: {error}") from error
    except KeyError as error:
        raise InputError(
            f"{folder / WEIGHTS}: got no tensor {error.args[0]}, expected one in every {kind}"
        ) from error
    return {name: one.to(float32) for name, one in convert_kind(weights, spec.kind).items()}


def fill_model(model: Model, folder: Path, spec: ModelSpec) -> None:
    """Load the weights of `load_weights` into a model of `spec`. Raises: InputError."""
    try:
        model.load_state_dict(load_weights(folder, spec))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}: got weights of another model: {reason[:300]}") from error


def _check_config(folder: Path, spec: ModelSpec) -> ModelKind:
    """Insist on a shape; return the kind."""
    config = _read(folder / CONFIG)
    kind = _kind(folder / CONFIG, config)
    changes = [
        f"{theirs} {config.get(theirs)}, here {getattr(spec, ours)}"
        for theirs, ours in _SHAPE.items()
        if config.get(theirs) != getattr(spec, ours)
    ]
    if changes:
        raise InputError(
            f"{folder}: got a model of another shape than the recipe's: {'; '.join(changes)}",
            "use a recipe with the same model",
        )
    return kind


def _kind(path: Path, config: dict[str, Any]) -> ModelKind:
    architectures = config.get("architectures")
    named = architectures if isinstance(architectures, list) else []
    kinds = [kind for name, kind in KINDS.items() if name in named]
    if len(kinds) != 1:
        raise InputError(
            f"{path}: got the architectures {architectures}, expected one of {', '.join(KINDS)}"
        )
    return kinds[0]


def _check_tokenizer(folder: Path) -> None:
    """Insist that ids mean the same; what is put around a text may differ."""
    theirs, ours = _read(folder / TOKENIZER), json.loads(read_json(EMBEDDED))
    try:
        is_same = _pieces(theirs) == _pieces(ours)
    except (AttributeError, KeyError, TypeError):
        is_same = False
    if not is_same:
        raise InputError(
            f"{folder / TOKENIZER}: got another tokenizer, expected {EMBEDDED}, since the ids of"
            " the rows are its"
        )


def _pieces(tokenizer: dict[str, Any]) -> tuple[Any, Any, Any]:
    model = tokenizer.get("model") or {}
    # A merge is a pair, or both joined by a space.
    merges = [one.split(" ") if isinstance(one, str) else one for one in model.get("merges") or ()]
    added = {one["content"]: one["id"] for one in tokenizer.get("added_tokens") or ()}
    return model.get("vocab"), merges, added


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read: {error.strerror}, expected a model as transformers saves it"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: got {type(content).__name__}, expected an object of JSON")
    return content
