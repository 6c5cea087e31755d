"""Tasks run again after errors that may pass, a few times, counted; no others do."""

import errno
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from support import builds

from pipeline.core.errors import InputError, NetworkError, OutputError, PipelineError
from pipeline.core.files import writing
from pipeline.runner import attempt
from pipeline.runner.attempt import transient
from pipeline.runner.cluster import InProcess
from pipeline.runner.tasks import make_partition


def failing(*numbers: int) -> Callable[[int], int]:
    """Return a function that fails with each of these errors of the system once."""
    left = list(numbers)

    def double(number: int) -> int:
        if left:
            number = left.pop(0)
            # As tasks do, in errors of ours.
            with writing(Path("out")):
                raise OSError(number, os.strerror(number))
        return 2 * number

    return double


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def test_errors_that_pass_are_counted(pauses: list[float]) -> None:
    retried: Counter[str] = Counter()
    cluster = InProcess(lambda *_: None, retried)
    function = failing(errno.ESTALE, errno.EIO, errno.ESTALE)
    assert cluster.map("double", function, [1, 2, 3]) == [2, 4, 6]
    assert retried == {"ESTALE": 2, "EIO": 1}
    assert pauses == [*attempt.PAUSES]
    assert pauses == sorted(pauses)


def test_after_the_last_attempt_the_error_is_raised(pauses: list[float]) -> None:
    function = failing(*[errno.ETIMEDOUT] * (len(attempt.PAUSES) + 1))
    with pytest.raises(OutputError, match="the disk fails: Connection timed out"):
        InProcess(lambda *_: None).map("double", function, [1])
    assert len(pauses) == len(attempt.PAUSES)


def raised(error: Exception, cause: Exception | None = None) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), "ECONNRESET"),
        (raised(InputError("cannot be read"), OSError(errno.EIO, "")), "EIO"),
        (raised(OutputError("full"), OSError(errno.ENOSPC, "")), None),
        (raised(OSError(errno.ENOSPC, ""), OSError(errno.EIO, "")), None),
        (raised(NetworkError("asked four times"), OSError(errno.ECONNRESET, "")), None),
        (FileNotFoundError(errno.ENOENT, ""), None),
        (PipelineError("bad data"), None),
        (ValueError("bug"), None),
    ],
)
def test_only_what_may_pass_does(error: Exception, name: str | None) -> None:
    assert transient(error) == name


def test_a_build_says_what_ran_again(
    small: Path, tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch,
    pauses: list[float],
) -> None:  # fmt: skip
    real, failed = make_partition.save_table, []

    def fail_once(*arguments: object) -> None:
        if len(failed) < 2:
            failed.append(arguments)
            raise OSError(errno.ESTALE, "Stale file handle", "tables")
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(make_partition, "save_table", fail_once)
    out = tmp_path / "out"
    done = builds.run("build", small, "--out", out, "--json")
    assert json.loads(builds.well(done))["retried"] == {"ESTALE": 2}
    assert "Stale file handle: 'tables': trying again in 1 s" in done.stderr
    assert builds.differences(builds.digests(out), expected) == []
    failed.clear()
    done = builds.run("build", small, "--out", tmp_path / "again")
    line = "retried 2 times, after errors of a disk or a network that passed: ESTALE 2\n"
    assert line in done.stderr
