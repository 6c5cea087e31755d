"""Checkpoints: a training run on disk, complete for exact continuation.

Enters: a model, its optimizer and the record of what they have seen. Leaves: a folder, published
whole or not at all, named as those of the suite: `step…`, `ext…`, `decay…` and the number of steps.
No generator's state is in it, since every random number follows from a key.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from optimi import StableAdamW
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from pipeline.core.files import publish
from pipeline.dataset import CheckpointRecord, check_files, describe_file, read_record, write_record
from pipeline.train.optimizer import load_state

WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.pt"
_SCRATCH = ".scratch"
_OS_ERROR = re.compile(r"\(os error ([0-9]+)\)")


def save(
    out: Path, record: CheckpointRecord, model: nn.Module, optimizer: StableAdamW
) -> CheckpointRecord:
    """Publish a checkpoint below a folder, and return its record with the files it pins.

    Raises: OutputError when the disk is full or not writable; what was saved before stays.
    """
    clear_scratch(out)
    with publish(out / record.name, out / _SCRATCH) as temporary:
        temporary.mkdir()
        with _system_errors(), (temporary / OPTIMIZER).open("wb") as file:
            # It knows of tensors that share memory, as the tied embedding does.
            save_model(model, str(temporary / WEIGHTS))
            torch.save(optimizer.state_dict(), file)
        files = {name: describe_file(temporary / name) for name in (WEIGHTS, OPTIMIZER)}
        record = replace(record, files=files)
        write_record(temporary, record)
    clear_scratch(out)
    return record


def clear_scratch(out: Path) -> None:
    """Remove what a run that was killed had begun to save."""
    shutil.rmtree(out / _SCRATCH, ignore_errors=True)


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


def load(folder: Path, model: nn.Module, optimizer: StableAdamW | None) -> CheckpointRecord:
    """Fill a model, and an optimizer if one is given, and return the record.

    The model must have the shape that the record says.

    Raises: InputError when the folder is no checkpoint; MismatchError when a file is not as it was
    written.
    """
    record = read_record(folder)
    check_files(folder, record)
    load_model(model, str(folder / WEIGHTS), device=str(next(model.parameters()).device))
    if optimizer is not None:
        state = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
        load_state(optimizer, state)
    return record
