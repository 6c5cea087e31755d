"""Locked files and a cache of chunks: what the lock says of them, and what is asked for."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support import builds
from support.here import Here, run_here
from support.source_server import Server, serve
from support.work import counted

from pipeline.config import load_mixture
from pipeline.core.errors import MismatchError
from pipeline.runner import sampled_shards
from pipeline.sources import make_lock, read_lock, write_lock

MIXTURE = """\
name: remote
chunk: {size: 64}
sources:
  all: {from: {url: "ENDPOINT/files/web/all.jsonl"}}
  web:
    from: {url: "ENDPOINT/files/web/web-{0..5}.jsonl"}
    tokens: 2000
    sample: {algorithm: ettin-partitions-v2, seed: 42}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64}
"""
LOCAL = """\
name: local
chunk: {size: 64}
sources:
  s: {from: {path: in/*.jsonl}}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("web")
    for name in ("all", *(f"web-{number}" for number in range(6))):
        documents = builds.documents(name, 10, 100)
        (folder / f"{name}.jsonl").write_bytes(builds.json_lines(documents))
    with serve(files={"web": folder}) as server:
        yield server


def quiet(*_: object) -> None:
    pass


@pytest.mark.parametrize("keeps", [(), ("--no-keep-raw",)], ids=["kept", "not kept"])
def test_chunks_of_files_that_the_lock_knows_are_taken_without_asking_for_them(
    keeps: tuple[str, ...], served: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture = builds.write_mixture(tmp_path, MIXTURE.replace("ENDPOINT", served.endpoint))
    path = tmp_path / "manifests" / "remote.lock.json"
    write_lock(make_lock(load_mixture(mixture), quiet), path)
    run_here(monkeypatch, sampled_shards, Here())

    def build(out: str, *more: str) -> int:
        served.reset()
        options = ("--lock", path, "--raw", tmp_path / f"raw-{out}", *keeps, *more)
        builds.run_well("build", mixture, "--out", tmp_path / out, *options)
        return len(served.log("GET "))

    cache = ("--cache", str(tmp_path / "cache"))
    num_asked = build("one", *cache)
    assert 2 < num_asked < 8
    # The first build has noted the sha256 of what it read in the lock.
    # What is kept is pulled before any work, but of a source in sequence.
    assert build("two", *cache) == (0 if keeps else 1)
    assert builds.digests(tmp_path / "two") == builds.digests(tmp_path / "one")
    build("none")
    assert builds.digests(tmp_path / "two") == builds.digests(tmp_path / "none")


def test_a_local_file_that_is_not_as_locked_is_refused_as_without_a_cache(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "s.jsonl"
    file.write_bytes(builds.json_lines(builds.documents("s", 10, 100)))
    mixture = builds.write_mixture(tmp_path, LOCAL)
    lock_path, cache = tmp_path / "lock.json", tmp_path / "cache"
    write_lock(make_lock(load_mixture(mixture), quiet), lock_path)
    lock = read_lock(lock_path)
    assert counted(mixture, tmp_path / "one", lock=lock, cache=cache)["chunk"] == 1
    assert counted(mixture, tmp_path / "two", lock=lock, cache=cache)["chunk"] == 0
    file.write_bytes(builds.json_lines(builds.documents("t", 10, 100)))
    assert counted(mixture, tmp_path / "three", cache=cache)["chunk"] == 1
    with pytest.raises(MismatchError, match=r"s\.jsonl"):
        counted(mixture, tmp_path / "four", lock=lock, cache=cache)
