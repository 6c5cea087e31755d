"""Save and load checkpoints: all that a training run needs to resume exactly.

A checkpoint is a folder, published whole or not at all, named like those of the suite. It holds no
generator state, since every random number is derived from a key.
"""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError

import torch
from optimi import StableAdamW
from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from pipeline.core.digest import FileDigest
from pipeline.core.errors import InputError
from pipeline.core.files import publish
from pipeline.dataset import CheckpointRecord, check_files, read_record, write_record
from pipeline.train.optimizer import load_state

WEIGHTS = "model.safetensors"
OPTIMIZER = "optimizer.pt"
SCRATCH = ".scratch"
_OS_ERROR = re.compile(r"\(os error ([0-9]+)\)")


def save(
    out: Path, record: CheckpointRecord, model: nn.Module, optimizer: StableAdamW
) -> CheckpointRecord:
    """Publish a checkpoint below a folder, and return its record with the files it pins.

    Raises: OutputError when the disk is full or not writable; earlier checkpoints stay.
    """
    scratch = out / SCRATCH
    # A killed run may have left an unfinished one.
    shutil.rmtree(scratch, ignore_errors=True)
    with publish(out / record.name, scratch) as temporary:
        temporary.mkdir()
        with _as_os_error(), (temporary / OPTIMIZER).open("wb") as file:
            # save_model knows of tensors that share memory, such as the tied embedding.
            save_model(model, str(temporary / WEIGHTS))
            torch.save(optimizer.state_dict(), file)
        files = {name: FileDigest.of(temporary / name) for name in (WEIGHTS, OPTIMIZER)}
        record = replace(record, files=files)
        write_record(temporary, record)
    shutil.rmtree(scratch, ignore_errors=True)
    return record


def load(folder: Path, model: nn.Module, optimizer: StableAdamW | None) -> CheckpointRecord:
    """Fill a model of the record's shape, and an optimizer if given; return the record.

    Raises: InputError when the folder is no checkpoint, or its tensors are not those of the model;
    MismatchError when a file was changed.
    """
    record = read_record(folder)
    check_files(folder, record)
    with _usable(folder / WEIGHTS):
        load_model(model, str(folder / WEIGHTS), device=str(next(model.parameters()).device))
    if optimizer is not None:
        with _usable(folder / OPTIMIZER):
            # Tensors and numbers alone: a pickle may run anything.
            state = torch.load(folder / OPTIMIZER, map_location="cpu", weights_only=True)
            load_state(optimizer, state)
    return record


@contextmanager
def _usable(path: Path) -> Iterator[None]:
    """Refuse a file that its record names and that is not ours. Raises: InputError."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # Of many types, by what is wrong.
        reason = " ".join(str(error).split())
        if isinstance(error, UnpicklingError):
            reason = "objects that are neither tensors nor numbers, which may run code"
        raise InputError(
            f"{path}: got {reason[:300]}, expected the tensors of this model",
            "use another checkpoint",
        ) from error


@contextmanager
def _as_os_error() -> Iterator[None]:
    """Raise the OSError behind a library's own error, such as that of a full disk."""
    try:
        yield
    except SafetensorError as error:
        found = _OS_ERROR.search(str(error))
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1]))) from error
    except RuntimeError as error:
        # torch raises it while it handles the error of the file.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise
