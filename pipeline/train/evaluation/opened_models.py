"""Models to evaluate: checkpoints, exports and models of the Hub, found first and loaded later."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from pipeline.config import ModelKind
from pipeline.core.errors import InputError
from pipeline.dataset import CheckpointRecord, checkpoints_in, read_record
from pipeline.train import attention, checkpoints
from pipeline.train.export import provenance_of, shape_of
from pipeline.train.models import Model, make_uninitialized
from pipeline.train.pretrained import CONFIG, declared_model, fill_model, find_model


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundModel:
    """A model to evaluate, and what is known of its training."""

    name: str
    """As it is printed."""
    path: Path
    record: CheckpointRecord | None
    """Of a checkpoint; None of a model as `transformers` saves it."""
    order: str | None
    """The digest of the order of its last phase; None where nothing says which."""
    num_rows: int | None
    """The rows of that order that it has seen, from the first on."""
    num_tokens: int | None
    """Of these rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedModel:
    """A model in memory."""

    kind: ModelKind
    model: Model
    max_seq_len: int


def find_models(where: str) -> list[FoundModel]:
    """Return the checkpoints or exports in a folder, by steps, or the one model that it is.

    where: a path, or hf://ORG/NAME[@REVISION].

    Raises: InputError when there is none, MismatchError for a damaged record.
    """
    model = find_model(where)
    if model is not None:
        return [_model(where, model)]
    found = [_checkpoint(_name(where, path), path) for path in checkpoints_in(Path(where))]
    if not found:
        exports = {
            path.parent: provenance_of(path.parent) for path in Path(where).glob(f"*/{CONFIG}")
        }
        by_steps = sorted(exports, key=lambda one: (exports[one].get("num_steps", 0), one.name))
        found = [_model(_name(where, path), path) for path in by_steps]
    if not found:
        raise InputError(
            f"{where}: got no model, expected a checkpoint, an export, or a folder of them",
            "name the output of `ettin-data train` or `export`, or hf://ORG/NAME",
        )
    return found


def _name(where: str, path: Path) -> str:
    return where if Path(where) == path else f"{where.rstrip('/')}/{path.name}"


def _checkpoint(name: str, path: Path) -> FoundModel:
    record = read_record(path)
    return FoundModel(
        name=name,
        path=path,
        record=record,
        order=record.seen.order,
        num_rows=record.clock.next_row,
        num_tokens=record.clock.num_tokens,
    )


def _model(name: str, path: Path) -> FoundModel:
    about = provenance_of(path)
    rows = about.get("rows")
    return FoundModel(
        name=name,
        path=path,
        record=None,
        order=about.get("order"),
        num_rows=rows[1] if rows else None,
        num_tokens=about.get("num_tokens"),
    )


def open_model(found: FoundModel, device: torch.device) -> OpenedModel:
    """Load a model. Raises: InputError for what cannot be loaded, MismatchError for damage."""
    if found.record is None:
        spec, length = declared_model(found.path)
        model = make_uninitialized(spec)
        fill_model(model, found.path, spec)
    else:
        spec, length = shape_of(found.path, found.record)
        model = make_uninitialized(spec)
        checkpoints.load(found.path, model, None)
    nn.Module.to(model, device)
    attention.set_backend(model, attention.best_backend(device, is_bf16=False))
    model.train(False)
    return OpenedModel(kind=spec.kind, model=model, max_seq_len=length)
