"""A build whose output lies in a store: the same bytes, killed and resumed from any machine."""

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import builds, store_builds
from support.machines import can_part, start_machines
from support.store_proxy import Fault, Proxy, serve_proxy
from support.store_server import serve_store
from support.store_servers import (
    NO_AZURITE,
    NO_FAKE_GCS,
    Serve,
    azurite,
    fake_gcs,
    serve_azure,
    serve_google,
)

from pipeline.storage.lease import LEASE, holding
from pipeline.storage.writable_store import WritableStore, open_writable

SEED = 20_261_130
LITTLE = """\
name: little
chunk: {algorithm: whole-v1, size: 128}
sources:
  all: {from: {path: "*.jsonl"}, tokens: 2000}
order: {seed: 21, global_batch_size: 8, max_seq_len: 128}
"""


@pytest.fixture(scope="module", autouse=True)
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with serve_store(tmp_path_factory.mktemp("store"), "builds"):
        yield


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that commands reach the store by."""
    with serve_proxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        # Those of this process were opened without it.
        open_writable.cache_clear()
        yield proxy
    open_writable.cache_clear()


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture that a command builds in its own process."""
    folder = tmp_path_factory.mktemp("little")
    for name in ("one", "two"):
        lines = builds.json_lines(builds.documents(name, 30, 100))
        (folder / f"{name}.jsonl").write_bytes(lines)
    return builds.write_mixture(folder, LITTLE)


@pytest.fixture(scope="module")
def expected_little(little: Path) -> dict[str, str]:
    out = little.parent / "out"
    builds.run_well("build", little, "--out", out)
    return builds.digests(out)


def test_a_killed_build_goes_on_on_this_machine_and_on_another_to_the_same_bytes(
    small: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    draw, address, scratch = random.Random(SEED), "s3://builds/killed", tmp_path / "scratch"
    build = ("build", small, "--out", address, "--workers", "2", "--scratch", scratch)
    for number in range(3):
        process = store_builds.start(*build)
        store_builds.wait_for(process, f"{address}/.ettin/mixture.json")
        time.sleep(draw.uniform(1, 6))
        store_builds.kill(process)
        time.sleep(store_builds.LEASE_SECONDS)
        if number % 2 == 0:
            shutil.rmtree(scratch)
    done = store_builds.run(*build)
    builds.well(done)
    assert '{"trusted": {"' in done.stderr
    assert builds.differences(store_builds.digests(address), expected) == []
    assert list(scratch.iterdir()) == []


def test_of_two_builds_in_one_place_the_second_says_so(small: Path, tmp_path: Path) -> None:
    address = "s3://builds/held"
    with holding(WritableStore(address)):
        refused = builds.run("build", small, "--out", address, "--scratch", tmp_path)
        assert refused.returncode == 2
        assert f"{address}: another build is running here, on " in refused.stderr
        assert f"(process {os.getpid()})" in refused.stderr
        assert "if it has died, its lease ends in" in refused.stderr
    assert WritableStore(address).list() == {}


def test_a_build_goes_on_after_every_failure_of_the_store(
    little: Path, expected_little: dict[str, str], proxy: Proxy, tmp_path: Path
) -> None:
    """Each leaves nothing half-published, and is one line of text."""
    address = "s3://builds/fails"
    build = ("build", little, "--out", address, "--scratch", tmp_path)
    for fault, told in (
        (Fault("PUT .*/train/", "status", 403, skip=1), "got the status 403, AccessDenied"),
        (Fault("PUT .*/records/", "status", 400), "got the status 400, BadRequest"),
        (Fault("PUT .*/order/", "status", 403), "expected access to it"),
        (Fault("PUT .*/manifest.json", "status", 403), f"{address}/manifest.json: got the"),
    ):
        proxy.faults = [fault]
        failed = builds.run(*build)
        assert failed.returncode == 2, failed.stderr
        assert fault.times == 0
        assert told in failed.stderr
        assert "Traceback" not in failed.stderr
        for name, digest in store_builds.digests(address).items():
            assert name.startswith(".ettin/") or digest == expected_little[name]
        assert "manifest.json" not in store_builds.digests(address)
    proxy.faults = [
        Fault("PUT", "status", 503, skip=3),
        Fault("GET", "cut", skip=5),
        Fault("PUT", "lost"),
    ]
    done = builds.run(*build)
    builds.well(done)
    assert f"{address}: 3 requests were repeated" in done.stderr
    assert builds.differences(store_builds.digests(address), expected_little) == []


@pytest.mark.parametrize("hides", ["records/", "/train/|/order/"])
def test_listings_that_lack_fresh_objects_change_nothing(
    hides: str, little: Path, expected_little: dict[str, str], proxy: Proxy, tmp_path: Path
) -> None:
    address = f"s3://builds/late-{len(hides)}"
    build = ("build", little, "--out", address, "--scratch", tmp_path)
    proxy.faults = [Fault("PUT .*/provenance/", "status", 403)]
    assert builds.run(*build).returncode == 2
    shutil.rmtree(tmp_path)
    proxy.faults = [Fault("GET .*list-type", "late", times=-1, hides=hides)]
    builds.well(builds.run(*build))
    proxy.faults = []
    left = builds.differences(store_builds.digests(address), expected_little)
    # What no listing showed could not be removed.
    assert all("/records/" in one for one in left)
    builds.well(builds.run(*build))
    assert builds.differences(store_builds.digests(address), expected_little) == []


def test_a_build_that_lost_its_lease_stops(little: Path, proxy: Proxy, tmp_path: Path) -> None:
    address = "s3://builds/lost"
    store = WritableStore(address)
    proxy.on_request = lambda request: (
        store.put(LEASE, b'{"token": "other", "host": "else", "pid": 7}')
        if request.startswith("PUT /builds/lost/train/")
        else None
    )
    failed = builds.run("build", little, "--out", address, "--scratch", tmp_path)
    assert failed.returncode == 2
    assert f"{address}: this build has lost its lease to one on else (process 7)" in failed.stderr
    # It is noticed before the next task saves anything.
    assert not [name for name in store.list() if name.startswith(("order/", "manifest"))]
    assert store.get(LEASE) is not None


@pytest.mark.skipif(not can_part(), reason="mounts of a process's own need root")
@pytest.mark.parametrize("mixture", ["small", pytest.param("corpus", marks=pytest.mark.slow)])
def test_workers_need_no_shared_folder(mixture: str, small: Path, tmp_path: Path) -> None:
    """Each has a disk of its own, and a build that was killed goes on with other workers.

    The corpus is filtered, deduplicated and decontaminated, and has a holdout.
    """
    named = [small] if mixture == "small" else ["custom-example", "--set", "keep_dropped=1"]
    address, scratch = f"s3://builds/apart-{mixture}", tmp_path / "scratch"
    build = ("build", *named, "--out", address, "--scratch", scratch, "--memory", "1")
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        with start_machines(tmp_path / str(number), scratch, 2) as scheduler:
            process = store_builds.start(*build, "--scheduler", scheduler)
            if number == 1:
                _, stderr = process.communicate(timeout=builds.SECONDS)
                assert process.returncode == 0, stderr
                break
            store_builds.wait_for(process, f"{address}/.ettin/mixture.json")
            time.sleep(6)
            store_builds.kill(process)
        shutil.rmtree(scratch)
        time.sleep(store_builds.LEASE_SECONDS)
    builds.run_well("build", *named, "--out", tmp_path / "out", "--workers", "2")
    expected = builds.digests(tmp_path / "out")
    assert builds.differences(store_builds.digests(address), expected) == []


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("scheme", "serve"),
    [
        pytest.param(
            *("az", serve_azure), marks=pytest.mark.skipif(azurite() is None, reason=NO_AZURITE)
        ),
        pytest.param(
            *("gs", serve_google), marks=pytest.mark.skipif(fake_gcs() is None, reason=NO_FAKE_GCS)
        ),
    ],
)
def test_azure_and_google_are_places_too(
    scheme: str, serve: Serve, little: Path, tmp_path: Path
) -> None:
    """What is read, pulled, written, verified, traced, fed, compared and put in order again."""
    out = f"{scheme}://builds/out"
    with serve(tmp_path, "builds"):
        for name in ("one", "two"):
            data = (little.parent / f"{name}.jsonl").read_bytes()
            WritableStore(f"{scheme}://builds/in").put(f"{name}.jsonl", data)
        stored = LITTLE.replace("path: ", "url: ").replace(
            "*.jsonl", f"{scheme}://builds/in/*.jsonl"
        )
        mixture, lock = builds.write_mixture(tmp_path, stored), tmp_path / "lock.json"
        builds.run_well("lock", mixture, "--lock", lock)
        build = ("build", mixture, "--lock", lock, "--scratch", tmp_path / "scratch")
        builds.run_well(*build, "--raw", f"{scheme}://builds/raw", "--out", out, "--workers", "2")
        builds.run_well(*build, "--raw", tmp_path / "raw", "--out", tmp_path / "out")
        expected = builds.digests(tmp_path / "out")
        assert builds.differences(store_builds.digests(out), expected) == []
        assert builds.run_well("verify", out) == f"{out}: every file matches the manifest\n"
        assert "\nequal\n" in builds.run_well("verify", out, "--against", tmp_path / "out")
        for verb in (("trace", "--step", "2"), ("feed", "--steps", "2")):
            there, here = (
                builds.run_well(verb[0], where, *verb[1:]) for where in (out, str(tmp_path / "out"))
            )
            assert there.replace(out, str(tmp_path / "out")) == here
        builds.run_well("order", f"{out}/train", "--out", f"{scheme}://builds/again")
        builds.run_well("verify", f"{scheme}://builds/again")


def test_chunks_of_a_cache_are_uploaded_to_each_place(little: Path, tmp_path: Path) -> None:
    """They are links to files that know of another place."""
    found = []
    for number in range(2):
        address = f"s3://builds/cached-{number}"
        builds.run_well(
            *("build", little, "--out", address, "--scratch", tmp_path / "scratch"),
            *("--cache", tmp_path / "cache"),
        )
        found.append(store_builds.digests(address))
    assert "manifest.json" in found[0]
    assert found[0] == found[1]
