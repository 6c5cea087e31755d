"""Checkpoints: a training run on disk, complete for exact continuation.

Enters: a model, its optimizer and the record of what they have seen. Leaves: a folder, published
whole or not at all, named as those of the suite: `step…`, `ext…`, `decay…` and the number of steps.
No generator's state is in it, since every random number follows from a key.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from optimi import StableAdamW
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from pipeline.checkpoint import (
    RECORD,
    Record,
    check_files,
    describe_file,
    read_record,
    write_record,
)
from pipeline.errors import InputError
from pipeline.files import publish
from pipeline.train.optimizer import load_state

WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.pt"
_SCRATCH = ".scratch"
_OS_ERROR = re.compile(r"\(os error ([0-9]+)\)")
_NAME = re.compile(r"[a-z]+([0-9]+)")


def save(out: Path, record: Record, model: nn.Module, optimizer: StableAdamW) -> Record:
    """Publish a checkpoint below a folder, and return its record with the files it pins.

    Raises: OutputError when the disk is full or not writable; what was saved before stays.
    """
    with publish(out / record.name, out / _SCRATCH) as temporary:
        temporary.mkdir()
        with _system_errors(), (temporary / OPTIMIZER).open("wb") as file:
            # It knows of tensors that share memory, as the tied embedding does.
            save_model(model, str(temporary / WEIGHTS))
            torch.save(optimizer.state_dict(), file)
        files = {name: describe_file(temporary / name) for name in (WEIGHTS, OPTIMIZER)}
        record = replace(record, files=files)
        write_record(temporary, record)
    return record


@contextmanager
def _system_errors() -> Iterator[None]:
    """Raise what the system said, of a full disk for one, where a library words it otherwise."""
    try:
        yield
    except SafetensorError as error:
        said = _OS_ERROR.search(str(error))
        if said is None:
            raise
        raise OSError(int(said[1]), os.strerror(int(said[1]))) from error
    except RuntimeError as error:
        # What torch raises when the file that it was given refuses.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def find(where: Path) -> Path:
    """Return the checkpoint that a folder is, or the last of those that lie in it.

    Raises: InputError when there is none.
    """
    if (where / RECORD).is_file():
        return where
    last = latest(where)
    if last is None:
        raise InputError(
            f"{where}: got no checkpoint, expected one, or a folder of them",
            "name what `ettin-data train` wrote, or one of its checkpoints",
        )
    return last


def latest(out: Path) -> Path | None:
    """Return the checkpoint of the most steps below a folder; None if there is none."""
    numbered = [
        (int(match[1]), path)
        for path in out.glob(f"*/{RECORD}")
        if (match := _NAME.fullmatch(path.parent.name))
    ]
    return max(numbered)[1].parent if numbered else None


def load(folder: Path, model: nn.Module, optimizer: StableAdamW | None) -> Record:
    """Fill a model, and an optimizer if one is given, and return the record.

    Raises: InputError when the folder is no checkpoint, or one of another model; MismatchError when
    a file is not as it was written.
    """
    record = read_record(folder)
    check_files(folder, record)
    try:
        load_model(model, str(folder / WEIGHTS), device=str(next(model.parameters()).device))
    except RuntimeError as error:
        told = record.recipe["declaration"]["model"]
        raise InputError(
            f"{folder}: got a model of another shape, {told}: {error}",
            "take the checkpoint of a recipe with the same model",
        ) from error
    if optimizer is not None:
        state = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
        load_state(optimizer, state)
    return record
