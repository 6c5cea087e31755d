"""A cluster of the user's: workers of other versions, limits and certificates are refused."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import pytest
from distributed import Client, Security
from support import builds
from support.clusters import start_cluster
from support.paths import REPOSITORY

from pipeline.core.errors import ConfigError
from pipeline.runner import check_workers
from pipeline.runner.check_workers import _guard, compare_versions
from pipeline.runner.open_cluster import open_cluster
from pipeline.runner.same_files import leaving_notes
from pipeline.runner.versions import version_reader, versions
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
    assert " ".join(found) == (
        "ettin-data Python datatrove numba numpy pyarrow tokenizers zstandard"
    )
    assert compare_versions(found, {"tcp://a": dict(found)}) == []
    assert compare_versions(
        {"ettin-data": "1", "numpy": "2"},
        {
            "tcp://a": {"ettin-data": "1", "numpy": "3"},
            "tcp://b": {"ettin-data": "0", "numpy": "3"},
            "tcp://c": {"numpy": "2"},
            "tcp://d": AttributeError("no versions"),
        },
    ) == [
        "ettin-data: 1 here, 0 on tcp://b",
        "ettin-data: 1 here, none on tcp://c",
        "ettin-data: 1 here, one that cannot be compared (AttributeError('no versions')) on tcp://d",
        "numpy: 2 here, 3 on tcp://a, tcp://b",
    ]


def test_workers_of_another_version_build_nothing(
    tmp_path: Path, other_version: dict[str, str]
) -> None:
    mixture = builds.write_inputs(tmp_path)
    with start_cluster(tmp_path, **other_version) as address:
        with Client(address) as client:
            client.wait_for_workers(2, timeout=60)
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


def test_a_worker_that_may_open_too_few_files_ends_when_it_joins(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "dask", "worker", "--no-nanny", "--no-dashboard")
    with (
        start_cluster(tmp_path) as address,
        open_cluster(0, address, lambda *_: None) as cluster,
    ):
        late = subprocess.run(
            ["sh", "-c", 'ulimit -n 80 && exec "$@"', "sh", *command, address],
            cwd=tmp_path, env=builds.environment(), capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert "this worker ends: got a limit of 80 open files, expected at least 88" in late.stderr
        assert cluster.map("double", double, [1, 2, 3]) == [2, 4, 6]


def test_workers_that_may_open_too_few_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Workers:
        def run(self, function: Callable[[], object], on_error: str) -> dict[str, object]:
            return {"tcp://a": function()}

        def register_plugin(self, plugin: object) -> None:
            pass

    monkeypatch.setattr(check_workers, "raised_limit", lambda: 90)
    with leaving_notes([], []) as notes:
        check_workers.check_workers(Workers(), 90, notes)
    expected = (
        r"got a limit of 90 open files on tcp://a, expected at least 91\nhint: .*`ulimit -n 91`"
    )
    with pytest.raises(ConfigError, match=expected):
        check_workers.check_workers(Workers(), 91, notes)


def test_versions_are_asked_of_packages_that_do_not_know_the_question(tmp_path: Path) -> None:
    """As every earlier version is."""
    package = tmp_path / "pipeline"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "version.py").write_text('VERSION = "0.0.0"\n')
    pickled = cloudpickle.dumps((version_reader(), _guard({}, 0)))
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


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """The options for the certificate of a cluster, and for that of another one."""
    options = []
    for _ in range(2):
        folder, made = tmp_path_factory.mktemp("tls"), Security.temporary()
        (folder / "cert").write_text(made.tls_client_cert)
        (folder / "key").write_text(made.tls_client_key)
        both = ("--tls-ca-file", "cert"), ("--tls-cert", "cert"), ("--tls-key", "key")
        options.append([part for name, file in both for part in (name, str(folder / file))])
    return options


def test_a_cluster_with_tls_takes_its_certificates_and_no_others(
    tmp_path: Path, certificates: list[list[str]]
) -> None:
    mixture = builds.write_inputs(tmp_path)
    build = ("build", mixture, "--out", tmp_path / "out")
    ours, others = certificates
    with start_cluster(tmp_path, *ours, protocol="tls") as address:
        tcp = address.replace("tls", "tcp")
        for scheduler, options, expected in (
            (address, others, "no scheduler answers: [SSL: CERTIFICATE_VERIFY_FAILED] "),
            (address, [], "no scheduler answers: TLS expects "),
            (tcp, [], "no scheduler answers: "),
        ):
            done = builds.run(*build, "--scheduler", scheduler, *options)
            assert done.returncode == 2
            error, hint, *_guide = done.stderr.splitlines()
            assert error.startswith(f"error: --scheduler {scheduler}: {expected}")
            assert hint.startswith("hint: ")
            assert "tls" in hint
        builds.run_well(*build, "--scheduler", address, *ours)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--tls-cert", "a"], "--tls-*: expected --scheduler, --tls-ca-file and --tls-cert"),
        (
            ["--scheduler", "tcp://a:1", "--tls-ca-file", "a", "--tls-cert", "b"],
            "--tls-*: got --scheduler tcp://a:1, expected an address of tls://",
        ),
        (
            ["--scheduler", "tls://a:1", "--tls-ca-file", "a", "--tls-cert", "b"],
            "--tls-ca-file a, --tls-cert b, --tls-key None: [Errno 2] No such file or directory",
        ),
    ],
)
def test_options_for_tls_that_cannot_be_meant_are_refused(
    options: list[str], error: str, small: Path, tmp_path: Path
) -> None:
    done = builds.run("build", small, "--out", tmp_path / "out", *options)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {error}")
    assert len(done.stderr.splitlines()) <= 3
