"""Rules: each class is one thing that may happen, and its effect on the model.

A new command, stage, store or fault is one more class here, listed in `RULES`.
"""

import os
import shutil
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from support import builds
from tokenizers import Tokenizer

from pipeline import dataset
from pipeline.feed import make_feed
from pipeline.stages.tokenizer import EMBEDDED, read_json

from . import commands
from .disk import KINDS, Disk, Kind
from .model import INPUTS, NUM_VERSIONS, VARIANTS, World, read_rows, texts_of
from .train_rules import TRAIN_RULES

BATCH = 4
_MEMORY = st.sampled_from(["1", "1GiB"])  # on disk, and in memory
_AT = st.integers(1, 900)
TOKENIZER = Tokenizer.from_buffer(read_json(EMBEDDED))


class Rule:
    """What rules have in common."""

    world: World


class BuildRule(Rule):
    """Build, or go on with a build, to its end."""

    @rule(memory=_MEMORY)
    def build(self, memory: str) -> None:
        world = self.world
        before = builds.digests(world.out) if world.out.exists() else {}
        done = commands.run("build", world.mixture, "--out", world.out, "--memory", memory)
        if world.is_ours or done.is_good:
            assert done.is_good, done.stderr
            world.note_whole()
        else:
            assert done.code == 2, done
            assert builds.digests(world.out) == before, "an output of another mixture was changed"


class StoppedBuildRule(Rule):
    """Build on a disk that fails at one of its operations."""

    @precondition(lambda self: self.world.is_ours)
    @rule(memory=_MEMORY, kind=st.sampled_from(KINDS), at=_AT)
    def build_on_a_failing_disk(self, memory: str, kind: Kind, at: int) -> None:
        world = self.world
        disk = Disk(world.folder, kind, at)
        done = commands.run(
            "build", world.mixture, "--out", world.out, "--memory", memory, disk=disk
        )
        if done.is_good:
            if kind == "lost data":
                # What a command has finished is durable, so that a loss of power takes nothing.
                disk.lose()
            world.note_whole()
        else:
            assert disk.has_struck, done.stderr
            world.note_begun()
        shutil.rmtree(f"{world.folder}.backups", ignore_errors=True)


class InputRule(Rule):
    """Give an input other content."""

    @rule(name=st.sampled_from(INPUTS), version=st.integers(0, NUM_VERSIONS - 1))
    def change_an_input(self, name: str, version: int) -> None:
        self.world.put_input(name, version)


class VariantRule(Rule):
    """Work on with another mixture."""

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
    """Change a byte of a finished output, or cut a file off."""

    @precondition(lambda self: self.world.state == "whole")
    @rule(data=st.data(), cuts=st.booleans())
    def damage_a_file(self, data: st.DataObject, cuts: bool) -> None:
        name = data.draw(st.sampled_from(sorted(builds.digests(self.world.out))))
        path = self.world.out / name
        at = data.draw(st.integers(0, max(path.stat().st_size - 1, 0)))
        content = bytearray(path.read_bytes())
        if not content:
            return
        if cuts:
            del content[at:]
        else:
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(content)
        self.world.note_damaged()


class LoseRule(Rule):
    """Lose a file of an output, begun or finished."""

    @precondition(lambda self: self.world.state != "none")
    @rule(data=st.data())
    def lose_a_file(self, data: st.DataObject) -> None:
        names = sorted(builds.digests(self.world.out))
        names = [name for name in names if not name.endswith(".ettin/mixture.json")]
        if names:
            name = data.draw(st.sampled_from(names))
            (self.world.out / name).unlink()
            if self.world.state == "whole":
                self.world.note_damaged()


class StrangerRule(Rule):
    """Put a file of one's own among those of a finished output."""

    @precondition(lambda self: self.world.state == "whole")
    @rule(place=st.sampled_from(["train", "train/a", "order", "provenance", "validation/train"]))
    def add_a_file(self, place: str) -> None:
        (self.world.out / place / "stranger.bin").write_bytes(b"mine")
        self.world.note_damaged()


class VerifyRule(Rule):
    """Verify agrees with what is whole, and with nothing else."""

    @precondition(lambda self: self.world.state in ("whole", "damaged"))
    @rule()
    def verify(self) -> None:
        done = commands.run("verify", self.world.out)
        assert done.is_good == (self.world.state == "whole"), done
        validation = commands.run("verify", self.world.out / "validation")
        if self.world.state == "whole":
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
    @rule(memory=_MEMORY, format_=st.sampled_from(["parquet", "mds"]))
    def order(self, memory: str, format_: str) -> None:
        world = self.world
        assert world.built is not None
        place = world.folder / "ordered"
        seed = 21 if world.built[0] == "plain" else 22
        settings = [f"order.seed={seed}", "order.global_batch_size=4", "order.max_seq_len=64"]
        done = commands.run(
            *("order", world.out / "train", "--out", place, "--format", format_),
            *(one for setting in settings for one in ("--set", setting)),
            *("--memory", memory),
        )
        assert done.is_good, done.stderr
        assert read_rows(place) == world.reference(world.built).rows
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


class EnvironmentRule(Rule):
    """What must not matter: the hour, the folder one is in, the order of a listing."""

    @rule(name=st.sampled_from(INPUTS), seconds=st.integers(0, 10**9))
    def touch_an_input(self, name: str, seconds: int) -> None:
        os.utime(self.world.folder / "in" / f"{name}.jsonl", (seconds, seconds))

    @rule(name=st.sampled_from(INPUTS))
    def rewrite_an_input(self, name: str) -> None:
        path: Path = self.world.folder / "in" / f"{name}.jsonl"
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)


RULES = (
    *(BuildRule, StoppedBuildRule, InputRule, VariantRule, RemoveRule, DamageRule, LoseRule),
    StrangerRule,
    *(VerifyRule, TraceRule, OrderRule, FeedRule, EnvironmentRule),
    *TRAIN_RULES,
)
