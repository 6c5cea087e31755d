"""`ettin-data build`: what it prints where, and which folders it leaves alone."""

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from support import builds
from support.clusters import Build


def _refusal(small: Path, out: Path) -> str:
    done = builds.run("build", small, "--out", out)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_budget_larger_than_its_source_says_what_there_is_and_both_ways_out(
    small: Path, finished: Path, tmp_path: Path
) -> None:
    made = json.loads((finished / "manifest.json").read_bytes())
    available = made["sources"]["prose"]["tokens"]["written"]
    done = builds.run(
        "build", small, "--out", tmp_path / "out", "--json",
        "--set", "sources.prose.tokens=60k",
    )  # fmt: skip
    assert done.returncode == 2
    error = json.loads(done.stdout)
    repetition = -(-60_000 // available)
    assert error["error"] == (
        f"sources.prose.tokens: needs 60,000 tokens, has {available:,} at max_repetition 1"
        " (dropped 4 of 154 documents: duplicate_id 2, invalid_json 1, no_text 1;"
        f" chunking discarded {made['sources']['prose']['tokens']['discarded']:,} tokens)"
    )
    assert error["hint"] == (
        f"raise sources.prose.max_repetition to {repetition}, or lower sources.prose.tokens to "
        f"{available:,}"
    )
    assert f"error: {error['error']}\nhint: {error['hint']}\n" in done.stderr


def test_data_goes_to_stdout_and_the_log_to_stderr(
    small: Path, finished: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    done = builds.run("build", small, "--out", out, "--json")
    assert done.returncode == 0
    content = json.loads(done.stdout)
    assert content["manifest"] == json.loads((finished / "manifest.json").read_bytes())
    assert content["out"] == str(out)
    assert content["seconds"] > 0
    # On a busy machine a stage may take long enough to have rates.
    ends = re.findall(r"^[a-z ]+: (?:\d+)/(?:\d+)", done.stderr, re.MULTILINE)
    assert ends == [
        *("look for samples: 5/5", "chunk: 4/4", "find repeated ids: 3/3"),
        *("find repeated ids: 3/3", "count: 1/1", "check the order: 4/4", "check the index: 1/1"),
    ]
    done = builds.run("build", small, "--out", out)
    assert "168 steps of 2,688 rows, " in done.stdout
    assert content["manifest"]["order"]["ledger"]["sequence_root"] in done.stdout
    assert "built in" not in done.stdout
    counted = json.loads((out / "manifest.json").read_bytes())["sources"]
    for source in counted.values():
        for reason, number in source["documents"]["dropped"].items():
            assert re.search(rf" {reason} +{number} ", done.stdout)
    assert "built in" in done.stderr


def test_a_folder_that_holds_another_mixture_is_left_alone(
    small: Path, finished: Path, tmp_path: Path, build_here: Build
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    before = builds.digests(out)
    other = builds.write_mixture(small.parent, builds.MIXTURE.replace("21", "22"), "other.yaml")
    message = _refusal(other, out)
    assert f"error: {out}: holds another mixture, or other partitions of this one (" in message
    assert (
        "\nhint: choose another --out, or keep what still stands of it with --update\n" in message
    )
    assert builds.digests(out) == before
    # The table of steps knows it too, should the manifest be lost.
    (out / "manifest.json").unlink()
    assert "holds another mixture" in _refusal(other, out)
    assert _refusal(other, out).startswith(f"error: {out}: holds another mixture")


def test_a_folder_that_holds_anything_else_is_left_alone(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert _refusal(small, out) == (
        f"error: {out}: is not empty, and not an ettin-data build\n"
        "hint: choose another --out, or empty the folder\n"
    )
    assert builds.digests(out).keys() == {"thesis.txt"}


def test_a_file_in_place_of_the_folder_is_left_alone(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("a file")
    expected = f"error: {out}: got a file, expected a folder\nhint: choose another --out\n"
    assert _refusal(small, out) == expected
    below = _refusal(small, out / "below")
    assert below.startswith(f"error: {out / 'below'}: cannot be written: Not a directory\nhint: ")
    assert out.read_text() == "a file"


def test_a_scheduler_that_does_not_answer_spoils_no_finished_output(
    small: Path, finished: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    done = builds.run("build", small, "--out", out, "--scheduler", "nowhere")
    assert done.returncode == 2
    assert "error: --scheduler nowhere: no scheduler answers: " in done.stderr
    assert "hint: start one with `dask scheduler`, and workers with `dask worker " in done.stderr
    assert builds.digests(out) == expected


def test_two_builds_in_one_folder_do_not_meet(
    small: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    out = tmp_path / "out"
    first = builds.start("build", small, "--out", out, "--workers", "1")
    while not (out / ".ettin" / "mixture.json").exists():
        assert first.poll() is None
        time.sleep(0.01)
    # Stopped, so that it is not done before the other has begun.
    first.send_signal(signal.SIGSTOP)
    refused = _refusal(small, out)
    first.send_signal(signal.SIGCONT)
    assert refused == (
        f"error: {out}: another build is running here\nhint: wait for it, or choose another --out\n"
    )
    assert first.wait(builds.SECONDS) == 0
    assert builds.digests(out) == expected


@pytest.mark.slow  # dask tries for ten seconds to get it back
def test_a_scheduler_that_goes_away_is_one_clear_line(
    small: Path, tmp_path: Path, expected: dict[str, str], build_here: Build
) -> None:
    contact, out = tmp_path / "scheduler.json", tmp_path / "out"
    # Without workers, so that it cannot be done before the scheduler goes.
    scheduler = subprocess.Popen(
        [*builds.command()[:2], "dask", "scheduler", "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard", "--scheduler-file", contact],
        env=builds.environment(), stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while not (contact.exists() and contact.stat().st_size):
            assert scheduler.poll() is None
            time.sleep(0.05)
        address = json.loads(contact.read_text())["address"]
        build = builds.start(
            "build", small, "--out", out, "--scheduler", address, stderr=subprocess.PIPE
        )
        assert build.stderr is not None
        assert build.stderr.readline() == (
            f"--scheduler {address}: has no workers, waiting for some\n"
        )
    finally:
        scheduler.kill()
        scheduler.wait()
    _, err = build.communicate(timeout=60)
    assert build.returncode == 2
    assert err == (
        "error: chunk: the scheduler went away\n"
        "hint: start it again, or another, and run the same command: finished work is kept\n"
    )
    build_here(small, out)
    assert builds.digests(out) == expected
