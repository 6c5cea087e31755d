"""Every path in a store: what a build reads, pulls and writes, and all that reads its output."""

import os
import random
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import builds, store_builds
from support.store_server import serve_store

from pipeline.storage.writable_store import WritableStore

SEED = 20_261_201
BUCKET = "s3://builds"
MIXTURE = f"""\
name: stored
chunk: {{size: 128}}
sources:
  prose: {{from: {{url: "{BUCKET}/in/prose-*.jsonl"}}, tokens: 9000}}
  notes: {{from: {{url: "{BUCKET}/in/notes.jsonl"}}}}
validation: {{fraction: 0.05}}
order: {{seed: 21, global_batch_size: 16, max_seq_len: 128, view: encoder}}
"""


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A locked mixture of inputs in a store."""
    folder = tmp_path_factory.mktemp("stored")
    with serve_store(folder, "builds"):
        store = WritableStore(f"{BUCKET}/in")
        for name in ("prose-0", "prose-1", "prose-2", "notes"):
            lines = builds.json_lines(builds.documents(name, 40, 300))
            store.put(f"{name}.jsonl", lines)
        path = builds.write_mixture(folder, MIXTURE)
        builds.run_well("lock", path, "--lock", folder / "lock.json")
        yield path


@pytest.fixture(scope="module")
def local(mixture: Path) -> Path:
    """What it is on disk."""
    folder = mixture.parent
    builds.run_well(*_build(mixture, folder / "raw", folder / "out"))
    return folder / "out"


@pytest.fixture(scope="module")
def stored(mixture: Path, local: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Its address in a store, by a build that was killed at random, and went on elsewhere."""
    draw, out = random.Random(SEED), f"{BUCKET}/out"
    for number in range(3):
        scratch = tmp_path_factory.mktemp(f"machine-{number}")
        build = (*_build(mixture, f"{BUCKET}/raw", out), "--cache", f"{BUCKET}/cache",
                 "--workers", "2", "--scratch", scratch)  # fmt: skip
        process = store_builds.start(*build)
        if number < 2:
            store_builds.wait_for(process, f"{out}/.ettin/mixture.json")
            time.sleep(draw.uniform(1, 6))
            store_builds.kill(process)
            shutil.rmtree(scratch)
            time.sleep(store_builds.LEASE_SECONDS)
    stdout, stderr = process.communicate(timeout=builds.SECONDS)
    assert process.returncode == 0, f"{stdout}\n{stderr}"
    assert list(scratch.iterdir()) == []
    return out


def _build(mixture: Path, raw: Path | str, out: Path | str) -> tuple[Path | str, ...]:
    lock = mixture.parent / "lock.json"
    return ("build", mixture, "--lock", lock, "--raw", raw, "--out", out)


def test_a_pull_leaves_its_files_in_the_store(mixture: Path, tmp_path: Path) -> None:
    raw, lock = f"{BUCKET}/pulled", mixture.parent / "lock.json"
    pull = ("pull", mixture, "--lock", lock, "--dest", raw)
    assert f"{raw}: pulled " in builds.run_well(*pull)
    again = builds.run(*pull)
    assert f"{raw}: 0 of 4 files to pull" in again.stderr
    files = WritableStore(raw).list()
    assert len(files) == 8  # Each with a note of its ETag.
    builds.run_well(*_build(mixture, raw, tmp_path / "out"))


def test_it_is_byte_equal_to_the_local_one(local: Path, stored: str) -> None:
    assert builds.differences(store_builds.digests(stored), builds.digests(local)) == []
    # One whose record was saved when the build was killed was not yet put there.
    said = builds.run_well("cache", "verify", f"{BUCKET}/cache")
    assert re.fullmatch(rf"{BUCKET}/cache: [1-4] partitions, 0 damaged\n", said)
    pulled = sorted(WritableStore(f"{BUCKET}/raw").list())
    assert [name.rpartition("/")[2] for name in pulled if name.endswith(".jsonl")] == [
        "notes.jsonl", "prose-0.jsonl", "prose-1.jsonl", "prose-2.jsonl",
    ]  # fmt: skip


def test_verify_reads_every_byte_and_names_what_is_damaged(local: Path, stored: str) -> None:
    assert builds.run_well("verify", stored) == f"{stored}: every file matches the manifest\n"
    builds.run_well("verify", f"{stored}/validation")
    builds.run_well("verify", f"file://{local}")
    assert "\nequal\n" in builds.run_well("verify", stored, "--against", local)
    assert "\nequal\n" in builds.run_well("verify", local, "--against", stored)
    store = WritableStore(stored)
    name, steps = "train/notes/index.json", store.get("order/steps.parquet")
    index = store.get(name)
    assert index is not None
    assert steps is not None
    store.put(name, index[:-1] + b"\n")
    store.delete(["order/steps.parquet"])
    store.put("order/other", b"")
    found = builds.run("verify", stored)
    assert found.returncode == 1
    assert [line.partition(": ")[0] for line in found.stdout.splitlines()] == [
        "order/other", "order/steps.parquet", "train/notes/index.json",
    ]  # fmt: skip
    store.put(name, index)
    store.put("order/steps.parquet", steps)
    store.delete(["order/other"])


@pytest.mark.parametrize(
    "command",
    [
        ("trace", "--step", "3"),
        ("trace", "--document", "notes-3"),
        ("feed", "--steps", "3"),
        ("feed", "--rank", "1", "--world-size", "2", "--objective", "mlm", "--json"),
    ],
)
def test_what_is_read_of_it_is_as_of_the_local_one(
    command: tuple[str, ...], local: Path, stored: str
) -> None:
    verb, *options = command
    there, here = (builds.run_well(verb, where, *options) for where in (stored, str(local)))
    assert there.replace(stored, str(local)) == here
    assert here


def test_its_pool_is_put_in_order_again(local: Path, stored: str, tmp_path: Path) -> None:
    settings = ("--set", "order.global_batch_size=8", "--scratch", tmp_path / "scratch")
    builds.run_well("order", f"{stored}/train", "--out", f"{BUCKET}/again", *settings)
    builds.run_well("order", local / "train", "--out", tmp_path / "again", *settings[:2])
    again = store_builds.digests(f"{BUCKET}/again")
    assert builds.differences(again, builds.digests(tmp_path / "again")) == []


def test_a_digest_of_it_is_that_of_the_local_one(local: Path, stored: str, tmp_path: Path) -> None:
    for where in (stored, local):
        builds.run_well("digest", where, "--out", tmp_path / "digest.json")
        assert "\nequal\n" in builds.run_well(
            "verify", local, "--against", tmp_path / "digest.json"
        )


def test_it_is_trained_from(local: Path, stored: str, tmp_path: Path) -> None:
    models = []
    for number, where in enumerate((stored, local)):
        out = tmp_path / str(number)
        builds.run_well(
            *("train", "sample-encoder-pretraining", "--data", where, "--out", out),
            *("--device", "cpu", "--max-steps", "1"),
        )
        models.append((out / "step1" / "model.safetensors").read_bytes())
    assert models[0] == models[1]


def test_places_that_cannot_be_are_told(stored: str, tmp_path: Path) -> None:
    empty, other = f"{BUCKET}/nothing", f"{BUCKET}/in"
    for verb, told in (
        (("verify", empty), f"{empty}: not found, expected an output"),
        (("trace", other, "--step", "1"), f"{other}: got no manifest.json"),
        (("build", "sample", "--out", other), f"{other}: is not empty, and not an ettin-data bu"),
        (("build", "sample", "--out", stored), f"{stored}: holds another mixture, or other part"),
        (("build", "sample", "--out", "s3:///x"), "s3:///x: got an address that cannot be opened"),
        (("build", "sample", "--out", "hf://x"), "--out: got the address hf://x, expected a path"),
    ):
        failed = builds.run(*verb, cwd=tmp_path)
        assert failed.returncode == 2
        assert told in failed.stderr
        assert "Traceback" not in failed.stderr
    assert os.listdir(tmp_path) == []
