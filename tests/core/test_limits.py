"""Limits on open files: the soft one is raised; one that is too low is refused before any work."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from support import builds

from pipeline.core.errors import ConfigError
from pipeline.core.limits import check_open_files, raise_open_files


@pytest.fixture(autouse=True)
def _restored() -> object:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_soft_limit_becomes_the_hard_one() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    raise_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_limit_that_is_too_low_is_refused() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    check_open_files(256, "here")
    expected = (
        r"^here: got a limit of 256 open files, expected at least 257\nhint: .*`ulimit -n 257`"
    )
    with pytest.raises(ConfigError, match=expected):
        check_open_files(257, "here")


def test_a_build_says_before_it_begins_that_the_limit_is_too_low(tmp_path: Path) -> None:
    mixture = builds.write_inputs(tmp_path)
    command = (sys.executable, "-m", "pipeline", "build", mixture, "--out", tmp_path / "out")
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 100 && exec "$@"', "sh", *command, "--workers", "40"],
        env=builds.environment(), cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error == "error: --workers 40: got a limit of 100 open files, expected at least 568"
    assert hint.startswith("hint: raise it with `ulimit -n 568`")
