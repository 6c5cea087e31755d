"""A cluster of the user's: workers of other versions are refused, now and when they join later."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import cloudpickle
import pytest
from support import builds
from support.clusters import start_cluster
from support.paths import REPOSITORY

from pipeline.core.errors import MismatchError, PipelineError
from pipeline.runner.cluster import (
    _version_guard,
    _version_reader,
    compare_versions,
    open_cluster,
    versions,
)
from pipeline.version import VERSION


@pytest.fixture(scope="module")
def other_version(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a process that runs another version of the package."""
    folder = tmp_path_factory.mktemp("other")
    shutil.copytree(REPOSITORY / "pipeline", folder / "pipeline")
    (folder / "pipeline" / "version.py").write_text('VERSION = "0.0.1"\n')
    return {"PYTHONPATH": str(folder)}


def test_versions_name_everything_that_decides_bytes() -> None:
    found = versions()
    assert list(found) == ["ettin-data", "Python", "numba", "numpy", "pyarrow", "tokenizers"]
    compare_versions(found, {"tcp://a": dict(found)})
    with pytest.raises(PipelineError) as raised:
        compare_versions(
            {"ettin-data": "1", "numpy": "2"},
            {
                "tcp://a": {"ettin-data": "1", "numpy": "3"},
                "tcp://b": {"ettin-data": "0", "numpy": "3"},
                "tcp://c": {"numpy": "2"},
                "tcp://d": AttributeError("no versions"),
            },
        )
    assert raised.value.message.splitlines()[1:] == [
        "  ettin-data: 1 here, 0 on tcp://b",
        "  ettin-data: 1 here, none on tcp://c",
        "  ettin-data: 1 here, one that cannot be compared (AttributeError('no versions'))"
        " on tcp://d",
        "  numpy: 2 here, 3 on tcp://a, tcp://b",
    ]


def test_workers_of_another_version_build_nothing(
    tmp_path: Path, other_version: dict[str, str]
) -> None:
    mixture = builds.write_inputs(tmp_path)
    with start_cluster(tmp_path, **other_version) as address:
        done = builds.run("build", mixture, "--out", tmp_path / "out", "--scheduler", address)
    assert done.returncode == 2
    assert f"  ettin-data: {VERSION} here, 0.0.1 on tcp://127.0.0.1:" in done.stderr
    assert not list((tmp_path / "out").rglob("*.mds"))


def test_a_worker_of_another_version_that_joins_later_ends(
    tmp_path: Path, other_version: dict[str, str]
) -> None:
    with (
        start_cluster(tmp_path) as address,
        open_cluster(0, address, lambda *_: None) as cluster,
    ):
        late = subprocess.run(
            [sys.executable, "-m", "dask", "worker", address, "--no-nanny", "--no-dashboard"],
            cwd=tmp_path,
            env=builds.environment(**other_version),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert "this worker ends: got {'ettin-data': '0.0.1', " in late.stderr
        assert cluster.map("double", double, [1, 2, 3]) == [2, 4, 6]


def test_versions_are_asked_of_packages_that_do_not_know_the_question(tmp_path: Path) -> None:
    """As every earlier version is."""
    package = tmp_path / "pipeline"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "version.py").write_text('VERSION = "0.0.0"\n')
    pickled = cloudpickle.dumps((_version_reader(), _version_guard({})))
    program = "import pickle, sys; print(pickle.load(sys.stdin.buffer)[0]()['ettin-data'])"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=pickled,
        env=builds.environment(PYTHONPATH=str(tmp_path)),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        check=True,
    )
    assert done.stdout == b"0.0.0\n"


def double(number: int) -> int:
    return 2 * number


@dataclass(frozen=True)
class Keyed:
    """A task, or its record."""

    key: str


def rename(task: Keyed) -> Keyed:
    return Keyed(task.key.upper())


def test_a_record_of_another_key_is_refused() -> None:
    with open_cluster(1, None, lambda *_: None) as cluster:
        assert cluster.map("rename", rename, [Keyed("A")]) == [Keyed("A")]
        with pytest.raises(MismatchError, match=r"rename: a worker returned .* B, expected b: it"):
            cluster.map("rename", rename, [Keyed("A"), Keyed("b")])
