"""Models to evaluate: checkpoints, exports and models of the Hub, found first and loaded later."""

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import nn

from pipeline.config import ModelKind
from pipeline.core.errors import InputError
from pipeline.core.json_record import from_json
from pipeline.dataset import CheckpointRecord, checkpoints_in, read_record
from pipeline.train import attention, checkpoints
from pipeline.train.export import FORMAT, provenance_of, shape_of
from pipeline.train.hub_models import PROVENANCE
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

    name: str
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
            path.parent: _training_of(path.parent) for path in Path(where).glob(f"*/{CONFIG}")
        }
        by_steps = sorted(exports, key=lambda one: (exports[one].num_steps, one.name))
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
    training = _training_of(path)
    return FoundModel(
        name=name,
        path=path,
        record=None,
        order=training.order,
        num_rows=training.rows and training.rows[1],
        num_tokens=training.num_tokens,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Training:
    """What an export says of its training, as far as it does."""

    order: str | None = None
    rows: tuple[int, int] | None = None
    num_steps: int = 0
    num_tokens: int | None = None


def _training_of(folder: Path) -> _Training:
    about = provenance_of(folder)
    if about.get("format") != FORMAT:
        return _Training()
    known = [one.name for one in fields(_Training)]
    try:
        return from_json(_Training, {name: about[name] for name in known if name in about})
    except ValueError as error:
        raise InputError(
            f"{folder / PROVENANCE}: {error}", "export the checkpoint again"
        ) from error


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
    return OpenedModel(name=found.name, kind=spec.kind, model=model, max_seq_len=length)
