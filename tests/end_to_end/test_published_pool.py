"""A published pool on the Hub, replayed by a mixture file: locked, pulled, put in order."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import builds
from support.source_server import Server, serve


@pytest.fixture
def hub(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A hub that serves the shards of the small build as a data set, beside files of no use."""
    folder = tmp_path / "published"
    shutil.copytree(finished / "train", folder / "train")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (tmp_path / "replay.yaml").write_text(
        "name: replayed\n"
        "pool: {hub: org/pool}\n"
        "order: {algorithm: ettin-pcg64dxsm-v1, seed: 21, global_batch_size: 16,\n"
        "  max_seq_len: 128}\n"
        "shards: {dtype: uint16}\n"
    )
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with serve({"org/pool": folder}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def test_a_published_pool_is_locked_pulled_and_put_in_order(
    hub: Server, finished: Path, tmp_path: Path
) -> None:
    assert "hf://datasets/org/pool/train" in builds.run_well("plan", "replay.yaml", cwd=tmp_path)
    refused = builds.run("build", "replay.yaml", "--out", "out", cwd=tmp_path)
    assert refused.returncode == 2
    assert "ettin-data lock" in refused.stderr
    builds.run_well("lock", "replay.yaml", cwd=tmp_path)
    builds.run_well("build", "replay.yaml", "--out", "out", "--workers", "1", cwd=tmp_path)
    builds.run_well("verify", "out", cwd=tmp_path)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    [lock] = (tmp_path / "manifests").glob("*.lock.json")
    assert manifest["lock"] == hashlib.sha256(lock.read_bytes()).hexdigest()
    order = ["--set", "order.global_batch_size=16", "--set", "order.max_seq_len=128",
             "--set", "order.algorithm=ettin-pcg64dxsm-v1"]  # fmt: skip
    builds.run_well("order", finished / "train", "--out", "local", *order, cwd=tmp_path)
    local = json.loads((tmp_path / "local" / "manifest.json").read_bytes())
    assert manifest["order"]["ledger"] == local["order"]["ledger"]
    assert manifest["mixture"]["fingerprint"] == local["mixture"]["fingerprint"]
    # What is there is not pulled again.
    hub.reset()
    builds.run_well("build", "replay.yaml", "--out", "out", cwd=tmp_path)
    assert hub.counters()["requests"] == 0


def test_a_published_pool_that_changed_after_the_lock_is_refused_by_name(
    hub: Server, tmp_path: Path
) -> None:
    builds.run_well("lock", "replay.yaml", cwd=tmp_path)
    [first, *_] = sorted((tmp_path / "published" / "train").rglob("*.mds"))
    data = first.read_bytes()
    first.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = builds.run("build", "replay.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert first.name in done.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_pulled_pool_that_was_changed_is_refused_by_name(hub: Server, tmp_path: Path) -> None:
    builds.run_well("lock", "replay.yaml", cwd=tmp_path)
    builds.run_well("pull", "replay.yaml", cwd=tmp_path)
    [first, *_] = sorted((tmp_path / "raw").rglob("*.mds"))
    data = first.read_bytes()
    first.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    done = builds.run("build", "replay.yaml", "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert first.relative_to(tmp_path).as_posix() in done.stderr
    assert "the lock says" in done.stderr
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_pool_that_is_not_to_be_kept_is_refused(hub: Server, tmp_path: Path) -> None:
    builds.run_well("lock", "replay.yaml", cwd=tmp_path)
    done = builds.run("build", "replay.yaml", "--out", "out", "--no-keep-raw", cwd=tmp_path)
    assert done.returncode == 2
    assert "--no-keep-raw: got a pool of MDS shards" in done.stderr
    assert not (tmp_path / "out").exists()
