"""Workers that see other files or have other versions are all named before any work."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from distributed import Client
from support import builds
from support.clusters import start_cluster, start_worker
from support.paths import REPOSITORY

from pipeline.core.errors import PipelineError
from pipeline.core.limits import default_memory_bytes
from pipeline.runner.open_cluster import open_cluster
from pipeline.runner.same_files import leaving_notes, look_once
from pipeline.version import VERSION

HOST = socket.gethostname()


def elsewhere(folder: Path) -> tuple[str, ...]:
    """Return what begins a command that sees another, empty folder at this path."""
    mounts = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*mounts, "true"]).returncode:
        pytest.skip("no process may have mounts of its own here")
    return (*mounts, "sh", "-c", f'mount -t tmpfs none "{folder}" && exec "$@"', "sh")


def test_of_three_workers_the_one_with_other_files_and_the_one_of_another_version_are_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "shared").mkdir()
    mixture, other = builds.write_inputs(tmp_path / "shared"), tmp_path / "other"
    shutil.copytree(REPOSITORY / "pipeline", other / "pipeline")
    (other / "pipeline" / "version.py").write_text('VERSION = "0.0.1"\n')
    out = tmp_path / "shared" / "out"
    with (
        start_cluster(tmp_path, workers=1) as address,
        start_worker(address, tmp_path, *elsewhere(tmp_path / "shared")),
        start_worker(address, other, PYTHONPATH=str(other)),
    ):
        with Client(address) as client:
            client.wait_for_workers(3, timeout=60)
        done = builds.run("build", mixture, "--out", out, "--scheduler", address)
        assert done.returncode == 2
        first, *lines, hint = done.stderr.splitlines()
        assert first.endswith("got workers of other versions or files than this command's:")
        assert f"  ettin-data: {VERSION} here, 0.0.1 on tcp://127.0.0.1:" in lines[0]
        assert lines[1].startswith(f"  {HOST}, tcp://127.0.0.1:")
        expected = f"sees other files: {out}/.ettin: No such file or directory"
        assert lines[1].endswith(expected)
        assert f"{tmp_path}/shared/in/long/long-0.jsonl: No such file or directory" in lines[2]
        assert hint.startswith("hint: install the same versions everywhere")
        assert len({line.split(": ")[0] for line in lines}) == 2
    assert not list(tmp_path.rglob("*.mds"))
    assert not list(tmp_path.rglob(".note-*"))


def test_a_worker_that_joins_later_and_sees_other_files_does_no_task(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    folders = [tmp_path / "shared"]
    with start_cluster(tmp_path, workers=1) as address, Client(address) as client:
        client.wait_for_workers(1, timeout=60)
        with (
            open_cluster(0, address, lambda *_: None, folders=folders) as cluster,
            start_worker(address, tmp_path, *elsewhere(tmp_path / "shared")),
        ):
            client.wait_for_workers(2, timeout=60)
            with pytest.raises(PipelineError) as raised:
                cluster.map("touch", touch, [tmp_path / str(number) for number in range(20)])
    expected = f"--scheduler: {HOST} sees other files: {tmp_path}/shared: another folder, with"
    assert raised.value.message == f"{expected} nothing"
    assert not list(tmp_path.rglob(".note-*"))


def touch(path: Path) -> None:
    time.sleep(0.1)
    path.touch()


def test_what_a_worker_sees_otherwise_is_said(tmp_path: Path) -> None:
    file = tmp_path / "in"
    file.write_bytes(b"four")
    with leaving_notes([tmp_path], [file, tmp_path / "none"]) as notes:
        host, lines, answers = notes.looker()()
        assert (host, lines, notes.unread(answers)) == (HOST, [], [])
        file.write_bytes(b"other")
        assert notes.looker()()[1] == [f"{file}: 5 bytes, 4 here"]
        Path(answers[0]).unlink()
        assert notes.unread(answers) == [f"{tmp_path}: what it writes does not arrive here"]
        Path(notes.paths[0]).write_text("another")
        with pytest.raises(PipelineError, match=f"{tmp_path}: another folder, with .note-"):
            look_once(notes)
    assert list(tmp_path.iterdir()) == [file]


def test_memory_is_that_of_the_least_worker(tmp_path: Path) -> None:
    with start_cluster(tmp_path, workers=1) as address, Client(address) as client:
        client.wait_for_workers(1, timeout=60)
        with open_cluster(0, address, lambda *_: None) as cluster:
            assert cluster.memory_bytes() == default_memory_bytes()
        client.run(limit_memory)
        with open_cluster(0, address, lambda *_: None) as cluster:
            assert cluster.memory_bytes() == 1 << 26


def limit_memory(dask_worker: object) -> None:
    """Limit the memory of a worker as its command line does, for two threads."""
    dask_worker.memory_manager.memory_limit = 1 << 28  # type: ignore[attr-defined]
    dask_worker.state.nthreads = 2  # type: ignore[attr-defined]
