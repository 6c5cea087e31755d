"""A phase: a recipe, rows in order and a folder -> a run, begun or gone on with, and its end.

Enters: what a person asks for. Leaves: the last checkpoint of the phase. All that can be refused is
refused before the first step.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import torch
from torch import nn

from pipeline.config import Recipe
from pipeline.core.errors import ConfigError, OutputError
from pipeline.core.files import writing
from pipeline.dataset import checkpoints_in, find_checkpoint, latest_checkpoint, read_record
from pipeline.feed import Clm, Mlm, OnDamage, make_feed, open_order, special_ids
from pipeline.train import attention
from pipeline.train.evaluate import is_evaluated, open_validation
from pipeline.train.metrics import Metrics
from pipeline.train.models import make_model
from pipeline.train.optimizer import make_optimizer
from pipeline.train.ranks import Ranks, join_ranks
from pipeline.train.run import Run, Show
from pipeline.train.step import make_forward

_LOCK = ".lock"


def train(
    recipe: Recipe,
    data: str,
    out: Path,
    *,
    begin_from: Path | None,
    max_steps: int | None,
    device: str | None,
    is_deterministic: bool,
    on_damage: OnDamage,
    show: Show,
) -> Path | None:
    """Train a phase, or what is left of it, and return where its last checkpoint lies.

    Of several ranks only the first returns it.

    data: what `open_order` opens; out: a folder of this phase's own; begin_from: a checkpoint of
    the phase before, or a folder of them; max_steps: where to stop before the phase is over; device
    as for `join_ranks`; is_deterministic: whether a GPU is to add up in one order.

    Raises: ConfigError, InputError, OutputError, MismatchError or TrainingError.
    """
    last = _last_of(out)
    _check_start(recipe, begin_from, last)
    with _determined(is_deterministic), join_ranks(device) as ranks:
        run = _open(recipe, data, out, ranks, on_damage)
        if last is not None:
            run.resume(last)
        elif begin_from is not None:
            run.begin(find_checkpoint(begin_from))
        if not ranks.is_first:
            run.steps(None, show, max_steps)
            return None
        with _hold(out), closing(Metrics(out, run.clock.num_steps)) as metrics:
            run.steps(metrics, show, max_steps)
    return latest_checkpoint(out)


@contextmanager
def _hold(out: Path) -> Iterator[None]:
    """Keep other runs out of a folder."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        lock = (out / _LOCK).open("w")
    with lock:
        try:
            # Released by the system when this process ends, however it ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"{out}: another run is at work in it", "wait for it, or choose another --out"
            ) from error
        yield


@contextmanager
def _determined(is_deterministic: bool) -> Iterator[None]:
    """Let torch take kernels that give the same bits each time, where there are any."""
    before = torch.are_deterministic_algorithms_enabled()
    if is_deterministic:
        # What cuBLAS asks for.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _last_of(out: Path) -> Path | None:
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: got a file, expected a folder", "choose another --out")
    return latest_checkpoint(out)


def _check_start(recipe: Recipe, begin_from: Path | None, last: Path | None) -> None:
    if recipe.start == "fresh" and begin_from is not None:
        raise ConfigError(
            f"--from: got {begin_from}, expected none, since {recipe.name} starts fresh",
            "take the recipe of a later phase",
        )
    if last is not None:
        _check_origin(last, begin_from)
    elif recipe.start != "fresh" and begin_from is None:
        raise ConfigError(
            f"{recipe.name}: got no --from, expected the checkpoint that it starts from",
            "name a checkpoint, or the --out of the phase before",
        )


def _check_origin(last: Path, begin_from: Path | None) -> None:
    """Check that a run that goes on was begun from what is named, as far as that is still there."""
    known = [] if begin_from is None else checkpoints_in(begin_from)
    digests = {read_record(path).digest for path in known}
    if digests and read_record(last).begun_from not in digests:
        raise OutputError(
            f"{last}: got a run that was begun from another checkpoint than {begin_from}",
            "choose another --out, or name the checkpoint that it was begun from",
        )


def _open(recipe: Recipe, data: str, out: Path, ranks: Ranks, on_damage: OnDamage) -> Run:
    """Open the rows and make the model."""
    order = open_order(data)
    if order.max_seq_len is not None and order.max_seq_len > recipe.max_seq_len:
        raise ConfigError(
            f"{data}: got rows of up to {order.max_seq_len:,} ids, expected up to"
            f" {recipe.max_seq_len:,}, which {recipe.name} trains on",
            "take a recipe of a longer max_seq_len, or build with a shorter order.max_seq_len",
        )
    mask_prob = recipe.objective.mask_prob
    objective = Clm() if mask_prob is None else Mlm(mask_prob=float(mask_prob), seed=recipe.seed)
    special = special_ids(order)
    if recipe.model.vocab_size < special.vocab_size:
        raise ConfigError(
            f"{recipe.name}: model.vocab_size: got {recipe.model.vocab_size:,}, expected at least"
            f" {special.vocab_size:,}, the ids of the tokenizer"
        )
    feed = make_feed(
        order,
        objective=objective,
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
    # The library's own `to` is wrapped in a way that loses its types.
    nn.Module.to(model, ranks.device)
    is_bf16 = recipe.precision == "bf16"
    attention.use(model, attention.best_backend(ranks.device, is_bf16=is_bf16))
    return Run(
        recipe=recipe,
        out=out,
        ranks=ranks,
        feed=feed,
        model=model,
        forward=make_forward(model, recipe, ranks),
        optimizer=make_optimizer(model, recipe.optimizer),
        validation=open_validation(data) if is_evaluated(recipe) else None,
    )
