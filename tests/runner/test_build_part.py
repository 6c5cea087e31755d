"""Parts of a stage in any order, at the same time, killed and again, end in a build's bytes."""

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from support import builds
from support.clusters import Build

from pipeline.config.load import load_mixture
from pipeline.core.errors import OutputError
from pipeline.runner import folder_lock
from pipeline.runner.lock_part import lock_part
from pipeline.runner.output_lock import lock_output
from pipeline.runner.parts import Part, deal
from pipeline.runner.plan import make_plan

CORPUS = """\
name: corpus
chunk: {size: 128}
sources:
  prose: {from: {path: "in/prose/*.json.gz"}, tokens: 9000}
  long: {from: {path: in/long/long-0.jsonl}}
dedup: {}
validation: {fraction: 0.1}
order: {seed: 21, global_batch_size: 4, max_seq_len: 128}
"""


def make(mixture: Path, out: Path, part: str, *options: str) -> builds.Finished:
    return builds.run("build", mixture, "--out", out, "--stage", "chunk", "--part", part, *options)


def test_parts_in_any_order_are_joined_to_the_bytes_of_a_build(
    small: Path, tmp_path: Path, build_here: Build, expected: dict[str, str]
) -> None:
    out = tmp_path / "out"
    made = [json.loads(builds.well(make(small, out, f"{i}/3", "--json"))) for i in (3, 1, 3, 2)]
    assert made[0]["partitions"] == made[2]["partitions"]
    names = [name for one in made[1:] for name in one["partitions"]]
    assert len(names) == len(set(names)) == made[0]["num_all"] == 9
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.mds")}
    build_here(small, out)
    assert builds.differences(builds.digests(out), expected) == []
    kept = [path for path in before if path.exists()]
    assert kept
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)


def test_what_no_part_made_is_named_and_made_by_the_build(
    small: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    out = tmp_path / "out"
    builds.well(make(small, out, "2/2"))
    # Another number of parts: what is there is kept.
    [made] = json.loads(builds.well(make(small, out, "1/9", "--json")))["partitions"]
    assert made == "long/long_0"
    done = builds.run("build", small, "--out", out)
    builds.well(done)
    assert "parts: have made 9 of 9 partitions" in done.stderr
    assert builds.differences(builds.digests(out), expected) == []
    out = tmp_path / "other"
    builds.well(make(small, out, "1/9"))
    done = builds.run("build", small, "--out", out)
    assert (
        "parts: have made 1 of 9 partitions; made now: notes/notes, plain/one, plain/two, "
        "prose/letters, prose/prose_0 and 3 more\n"
    ) in done.stderr
    assert builds.differences(builds.digests(out), expected) == []


def test_parts_that_run_together_and_are_killed_go_on(
    small: Path, tmp_path: Path, build_here: Build, expected: dict[str, str]
) -> None:
    draw = random.Random(5)
    out = tmp_path / "out"

    def start(part: str):  # type: ignore[no-untyped-def]
        return builds.start("build", small, "--out", out, "--stage", "chunk", "--part", part)

    processes = [start(f"{i}/2") for i in (2, 1)]
    while not (out / ".ettin" / "parts" / "part-2-of-2-of-chunk.lock").exists():
        time.sleep(0.05)
    time.sleep(draw.uniform(0, 2))
    os.killpg(processes[0].pid, signal.SIGKILL)
    assert [one.wait(timeout=builds.SECONDS) for one in processes] == [-9, 0]
    assert start("2/2").wait(timeout=builds.SECONDS) == 0
    build_here(small, out)
    assert builds.differences(builds.digests(out), expected) == []


def test_scan_and_chunks_of_a_mixture_with_dedup_are_made_in_parts(
    tmp_path: Path, build_here: Build
) -> None:
    builds.write_inputs(tmp_path)
    mixture = builds.write_mixture(tmp_path, CORPUS, "corpus.yaml")
    copies = builds.documents("prose-1", 40, 300)[:20]
    lines = builds.json_lines({**one, "id": f"copy-{one['id']}"} for one in copies)
    (tmp_path / "in" / "long" / "long-0.jsonl").write_bytes(lines)
    whole = builds.digests(build_here(mixture, tmp_path / "whole"))
    out = tmp_path / "out"

    def stage(name: str, *part: str) -> builds.Finished:
        return builds.run("build", mixture, "--out", out, "--stage", name, *part)

    builds.well(stage("scan", "--part", "2/2"))
    done = stage("chunk", "--part", "1/2")
    assert done.returncode == 2
    assert "out: got no scan of all files, on which the chunks of a mixture" in done.stderr
    assert not (out / ".ettin/distrust").exists()
    builds.well(stage("scan", "--part", "1/2"))
    surveys = {path: path.stat().st_mtime_ns for path in out.rglob(".ettin/survey/**/*.parquet")}
    assert len(surveys) == 4
    builds.well(stage("scan"))
    assert {path: path.stat().st_mtime_ns for path in surveys} == surveys
    for part in ("2/2", "1/2"):
        builds.well(stage("chunk", "--part", part))
    done = builds.run("build", mixture, "--out", out)
    builds.well(done)
    assert "parts: have made 4 of 4 partitions\n" in done.stderr
    assert builds.differences(builds.digests(out), whole) == []
    for done in (stage("scan"), stage("scan", "--part", "1/2"), stage("chunk", "--part", "1/2")):
        assert done.returncode == 2
        assert "out: holds a whole build, of which no part is to be made" in done.stderr
    assert builds.differences(builds.digests(out), whole) == []


def test_partitions_are_dealt_by_their_bytes() -> None:
    assert deal([5, 3, 3, 2, 2, 1], 2) == [0, 1, 1, 0, 1, 0]
    assert deal([1, 1, 1, 1], 3) == [0, 1, 2, 0]
    assert deal([7], 4) == [0]
    assert deal([], 4) == []
    assert deal([0, 2, 0, 1], 10**12) == [2, 0, 2, 1]
    draw = random.Random(1)
    sizes = [int(draw.paretovariate(1.2) * 1000) for _ in range(500)]
    totals = [0] * 7
    for size, part in zip(sizes, deal(sizes, 7), strict=True):
        totals[part] += size
    assert max(totals) <= max(max(sizes), sum(sizes) / 7 * 4 / 3)


def test_one_folder_has_parts_of_one_stage_and_number_or_a_build(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with lock_part(out, "a", "chunk", Part(1, 3)) as state:
        state.scratch.mkdir(exist_ok=True)
        (state.scratch / "written").touch()
        with lock_part(out, "a", "chunk", Part(3, 3)):
            assert (state.scratch / "written").exists()
        for fingerprint, stage, part, expected in (
            ("a", "chunk", Part(1, 3), "part 1/3 of chunk is running here"),
            ("a", "chunk", Part(1, 4), "part 1/3 of chunk is running here, got part 1/4 of chunk"),
            ("a", "scan", Part(2, 3), "part 1/3 of chunk is running here, got part 2/3 of scan"),
            ("b", "chunk", Part(2, 3), "parts of another mixture are running here"),
        ):
            with (
                pytest.raises(OutputError, match=f"{expected}\nhint: wait until it has ended"),
                lock_part(out, fingerprint, stage, part),
            ):
                pass
        with (
            pytest.raises(OutputError, match="out: part 1/3 of chunk of a build is running here\n"),
            lock_output(out, "a"),
        ):
            pass
    with lock_part(out, "a", "chunk", Part(2, 5)):
        assert not (state.scratch / "written").exists()
    with (
        lock_output(out, "a"),
        pytest.raises(OutputError, match="a build is running here"),
        lock_part(out, "a", "chunk", Part(1, 3)),
    ):
        pass


def test_a_build_that_ends_while_a_part_begins_keeps_its_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    real = folder_lock.take

    def late(*arguments: Any, **options: Any) -> bool:
        (out / "manifest.json").write_text("whole")
        return real(*arguments, **options)

    monkeypatch.setattr("pipeline.runner.lock_part.take", late)
    with (
        pytest.raises(OutputError, match="holds a whole build"),
        lock_part(out, "a", "chunk", Part(1, 3)),
    ):
        pass
    assert [path.name for path in out.iterdir()] == ["manifest.json"]


def test_parts_of_other_versions_are_not_joined(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    builds.well(make(small, out, "9/9"))
    noted = out / ".ettin" / "parts" / "versions.json"
    found = json.loads(noted.read_text())
    noted.write_text(json.dumps({**found, "ettin-data": "0.0.1"}))
    for done in (make(small, out, "8/9"), builds.run("build", small, "--out", out)):
        assert done.returncode == 2
        assert "got parts of other versions than this command's: ettin-data: " in done.stderr
        assert "0.0.1 on the parts in the folder" in done.stderr


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--part", "1/2"], "--part: expected --stage with it"),
        (["--stage", "chunk", "--part", "3/2"], "got '3/2', expected I/N with I from 1 to N"),
        (["--stage", "chunk", "--part", "0/2"], "got '0/2', expected I/N"),
        (["--stage", "chunk", "--part", "2"], "got '2', expected I/N"),
        (["--stage", "chunk", "--partitions", "long/long-0"], "--stage: got --partitions too"),
        (["--stage", "chunk", "--update"], "--stage: got --update too"),
        (["--stage", "scan"], "--stage scan: got a mixture without dedup and decontaminate"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    options: list[str], error: str, small: Path, tmp_path: Path
) -> None:
    done = builds.run("build", small, "--out", tmp_path / "out", *options)
    assert done.returncode == 2
    assert error in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_whole_build_and_another_mixture_are_left_alone(
    small: Path, finished: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    before = builds.digests(out)
    done = make(small, out, "1/2")
    assert "out: holds a whole build, of which no part is to be made" in done.stderr
    done = make(small, out, "1/2", "--set", "order.seed=3")
    assert "out: holds another mixture, or other partitions of this one" in done.stderr
    assert builds.digests(out) == before


def test_a_part_reads_no_other_files(small: Path, tmp_path: Path) -> None:
    plan = make_plan(load_mixture(small), None, tmp_path, None)
    assert sum(len(one.partitions) for one in plan.sources) == 9
    mixture = builds.write_inputs(tmp_path)
    for path in (tmp_path / "in" / "prose").iterdir():
        path.write_bytes(b"no gzip")
    assert "no gzip" not in builds.well(make(mixture, tmp_path / "out", "1/9"))
