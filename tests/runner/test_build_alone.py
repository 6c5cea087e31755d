"""Partitions built alone: those of the whole build, from their files alone, and said to be so."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from unittest.mock import Mock

import pytest
from support import builds
from support.commands import call

from pipeline.audit.verify import verify
from pipeline.config.load import load_mixture
from pipeline.core.errors import MismatchError
from pipeline.dataset import PartialManifest, read_partial
from pipeline.runner.build_alone import build_alone

Alone = Callable[..., PartialManifest]
TAIL = "-tokenized-chunked-128-64-16-backfill-nodups"


@pytest.fixture(scope="module")
def alone(scheduler: str) -> Alone:
    """Builds partitions in this process on the cluster that stays up."""

    def build_(
        mixture: Path, out: Path, names: Sequence[str], settings: Sequence[str] = ()
    ) -> PartialManifest:
        declared = load_mixture(mixture, settings)
        return build_alone(
            declared, names, out, workers=1, scheduler=scheduler, report=lambda *_: None
        )

    return build_


@pytest.fixture(scope="module")
def made(small: Path, alone: Alone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "out"
    alone(small, out, ["tables/tables", "long/long_0", "prose/prose_1", "long/long_0"])
    return out


def test_shards_are_those_of_the_whole_build_where_no_budget_has_a_say(
    made: Path, expected: dict[str, str]
) -> None:
    found = builds.digests(made)
    for name in (f"train/long/long_0{TAIL}/", f"train/tables/tables{TAIL}/"):
        one = {path: digest for path, digest in found.items() if path.startswith(name)}
        assert len(one) > 3
        assert one == {path: digest for path, digest in expected.items() if path.startswith(name)}
    folders = {"/".join(path.split("/")[:3]) for path in found} - {"partial.json"}
    assert folders == {
        f"train/long/long_0{TAIL}",
        f"train/prose/prose_1{TAIL}",
        f"train/tables/tables{TAIL}",
    }, "no index of a pool, no order"


def test_the_record_says_what_it_is_and_where_the_whole_may_differ(
    made: Path, small: Path, finished: Path
) -> None:
    record = read_partial(made / "partial.json")
    assert record.partitions == ("long/long_0", "prose/prose_1", "tables/tables")
    assert record.mixture.fingerprint == load_mixture(small).fingerprint
    assert record.differences == (
        "sources.prose: each chunk of these partitions is here once; the whole build samples",
        "sources.prose: ids that recur in its 3 other partitions are not noticed; the whole build"
        " keeps the first document of each",
    )
    whole = json.loads((finished / "manifest.json").read_bytes())["sources"]["long"]
    [ours], [theirs] = record.sources["long"], whole["partitions"]
    assert (ours.tokens.written, ours.chunks.drawn) == (
        theirs["tokens"]["written"],
        theirs["chunks"]["drawn"],
    )
    assert ours.input.sha256 == theirs["input"]["sha256"]


def test_only_their_files_are_read(made: Path, small: Path, alone: Alone, tmp_path: Path) -> None:
    """The other files of the source are no documents, those of other sources are not there."""
    shutil.copytree(small.parent, tmp_path / "in", dirs_exist_ok=True)
    inputs = tmp_path / "in" / "in"
    for name in ("long", "notes", "plain", "more"):
        shutil.rmtree(inputs / name)
    (inputs / "more").mkdir()
    for name in ("prose/prose-0.json.gz", "prose/prose-2.json.gz", "more/letters.jsonl"):
        (inputs / name).write_bytes(b"\x00 no document")
    out = tmp_path / "out"
    alone(tmp_path / "in" / "small.yaml", out, ["prose/prose_1", "tables/tables"])
    folders = [f"train/prose/prose_1{TAIL}", f"train/tables/tables{TAIL}"]
    for folder in folders:
        assert builds.digests(out / folder) == builds.digests(made / folder)


def test_every_note_names_what_has_a_say_in_the_whole(
    small: Path, alone: Alone, tmp_path: Path
) -> None:
    settings = ["validation={}", "dedup={}", "on_error=stop", "sources.prose.from.id=null"]
    record = alone(small, tmp_path / "a", ["prose/prose_1", "tables/tables"], settings)
    assert record.differences == (
        "sources.prose: each chunk of these partitions is here once; the whole build samples",
        "validation: nothing is held out here; the whole build takes documents out",
        "dedup: copies are looked for in these partitions alone, not in all files",
    )
    found = alone(small, tmp_path / "b", ["prose/prose_1"], ["on_error=stop"]).differences
    assert found[1].endswith("3 other partitions are not noticed; the whole build stops at them")
    assert alone(small, tmp_path / "c", ["long/long_0"]).differences == ()


def test_what_is_repeated_whole_and_what_is_several_files_is_as_in_the_whole_build(
    small: Path, alone: Alone, build_here: Callable[..., Path], tmp_path: Path
) -> None:
    settings = ["sources.notes.epochs=2", "sources.plain.from.files_per_partition=2"]
    names = ["notes/notes", "plain/files_00000000_to_00000001"]
    whole = builds.digests(build_here(small, tmp_path / "whole", *settings))
    record = alone(small, tmp_path / "part", names, settings)
    assert record.differences == ()
    found = builds.digests(tmp_path / "part")
    shards = {path for path in found if path.startswith("train/")}
    assert len(shards) > 8
    assert {path: found[path] for path in shards} == {path: whole[path] for path in shards}
    # Of several partitions of several files, each keeps its number.
    settings = [
        "sources.plain.from={path: [in/long/*, in/plain/*, in/prose/*], id: null, "
        "files_per_partition: 2}"
    ]
    name = "plain/files_00000002_to_00000003"
    folder = f"train/plain/files_00000002_to_00000003{TAIL}"
    whole_out = build_here(small, tmp_path / "again", *settings)
    alone(small, tmp_path / "one", [name], settings)
    assert builds.digests(tmp_path / "one" / folder) == builds.digests(whole_out / folder)


# Its folder


def test_it_is_verified_and_any_change_is_named(made: Path, tmp_path: Path) -> None:
    assert verify(made) == []
    out = shutil.copytree(made, tmp_path / "out")
    shard = f"train/long/long_0{TAIL}/shard.00000.mds"
    data = bytearray((out / shard).read_bytes())
    data[-1] ^= 1
    (out / shard).write_bytes(data)
    (out / "train" / "new").write_text("")
    [first, second] = verify(out)
    assert first.startswith(f"{shard}: sha256 is ")
    assert second == "train/new: is not in the manifest"
    record = out / "partial.json"
    record.write_bytes(record.read_bytes().replace(b"tables/tables", b"tables/tablet"))
    assert verify(out)[0] == "partial.json: is damaged: its digest does not match its content"
    with pytest.raises(MismatchError, match="is damaged"):
        read_partial(record)


@pytest.mark.parametrize(
    "arguments",
    [
        ("feed", "OUT", "--global-batch", "8"),
        ("verify", "OUT", "--against", "OUT"),
        ("trace", "OUT", "--step", "1"),
        ("diff", "OUT", "OUT"),
        ("digest", "OUT", "--out", "never.json"),
        ("order", "OUT", "--out", "never"),
    ],
    ids=lambda given: given[0],
)
def test_what_needs_an_order_says_that_there_is_none(
    made: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    given = [str(made) if one == "OUT" else one for one in arguments]
    code, out, error = call(capsys, *given)
    assert code != 0
    assert out == ""
    assert "got partitions that were built alone (partial.json), expected a whole build" in error
    assert "Traceback" not in error


def test_the_same_again_keeps_all_and_anything_else_is_refused(
    made: Path, small: Path, alone: Alone, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(made, tmp_path / "out")
    before = {path: os.stat(path).st_ino for path in out.rglob("*.mds")}
    alone(small, out, ["tables/tables", "prose/prose_1", "long/long_0"])
    assert {path: os.stat(path).st_ino for path in out.rglob("*.mds")} == before
    assert builds.digests(out) == builds.digests(made)
    refusal = f"error: {out}: holds partitions that were built alone, others or of another mixture"
    for more in ((), ("--partitions", "long/long_0")):
        code, _, error = call(capsys, "build", small, "--out", out, *more)
        assert (code, error.splitlines()[0]) == (2, f"{refusal} (partial.json)")
    assert builds.digests(out) == builds.digests(made)


def test_a_damaged_shard_is_made_again(
    made: Path, small: Path, alone: Alone, tmp_path: Path
) -> None:
    out = shutil.copytree(made, tmp_path / "out")
    next(out.rglob("shard.00001.mds")).write_bytes(b"")
    alone(small, out, ["tables/tables", "prose/prose_1", "long/long_0"])
    assert builds.digests(out) == builds.digests(made)


def test_a_whole_build_is_left_alone(
    small: Path, finished: Path, expected: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, error = call(capsys, "build", small, "--out", finished, "--partitions", "long/long_0")
    assert (code, error.splitlines()[0]) == (2, f"error: {finished}: holds a whole build")
    assert builds.digests(finished) == expected


# Names


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("prose/prose_7", 'got "prose/prose_7", expected one of the 4 partitions of prose, such as'
         ' prose/letters; did you mean "prose_2"?'),
        ("prose/prose-1", 'got "prose/prose-1", expected one of the 4 partitions of prose, such as'
         ' prose/letters; did you mean "prose_1"?'),
        ("long/long_0,pros/prose_1", 'got "pros/prose_1", expected source/partition, with one of'
         ' the sources long, notes, plain, prose, tables; did you mean "prose"?'),
        ("long/long_0-tokenized-chunked-128", 'got "long/long_0-tokenized-chunked-128", expected'
         ' one of the 1 partitions of long, such as long/long_0; did you mean "long_0"?'),
        ("long", 'got "long", expected source/partition, with one of the sources long, notes,'
         " plain, prose, tables"),
        ("", 'got "", expected source/partition, with one of the sources long, notes, plain,'
         " prose, tables"),
    ],
)  # fmt: skip
def test_unknown_partitions_are_one_line_with_the_nearest(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str, expected: str
) -> None:
    out = tmp_path / "out"
    code, _, error = call(capsys, "build", small, "--out", out, "--partitions", given)
    line, *_guide = error.splitlines()
    assert (code, line, len(_guide)) == (2, f"error: --partitions: {expected}", 1)
    assert not out.exists()


def test_miniatures_and_pools_that_are_not_locked_have_no_partitions(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--out", tmp_path / "out", "--partitions", "long/long_0")
    code, _, error = call(capsys, "build", small, *given, "--scale", "1/10")
    assert code == 2
    assert "--partitions: got them with scale 1/10, expected scale 1" in error
    code, _, error = call(capsys, "build", "ettin-pretraining-published", *given)
    assert (code, error.splitlines()[0]) == (2, "error: pool: is not locked")


def test_the_command_prints_what_was_made_and_warns(small: Path, tmp_path: Path) -> None:
    names = ("--partitions", "prose/prose_1, long/long_0", "--partitions", "tables/tables")
    done = builds.run("build", small, "--out", tmp_path / "out", *names)
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [
        f"train/long/long_0{TAIL}", f"train/prose/prose_1{TAIL}", f"train/tables/tables{TAIL}",
    ]  # fmt: skip
    assert lines[-1].endswith("out: 3 partitions alone, without an order; see partial.json")
    assert "warning: sources.prose: each chunk of these partitions is here once" in done.stderr
    done = builds.run("build", small, "--out", tmp_path / "out", "--json", *names)
    content = json.loads(done.stdout)
    assert content["partial"] == json.loads((tmp_path / "out" / "partial.json").read_bytes())
    assert builds.run_well("verify", tmp_path / "out").rstrip().endswith(
        "every file matches partial.json, of partitions without an order"
    )  # fmt: skip


def test_a_killed_build_of_some_goes_on_with_what_it_has(
    made: Path, small: Path, alone: Alone, tmp_path: Path
) -> None:
    """Killed when the first folder has its record, in whatever comes next."""
    names, out = ["tables/tables", "prose/prose_1", "long/long_0"], tmp_path / "out"
    given = ("--out", out, "--workers", "1", "--partitions", ",".join(names))
    process = builds.start("build", small, *given, stderr=subprocess.DEVNULL)
    stop = time.monotonic() + builds.SECONDS
    # A log is there before its first record is, and that record before all of it.
    while not any(
        log.read_bytes().removeprefix(b"\n").endswith(b"\n")
        for log in out.glob(".ettin/records/*.log")
    ):
        assert process.poll() is None
        assert time.monotonic() < stop
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    while builds.group_members(process.pid):
        assert time.monotonic() < stop
        time.sleep(0.02)
    assert not (out / "partial.json").exists()
    before = {path: os.stat(path).st_ino for path in out.glob("train/*/*/*.mds")}
    alone(small, out, names)
    assert builds.digests(out) == builds.digests(made)
    assert not (out / ".ettin").exists()
    # What has a record is kept.
    after = {path: os.stat(path).st_ino for path in out.rglob("*.mds")}
    assert before.items() & after.items()


def test_what_a_stopped_build_made_is_kept_and_no_other_build_goes_on_with_it(
    made: Path,
    small: Path,
    alone: Alone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names, out = ["tables/tables", "prose/prose_1", "long/long_0"], tmp_path / "out"
    module = import_module("pipeline.runner.build_alone")
    with monkeypatch.context() as patched:
        patched.setattr(module, "finish_partial", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            alone(small, out, names)
    assert not (out / "partial.json").exists()
    shards = {path: os.stat(path).st_ino for path in out.rglob("*.mds")}
    assert len(shards) > 9
    for more in ((), ("--partitions", "long/long_0")):
        code, _, error = call(capsys, "build", small, "--out", out, *more)
        assert code == 2
        assert f"{out}: holds another mixture, or other partitions of this one" in error
    alone(small, out, names)
    assert {path: os.stat(path).st_ino for path in out.rglob("*.mds")} == shards
    assert builds.digests(out) == builds.digests(made)
