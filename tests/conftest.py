"""What several end-to-end tests share: a finished small build, and a cluster that stays up."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import builds
from support.clusters import Build, start_cluster
from support.made_once import made_once

# Tests run side by side; threads that wait for one another by spinning would be in their way.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_runtest_setup() -> None:
    """Let what a test starts be interrupted, whoever started the tests or ran before."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small mixture's file, beside its inputs; not to be changed."""
    return made_once(tmp_path_factory, "small", builds.write_inputs) / "small.yaml"


@pytest.fixture(scope="session")
def finished(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the small mixture, built by the command with one worker; not to be changed."""

    def make(folder: Path) -> None:
        out = folder / "out"
        builds.well(builds.run_alone("build", small, "--out", out, "--workers", "1"))

    return made_once(tmp_path_factory, "finished", make) / "out"


@pytest.fixture(scope="session")
def sample_output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the sample that ships; not to be changed."""

    def make(folder: Path) -> None:
        builds.run_well("build", "sample", "--out", folder / "sample-out")

    return made_once(tmp_path_factory, "sample", make) / "sample-out"


@pytest.fixture(scope="session")
def expected(finished: Path) -> dict[str, str]:
    """The digests of `finished`."""
    return builds.digests(finished)


@pytest.fixture(scope="session")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a cluster that stays up."""
    with start_cluster(tmp_path_factory.mktemp("cluster")) as address:
        yield address


@pytest.fixture(scope="session")
def build_here(scheduler: str) -> Build:
    """Builds in this process on the cluster that stays up, which is quick, as all is warm."""
    from pipeline.config.load import load_mixture
    from pipeline.runner.run import build

    def build_(mixture: Path, out: Path, *settings: str) -> Path:
        build(load_mixture(mixture, settings), out, workers=1, scheduler=scheduler, report=_quiet)
        return out

    return build_


def _quiet(stage: str, done: int, total: int, *_: object) -> None:
    pass
