"""Models to evaluate: checkpoints of a run, exports and models of the Hub, loaded one at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.config import ModelKind
from pipeline.core.errors import InputError
from pipeline.core.json_record import parse_json
from pipeline.dataset import checkpoints_in, read_record
from pipeline.train import attention, checkpoints
from pipeline.train.export import shape_of
from pipeline.train.hub_models import PROVENANCE
from pipeline.train.models import Model, make_uninitialized
from pipeline.train.pretrained import declared_model, find_model, load_weights


@dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """A model that is evaluated, and what is known of its training."""

    name: str
    kind: ModelKind
    model: Model
    max_seq_len: int
    order: str | None
    """The digest of the order of its last phase; None where nothing says which."""
    num_rows: int | None
    """The rows of that order that it has seen, from the first on."""
    num_tokens: int | None
    """Of these rows."""


def find_models(where: str) -> list[Path]:
    """Return the checkpoints in a folder, by steps, or the one model that it is.

    where: a checkpoint, a folder of them or of their exports, an export, or hf://ORG/NAME[@REVISION].

    Raises: InputError when there is none.
    """
    model = find_model(where)
    if model is not None:
        return [model]
    found = checkpoints_in(Path(where))
    if not found:
        exports = [one.parent for one in Path(where).glob(f"*/{PROVENANCE}")]
        found = sorted(exports, key=lambda one: (_provenance(one).get("num_steps", 0), one.name))
    if not found:
        raise InputError(
            f"{where}: got no model, expected a checkpoint, an export, or a folder of them",
            "name the output of `ettin-data train` or `export`, or hf://ORG/NAME",
        )
    return found


def open_models(paths: Sequence[tuple[str, Path]], device: torch.device) -> Iterator[OpenedModel]:
    """Yield models, each with the name to show; the one before may be freed.

    Raises: InputError for what cannot be loaded, MismatchError for what is damaged.
    """
    for name, path in paths:
        is_export = find_model(path) is not None
        yield _open_model(name, path, device) if is_export else _open_checkpoint(name, path, device)


def _open_checkpoint(name: str, path: Path, device: torch.device) -> OpenedModel:
    record = read_record(path)
    spec, length = shape_of(path, record)
    model = make_uninitialized(spec)
    checkpoints.load(path, model, None)
    return OpenedModel(
        name=name,
        kind=spec.kind,
        model=_ready(model, device),
        max_seq_len=length,
        order=record.seen.order,
        num_rows=record.clock.next_row,
        num_tokens=record.clock.num_tokens,
    )


def _open_model(name: str, folder: Path, device: torch.device) -> OpenedModel:
    spec, length = declared_model(folder)
    model = make_uninitialized(spec)
    model.load_state_dict(load_weights(folder, spec))
    about = _provenance(folder)
    rows = about.get("rows")
    return OpenedModel(
        name=name,
        kind=spec.kind,
        model=_ready(model, device),
        max_seq_len=length,
        order=about.get("order"),
        num_rows=rows[1] if rows else None,
        num_tokens=about.get("num_tokens"),
    )


def _ready(model: Model, device: torch.device) -> Model:
    nn.Module.to(model, device)
    attention.set_backend(model, attention.best_backend(device, is_bf16=False))
    model.train(False)
    return model


def _provenance(folder: Path) -> dict[str, Any]:
    try:
        content = parse_json((folder / PROVENANCE).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
