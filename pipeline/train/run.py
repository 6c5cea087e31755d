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

from pipeline.checkpoint import Clock, Record, Seen, read_record
from pipeline.errors import MixtureError, OutputError, TrainingError
from pipeline.feed import Feed, FeedOrder
from pipeline.ledger import multiset_of, root_of_multiset
from pipeline.recipe import Recipe, checkpoint_prefix, learning_rate
from pipeline.train import checkpoints
from pipeline.train.convert import cross
from pipeline.train.evaluate import evaluate, is_evaluated
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
    """Rows to evaluate on."""
    begun_from: str | None = None
    """The digest of the checkpoint that the phase began with."""
    clock: Clock = field(default_factory=lambda: Clock(num_steps=0, next_row=0, num_tokens=0))
    """How far the phase has come."""
    evaluated_at: int | None = None
    """After how many steps the last evaluation was."""
    since_row: int = 0
    """The row at which the checkpoint before was saved."""
    multiset: int = 0
    """The sum of the digests of the rows so far."""
    tombstones: list[tuple[int, int]] = field(default_factory=list)
    """Ranges of rows that were stood in for, rising."""

    def resume(self, folder: Path) -> None:
        """Go on from a checkpoint of this run.

        Raises: OutputError when it is of another recipe; MismatchError when it is of another order,
        or damaged.
        """
        record = read_record(folder)
        if record.recipe["fingerprint"] != self.recipe.fingerprint:
            raise OutputError(
                f"{folder}: got a checkpoint of another recipe, {record.recipe['name']!r}"
                f" ({record.recipe['fingerprint'][:12]}), expected one of {self.recipe.name!r}"
                f" ({self.recipe.fingerprint[:12]})",
                "choose another --out, or go on with the recipe it was begun with",
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
        kind = read_record(folder).recipe["declaration"]["model"]["kind"]
        if self.recipe.start == "continue":
            if kind != self.recipe.model.kind:
                raise MixtureError(
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
        recipe, begun_at = self.recipe, self.clock.num_steps
        with closing(load_batches(self.feed, self.model)) as loaded:
            while self.clock.num_tokens < recipe.tokens and self.clock.num_steps != max_steps:
                before = self.clock
                facts = self._step(loaded)
                if facts is None:
                    told.tell("over", before.num_steps, {"num_tokens": before.num_tokens})
                    break
                told.tell("train", self.clock.num_steps, facts)
                if _passes(recipe.evaluate_every_tokens, before, self.clock):
                    self._evaluate(told)
                if _passes(recipe.save_every_tokens, before, self.clock):
                    self._save(told)
        if self.clock.num_steps not in (begun_at, self.evaluated_at):
            self._evaluate(told)
        if self.clock.next_row != self.since_row:
            self._save(told)

    def _step(self, loaded: Iterator[Loaded]) -> dict[str, Any] | None:
        """Take one step; None when the order is over."""
        began = perf_counter()
        taking = _Taking(loaded)
        batches = taking.step()
        if batches is None:
            return None
        recipe, start_row = self.recipe, self.clock.next_row
        rate = self._rate()
        try:
            totals = take_step(
                self.forward, self.optimizer, batches, rate=rate, seed=recipe.seed, ranks=self.ranks
            )
        except FloatingPointError as error:
            raise self._astray(taking.last, str(error)) from error
        num_steps, next_row = self.clock.num_steps + 1, taking.last.next_row
        self.clock = Clock(
            num_steps=num_steps,
            next_row=next_row,
            num_tokens=self.clock.num_tokens + totals.num_tokens,
        )
        step_sum = self._account(taking)
        seconds = perf_counter() - began
        return {
            "loss": totals.loss,
            "learning_rate": rate,
            "rows": [start_row, next_row],
            "rows_multiset": root_of_multiset(step_sum),
            "num_tokens": totals.num_tokens,
            "num_labels": totals.num_labels,
            "tokens_seen": self.clock.num_tokens,
            "tokens_per_second": totals.num_tokens / seconds,
            "waiting": taking.waited / seconds,
        }

    def _rate(self) -> float:
        recipe = self.recipe
        peak = recipe.optimizer.peak_rate
        return learning_rate(recipe.learning_rate, peak, self.clock.num_tokens, recipe.tokens)

    def _astray(self, last: Loaded, loss: str) -> TrainingError:
        start, stop = self.clock.next_row, last.next_row
        kept = checkpoints.latest(self.out)
        stays = "no checkpoint was saved yet" if kept is None else f"{kept} stays as it was"
        return TrainingError(
            f"step {self.clock.num_steps + 1}, rows {start}:{stop}: got a loss of {loss}, expected"
            " a number",
            f"{stays}; look at the rows (`ettin-data trace`), or lower the learning rate",
        )

    def _account(self, taking: "_Taking") -> int:
        """Note the rows of a step over all ranks, and return the sum of their digests."""
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
        return step_sum

    def _evaluate(self, told: "_Telling") -> None:
        if self.validation is None or not is_evaluated(self.recipe):
            return
        self.evaluated_at = self.clock.num_steps
        found = evaluate(
            self.model, self.forward, self.validation, self.recipe, self.feed.special, self.ranks
        )
        facts = {"loss": found.loss, "num_labels": found.num_labels, "num_rows": found.num_rows}
        told.tell("validation", self.clock.num_steps, facts)

    def _save(self, told: "_Telling") -> None:
        name = f"{checkpoint_prefix(self.recipe.phase)}{self.clock.num_steps}"
        if self.ranks.is_first:
            checkpoints.save(self.out, self._record(name), self.model, self.optimizer)
        self.ranks.wait()
        told.tell("checkpoint", self.clock.num_steps, {"path": str(self.out / name)})
        self.since_row = self.clock.next_row

    def _record(self, name: str) -> Record:
        recipe = self.recipe
        return Record(
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

    def step(self) -> Iterator[Loaded] | None:
        """Return the micro-batches of a step; None when there are no more."""
        first = self._next()
        return None if first is None else self._from(first)

    def _from(self, batch: Loaded | None) -> Iterator[Loaded]:
        while batch is not None:
            self.last = batch
            self.tombstones.append(batch.tombstones)
            self.digests.append(batch.digests)
            yield batch
            batch = None if batch.ends_step else self._next()

    def _next(self) -> Loaded | None:
        began = perf_counter()
        batch = next(self._loaded, None)
        self.waited += perf_counter() - began
        return batch


class _Telling:
    """Tells of what happens: in the metrics, and to whoever watches."""

    def __init__(self, metrics: Metrics | None, show: Show) -> None:
        self._metrics, self._show = metrics, show

    def tell(self, kind: str, num_steps: int, facts: dict[str, Any]) -> None:
        """Tell of an event after `num_steps` steps; only the first rank has metrics."""
        if self._metrics is not None:
            self._metrics.add(kind, num_steps, facts)
            self._show(kind, num_steps, facts)


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
