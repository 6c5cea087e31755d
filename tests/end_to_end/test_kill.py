"""A build that is killed, interrupted or damaged half-way ends, run again, in the same bytes."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support import builds
from support.clusters import Build

NUM_KILLS = 20
SEED = 20_250_807
ON_DISK = ("--memory", "1")


@pytest.fixture(scope="module")
def seconds(small: Path, finished: Path, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a build takes from when it has claimed its folder, when all is compiled.

    The least of two, so that on a machine that is busy for a while none is over too soon.
    """
    assert finished.is_dir()
    taken = []
    for number in range(2):
        process = _started(small, tmp_path_factory.mktemp(f"timed-{number}") / "out")
        began = time.monotonic()
        process.communicate(timeout=builds.SECONDS)
        assert process.returncode == 0
        taken.append(time.monotonic() - began)
    return min(taken)


def _started(
    small: Path, out: Path, *settings: str, stderr: int = subprocess.DEVNULL
) -> subprocess.Popen[str]:
    """Start a build; return when it has claimed its folder, and may be writing."""
    process = builds.start(
        *("build", small, "--out", out, "--workers", "2", *settings),
        stdout=subprocess.PIPE,
        stderr=stderr,
    )
    stop = time.monotonic() + builds.SECONDS
    while not (out / ".ettin" / "mixture.json").exists():
        assert process.poll() is None, "the build ended before it began"
        assert time.monotonic() < stop
        time.sleep(0.005)
    return process


def _kill_group(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    _wait_for_end(process.pid, 10)


def _wait_for_end(group: int, most_seconds: float) -> None:
    stop = time.monotonic() + most_seconds
    while members := builds.group_members(group):
        assert time.monotonic() < stop, f"processes {members} live on"
        time.sleep(0.02)


def _assert_finished(out: Path, expected: dict[str, str]) -> None:
    assert builds.differences(builds.digests(out), expected) == []
    assert sorted(path.name for path in out.iterdir()) == [
        "manifest.json",
        "order",
        "provenance",
        "train",
    ]


# A fifth of them, in memory and on disk by turns, over the whole of a build; all with -m "".
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(number, marks=[pytest.mark.slow] if number % 5 else [])
        for number in range(NUM_KILLS)
    ],
)
def test_a_killed_build_goes_on_to_the_same_bytes(
    number: int, small: Path, seconds: float, tmp_path: Path, build_here: Build,
    expected: dict[str, str],
) -> None:  # fmt: skip
    """Moments are random within equal parts of a build; every tenth goes on by the command.

    Every second one lays its rows out on disk, and those that go on by the command do so again.
    """
    out = tmp_path / "out"
    moment = (number + random.Random(SEED + number).random()) / NUM_KILLS * seconds
    settings = ON_DISK if number % 2 else ()
    process = _started(small, out, *settings)
    time.sleep(moment)
    _kill_group(process)
    if number % 10 == 9:
        builds.run_well("build", small, "--out", out, "--workers", "2", *settings)
    else:
        build_here(small, out)
    _assert_finished(out, expected)


@pytest.mark.slow
def test_many_kills_of_one_folder_end_in_the_same_bytes(
    small: Path, seconds: float, tmp_path: Path, build_here: Build, expected: dict[str, str]
) -> None:
    draw = random.Random(SEED)
    out = tmp_path / "out"
    for _ in range(3):
        process = _started(small, out)
        time.sleep(draw.uniform(0.3, 0.9) * seconds)
        _kill_group(process)
    build_here(small, out)
    _assert_finished(out, expected)


@pytest.mark.parametrize("part", [0.4, pytest.param(0.7, marks=pytest.mark.slow)])
def test_workers_die_with_their_build_and_disturb_no_other(
    part: float, small: Path, seconds: float, tmp_path: Path, build_here: Build,
    expected: dict[str, str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    process = _started(small, out)
    time.sleep(part * seconds)
    process.kill()
    process.communicate(timeout=30)
    # At once, while workers of the killed build may still be at it.
    build_here(small, out)
    _assert_finished(out, expected)
    _wait_for_end(process.pid, 10)
    _assert_finished(out, expected)


def _harm(path: Path, draw: random.Random) -> None:
    data = path.read_bytes()
    match draw.choice(["flip", "cut", "remove", "zero"]):
        case "flip" if data:
            place = draw.randrange(len(data))
            flipped = bytes([data[place] ^ 1 << draw.randrange(8)])
            path.write_bytes(data[:place] + flipped + data[place + 1 :])
        case "cut":
            path.write_bytes(data[: draw.randrange(len(data) + 1)])
        case "zero":
            path.write_bytes(bytes(len(data)))
        case _:
            path.unlink()


def test_damage_to_what_a_killed_build_left_is_mended(
    small: Path, seconds: float, tmp_path: Path, build_here: Build, expected: dict[str, str]
) -> None:
    left = tmp_path / "left"
    process = _started(small, left)
    while not list((left / "order").rglob("steps_*.parquet")) and process.poll() is None:
        time.sleep(0.005)
    _kill_group(process)
    owner = left / ".ettin" / "mixture.json"
    assert owner.exists(), "the build was done before it was killed"
    for number in range(8):
        draw = random.Random(SEED + number)
        out = shutil.copytree(left, tmp_path / f"out-{number}")
        files = sorted(path for path in out.rglob("*") if path.is_file())
        # Whose folder it is must be known.
        files.remove(out / ".ettin" / "mixture.json")
        for path in draw.sample(files, 12):
            _harm(path, draw)
        build_here(small, out)
        _assert_finished(out, expected)


@pytest.mark.parametrize("part", [0.02, pytest.param(0.2, marks=pytest.mark.slow), 0.4])
def test_ctrl_c_ends_a_build_at_once_and_it_goes_on_to_the_same_bytes(
    part: float, small: Path, seconds: float, tmp_path: Path, build_here: Build,
    expected: dict[str, str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    process = _started(small, out, stderr=subprocess.PIPE)
    time.sleep(part * seconds)
    os.killpg(process.pid, signal.SIGINT)
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=30)
    took = time.monotonic() - began
    assert process.returncode == 130, f"done before it was interrupted, or failed:\n{stderr}"
    assert "interrupted; run the same command again to resume" in stderr
    assert "Traceback" not in stderr
    assert "Error" not in stderr
    assert stdout == ""
    assert took < 8
    _wait_for_end(process.pid, 5)
    # Whatever has been published is whole already.
    for path, digest in builds.digests(out).items():
        if path in expected and not path.startswith("train/prose/"):
            assert digest == expected[path], path
    build_here(small, out)
    _assert_finished(out, expected)


def test_an_impatient_second_ctrl_c_leaves_nothing_running(
    small: Path, seconds: float, tmp_path: Path, build_here: Build, expected: dict[str, str]
) -> None:
    out = tmp_path / "out"
    process = _started(small, out, stderr=subprocess.PIPE)
    time.sleep(0.3 * seconds)
    for _ in range(3):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.1)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    _wait_for_end(process.pid, 5)
    build_here(small, out)
    _assert_finished(out, expected)
