"""Kills at every stage that sees the whole corpus, and while files come from afar.

Each run goes on to the same bytes, whatever was under way.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support import builds, miniature
from support.clusters import Build
from support.source_server import Fault, serve
from support.two_servers import MIXTURE, write_files

SEED = 20_261_122
EXAMPLE = builds.REPOSITORY / "mixtures" / "custom-example.yaml"
STAGES = {
    "survey": ".ettin/survey/*/*",
    "chunk": ".ettin/chunks/*/*",
    "draw": "train/*/*",
    "order": "order/*",
    "validation": "validation/train/*/index.json",
    "order of validation": "validation/order/*",
}
"""What there is once a stage has begun to write."""
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(build_here: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of the example, built without trouble."""
    return builds.digests(build_here(EXAMPLE, tmp_path_factory.mktemp("whole") / "out"))


def _until(process: subprocess.Popen[str], happens: Callable[[], bool]) -> bool:
    """Wait until something happens; return whether it does before the command ends."""
    stop = time.monotonic() + builds.SECONDS
    while not happens():
        if process.poll() is not None:
            return False
        assert time.monotonic() < stop
        time.sleep(0.002)
    return True


def _kill(process: subprocess.Popen[str]) -> bool:
    """Kill a command and its workers; return whether it was still at work."""
    was_at_work = process.poll() is None
    if was_at_work:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    stop = time.monotonic() + 10
    while builds.group_members(process.pid):
        assert time.monotonic() < stop
        time.sleep(0.01)
    return was_at_work


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param("survey", marks=slow),
        pytest.param("chunk", marks=slow),
        pytest.param("draw", marks=slow),
        pytest.param("order", marks=slow),
        "validation",
        pytest.param("order of validation", marks=slow),
    ],
)
def test_a_build_that_is_killed_at_a_stage_goes_on_to_the_same_bytes(
    stage: str, build_here: Build, whole: dict[str, str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for _ in range(5):
        process = builds.start("build", EXAMPLE, "--out", out, "--workers", "2")
        _until(process, lambda: any(out.glob(STAGES[stage])))
        _kill(process)
        if not (out / "manifest.json").exists():
            break
        # It was faster; so once more from the beginning.
        shutil.rmtree(out)
    else:
        pytest.fail("done each time before it was killed")
    build_here(EXAMPLE, out)
    assert builds.differences(builds.digests(out), whole) == []


@slow
@pytest.mark.parametrize("number", range(20))
def test_a_build_that_is_killed_at_any_time_goes_on_to_the_same_bytes(
    number: int, build_here: Build, whole: dict[str, str], tmp_path: Path
) -> None:
    """Three kills of one folder, at seeded moments after it was claimed; then to the end."""
    out, draw = tmp_path / "out", random.Random(SEED + number)
    for _ in range(3):
        process = builds.start("build", EXAMPLE, "--out", out, "--workers", "2")
        _until(process, (out / ".ettin" / "mixture.json").exists)
        time.sleep(draw.uniform(0, 4))
        _kill(process)
    build_here(EXAMPLE, out)
    assert builds.differences(builds.digests(out), whole) == []


# From afar

DRIP: Fault = {"kind": "drip", "bytes": 200, "seconds": 0.05, "times": -1}


@pytest.mark.parametrize(
    ("verb", "number"),
    [
        ("pull", 0),
        *(pytest.param("pull", n, marks=slow) for n in (1, 2, 3)),
        *(
            pytest.param(verb, n, marks=slow)
            for verb in ("lock", "build", "build --no-keep-raw")
            for n in range(4)
        ),
    ],
)
def test_what_is_killed_while_files_come_goes_on_to_the_same_bytes(
    verb: str, number: int, tmp_path: Path
) -> None:
    """At a server that is slow enough for the kill to fall into the transfer."""
    there, here = tmp_path / "there", tmp_path / "here"
    write_files(there)
    write_files(here)
    draw = random.Random(SEED + number)
    faults = [{**DRIP, "match": part} for part in ("part.jsonl", "books-")]
    busy: Fault = {"kind": "status", "status": 503, "times": -1, "match": "books-"}
    with serve({"org/a": there / "a"}, files={"dolma": there / "dolma"}) as server:
        mixture = builds.write_mixture(here, MIXTURE.replace("ENDPOINT", server.endpoint))
        home = miniature.at_home(server, here)

        def run(*arguments: str | Path) -> str:
            return builds.run_well(*arguments, cwd=here, **home)

        def run_verb(folder: Path) -> list[str | Path]:
            name, *more = verb.split()
            return [
                name,
                mixture,
                *more,
                *{
                    "lock": ["--lock", folder / "lock.json"],
                    "pull": ["--dest", folder / "raw"],
                    "build": ["--out", folder / "out", "--raw", folder / "raw", "--workers", "1"],
                }[name],
            ]

        run("lock", mixture)
        for folder in (tmp_path / "whole", tmp_path / "killed"):
            folder.mkdir()
        run(*run_verb(tmp_path / "whole"))
        server.set_faults([busy] if verb == "lock" else faults)
        server.reset()
        process = subprocess.Popen(
            builds.command(*run_verb(tmp_path / "killed")),
            cwd=here,
            env=builds.environment(**home),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert _until(process, lambda: bool(server.log("books-")))
        time.sleep(draw.uniform(0, 0.4))
        assert _kill(process), "done before it was killed"
        server.set_faults([])
        run(*run_verb(tmp_path / "killed"))
    digests = [builds.digests(tmp_path / name) for name in ("whole", "killed")]
    assert builds.differences(*digests) == []
    assert digests[0]
