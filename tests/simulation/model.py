"""The model: what an output must have, by the inputs and the mixture that it was built of.

A reference is built once for each of them, undisturbed and in a folder of its own; whatever happens
on the way, an output must end in the same bytes. Inputs have a few versions each, a mixture a few
variants, so that references are few.
"""

import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

from support import builds
from support.second_opinion import tool

from pipeline.dataset import STEPS, VALIDATION

from . import commands, passes

NUM_VERSIONS: Final = 4
INPUTS: Final = ("a-0", "a-1", "b", "c")
_NUM_DOCUMENTS, _MOST_WORDS = 10, 110
_SHARED = [builds.text(f"shared {i}", 60) for i in range(3)]

_MIXTURE: Final = """\
name: simulated
chunk: {{algorithm: {chunker}, size: 64, min_size: 32, skip_below: 8, seed: 42}}
sources:
  a: {{from: {{path: in/a-*.jsonl}}, tokens: 700}}
  b: {{from: {{path: in/b.jsonl}}, epochs: 3/2, filters: [{{length: {{min_chars: 40}}}}]}}
  c: {{from: {{path: in/c.jsonl}}}}
validation: {{fraction: 1/20}}
shards: {{size_limit: 2KiB}}
on_error: skip
{more}order:
  {{seed: {seed}, global_batch_size: 4, max_seq_len: 64, window_tokens: 2k, format: {format}}}
"""
VARIANTS: Final[Mapping[str, str]] = {
    "plain": _MIXTURE.format(chunker="ettin-slice-v2", more="", seed=21, format="parquet"),
    "dedup": _MIXTURE.format(
        chunker="ettin-reencode-v1", more="dedup: {minhash: {}}\n", seed=22, format="mds"
    ),
}

State = Literal["none", "begun", "whole", "damaged"]
"""Of an output: nothing there; work that was stopped; as its reference; not so any more."""
Key = tuple[str, tuple[int, ...]]
"""A variant, and the version of each input."""


@dataclass(frozen=True)
class Reference:
    """What an undisturbed build makes."""

    out: Path
    digests: Mapping[str, str]

    @property
    def rows(self) -> list[tuple[int, ...]]:
        return rows_in(self.out)


@lru_cache(maxsize=64)
def rows_in(out: Path) -> list[tuple[int, ...]]:
    """Return the rows of an output in order, by a reader that shares no code with the package."""
    manifest = tool.read_manifest(out / "manifest.json")
    rows = tool.read_rows(out, manifest["files"], manifest["order"]["format"])
    return [struct.unpack(f"<{len(row) // 4}I", row)[1:] for _, _, row in rows]


@dataclass
class World:
    """A folder in which somebody works, and what must be true of it."""

    folder: Path
    references: Path
    """Shared by all worlds of a process."""
    versions: dict[str, int] = field(default_factory=dict)
    variant: str = "plain"
    state: State = "none"
    built: Key | None = None
    """Of which the output is, or was begun."""

    def __post_init__(self) -> None:
        for name in INPUTS:
            self.put_input(name, 0)
        for name, text in VARIANTS.items():
            builds.write_mixture(self.folder, text, f"{name}.yaml")

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def mixture(self) -> Path:
        return self.folder / f"{self.variant}.yaml"

    @property
    def key(self) -> Key:
        return self.variant, tuple(self.versions[name] for name in INPUTS)

    @property
    def is_ours(self) -> bool | None:
        """Whether a build goes on with what is there or must refuse it; None if it may do either.

        A mixture's work is its own, unless there is none yet, or all that names it was damaged.
        """
        if self.built is None or (self.state == "begun" and not self._has_work()):
            return True
        if self.state == "damaged" and {"manifest.json", STEPS} <= {*self.differences()}:
            return None
        return self.built[0] == self.variant

    def _has_work(self) -> bool:
        files = (path.relative_to(self.out) for path in self.out.rglob("*") if path.is_file())
        return any(".ettin" not in file.parts or "records" in file.parts for file in files)

    def build(
        self, size: str, *flags: str, before: commands.Before | None = None, **options: Any
    ) -> commands.Done:
        """Run the command that builds the output, with passes of a size.

        before: looks at each stage, once what passes have left for it is found to be right.
        """

        def look(stage: str, tasks: list[Any]) -> None:
            passes.check_placed(stage, tasks, self.rows_of)
            if before is not None:
                before(stage, tasks)

        words = ("build", self.mixture, "--out", self.out, "--memory", passes.memory(size))
        return commands.run(*words, *flags, size=size, before=look, **options)

    def rows_of(self, out: Path) -> list[tuple[int, ...]]:
        """Return the rows that the order in an output of ours must have."""
        whole = self.reference().out
        return rows_in(whole / VALIDATION if out.name == VALIDATION else whole)

    def put_input(self, name: str, version: int) -> None:
        self.versions[name] = version
        write_input(self.folder, name, version)

    def reference(self, key: Key | None = None) -> Reference:
        """Return what a key's output must be, built on the first request."""
        variant, versions = key or self.key
        place = self.references / "-".join([variant, *map(str, versions)])
        if not (place / "made").exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            for name, version in zip(INPUTS, versions, strict=True):
                write_input(place, name, version)
            mixture = builds.write_mixture(place, VARIANTS[variant])
            done = commands.run("build", mixture, "--out", place / "out")
            assert done.is_good, done.stderr
            (place / "made").touch()
        return Reference(place / "out", builds.digests(place / "out"))

    # The effects of commands

    def note_whole(self, *, leaves_state: bool = False) -> None:
        """Note that a build ended well: it must have the bytes of the reference.

        A disk that failed while the build removed its own state may have kept some of that.
        """
        self.built = self.key
        found = self.differences()
        self.state = "damaged" if found else "whole"
        if leaves_state:
            found = [one for one in found if ".ettin" not in Path(one).parts]
        assert found == [], found

    def note_begun(self) -> None:
        """Note that a build was stopped, or failed."""
        owner = self.out / ".ettin"
        is_there = owner.exists() or any(self.out.glob("*"))
        self.state, self.built = ("begun", self.key) if is_there else ("none", None)

    def note_changed(self) -> None:
        """Note that somebody changed the output, or changed it back."""
        if self.state in ("whole", "damaged"):
            self.state = "damaged" if self.differences() else "whole"

    def differences(self) -> list[str]:
        """Return the files in which the output is not as its reference."""
        return [*builds.differences(builds.digests(self.out), self.reference(self.built).digests)]


def write_input(folder: Path, name: str, version: int) -> None:
    """Write a version of an input file."""
    path = folder / "in" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(builds.json_lines(input_documents(name, version)))


def input_documents(name: str, version: int) -> list[dict[str, str]]:
    """Return the documents of a version: the first, one of it changed, more of them, and ids that
    are there twice, in the file or in the other file of a source.

    All inputs share two texts and nearly a third, for `dedup` to find.
    """
    number = _NUM_DOCUMENTS * (2 if version == 2 else 1)
    documents = builds.documents(f"{name}-{version % 3 // 2}", number, _MOST_WORDS)
    if version == 1:
        documents[len(name) % number]["text"] += " And one word more."
    if version == 3:
        documents[4]["id"] = documents[1]["id"]
        documents[6]["id"] = {"a-0": "a-1-0-5", "a-1": "a-0-0-5"}.get(name, documents[2]["id"])
    for one, shared in zip(documents[-3:], _SHARED, strict=True):
        one["text"] = shared
    documents[-1]["text"] += f" The end of {name}."
    return documents


def texts_of(key: Key) -> dict[str, str]:
    """Return the texts of the inputs of a key, by the ids of their documents; the first of each."""
    texts: dict[str, str] = {}
    for name, version in zip(INPUTS, key[1], strict=True):
        for one in input_documents(name, version):
            texts.setdefault(one["id"], one["text"])
    return texts
