"""Rules of training: whatever stops a run, it ends in the checkpoints of one that nothing stopped.

The model is one run for each order, on one rank, that saves and evaluates after every step. The
order is the reference of the world's inputs and mixture, so that training waits for no build.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support import builds

from pipeline import dataset
from pipeline.dataset import (
    CheckpointRecord,
    check_files,
    checkpoints_in,
    latest_checkpoint,
    read_record,
)

from . import training
from .disk import KINDS, Disk
from .model import Key, World

_SIZES = st.sampled_from([1, 1, 2])
_STEPS = st.integers(1, 6)
_AT = st.integers(1, 100)


class TrainRule:
    """Train, or go on with a run, to a step and on any number of ranks."""

    world: World
    trained: Key | None = None
    """The key of the order that the checkpoints were trained on; None if there are none."""

    @property
    def run_folder(self) -> Path:
        return self.world.folder / "run"

    @property
    def is_trainable(self) -> bool:
        """Whether the checkpoints, if any, are of the order that there is now."""
        return self.trained in (None, self.world.key)

    @property
    def num_saved(self) -> int:
        latest = latest_checkpoint(self.run_folder)
        return 0 if latest is None else read_record(latest).clock.num_steps

    @rule(steps=_STEPS, size=_SIZES)
    def train(self, steps: int, size: int) -> None:
        before, num_saved = self.left(), self.num_saved
        done = self.train_to(steps, size)
        if self.is_trainable:
            assert done.is_good, done.stderr
            self.note_trained(max(steps, num_saved))
            # What a failing disk could not remove is gone with the next run.
            assert not (self.run_folder / ".scratch").exists()
        elif self.order_of(self.trained) != self.order_of(self.world.key):
            assert done.code == 1, done
            assert "a checkpoint of the order" in done.stderr, done.stderr
            assert self.left() == before, "a run on another order was changed"
        else:
            # The inputs differ in documents that are held out alone.
            assert done.code in (0, 1), done
            shutil.rmtree(self.run_folder)
            self.trained = None

    def train_to(self, steps: int, size: int, disk: Disk | None = None) -> Any:
        recipe = training.write_recipe(self.world.folder)
        command = training.command(recipe, self.world.reference().out, self.run_folder)
        return training.run(*command, "--max-steps", str(steps), size=size, disk=disk)

    def order_of(self, key: Key | None) -> str:
        return dataset.open(self.world.reference(key).out).digest

    def left(self) -> dict[str, str]:
        return builds.digests(self.run_folder) if self.run_folder.exists() else {}

    def note_trained(self, steps: int) -> None:
        """Note that a run ended well after some steps: it must have all of them."""
        whole = self.note_saved()
        records = [read_record(path) for path in checkpoints_in(self.run_folder)]
        last = max(read_record(path).clock.num_steps for path in checkpoints_in(whole))
        num_steps = min(steps, last)
        assert records[-1].clock.num_steps == num_steps
        lines = training.metrics(self.run_folder)
        saved = [line["step"] for line in lines if line["kind"] == "checkpoint"]
        assert saved == [one.clock.num_steps for one in records], lines
        facts, expected = _by_step(lines), _by_step(training.metrics(whole))
        wrong = {place: facts[place] for place in facts if facts[place] != expected[place]}
        assert wrong == {}, wrong
        assert [step for kind, step in facts if kind == "train"] == list(range(1, num_steps + 1))

    def note_saved(self) -> Path:
        """Note what checkpoints there are, each that of the model; return its run."""
        world = self.world
        whole, since_row = reference_run(world), 0
        found = checkpoints_in(self.run_folder)
        for path in found:
            record = read_record(path)
            check_files(path, record)
            expected = read_record(whole / path.name)
            assert _without_history(record) == _without_history(expected), (record, expected)
            assert record.seen.since_row == since_row, record
            since_row = record.clock.next_row
        self.trained = world.key if found else None
        return whole


class StoppedTrainRule(TrainRule):
    """Train on a disk that fails at one of its operations."""

    @precondition(lambda self: self.is_trainable)
    @rule(steps=_STEPS, size=_SIZES, kind=st.sampled_from(KINDS), at=_AT)
    def train_on_a_failing_disk(self, steps: int, size: int, kind: str, at: int) -> None:
        num_saved = self.num_saved
        disk = Disk(self.world.folder, kind, at)
        done = self.train_to(steps, size, disk)
        if done.is_good:
            disk.lose()
            self.note_trained(max(steps, num_saved))
        else:
            assert disk.has_struck, done.stderr
            assert done.code in (None, 2), done
            self.note_saved()
            assert self.num_saved >= num_saved, "a checkpoint is gone"
        shutil.rmtree(f"{self.world.folder}.backups", ignore_errors=True)


class DamageCheckpointRule(TrainRule):
    """Damage the last checkpoint: it is refused, and once it is removed, the one before counts."""

    @precondition(lambda self: self.trained is not None and self.is_trainable)
    @rule(data=st.data(), how=st.sampled_from(["change", "cut", "remove"]), size=_SIZES)
    def damage_a_checkpoint(self, data: st.DataObject, how: str, size: int) -> None:
        latest = latest_checkpoint(self.run_folder)
        assert latest is not None
        names = ["model.safetensors", "optimizer.pt"]
        path = latest / data.draw(
            st.sampled_from([*names, *(["checkpoint.json"] * (how != "remove"))])
        )
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, len(content) - 1))
        if how == "change":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content[:at] if how == "cut" else content)
        if how == "remove":
            path.unlink()
        before = self.left()
        done = self.train_to(6, size)
        # 2 is for a record of another format, as which one may be taken.
        assert done.code in (1, 2), done
        assert str(path) in done.stderr, done.stderr
        assert "remove it to resume from the checkpoint before" in done.stderr, done.stderr
        assert self.left() == before, "a damaged run was changed"
        shutil.rmtree(latest)
        self.note_saved()


class RemoveRunRule(TrainRule):
    """Remove the run."""

    @precondition(lambda self: self.run_folder.exists())
    @rule()
    def remove_the_run(self) -> None:
        shutil.rmtree(self.run_folder)
        self.trained = None


TRAIN_RULES = (StoppedTrainRule, DamageCheckpointRule, RemoveRunRule)


def reference_run(world: World) -> Path:
    """Return the run on the world's order that nothing disturbed, trained on the first request."""
    data = world.reference().out
    place = data.parent
    if not (place / "trained").exists():
        shutil.rmtree(place / "run", ignore_errors=True)
        command = training.command(training.write_recipe(place), data, place / "run")
        often = ("save_every_tokens=1", "evaluate_every_tokens=1")
        done = training.run(*command, *(word for one in often for word in ("--set", one)))
        assert done.is_good, done.stderr
        (place / "trained").touch()
    return place / "run"


def _without_history(record: CheckpointRecord) -> CheckpointRecord:
    """Return a record without what depends on how often a run saves."""
    return replace(
        record,
        seen=replace(record.seen, since_row=0),
        recipe=replace(record.recipe, declaration={}),
    )


def _by_step(lines: list[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    found = {(line["kind"], line["step"]): line for line in lines if line["kind"] != "checkpoint"}
    assert len(found) == sum(line["kind"] != "checkpoint" for line in lines), "a line is repeated"
    return found
