"""Run the steps of one phase, from rows in order to checkpoints and metrics.

Each checkpoint is of exactly known rows. A resumed run computes what an uninterrupted one would.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from optimi import StableAdamW
from torch import nn

from pipeline import dataset
from pipeline.config import CHECKPOINT_PREFIXES, Recipe, learning_rate, read_model, to_plain
from pipeline.core.errors import ConfigError, InputError, MismatchError, OutputError, TrainingError
from pipeline.dataset import (
    CheckpointRecord,
    Clock,
    RecipeRecord,
    Seen,
    latest_checkpoint,
    multiset_of,
    read_record,
    root_of_multiset,
)
from pipeline.feed import Feed
from pipeline.train import checkpoints
from pipeline.train.loader import TensorBatch
from pipeline.train.metrics import Metrics
from pipeline.train.models import Model, make_uninitialized
from pipeline.train.pretrained import fill_model, weights_digest
from pipeline.train.ranks import Ranks
from pipeline.train.step import load_batches, train_step
from pipeline.train.validation import evaluate
from pipeline.train.weights import convert_kind
from pipeline.version import VERSION

ReportEvent = Callable[[str, int, dict[str, Any]], None]
"""Called with a kind of event, the number of steps taken, and facts."""

_SHAPE = ("num_layers", "hidden_size", "intermediate_size", "num_heads", "vocab_size")
_DIGEST_LIMBS = 9


@dataclass(kw_only=True)
class Run:
    """A phase in progress, on one rank."""

    recipe: Recipe
    out: Path
    """Folder of its checkpoints."""
    ranks: Ranks
    feed: Feed
    model: Model
    forward: nn.Module
    """The model with its loss, from `make_forward`."""
    optimizer: StableAdamW
    validation: dataset.Order | None
    """From `open_validation`."""
    begun_from: str | None = None
    """The digest of the checkpoint that the phase started from."""
    clock: Clock = field(default_factory=lambda: Clock(num_steps=0, next_row=0, num_tokens=0))
    since_row: int = 0
    """The row at which the previous checkpoint was saved."""
    multiset: int = 0
    """The sum of the digests of the rows so far."""
    tombstones: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of unreadable rows, ascending."""

    def resume(self, folder: Path) -> None:
        """Resume from a checkpoint of this run.

        Raises: OutputError when it is of another recipe; MismatchError when it is of another order,
        or damaged.
        """
        record = read_record(folder)
        if record.recipe.fingerprint != self.recipe.fingerprint:
            changes = _differences(dict(record.recipe.declaration), self.recipe.declaration())
            raise OutputError(
                f"{folder}: got a checkpoint of another recipe than {self.recipe.name}: {changes}",
                "choose another --out, or resume with the recipe that it was started with",
            )
        if record.seen.order != self.feed.order.digest:
            raise MismatchError(
                f"{folder}: got a checkpoint of the order {record.seen.order}, expected"
                f" {self.feed.order.digest}, that of {self.feed.order.where}",
                "name the rows that it was trained on, or choose another --out",
            )
        self.feed.load_state_dict(record.feed)
        checkpoints.load(folder, self.model, self.optimizer)
        self.clock, self.begun_from = record.clock, record.begun_from
        self.since_row = record.clock.next_row
        self.multiset = int.from_bytes(bytes.fromhex(record.seen.multiset_root), "little")
        self.tombstones = list(record.seen.tombstones)

    def start_from(self, folder: Path) -> None:
        """Start a phase with the weights of a checkpoint, and its moments if it continues.

        Raises: InputError for a checkpoint of another shape; MismatchError for a damaged one.
        """
        declared = read_record(folder).recipe.declaration.get("model")
        found = to_plain(read_model(declared, f"{folder}: model"))
        ours = self.recipe.declaration()["model"]
        shapes = ({name: model[name] for name in _SHAPE} for model in (found, ours))
        if changes := _differences(next(shapes), next(shapes)):
            raise InputError(
                f"{folder}: got a model of another shape than {self.recipe.name}: {changes}",
                "use a checkpoint of a recipe with the same model",
            )
        kind = self.recipe.model.kind
        if self.recipe.start == "continue":
            if found["kind"] != kind:
                raise ConfigError(
                    f"--from: got {folder}, of {found['kind']} weights, expected those of the"
                    f" {kind} that {self.recipe.name} continues",
                    "only a recipe that starts from weights alone can change the kind",
                )
            record = checkpoints.load(folder, self.model, self.optimizer)
        else:
            source = make_uninitialized(replace(self.recipe.model, kind=found["kind"]))
            record = checkpoints.load(folder, source, None)
            self.model.load_state_dict(convert_kind(source.state_dict(), kind))
        self.begun_from = record.digest

    def start_from_model(self, folder: Path) -> None:
        """Start a phase with the weights of a model that `transformers` loads, without moments.

        Raises: ConfigError for a recipe that continues; InputError for a model of another shape or
        tokenizer.
        """
        if self.recipe.start != "weights":
            raise ConfigError(
                f"--from: got {folder}, which has weights alone, expected a checkpoint with the"
                f" optimizer that {self.recipe.name} continues",
                "add --set start=weights to begin with a fresh optimizer",
            )
        fill_model(self.model, folder, self.recipe.model)
        self.begun_from = weights_digest(folder)

    def train(self, metrics: Metrics | None, report: ReportEvent, max_steps: int | None) -> None:
        """Take steps until the phase, its order or `max_steps` is over; save and evaluate between.

        metrics: None except on the first rank, which alone reports.

        Raises: TrainingError when the loss is not finite; OutputError when nothing can be saved.
        """

        def emit(kind: str, facts: dict[str, Any], *, is_metric: bool = True) -> None:
            if metrics is not None:
                if is_metric:
                    metrics.add(kind, self.clock.num_steps, facts)
                report(kind, self.clock.num_steps, facts)

        begin = {
            "recipe": self.recipe.name,
            "kind": self.recipe.model.kind,
            "num_parameters": sum(one.numel() for one in self.model.parameters()),
            "device": str(self.ranks.device),
            "world_size": self.ranks.world_size,
            "num_rows": self.feed.num_rows,
            "next_row": self.clock.next_row,
            "num_validation_rows": 0 if self.validation is None else self.validation.rows.num_rows,
        }
        emit("begin", begin, is_metric=False)
        num_damages = 0
        with closing(load_batches(self.feed, self.model)) as loaded:
            while not self._is_over(max_steps):
                before = self.clock.num_tokens
                facts = self._step(loaded)
                for damage in self.feed.damages[num_damages:]:
                    damaged = {"rows": [damage.start, damage.stop], "why": damage.why}
                    emit("damage", damaged, is_metric=False)
                num_damages = len(self.feed.damages)
                emit("train", facts)
                is_due = self._is_due(self.recipe.evaluate_every_tokens, before, max_steps)
                if self.validation is not None and is_due:
                    rows, special = self.validation, self.feed.special
                    found = evaluate(
                        self.model, self.forward, rows, self.recipe, special, self.ranks
                    )
                    emit("validation", found)
                # Last, so that a run that resumes from it has nothing to repeat.
                if self._is_due(self.recipe.save_every_tokens, before, max_steps):
                    if metrics is not None:
                        metrics.sync()
                    emit("checkpoint", {"path": str(self._save())})
                if self.clock.next_row >= self.feed.num_rows:
                    emit("over", {"num_tokens": self.clock.num_tokens}, is_metric=False)

    def _is_over(self, max_steps: int | None) -> bool:
        clock = self.clock
        is_stopped = max_steps is not None and clock.num_steps >= max_steps
        is_done = clock.num_tokens >= self.recipe.tokens
        return is_stopped or is_done or clock.next_row >= self.feed.num_rows

    def _is_due(self, every_tokens: int | None, before: int, max_steps: int | None) -> bool:
        """Tell whether a step passed a multiple of some tokens, like a window, or was the last."""
        is_passed = every_tokens and self.clock.num_tokens // every_tokens > before // every_tokens
        return bool(is_passed) or self._is_over(max_steps)

    def _step(self, loaded: Iterator[TensorBatch]) -> dict[str, Any]:
        began = perf_counter()
        batches = _StepBatches(loaded)
        recipe, start_row = self.recipe, self.clock.next_row
        rate = learning_rate(
            recipe.learning_rate, recipe.optimizer.peak_rate, self.clock.num_tokens, recipe.tokens
        )
        try:
            result = train_step(
                self.forward,
                self.optimizer,
                batches,
                rate=rate,
                seed=recipe.seed,
                ranks=self.ranks,
            )
        except FloatingPointError as error:
            latest = latest_checkpoint(self.out)
            kept = "no checkpoint was saved yet" if latest is None else f"{latest} is unchanged"
            raise TrainingError(
                f"step {self.clock.num_steps + 1}, rows {start_row}:{batches.next_row}: training"
                f" diverged: {error}",
                f"{kept}; look at the rows (`ettin-data trace`), or lower the learning rate",
            ) from error
        self.clock = Clock(
            num_steps=self.clock.num_steps + 1,
            next_row=batches.next_row,
            num_tokens=self.clock.num_tokens + result.num_tokens,
        )
        multiset, num_tombstones, num_tokens_cut = self._add_rows(batches)
        seconds = perf_counter() - began
        return {
            "loss": result.loss,
            "gradient_norm": result.gradient_norm,
            "learning_rate": rate,
            "rows": [start_row, batches.next_row],
            "rows_multiset": root_of_multiset(multiset),
            "num_tokens": result.num_tokens,
            "num_tokens_cut": num_tokens_cut,
            "num_labels": result.num_labels,
            "num_tombstones": num_tombstones,
            "tokens_seen": self.clock.num_tokens,
            "tokens_per_second": result.num_tokens / seconds,
            "waiting": batches.seconds_waited / seconds,
        }

    def _add_rows(self, batches: "_StepBatches") -> tuple[int, int, int]:
        """Add a step's rows on all ranks; return their multiset, unreadable rows and cut tokens."""
        # Summed over ranks in limbs of 32 bits, which leave room for carries.
        limbs = [batches.multiset >> (32 * i) & 0xFFFFFFFF for i in range(_DIGEST_LIMBS)]
        counts = [len(batches.tombstones), batches.num_tokens_cut]
        local = torch.tensor([*limbs, *counts], device=self.ranks.device)
        *limbs, num_tombstones, num_tokens_cut = self.ranks.all_reduce(local).tolist()
        multiset = sum(limb << (32 * i) for i, limb in enumerate(limbs))
        self.multiset += multiset
        if num_tombstones:
            for row in sorted(self.ranks.all_gather(batches.tombstones)):
                _add_row(self.tombstones, row)
        return multiset, num_tombstones, num_tokens_cut

    def _save(self) -> Path:
        recipe = self.recipe
        name = f"{CHECKPOINT_PREFIXES[recipe.phase]}{self.clock.num_steps}"
        record = CheckpointRecord(
            name=name,
            recipe=RecipeRecord(
                name=recipe.name,
                fingerprint=recipe.fingerprint,
                declaration=recipe.declaration(),
            ),
            clock=self.clock,
            feed={**self.feed.state_dict(), "row": self.clock.next_row},
            seen=Seen(
                order=self.feed.order.digest,
                since_row=self.since_row,
                multiset_root=root_of_multiset(self.multiset),
                tombstones=tuple(self.tombstones),
            ),
            begun_from=self.begun_from,
            code={"ettin-data": VERSION, "torch": torch.__version__},
            files={},
        )
        if self.ranks.is_first:
            checkpoints.save(self.out, record, self.model, self.optimizer)
        self.ranks.barrier()
        self.since_row = self.clock.next_row
        return self.out / name


class _StepBatches:
    """The micro-batches of one step; iterating records what the step reports."""

    def __init__(self, loaded: Iterator[TensorBatch]) -> None:
        self._loaded = loaded
        self.seconds_waited = 0.0
        self.multiset = 0
        self.tombstones: list[int] = []
        self.num_tokens_cut = 0
        self.next_row = 0

    def __iter__(self) -> Iterator[TensorBatch]:
        is_last = False
        while not is_last:
            began = perf_counter()
            batch = next(self._loaded)
            self.seconds_waited += perf_counter() - began
            assert batch.digests is not None
            self.multiset += multiset_of(batch.digests)
            self.tombstones += batch.tombstones.tolist()
            self.num_tokens_cut += batch.num_tokens_cut
            self.next_row, is_last = batch.next_row, batch.ends_step
            yield batch


def _differences(before: dict[str, Any], now: dict[str, Any], where: str = "") -> str:
    found = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = _differences(old, new, f"{where}{name}.")
            found += [inner] if inner else []
        elif old != new:
            found.append(f"{where}{name} {old}, here {new}")
    return "; ".join(found)


def _add_row(ranges: list[tuple[int, int]], row: int) -> None:
    if ranges and ranges[-1][1] == row:
        ranges[-1] = (ranges[-1][0], row + 1)
    elif not ranges or ranges[-1][1] < row:
        ranges.append((row, row + 1))
