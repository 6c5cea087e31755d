"""An output in a store that is given a changed mixture: what it says, and what is there then."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import builds, store_builds
from support.store_proxy import Fault, serve_proxy
from support.store_server import serve_store

from pipeline.storage.writable_store import WritableStore, open_writable

MIXTURE = """\
name: little
chunk: {algorithm: whole-v1, size: 128}
sources:
  one: {from: {path: one.jsonl}, tokens: 1000}
  two: {from: {path: two.jsonl}}
order: {seed: 21, global_batch_size: 8, max_seq_len: 128}
"""
KEPT = "chunk 0 of 2 partitions, sample 0 of 1 partitions, order all rows"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("little")
    for name in ("one", "two"):
        lines = builds.json_lines(builds.documents(name, 30, 100))
        (folder / f"{name}.jsonl").write_bytes(lines)
    with serve_store(folder, "builds"):
        yield folder


def test_a_changed_seed_is_told_and_redone_as_on_a_disk(folder: Path, tmp_path: Path) -> None:
    """On another machine, which has none of the files, with a cache for both."""
    mixture, address = builds.write_mixture(folder, MIXTURE), "s3://builds/out"
    changed = ("--set", "order.seed=22")
    cache = ("--cache", tmp_path / "cache", "--scratch", tmp_path / "scratch")
    builds.run_well("build", mixture, "--out", address, *cache)
    planned = builds.run_well("plan", mixture, *changed, "--against", address)
    assert f"against {address}: {KEPT}\n" in planned
    done = builds.run("build", mixture, *changed, "--out", address, *cache, "--update")
    assert f"update: {KEPT}\n" in done.stderr
    builds.run_well("build", mixture, *changed, "--out", tmp_path / "out")
    expected = builds.digests(tmp_path / "out")
    assert builds.differences(store_builds.digests(address), expected) == []


def test_plan_counts_what_a_stopped_build_has_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mixture, address = builds.write_mixture(folder, MIXTURE), "s3://builds/stopped"
    with serve_proxy(os.environ["AWS_ENDPOINT_URL"]) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        open_writable.cache_clear()
        proxy.faults = [Fault("PUT .*/manifest.json", "status", 403)]
        stopped = builds.run("build", mixture, "--out", address, "--scratch", tmp_path)
        assert stopped.returncode == 2
        planned = builds.run_well("plan", mixture, "--against", address)
    open_writable.cache_clear()
    assert f"against {address}: {KEPT}\n" in planned


def test_a_tokenizer_of_before_goes(folder: Path, tmp_path: Path) -> None:
    from support import miniature

    miniature.toy_tokenizer().save(str(folder / "toy.json"))
    toy = MIXTURE.replace("chunk:", "tokenizer: {name: toy.json}\nchunk:")
    address, scratch = "s3://builds/toy", tmp_path / "scratch"
    builds.run_well("build", builds.write_mixture(folder, toy), "--out", address,
                    "--scratch", scratch)  # fmt: skip
    assert WritableStore(address).head("tokenizer.json") is not None
    shutil.rmtree(scratch)
    builds.run_well("build", builds.write_mixture(folder, MIXTURE), "--out", address,
                    "--scratch", scratch, "--update")  # fmt: skip
    assert WritableStore(address).head("tokenizer.json") is None
    builds.run_well("verify", address)


@pytest.mark.parametrize("inside", ["", "/train/x"])
def test_a_cache_in_the_output_is_refused(inside: str, folder: Path, tmp_path: Path) -> None:
    """Whether there is an output yet or not."""
    mixture = builds.write_mixture(folder, MIXTURE)
    for out, cache in (("new", "new"), ("new", "old")):
        WritableStore("s3://builds/old").put("order/steps.parquet", b"")
        place, above = f"s3://builds/{cache}{inside}", f"s3://builds/{cache}"
        refused = builds.run("build", mixture, "--out", f"s3://builds/{out}", "--scratch", tmp_path,
                             "--cache", place)  # fmt: skip
        assert refused.returncode == 2
        assert f"--cache {place}: lies in {above}, the output of a build" in refused.stderr
        assert WritableStore("s3://builds/new").list() == {}
