"""`ettin-data pull`: killed, interrupted, and what it prints."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from support import builds
from support.pulls import (
    CONTENTS,
    HUB_LARGE,
    LARGE,
    REMOTE_BYTES,
    at_home,
    check_all,
    expected_path,
    mixture_of,
    pull_all,
    settle,
)
from support.source_server import Server, serve

from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import MismatchError
from pipeline.sources.download.download_plan import scratch_folder
from pipeline.sources.lock.checksum import note_path
from pipeline.sources.lock.lock import Lock
from pipeline.sources.lock.lock_file import lock_digest, read_lock, write_lock
from pipeline.sources.lock.pulled_digests import with_digests


def write_inputs(server: Server, folder: Path, lock: Lock) -> Sequence[str | Path]:
    """Write mixture and lock; return the arguments of the command."""
    mixture_of(server, folder)
    write_lock(lock, folder / "lock.json")
    return ["pull", folder / "small.yaml", "--lock", folder / "lock.json"]


def left_in(dest: Path) -> int:
    """Return how many bytes lie below a folder that changes meanwhile."""
    total = 0
    for path in dest.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def start_slow_pull(
    server: Server, arguments: Sequence[str | Path], dest: Path
) -> subprocess.Popen[str]:
    """Start the command, and wait until a part of a file that drips has come."""
    server.set_faults(
        [{"kind": "drip", "bytes": 50_000, "seconds": 0.05, "match": HUB_LARGE, "times": -1}]
    )
    process = builds.start(*arguments, "--dest", dest, stderr=subprocess.PIPE)
    stop = time.monotonic() + builds.SECONDS
    while left_in(dest) < REMOTE_BYTES - LARGE + 500_000:
        assert process.poll() is None
        assert time.monotonic() < stop
        time.sleep(0.01)
    return process


def test_a_killed_pull_goes_on_where_it_was(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    arguments = write_inputs(server, folder, locked)
    process = start_slow_pull(server, arguments, dest)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert not expected_path(server, dest, "a/data/part-0.bin.jsonl.zst").exists()
    there = left_in(scratch_folder(dest))
    assert there >= 500_000

    settle(server)
    out = builds.run_well(*arguments, "--dest", dest, "--json")
    assert server.counters()["bytes"] == LARGE - there
    assert json.loads(out)["sources"]["hub"]["num_bytes_pulled"] == LARGE - there
    check_all(server, dest)


def test_an_interrupted_pull_says_how_to_go_on(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    arguments = write_inputs(server, folder, locked)
    process = start_slow_pull(server, arguments, dest)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "run the same command again to resume" in told
    assert "Traceback" not in told
    settle(server)
    there = left_in(scratch_folder(dest))
    builds.run_well(*arguments, "--dest", dest)
    assert 0 < there == LARGE - server.counters()["bytes"]
    check_all(server, dest)


def test_the_command_tells_what_is_ahead_and_what_was_done(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    arguments = write_inputs(server, folder, locked)
    done = builds.run(*arguments, "--dest", dest)
    assert done.returncode == 0, done.stderr
    assert "raw: 6 of 7 files to pull, 3.2MiB in at least 6 requests, " in done.stderr
    assert " free\n" in done.stderr
    assert "pull: 3.2MiB/3.2MiB" in done.stderr
    assert "raw: pulled 3.2MiB in " in done.stdout
    check_all(server, dest)
    again = builds.run(*arguments, "--dest", dest)
    assert "raw: 0 of 7 files to pull, 0B in at least 0 requests" in again.stderr


def test_of_a_miniature_only_what_it_reads_is_pulled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number in range(10):
        made = builds.documents(f"part-{number}", 20, 200)
        path = tmp_path / f"there/part-{number}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{json.dumps(one)}\n" for one in made))
    mixture = tmp_path / "small.yaml"
    mixture.write_text(
        """\
name: small
chunk: {algorithm: whole-v1, size: 128}
sources:
  a: {from: {hub: org/a, files: "*.jsonl"}, tokens: 9000}
  b: {from: {hub: org/a, files: "part-[0-7].jsonl"}, tokens: 9000}
order: {seed: 21, global_batch_size: 4, max_seq_len: 128}
"""
    )

    def run(*arguments: str) -> set[str]:
        hub.reset()
        builds.run_well(arguments[0], mixture, *arguments[1:], cwd=tmp_path)
        return {line.split(" ")[1] for line in hub.log("/resolve/")}

    with serve({"org/a": tmp_path / "there"}) as hub:
        at_home(monkeypatch, hub, tmp_path)
        run("lock")
        assert len(run("pull", "--scale", "1/5", "--sources", "a", "--limit-files", "1")) == 1
        assert len(run("pull", "--scale", "1/5", "--sources", "a")) == 3
        assert 1 <= len(run("pull", "--set", "scale=1/5")) <= 4
        assert run("build", "--scale", "1/5", "--out", "out") == set()
        assert hub.log() == []
        left = {path.name for path in (tmp_path / "raw").rglob("*.jsonl")}
        assert len(run("pull")) == 10 - len(left) > 0


def test_the_command_refuses_a_mixture_that_was_not_locked(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    arguments = write_inputs(server, folder, locked)
    changed = builds.run(*arguments, "--dest", dest, "--set", "sources.hub.from.files=notes.json")
    assert changed.returncode == 2
    assert "sources.hub.from: got " in changed.stderr
    assert "hint: lock again" in changed.stderr
    other = builds.run(*arguments[:2], "--dest", dest, cwd=folder)
    assert other.returncode == 2
    assert "manifests/small.lock.json: got no file" in other.stderr
    assert not dest.exists()


def test_the_first_pull_records_what_came_and_every_later_one_compares(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    arguments = write_inputs(server, folder, locked)
    path = folder / "lock.json"
    before = path.read_bytes()
    assert b"null" not in before.partition(b'"files"')[2].partition(b"]")[0]
    builds.run_well(*arguments, "--dest", dest)
    name = "dolma/books-0001.json.gz"
    recorded = {file.path: file.sha256 for file in read_lock(path).sources["plain"].files}
    assert recorded[server.url("dolma", "books-0001.json.gz")] == sha256_bytes(CONTENTS[name])
    assert lock_digest(read_lock(path)) == lock_digest(locked) == sha256_bytes(before)
    # Locking again keeps it, and says that nothing changed.
    after = path.read_bytes()
    again = builds.run("lock", folder / "small.yaml", "--lock", path)
    assert (again.returncode, again.stderr.count(" was ")) == (0, 0)
    assert path.read_bytes() == after
    builds.run_well("lock", folder / "small.yaml", "--lock", path, "--check")

    # A server that has other bytes under the same ETag.
    [file] = [one for one in locked.sources["plain"].files if one.path.endswith("0001.json.gz")]
    other = with_digests(locked, {(file.path, file.digest): "0" * 64})
    with pytest.raises(MismatchError, match=r"0001\.json\.gz: is .*, the lock says sha256:00"):
        pull_all(other, folder, dest.with_name("other"))
    # A file whose note says something else than the lock.
    pulled = expected_path(server, dest, name)
    noted = json.loads(note_path(pulled).read_bytes())
    note_path(pulled).write_text(json.dumps({**noted, "sha256": "0" * 64}))
    refused = builds.run(*arguments, "--dest", dest)
    assert refused.returncode == 1
    assert f"was pulled as sha256:{'0' * 64}, the lock says sha256:" in refused.stderr
