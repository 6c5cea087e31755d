"""A job array and a dask cluster by a real Slurm, as the page on clusters has them."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import builds, pages
from support.paths import REPOSITORY
from support.slurm import lacking, start_slurm

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(lacking() is not None, reason=str(lacking())),
]
BLOCKS = pages.blocks(REPOSITORY / "docs" / "guide" / "clusters.md")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with start_slurm(tmp_path_factory.mktemp("slurm")) as variables:
        yield variables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One with the mixture and the files of the page."""
    builds.write_inputs(tmp_path).rename(tmp_path / "mixture.yaml")
    for block in BLOCKS:
        kind, _, name = block.mark.partition(": ")
        if kind == "file":
            (tmp_path / name).write_text(block.text)
    return tmp_path


def script(word: str) -> str:
    """Return the block for Slurm that has a word in it."""
    [text] = [one.text for one in BLOCKS if one.mark == "run: slurm" and word in one.text]
    return text


def test_an_array_of_parts_of_which_one_is_preempted_is_joined(
    folder: Path, slurm: dict[str, str], expected: dict[str, str]
) -> None:
    environment = pages.environment(**slurm)

    def ask(*command: str) -> str:
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        return done.stdout

    process = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", script("chunk.sbatch")], cwd=folder, env=environment
    )
    try:
        stop = time.monotonic() + 60
        while not (running := ask("squeue", "-h", "-t", "R", "-n", "chunk", "-o", "%i").split()):
            assert time.monotonic() < stop
            time.sleep(0.2)
        ask("scontrol", "requeue", running[0])
        assert "Restarts=1" in ask("scontrol", "show", "job", running[0])
        assert process.wait(timeout=400) == 0
    finally:
        process.kill()
        process.wait()
    logs = "".join(path.read_text() for path in folder.glob("slurm-*.out"))
    for index in range(1, 5):
        assert f"array: part {index}/4 of chunk is made, " in logs
    assert "parts: have made 9 of 9 partitions\n" in logs
    assert builds.differences(builds.digests(folder / "array"), expected) == []


def test_a_dask_cluster_takes_its_workers_from_slurm(
    folder: Path, slurm: dict[str, str], expected: dict[str, str]
) -> None:
    pytest.importorskip("dask_jobqueue")
    [certificates] = [one.text for one in BLOCKS if "openssl" in one.text]
    pages.run(certificates, folder)
    pages.run(script("jobqueue_build.py"), folder, **slurm)
    assert builds.differences(builds.digests(folder / "jobqueue"), expected) == []
