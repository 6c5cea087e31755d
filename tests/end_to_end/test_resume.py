"""A build that goes on with an earlier one: what it trusts, hashes and makes again, and says of it.

Wherever the earlier one ended, what comes is to the byte what a fresh build makes.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from support import builds
from support.here import Here, run_here

from pipeline.cli.main import main
from pipeline.core import file_system
from pipeline.runner import sampled_shards
from pipeline.runner.cluster import Tasks

MIXTURE = """\
name: resumed
chunk: {size: 64}
sources:
  a: {from: {path: in/a-*.jsonl}, epochs: 3/2}
  b: {from: {path: in/b.jsonl}MORE}
MIXEDorder: {seed: 21, global_batch_size: 4, max_seq_len: 64, window_tokens: 1k}
"""
SHAPES = {
    "a source sampled": {"MORE": "", "MIXED": ""},
    "a holdout": {"MORE": ", tokens: 500", "MIXED": "validation: {fraction: 1/10}\n"},
}


class Ends(Here):
    """A cluster of this process that counts the tasks of stages, and may end before one."""

    error: BaseException = KeyboardInterrupt()

    def __init__(self, before: str | None = None) -> None:
        super().__init__()
        self.before = before
        self.num_tasks: dict[str, int] = {}

    def each(self, stage: str, function: Callable[[Any], Any], tasks: Tasks[Any]) -> Iterator[Any]:
        if stage == self.before and len(tasks):
            raise self.error
        self.num_tasks[stage] = self.num_tasks.get(stage, 0) + len(tasks)
        return super().each(stage, function, tasks)


@dataclass(frozen=True)
class Ran:
    """What a build did and said."""

    code: int
    tasks: Mapping[str, int]
    trusted: Mapping[str, int]
    """Bytes by path, by the log."""
    told: Mapping[str, Any]
    """By `--json`."""


@dataclass(frozen=True)
class Build:
    """A mixture, and where it is built."""

    mixture: Path
    out: Path
    num_whole: int
    """Partitions of sources of which nothing is sampled: their chunks are the product."""
    fresh: Mapping[str, str]
    """The digests of an output that was built at once."""
    capture: Any
    log: pytest.LogCaptureFixture

    def run(self, *options: str, before: str | None = None) -> Ran:
        """Build, until before a stage."""
        cluster = Ends(before)
        self.log.clear()
        with pytest.MonkeyPatch.context() as patch:
            run_here(patch, sampled_shards, cluster)
            code = main(["build", str(self.mixture), "--out", str(self.out), "--json", *options])
        lines = [json.loads(one) for one in self.log.messages if one.startswith('{"trusted"')]
        trusted: dict[str, int] = {}
        for line in lines:
            assert not line["trusted"].keys() & trusted.keys()
            trusted.update(line["trusted"])
        told = self.capture.readouterr().out
        return Ran(code, cluster.num_tasks, trusted, json.loads(told) if told else {})

    def is_right(self) -> bool:
        return not builds.differences(builds.digests(self.out), self.fresh)

    def shards(self) -> list[Path]:
        return sorted(self.out.glob("train/a/*/shard.*.mds"))

    @property
    def has_chunks(self) -> bool:
        return any(path.is_file() for path in (self.out / ".ettin/chunks").rglob("*"))


@pytest.fixture(params=SHAPES)
def build(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> Iterator[Build]:
    (tmp_path / "in").mkdir()
    for name in ("a-0", "a-1", "b"):
        lines = builds.json_lines(builds.documents(name, 20, 60))
        (tmp_path / "in" / f"{name}.jsonl").write_bytes(lines)
    text = MIXTURE
    for word, content in SHAPES[request.param].items():
        text = text.replace(word, content)
    mixture = builds.write_mixture(tmp_path, text)
    with (
        mock.patch.object(file_system, "has_syncfs", return_value=True),
        mock.patch.object(file_system, "syncfs"),
    ):
        num_whole = 1 if request.param == "a source sampled" else 0
        fresh = Build(mixture, tmp_path / "fresh", num_whole, {}, capsys, caplog)
        assert fresh.run().trusted == {}
        digests = builds.digests(fresh.out)
        yield Build(mixture, tmp_path / "out", num_whole, digests, capsys, caplog)


def flip(path: Path, *, keeps_mtime: bool) -> None:
    """Change a bit of a file in its place: of a shard, one of the last id."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    moved = 0 if keeps_mtime else 1
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + moved))


def test_what_nobody_has_written_to_is_trusted_and_named(build: Build) -> None:
    assert build.run(before="index documents").code == 130
    ran = build.run()
    assert ran.code == 0
    assert build.is_right()
    files = ran.told["manifest"]["files"]
    assert {path for path in ran.trusted if not path.startswith(".ettin/")} >= {
        path for path in files if path.endswith((".mds", "000001_to_000100.parquet"))
        and not path.startswith(("validation/", "provenance/"))
    }  # fmt: skip
    assert ran.trusted == {path: files[path]["bytes"] for path in ran.trusted}
    assert ran.told["trusted"] == sorted(ran.trusted)
    # In a finished output nothing says when it was synced.
    assert build.run().trusted == {}
    assert build.is_right()


def test_a_check_hashes_all(build: Build) -> None:
    assert build.run(before="index documents").code == 130
    shard = build.shards()[0]
    flip(shard, keeps_mtime=True)
    ran = build.run("--check", before="order")
    assert ran.trusted == {}
    assert build.run("--check").code == 0
    assert build.is_right()


def test_damage_that_shows_in_no_fact_is_trusted_and_named(build: Build) -> None:
    assert build.run(before="index documents").code == 130
    shard = build.shards()[0]
    flip(shard, keeps_mtime=True)
    ran = build.run()
    assert ran.trusted[shard.relative_to(build.out).as_posix()] == shard.stat().st_size
    assert not build.is_right()
    assert main(["verify", str(build.out)]) == 1


@pytest.mark.parametrize("name", ["provenance/drawn/a/a_0.parquet", "train/a/a_0-*/index.json"])
def test_after_an_error_over_what_was_trusted_all_is_hashed(build: Build, name: str) -> None:
    assert build.run(before="index documents").code == 130
    [path] = build.out.glob(name)
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert build.run().code == 2
    ran = build.run()
    assert ran.trusted == {}
    assert build.is_right()


def test_an_interrupt_that_becomes_another_error_is_no_sign_of_damage(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build.run(before="sample").code == 130
    error = RuntimeError("Error calling __set_name__")
    error.__cause__ = KeyboardInterrupt()
    with monkeypatch.context() as patch:
        patch.setattr(Ends, "error", error)
        assert build.run(before="order").code == 130
    assert build.run().trusted != {}
    assert build.is_right()


def test_chunks_go_when_all_is_drawn_and_come_back_for_a_draw_that_is_damaged(
    build: Build,
) -> None:
    assert build.run(before="sample").code == 130
    assert build.has_chunks
    assert build.run(before="order").code == 130
    assert not build.has_chunks
    ran = build.run(before="order")
    assert ran.tasks["chunk"] == build.num_whole
    assert ran.tasks["sample"] == 0
    flip(build.shards()[0], keeps_mtime=False)
    ran = build.run()
    assert ran.tasks["chunk"] == 3
    assert ran.tasks["sample"] > 1
    assert build.is_right()


def test_a_copied_output_goes_on_and_is_hashed(build: Build) -> None:
    assert build.run(before="index documents").code == 130
    shutil.move(build.out, build.out.with_name("away"))
    shutil.copytree(build.out.with_name("away"), build.out)
    ran = build.run()
    assert ran.trusted == {}
    assert ran.tasks["sample"] == 0
    assert build.is_right()
