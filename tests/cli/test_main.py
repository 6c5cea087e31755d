"""The command line: what it prints where, and how it ends."""

import json
import os
import signal
import subprocess
from errno import EMFILE, ENFILE, ENOMEM
from pathlib import Path

import pytest
from support import builds
from support.commands import call

from pipeline import cli
from pipeline.core.errors import OutputError
from pipeline.version import VERSION

VERBS = (
    *("new", "plan", "lock", "pull", "build", "order", "verify", "digest", "diff", "trace", "feed"),
    *("train", "export", "schema"),
)


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
    ("given", "hint"),
    [
        (["bild"], "did you mean ettin-data build?"),
        (["trac", "out", "--step", "1"], "did you mean ettin-data trace?"),
        (["xyzzy", "--json"], "ettin-data --help lists them"),
    ],
)
def test_a_command_that_there_is_not_leads_to_the_nearest(
    given: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, *given)
    assert code == 2
    assert err.startswith(
        f"error: got the command {given[0]!r}, expected one of new, plan, lock, pull,"
    )
    assert f"\nhint: {hint}\n" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
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
    code, out, err = call(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert "\nhint: usage: ettin-data" in err
    code, out, _ = call(capsys, *arguments, "--json")
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
        code, out, err = call(capsys, verb, name, *options)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {message}")
    wrong = builds.write_mixture(tmp_path, builds.MIXTURE.replace("seed: 21", "sead: 21"))
    code, out, err = call(capsys, verb, wrong, *options, "--json")
    assert code == 2
    assert "order.sead: got an unknown key" in err
    assert json.loads(out)["error"] in err
    assert not (tmp_path / "out").exists()


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


def test_a_fault_of_ours_exits_70_and_names_a_report(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(path: str) -> Path:
        raise KeyError("shards")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("pipeline.cli.arguments.mixture_path", fail)
    code, out, err = call(capsys, "plan", "sample", "--set", "name=http://u:geheim@h/x?sig=geheim")
    (report,) = tmp_path.iterdir()
    assert (code, out) == (70, "")
    assert err == (
        "error: unexpected KeyError, a fault of ettin-data and not of yours\n"
        f"hint: report it, with what this file says: {report}\n"
    )
    said = report.read_text()
    assert "command: ettin-data plan sample --set 'name=http://h/x'" in said
    assert "KeyError: 'shards'" in said
    assert "geheim" not in said
    assert f"ettin-data {VERSION}" in said


class Interrupted:
    """Gets a Ctrl-C while the class is made that has it, which some Pythons call a RuntimeError."""

    def __set_name__(self, owner: type, name: str) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("wraps", [False, True])
def test_ctrl_c_is_one_whatever_becomes_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, wraps: bool
) -> None:
    def fail(path: str) -> Path:
        try:
            type("Layer", (), {"wait": Interrupted()})
        except RuntimeError as error:
            if wraps:
                raise OutputError("a library failed") from error
            raise
        raise KeyboardInterrupt

    monkeypatch.setattr("signal.signal", lambda number, action: None)
    monkeypatch.setattr("pipeline.cli.arguments.mixture_path", fail)
    code, _, err = call(capsys, "plan", "sample")
    assert (code, err) == (130, "interrupted; run the same command again to resume\n")


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), OSError(ENOMEM, "no memory")]
)
@pytest.mark.parametrize("raises", [True, False])
def test_too_little_memory_is_said_in_words(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    raises: bool,
) -> None:
    def fail(path: str) -> Path:
        if raises:
            raise error
        try:
            raise error
        finally:
            raise SystemError("error return without exception set")

    monkeypatch.setattr("pipeline.cli.arguments.mixture_path", fail)
    code, _, err = call(capsys, "plan", "sample")
    assert (code, err.splitlines()[0]) == (2, "error: out of memory")


@pytest.mark.parametrize("error", [OSError(EMFILE, "files"), OSError(ENFILE, "files")])
def test_too_many_open_files_are_said_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(path: str) -> Path:
        raise error

    monkeypatch.setattr("pipeline.cli.arguments.mixture_path", fail)
    code, _, err = call(capsys, "plan", "sample")
    said, hint = err.splitlines()
    assert (code, said) == (2, "error: too many open files")
    assert hint.startswith("hint: raise `ulimit -n`")


def test_too_little_memory_for_a_report_is_said_in_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> str:
        raise MemoryError

    def break_down(path: str) -> Path:
        raise SystemError("error return without exception set")

    monkeypatch.setattr("pipeline.cli.arguments.mixture_path", break_down)
    monkeypatch.setattr("pipeline.cli.fault.distributions", fail)
    code, _, err = call(capsys, "plan", "sample")
    assert (code, err.splitlines()[0]) == (2, "error: out of memory")


@pytest.mark.parametrize(
    ("redirect", "code"),
    [
        ("1>&-", 0), ("2>&-", 0), ("0>&- 1>&- 2>&-", 0),
        (">/dev/full", 2), (">/dev/full 2>&1", 2), (">/dev/full 2>&-", 2),
    ],
)  # fmt: skip
def test_closed_and_full_streams_end_a_command_as_they_must(redirect: str, code: int) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$@" {redirect}', "sh", *builds.command("schema")], cwd=builds.REPOSITORY,
        env=builds.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == code
    expected = "error: No space left on device\n" if redirect == ">/dev/full" else ""
    assert done.stderr == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "WHAT"), ("build", "WHAT", "--out", "out"), ("diff", "WHAT", "sample"),
        ("verify", "DIR", "--manifest", "WHAT"), ("plan", "sample", "--lock", "WHAT"),
        ("train", "WHAT", "--data", "DIR", "--out", "out"), ("feed", "WHAT"),
    ],
)  # fmt: skip
def test_a_pipe_or_a_device_is_refused_at_once(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "pipe.json").symlink_to(tmp_path / "pipe.yaml")
    for what in ("/dev/zero", tmp_path / "pipe.yaml", tmp_path / "pipe.json"):
        places = {"WHAT": str(what), "DIR": str(tmp_path), "out": str(tmp_path / "out")}
        code, _, err = call(capsys, *(places.get(one, one) for one in arguments))
        assert code == 2
        assert err.startswith("error: ")
        assert str(what) in err
