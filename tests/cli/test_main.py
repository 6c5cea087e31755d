"""The command line: what it prints where, and how it ends."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped,unused-ignore]
from support import builds
from support.clusters import Build

from pipeline import cli
from pipeline.version import VERSION

VERBS = ("build", "verify", "plan", "schema")


def _call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    """Run a command in this process."""
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_verb_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], *([verb, "--help"] for verb in VERBS)):
        with pytest.raises(SystemExit) as ended:
            cli.main(arguments)
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert out.startswith("usage: ettin-data")
        assert all(verb in out for verb in VERBS) or arguments[0] in VERBS


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"ettin-data {VERSION}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["bild"], "invalid choice: 'bild'"),
        (["build", "m.yaml"], "the following arguments are required: --out"),
        (["build", "m.yaml", "--out", "o", "--worker", "2"], "unrecognized arguments: --worker 2"),
        (["build", "m", "--out", "o", "--workers", "0"], "--workers: got '0', expected an integer"),
        (["build", "m", "--out", "o", "--workers", "two"], "got 'two', expected an integer of at"),
        (["verify"], "the following arguments are required: DIR"),
        (["verify", "a", "b"], "unrecognized arguments: b"),
        (["schema", "--xml"], "unrecognized arguments: --xml"),
    ],
)  # fmt: skip
def test_misuse_says_what_and_how_and_exits_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = _call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "\nhint: usage: ettin-data" in err
    code, out, _ = _call(capsys, *arguments, "--json")
    assert code == 2
    assert message.partition(":")[0] in json.loads(out)["error"]


@pytest.mark.parametrize("verb", ["build", "plan"])
def test_a_mixture_that_is_missing_or_wrong_exits_2(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--out", str(tmp_path / "out")] if verb == "build" else []
    for name, message in (
        ("nothing", '"nothing": got neither a file nor one of the shipped mixtures'),
        ("nothing.yaml", "nothing.yaml: got no file (No such file or directory), expected a mix"),
    ):
        code, out, err = _call(capsys, verb, name, *options)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {message}")
    wrong = builds.write_mixture(tmp_path, builds.MIXTURE.replace("seed: 21", "sead: 21"))
    code, out, err = _call(capsys, verb, wrong, *options, "--json")
    assert code == 2
    assert "order.sead: got an unknown key" in err
    assert json.loads(out)["error"] in err
    assert not (tmp_path / "out").exists()


def test_a_budget_larger_than_its_source_says_what_there_is_and_both_ways_out(
    small: Path, finished: Path, tmp_path: Path
) -> None:
    made = json.loads((finished / "manifest.json").read_bytes())
    available = made["sources"]["prose"]["tokens"]["written"]
    done = builds.run(
        "build", small, "--out", tmp_path / "out", "--workers", "1", "--json",
        "--set", "sources.prose.tokens=60k",
    )  # fmt: skip
    assert done.returncode == 2
    error = json.loads(done.stdout)
    repetition = -(-60_000 // available)
    assert error["error"] == (
        f"sources.prose.tokens: needs 60,000 tokens, has {available:,} at max_repetition 1"
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
    done = builds.run("build", small, "--out", out, "--workers", "1", "--json")
    assert done.returncode == 0
    content = json.loads(done.stdout)
    assert content["manifest"] == json.loads((finished / "manifest.json").read_bytes())
    assert content["out"] == str(out)
    assert content["seconds"] > 0
    assert done.stderr.splitlines() == [
        "look for samples: 5/5", "chunk: 4/4", "order: 4/4",
    ]  # fmt: skip
    done = builds.run("build", small, "--out", out, "--workers", "1")
    assert "168 steps of 2,688 rows, " in done.stdout
    assert content["manifest"]["order"]["ledger"]["sequence_root"] in done.stdout
    assert "built in" not in done.stdout
    assert "built in" in done.stderr


def test_plan_and_verify_print_text_or_json(
    small: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = _call(capsys, "plan", small)
    assert (code, err) == (0, "")
    assert "9,000 tokens" in out
    assert "5/2 epochs" in out
    code, out, err = _call(capsys, "plan", small, "--json", "--set", "sources.prose.tokens=8k")
    assert (code, err) == (0, "")
    sources = {source["source"]: source for source in json.loads(out)["sources"]}
    assert sources["prose"]["asked"] == "8,000 tokens"
    assert sources["prose"]["num_files"] == 4
    assert sources["tables"]["num_documents"] == 50
    code, out, err = _call(capsys, "verify", finished)
    assert (code, out, err) == (0, f"{finished}: every file is as the manifest says\n", "")
    code, out, err = _call(capsys, "verify", finished, "--json")
    assert (code, json.loads(out), err) == (0, {"out": str(finished), "mismatches": []}, "")


def test_plan_prints_a_cost_for_what_has_a_price(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "$" not in _call(capsys, "plan", small)[1]
    out = _call(capsys, "plan", small, "--price-core-hour", "0.05", "--price-tb-month", "8e10")[1]
    assert re.search(r"^cost: ~\$[0-9,]+ for ", out, re.MULTILINE)
    content = json.loads(_call(capsys, "plan", small, "--json", "--price-tb-month", "8e10")[1])
    assert content["outlook"]["dollars"] > 0
    code, _, err = _call(capsys, "plan", small, "--price-core-hour", "free")
    assert code == 2
    assert "got 'free', expected dollars" in err


def test_the_schema_accepts_the_small_mixture(capsys: pytest.CaptureFixture[str]) -> None:
    import yaml  # type: ignore[import-untyped,unused-ignore]

    code, out, err = _call(capsys, "schema")
    assert (code, err) == (0, "")
    schema = json.loads(out)
    Draft202012Validator.check_schema(schema)
    declared = yaml.safe_load(builds.MIXTURE)
    assert list(Draft202012Validator(schema).iter_errors(declared)) == []
    assert _call(capsys, "schema", "--json") == (code, out, err)


def _refusal(small: Path, out: Path) -> str:
    done = builds.run("build", small, "--out", out, "--workers", "1")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_folder_that_holds_another_mixture_is_left_alone(
    small: Path, finished: Path, tmp_path: Path, build_here: Build
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    before = builds.digests(out)
    other = builds.write_mixture(small.parent, builds.MIXTURE.replace("21", "22"), "other.yaml")
    message = _refusal(other, out)
    assert f"error: {out}: holds another mixture (fingerprint " in message
    assert "\nhint: choose another --out, or remove the folder\n" in message
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
        f"error: {out}: is not empty and holds no build that can be told\n"
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
    assert _refusal(small, out) == (
        f"error: {out}: another build is at work here\nhint: wait for it, or choose another --out\n"
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
            f"--scheduler {address}: has no workers yet, waiting for some\n"
        )
    finally:
        scheduler.kill()
        scheduler.wait()
    _, err = build.communicate(timeout=60)
    assert build.returncode == 2
    assert err == (
        "error: look for samples: the scheduler went away\n"
        "hint: start it again, or another, and run the same command: what is done and intact is "
        "kept\n"
    )
    build_here(small, out)
    assert builds.digests(out) == expected


@pytest.mark.parametrize("verb", [["schema"], ["bild", "--json"]])
def test_a_reader_that_goes_away_is_no_error_to_speak_of(verb: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        builds.command(*verb), cwd=builds.REPOSITORY, env=builds.environment(), stdout=writing,
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_nothing_heavy_is_imported_before_a_command_needs_it() -> None:
    done = subprocess.run(
        [*builds.command()[:1], "-X", "importtime", "-c", "import pipeline.cli"],
        cwd=builds.REPOSITORY, env=builds.environment(), capture_output=True, text=True, check=True,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pipeline.config" in imported
    assert imported & {"numpy", "numba", "pyarrow", "distributed", "dask", "rich", "torch"} == set()
