"""A run: one phase of a recipe, from ordered rows to checkpoints.

Enters: a recipe, an order and a folder. Leaves: checkpoints in it, and metrics. A run that finds
checkpoints of its own goes on from the last of them, and comes to the numbers that it would have
come to without the break.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from optimi import StableAdamW

from pipeline.config import CHECKPOINT_PREFIXES, Recipe, learning_rate
from pipeline.core.errors import ConfigError, InputError, MismatchError, OutputError, TrainingError
from pipeline.dataset import (
    CheckpointRecord,
    Clock,
    Seen,
    latest_checkpoint,
    multiset_of,
    read_record,
    root_of_multiset,
)
from pipeline.feed import Feed, FeedOrder
from pipeline.train import checkpoints
from pipeline.train.convert import cross
from pipeline.train.evaluate import evaluate
from pipeline.train.loader import Loaded
from pipeline.train.metrics import Metrics
from pipeline.train.models import Model, make_empty
from pipeline.train.ranks import Ranks
from pipeline.train.step import Forward, load_batches, take_step
from pipeline.version import VERSION

Show = Callable[[str, int, dict[str, Any]], None]
"""Called with a kind of event, the steps that were taken, and its facts."""


@dataclass(kw_only=True)
class Run:
    """A phase under way, on one rank."""

    recipe: Recipe
    """What is trained, and how."""
    out: Path
    """Where its checkpoints go."""
    ranks: Ranks
    """This process among all."""
    feed: Feed
    """Its rows."""
    model: Model
    """The model alone."""
    forward: Forward
    """The model with its loss, compiled and in parallel as it may be."""
    optimizer: StableAdamW
    """What changes its weights."""
    validation: FeedOrder | None
    """Rows to evaluate on; None where there are none, or the recipe does not say how."""
    begun_from: str | None = None
    """The digest of the checkpoint that the phase began with."""
    clock: Clock = field(default_factory=lambda: Clock(num_steps=0, next_row=0, num_tokens=0))
    """How far the phase has come."""
    since_row: int = 0
    """The row at which the checkpoint before was saved."""
    multiset: int = 0
    """The sum of the digests of the rows so far."""
    tombstones: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of rows that were stood in for, rising."""
    num_damages_told: int = 0
    """How many of the feed's damages were told of."""

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint of this run.

        Raises: OutputError when it is of another recipe; MismatchError when it is of another order,
        or damaged.
        """
        record = read_record(folder)
        if record.recipe["fingerprint"] != self.recipe.fingerprint:
            told = _differences(record.recipe["declaration"], self.recipe.declaration())
            raise OutputError(
                f"{folder}: got a checkpoint of another recipe than {self.recipe.name}: {told}",
                "choose another --out, or go on with the recipe that it was begun with",
            )
        if record.seen.order != self.feed.order.digest:
            raise MismatchError(
                f"{folder}: got a checkpoint of the order {record.seen.order}, and"
                f" {self.feed.order.where} is the order {self.feed.order.digest}",
                "name the rows that it was trained on, or choose another --out",
            )
        self.feed.load_state_dict(record.feed)
        checkpoints.load(folder, self.model, self.optimizer)
        self.clock, self.begun_from = record.clock, record.begun_from
        self.since_row = record.clock.next_row
        self.multiset = int.from_bytes(bytes.fromhex(record.seen.multiset_root), "little")
        self.tombstones = list(record.seen.tombstones)

    def begin(self, folder: Path) -> None:
        """Begin a phase with the weights of a checkpoint, and with its moments where they go on.

        Raises: InputError for a checkpoint of another shape; MismatchError for a damaged one.
        """
        declared = read_record(folder).recipe["declaration"]["model"]
        ours = self.recipe.declaration()["model"]
        if told := _differences(_shape(declared), _shape(ours)):
            raise InputError(
                f"{folder}: got a model of another shape than that of {self.recipe.name}: {told}",
                "take the checkpoint of a recipe with the same model",
            )
        kind = declared["kind"]
        if self.recipe.start == "continue":
            if kind != self.recipe.model.kind:
                raise ConfigError(
                    f"--from: got {folder}, of {kind} weights, expected those of the"
                    f" {self.recipe.model.kind} that {self.recipe.name} continues",
                    "a recipe that starts from weights alone may cross over",
                )
            record = checkpoints.load(folder, self.model, self.optimizer)
        else:
            source = make_empty(replace(self.recipe.model, kind=kind))
            record = checkpoints.load(folder, source, None)
            self.model.load_state_dict(cross(source.state_dict(), self.recipe.model.kind))
        self.begun_from = record.digest

    def steps(self, metrics: Metrics | None, show: Show, max_steps: int | None) -> None:
        """Take steps until the phase, its order or `max_steps` is over, and save on the way.

        Raises: TrainingError when the loss is no number; OutputError when nothing can be saved.
        """
        told = _Telling(metrics, show)
        told.say("begin", self.clock.num_steps, self._facts())
        recipe = self.recipe
        with closing(load_batches(self.feed, self.model)) as loaded:
            while not self._is_over(max_steps):
                before = self.clock
                facts = self._step(loaded)
                self._tell_damage(told)
                told.tell("train", self.clock.num_steps, facts)
                is_over = self._is_over(max_steps)
                if is_over or _passes(recipe.evaluate_every_tokens, before, self.clock):
                    self._evaluate(told)
                # Last, so that a run that goes on from it has nothing of before it to do again.
                if is_over or _passes(recipe.save_every_tokens, before, self.clock):
                    self._save(told)
                if self.clock.next_row >= self.feed.num_rows:
                    told.say("over", self.clock.num_steps, {"num_tokens": self.clock.num_tokens})

    def _facts(self) -> dict[str, Any]:
        return {
            "recipe": self.recipe.name,
            "kind": self.recipe.model.kind,
            "num_parameters": sum(one.numel() for one in self.model.parameters()),
            "device": str(self.ranks.device),
            "world_size": self.ranks.world_size,
            "num_rows": self.feed.num_rows,
            "next_row": self.clock.next_row,
            "num_validation_rows": 0 if self.validation is None else self.validation.rows.num_rows,
        }

    def _tell_damage(self, told: "_Telling") -> None:
        """Tell once of rows that this rank could not read; it may be ahead of the step."""
        for damage in self.feed.damages[self.num_damages_told :]:
            facts = {"rows": [damage.start, damage.stop], "why": damage.why}
            told.say("damage", self.clock.num_steps, facts)
        self.num_damages_told = len(self.feed.damages)

    def _is_over(self, max_steps: int | None) -> bool:
        clock = self.clock
        is_enough = max_steps is not None and clock.num_steps >= max_steps
        is_done = clock.num_tokens >= self.recipe.tokens
        return is_enough or is_done or clock.next_row >= self.feed.num_rows

    def _step(self, loaded: Iterator[Loaded]) -> dict[str, Any]:
        """Take one step, and return what there is to tell of it."""
        began = perf_counter()
        taking = _Taking(loaded)
        recipe, start_row = self.recipe, self.clock.next_row
        rate = self._rate()
        try:
            totals = take_step(
                self.forward,
                self.optimizer,
                taking.step(),
                rate=rate,
                seed=recipe.seed,
                ranks=self.ranks,
            )
        except FloatingPointError as error:
            raise self._astray(taking.last, str(error)) from error
        num_steps, next_row = self.clock.num_steps + 1, taking.last.next_row
        self.clock = Clock(
            num_steps=num_steps,
            next_row=next_row,
            num_tokens=self.clock.num_tokens + totals.num_tokens,
        )
        step_sum, num_missing = self._account(taking)
        seconds = perf_counter() - began
        return {
            "loss": totals.loss,
            "gradient_norm": totals.gradient_norm,
            "learning_rate": rate,
            "rows": [start_row, next_row],
            "rows_multiset": root_of_multiset(step_sum),
            "num_tokens": totals.num_tokens,
            "num_labels": totals.num_labels,
            "num_tombstones": num_missing,
            "tokens_seen": self.clock.num_tokens,
            "tokens_per_second": totals.num_tokens / seconds,
            "waiting": taking.waited / seconds,
        }

    def _rate(self) -> float:
        recipe = self.recipe
        peak = recipe.optimizer.peak_rate
        return learning_rate(recipe.learning_rate, peak, self.clock.num_tokens, recipe.tokens)

    def _astray(self, last: Loaded, what: str) -> TrainingError:
        start, stop = self.clock.next_row, last.next_row
        return TrainingError(
            f"step {self.clock.num_steps + 1}, rows {start}:{stop}: got {what}, expected a number",
            f"{self._stays()}; look at the rows (`ettin-data trace`), or lower the learning rate",
        )

    def _stays(self) -> str:
        kept = latest_checkpoint(self.out)
        return "no checkpoint was saved yet" if kept is None else f"{kept} stays as it was"

    def _account(self, taking: "_Taking") -> tuple[int, int]:
        """Note the rows of a step over all ranks.

        Returns the sum of their digests, and how many of them could not be read.
        """
        mine = sum(multiset_of(one) for one in taking.digests)
        limbs = [mine >> (32 * i) & 0xFFFFFFFF for i in range(9)]
        missing = [row for one in taking.tombstones for row in one.tolist()]
        counts = self.ranks.sum(torch.tensor([*limbs, len(missing)], device=self.ranks.device))
        *limbs, num_missing = counts.tolist()
        step_sum = sum(limb << (32 * i) for i, limb in enumerate(limbs))
        self.multiset += step_sum
        if num_missing:
            for row in sorted(self.ranks.join(missing)):
                _add_row(self.tombstones, row)
        return step_sum, num_missing

    def _evaluate(self, told: "_Telling") -> None:
        if self.validation is None:
            return
        found = evaluate(
            self.model, self.forward, self.validation, self.recipe, self.feed.special, self.ranks
        )
        facts = {"loss": found.loss, "num_labels": found.num_labels, "num_rows": found.num_rows}
        told.tell("validation", self.clock.num_steps, facts)

    def _save(self, told: "_Telling") -> None:
        name = f"{CHECKPOINT_PREFIXES[self.recipe.phase]}{self.clock.num_steps}"
        if self.ranks.is_first:
            checkpoints.save(self.out, self._record(name), self.model, self.optimizer)
        self.ranks.wait()
        told.tell("checkpoint", self.clock.num_steps, {"path": str(self.out / name)})
        self.since_row = self.clock.next_row

    def _record(self, name: str) -> CheckpointRecord:
        recipe = self.recipe
        return CheckpointRecord(
            name=name,
            recipe={
                "name": recipe.name,
                "fingerprint": recipe.fingerprint,
                "declaration": recipe.declaration(),
            },
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


class _Taking:
    """Takes the micro-batches of one step, and notes what a step has to tell of them."""

    def __init__(self, loaded: Iterator[Loaded]) -> None:
        self._loaded = loaded
        self.waited = 0.0
        self.digests: list[Any] = []
        self.tombstones: list[Any] = []

    def step(self) -> Iterator[Loaded]:
        """Yield the micro-batches of a step."""
        is_last = False
        while not is_last:
            began = perf_counter()
            self.last = batch = next(self._loaded)
            self.waited += perf_counter() - began
            self.tombstones.append(batch.tombstones)
            self.digests.append(batch.digests)
            is_last = batch.ends_step
            yield batch


class _Telling:
    """Tells of what happens: in the metrics, and to whoever watches."""

    def __init__(self, metrics: Metrics | None, show: Show) -> None:
        self._metrics, self._show = metrics, show

    def tell(self, kind: str, num_steps: int, facts: dict[str, Any]) -> None:
        """Tell of an event after `num_steps` steps; only the first rank has metrics."""
        if self._metrics is not None:
            self._metrics.add(kind, num_steps, facts)
            self._show(kind, num_steps, facts)

    def say(self, kind: str, num_steps: int, facts: dict[str, Any]) -> None:
        """Tell only who watches: what is no matter of a curve, or comes again when going on."""
        if self._metrics is not None:
            self._show(kind, num_steps, facts)


def _shape(model: dict[str, Any]) -> dict[str, Any]:
    """Return what the weights' shapes follow from, of a declaration of a model."""
    names = ("num_layers", "hidden_size", "intermediate_size", "num_heads", "vocab_size")
    return {name: model[name] for name in names}


def _differences(before: dict[str, Any], now: dict[str, Any], where: str = "") -> str:
    """Return in words which values differ between two declarations."""
    told = []
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            inner = _differences(old, new, f"{where}{name}.")
            told += [inner] if inner else []
        elif old != new:
            told.append(f"{where}{name} {old}, here {new}")
    return "; ".join(told)


def _passes(every_tokens: int | None, before: Clock, after: Clock) -> bool:
    """Tell whether a multiple of so many tokens was passed, as the windows of an order are cut."""
    if every_tokens is None:
        return False
    return after.num_tokens // every_tokens > before.num_tokens // every_tokens


def _add_row(ranges: list[tuple[int, int]], row: int) -> None:
    """Add a row to rising ranges."""
    if ranges and ranges[-1][1] == row:
        ranges[-1] = (ranges[-1][0], row + 1)
    elif not ranges or ranges[-1][1] < row:
        ranges.append((row, row + 1))
