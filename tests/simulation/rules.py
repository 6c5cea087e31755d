"""Rules: each class is one thing that may happen, and its effect on the model.

A new command, stage, store or fault is one more class here, listed in `RULES`.
"""

import os
import shutil
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from support import builds
from tokenizers import Tokenizer

from pipeline import dataset
from pipeline.feed import make_feed
from pipeline.stages.tokenizer import EMBEDDED, read_json

from . import commands
from .disk import KINDS, Disk
from .model import INPUTS, NUM_VERSIONS, VARIANTS, World, texts_of
from .pass_rules import PASS_RULES
from .passes import SIZES, check_placed, memory
from .place_rules import PLACE_RULES
from .train_rules import TRAIN_RULES
from .trust_rules import TRUST_RULES

BATCH = 4
SIZE = st.sampled_from(SIZES)
SEED = st.integers(0, 99)  # of the order in which workers finish and folders are listed
_AT = st.integers(1, 900)
TOKENIZER = Tokenizer.from_buffer(read_json(EMBEDDED))


class Rule:
    """What rules have in common."""

    world: World


class BuildRule(Rule):
    """Build, or go on with a build, to its end."""

    @rule(size=SIZE, seed=SEED)
    def build(self, size: str, seed: int) -> None:
        world = self.world
        is_ours = world.is_ours
        before = builds.digests(world.out) if world.out.exists() else {}
        done = world.build(size, seed=seed)
        assert is_ours is None or done.is_good == is_ours, done
        if done.is_good:
            world.note_whole()
        else:
            assert done.code == 2, done
            assert builds.digests(world.out) == before, "an output of another mixture was changed"


class StoppedBuildRule(Rule):
    """Build on a disk that fails at one of its operations."""

    @precondition(lambda self: self.world.is_ours)
    @rule(size=SIZE, seed=SEED, kind=st.sampled_from(KINDS), at=_AT)
    def build_on_a_failing_disk(self, size: str, seed: int, kind: str, at: int) -> None:
        world = self.world
        disk = Disk(world.folder, kind, at)
        done = world.build(size, seed=seed, disk=disk)
        if done.is_good:
            # What a command has finished is durable: a loss of power takes nothing, and brings
            # back no more than the state that it removed.
            disk.lose()
            world.note_whole(leaves_state=disk.has_struck or kind == "lost names")
        else:
            assert disk.has_struck, done.stderr
            assert done.code in (None, 2), done
            world.note_begun()
        shutil.rmtree(f"{world.folder}.backups", ignore_errors=True)


class WorkerRule(Rule):
    """Build while a worker dies in the middle of a task; another does it anew."""

    @precondition(lambda self: self.world.is_ours)
    @rule(size=SIZE, seed=SEED, at=_AT)
    def build_with_a_worker_that_dies(self, size: str, seed: int, at: int) -> None:
        world = self.world
        disk = Disk(world.folder, "stop", at)
        done = world.build(size, seed=seed, disk=disk, workers_die=True)
        if done.was_stopped:  # Not in a task: the command itself was stopped.
            world.note_begun()
        else:
            assert done.is_good, done.stderr
            world.note_whole()


class InputRule(Rule):
    """Give an input other content."""

    @precondition(lambda self: self.world.state != "none")
    @rule(name=st.sampled_from(INPUTS), version=st.integers(0, NUM_VERSIONS - 1))
    def change_an_input(self, name: str, version: int) -> None:
        self.world.put_input(name, version)


class VariantRule(Rule):
    """Work on with another mixture."""

    @precondition(lambda self: self.world.state != "none")
    @rule(variant=st.sampled_from(sorted(VARIANTS)))
    def take_another_mixture(self, variant: str) -> None:
        self.world.variant = variant


class RemoveRule(Rule):
    """Remove the output."""

    @precondition(lambda self: self.world.state != "none")
    @rule()
    def remove_the_output(self) -> None:
        shutil.rmtree(self.world.out)
        self.world.state, self.world.built = "none", None


class DamageRule(Rule):
    """Change a byte of an output, begun or finished, cut a file off, or lose it."""

    @precondition(lambda self: self.world.state != "none")
    @rule(data=st.data(), how=st.sampled_from(["flip", "cut", "remove"]))
    def damage_a_file(self, data: st.DataObject, how: str) -> None:
        # Temporary files have random names, and nobody reads what a kill left of them.
        names = [name for name in sorted(builds.digests(self.world.out)) if "/tmp/" not in name]
        sizes = {name: (self.world.out / name).stat().st_size for name in names}
        for name, size in list(sizes.items()):
            # Without its owner's name, a folder is a stranger's.
            if name.endswith(".ettin/mixture.json") or (how != "remove" and not size):
                del sizes[name]
        if not sizes:
            return
        name = data.draw(st.sampled_from(sorted(sizes)))
        path = self.world.out / name
        content = bytearray(path.read_bytes())
        if how == "flip":
            content[data.draw(st.integers(0, sizes[name] - 1))] ^= 1 << data.draw(st.integers(0, 7))
        elif how == "cut":
            del content[data.draw(st.integers(0, sizes[name] - 1)) :]
        path.unlink()
        if how != "remove":
            path.write_bytes(content)
        self.world.note_changed()


class StrangerRule(Rule):
    """Put a file of one's own among those of a finished output."""

    @precondition(lambda self: self.world.state in ("whole", "damaged"))
    @rule(place=st.sampled_from(["train", "train/a", "order", "provenance", "validation/train"]))
    def add_a_file(self, place: str) -> None:
        folder = self.world.out / place
        if folder.is_dir():
            (folder / "stranger.bin").write_bytes(b"mine")
        self.world.note_changed()


class VerifyRule(Rule):
    """After each rule, verify agrees with what is whole, and with nothing else."""

    @precondition(lambda self: self.world.state in ("whole", "damaged"))
    @invariant()
    def verify(self) -> None:
        done = commands.run("verify", self.world.out)
        assert done.is_good == (self.world.state == "whole"), done
        if self.world.state == "whole":
            validation = commands.run("verify", self.world.out / "validation")
            assert validation.is_good, validation.stderr


class TraceRule(Rule):
    """The text of a row is in the document that it is traced to."""

    @precondition(lambda self: self.world.state == "whole")
    @rule(data=st.data())
    def trace(self, data: st.DataObject) -> None:
        assert self.world.built is not None
        rows = self.world.reference(self.world.built).rows
        row = data.draw(st.integers(0, len(rows) - 1))
        [told] = commands.run("trace", self.world.out, "--row", str(row), "--json").json()
        text = texts_of(self.world.built)[told["document"]]
        # A cut inside a character leaves a part of it.
        row_text = TOKENIZER.decode(rows[row], skip_special_tokens=True).strip("\ufffd")
        assert "".join(row_text.split()) in "".join(text.split())
        assert told["num_tokens"] == len(rows[row])


class OrderRule(Rule):
    """Order the pool of an output on its own: the same rows in the same order."""

    @precondition(lambda self: self.world.state == "whole")
    @rule(size=SIZE, format_=st.sampled_from(["parquet", "mds"]))
    def order(self, size: str, format_: str) -> None:
        world = self.world
        assert world.built is not None
        place, rows = world.folder / "ordered", world.reference(world.built).rows
        seed = 21 if world.built[0] == "plain" else 22
        settings = [f"order.seed={seed}", "order.global_batch_size=4", "order.max_seq_len=64"]
        done = commands.run(
            *("order", world.out / "train", "--out", place, "--format", format_),
            *(one for setting in settings for one in ("--set", setting)),
            *("--memory", memory(size)),
            size=size,
            before=lambda stage, tasks: check_placed(stage, tasks, lambda _: rows),
        )
        assert done.is_good, done.stderr
        assert read_rows(place) == rows
        shutil.rmtree(place)


class FeedRule(Rule):
    """Ranks are fed each row of a step once, and go on at any world size where they stopped."""

    @precondition(lambda self: self.world.state == "whole")
    @rule(sizes=st.lists(st.sampled_from([1, 2, 4]), min_size=1, max_size=3), data=st.data())
    def feed(self, sizes: list[int], data: st.DataObject) -> None:
        world = self.world
        order = dataset.open(world.out)
        rows, state, fed = world.reference(world.built).rows, None, []
        num_steps = len(rows) // BATCH
        for size in sizes:
            steps = data.draw(st.integers(0, max(num_steps - len(fed) // BATCH, 0)))
            feeds = [
                make_feed(order, objective=None, micro_batch_rows=1, rank=rank, world_size=size)
                for rank in range(size)
            ]
            for one in feeds:
                if state is not None:
                    one.load_state_dict(state)
            streams = [iter(one) for one in feeds]
            for _ in range(steps * BATCH // size):
                for stream in streams:
                    batch = next(stream)
                    ids = batch.inputs["input_ids"]
                    fed.append((int(batch.rows[0]), tuple(map(int, ids.reshape(-1)))))
            state = feeds[0].state_dict()
        fed.sort()
        assert fed == list(enumerate(rows))[: len(fed)]


def read_rows(order: Path) -> list[tuple[int, ...]]:
    """Return the rows of an order."""
    found = dataset.open(order).rows
    return [tuple(map(int, row)) for block in found.read(0, found.num_rows) for row in block]


class EnvironmentRule(Rule):
    """What must not matter: when an input was changed, and where on the disk it lies."""

    @precondition(lambda self: self.world.state != "none")
    @rule(name=st.sampled_from(INPUTS), seconds=st.integers(0, 10**9))
    def touch_an_input(self, name: str, seconds: int) -> None:
        os.utime(self.world.folder / "in" / f"{name}.jsonl", (seconds, seconds))

    @precondition(lambda self: self.world.state != "none")
    @rule(name=st.sampled_from(INPUTS))
    def rewrite_an_input(self, name: str) -> None:
        path: Path = self.world.folder / "in" / f"{name}.jsonl"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


BASE_RULES = (
    *(BuildRule, StoppedBuildRule, WorkerRule, InputRule, VariantRule, RemoveRule, DamageRule),
    *(StrangerRule, VerifyRule, TraceRule, OrderRule, FeedRule, EnvironmentRule),
    *PASS_RULES,
)
RULES = (*BASE_RULES, *TRUST_RULES, *PLACE_RULES, *TRAIN_RULES)
