"""Train one phase: fresh, from a checkpoint of the previous phase, or from its own latest one.

Everything that can be rejected is rejected before the first step.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch import nn

from pipeline import dataset
from pipeline.config import Recipe
from pipeline.core.errors import ConfigError, OutputError
from pipeline.core.files import writing
from pipeline.dataset import checkpoints_in, find_checkpoint, latest_checkpoint, read_record
from pipeline.feed import Clm, Mlm, OnDamage, make_feed, special_ids
from pipeline.stages.tokenizer import EMBEDDED
from pipeline.train import attention
from pipeline.train.metrics import Metrics
from pipeline.train.models import make_model
from pipeline.train.optimizer import make_optimizer
from pipeline.train.pretrained import find_model, weights_digest
from pipeline.train.ranks import Ranks, join_ranks
from pipeline.train.step import make_forward
from pipeline.train.training_run import ReportEvent, Run
from pipeline.train.validation import open_validation

_LOCK = ".lock"


def train(
    recipe: Recipe,
    data: str,
    out: Path,
    *,
    begin_from: str | Path | None,
    max_steps: int | None,
    device: str | None,
    is_deterministic: bool,
    on_damage: OnDamage,
    report: ReportEvent,
) -> Path | None:
    """Train a phase, or the rest of it, and return its last checkpoint; None if not the first rank.

    data: any input of `dataset.open`. out: a folder for this phase alone. begin_from: a checkpoint
    of the previous phase, a folder of them, or a model as for `find_model`. max_steps: stop there
    even if the phase is not over. device: as for `join_ranks`. is_deterministic: whether GPU
    kernels must be.

    Raises: ConfigError, InputError, OutputError, MismatchError or TrainingError.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: got a file, expected a folder", "choose another --out")
    latest = latest_checkpoint(out)
    model = None if begin_from is None else find_model(begin_from)
    _check_start(recipe, begin_from, model, latest)
    with _deterministic(is_deterministic), join_ranks(device) as ranks:
        run = _prepare(recipe, data, out, ranks, on_damage)
        if latest is not None:
            run.resume(latest)
        elif model is not None:
            run.start_from_model(model)
        elif begin_from is not None:
            run.start_from(find_checkpoint(Path(begin_from)))
        if not ranks.is_first:
            run.train(None, report, max_steps)
            return None
        with _locked(out), closing(Metrics(out, run.clock.num_steps, latest)) as metrics:
            run.train(metrics, report, max_steps)
    return latest_checkpoint(out)


def _check_start(
    recipe: Recipe, begin_from: str | Path | None, model: Path | None, latest: Path | None
) -> None:
    if recipe.start == "fresh" and begin_from is not None:
        raise ConfigError(
            f"--from: got {begin_from}, expected none, since {recipe.name} starts fresh",
            "use the recipe of a later phase, or add --set start=weights",
        )
    if latest is None:
        if recipe.start != "fresh" and begin_from is None:
            raise ConfigError(
                f"{recipe.name}: got no --from, expected the checkpoint that it starts from",
                "name a checkpoint, or the --out of the previous phase",
            )
        return
    # A run that resumes must have started from one of those, as far as they still exist.
    if model is not None:
        digests = {weights_digest(model)}
    else:
        known = [] if begin_from is None else checkpoints_in(Path(begin_from))
        digests = {read_record(path).digest for path in known}
    if digests and read_record(latest).begun_from not in digests:
        raise OutputError(
            f"{latest}: got a run that started from another checkpoint than {begin_from}",
            "choose another --out, or name the checkpoint that it started from",
        )


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / _LOCK).open("w")
    with lock:
        try:
            # The system releases it when this process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{out}: another run is using it", "wait for it, or choose another --out"
            ) from error
        yield


@contextmanager
def _deterministic(is_deterministic: bool) -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    if is_deterministic:
        # Required by cuBLAS.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _prepare(recipe: Recipe, data: str, out: Path, ranks: Ranks, on_damage: OnDamage) -> Run:
    order = dataset.open(data)
    if order.max_seq_len is not None and order.max_seq_len > recipe.max_seq_len:
        raise ConfigError(
            f"{data}: got rows of up to {order.max_seq_len:,} ids, expected up to"
            f" {recipe.max_seq_len:,}, the max_seq_len of {recipe.name}",
            "use a recipe with a longer max_seq_len, or build with a shorter order.max_seq_len",
        )
    # Only this tokenizer is exported.
    special = special_ids(order, EMBEDDED)
    if recipe.model.vocab_size < special.vocab_size:
        raise ConfigError(
            f"{recipe.name}: model.vocab_size: got {recipe.model.vocab_size:,}, expected at least"
            f" {special.vocab_size:,}, the ids of the tokenizer"
        )
    mask_prob = recipe.objective.mask_prob
    feed = make_feed(
        order,
        objective=Clm() if mask_prob is None else Mlm(mask_prob=float(mask_prob), seed=recipe.seed),
        global_batch_rows=recipe.global_batch_rows,
        micro_batch_rows=recipe.micro_batch_rows,
        rank=ranks.rank,
        world_size=ranks.world_size,
        max_seq_len=recipe.max_seq_len,
        special=special,
        on_damage=on_damage,
        digests=True,
    )
    model = make_model(recipe.model, seed=recipe.seed)
    nn.Module.to(model, ranks.device)  # The override in transformers is untyped.
    backend = attention.best_backend(ranks.device, is_bf16=recipe.precision == "bf16")
    attention.set_backend(model, backend)
    return Run(
        recipe=recipe,
        out=out,
        ranks=ranks,
        feed=feed,
        model=model,
        forward=make_forward(model, recipe, ranks),
        optimizer=make_optimizer(model, recipe.optimizer),
        validation=open_validation(data, recipe),
    )
