"""Builds that share a cache of chunks: what they take and make, and the bytes that they end in."""

import errno
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support import builds, miniature
from support.store_server import serve_store
from support.work import counted

from pipeline.cli.main import main
from pipeline.runner import chunk_cache, inputs
from pipeline.runner.tasks import cached_partition, read_documents
from pipeline.stages.filters import dependencies
from pipeline.storage.writable_store import WritableStore

MIXTURE = """\
name: shared
chunk: {size: 64}
sources:
  a: {from: {path: "in/a-*.jsonl"}, tokens: 900}
  b:
    from: {path: in/b.jsonl}
    filters: [{length: {min_chars: 20}}]
  n: {from: {path: in/n.jsonl, id: null}}
order: {seed: 21, global_batch_size: 4, max_seq_len: 64, window_tokens: 1k}
MORE"""
NUM_PARTITIONS = 4
NAMES = ("a-0", "a-1", "b", "n", "c")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_files(tmp_path / "home" / "in")
    return tmp_path / "home"


def write_files(folder: Path) -> None:
    """Write the inputs of all mixtures."""
    folder.mkdir(parents=True)
    for name in NAMES:
        (folder / f"{name}.jsonl").write_bytes(builds.json_lines(builds.documents(name, 20, 90)))


def write(folder: Path, changes: Mapping[str, str] | None = None, more: str = "") -> Path:
    """Write the mixture, changed in some places."""
    text = MIXTURE.replace("MORE", more)
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    return builds.write_mixture(folder, text)


def outputs_are_equal(one: Path, other: Path) -> bool:
    return builds.differences(builds.digests(one), builds.digests(other)) == []


def fill(folder: Path) -> Path:
    """Build the mixture with an empty cache; return the cache."""
    cache = folder.parent / "cache"
    made = counted(write(folder), folder.parent / "first", cache=cache)
    assert made["chunk"] == NUM_PARTITIONS
    return cache


def made_with(folder: Path, mixture: Path, cache: Path | str, **options: Any) -> int:
    """Build with a cache; return how many partitions were chunked. It ends as without a cache."""
    out, fresh = folder.parent / "cached", folder.parent / "fresh"
    made = counted(mixture, out, cache=cache, **options)
    counted(mixture, fresh, **options)
    assert outputs_are_equal(out, fresh)
    builds.run_well("verify", out)
    return made["chunk"]


# What decides no byte of chunks

SAME: dict[str, Mapping[str, str]] = {
    "nothing": {},
    "seed": {"seed: 21": "seed: 22"},
    "budget": {"tokens: 900": "tokens: 1000"},
    "budget of a whole source": {"b.jsonl}\n": "b.jsonl}\n    tokens: 500\n"},
    "mixture's name": {"name: shared": "name: other"},
    "source's name": {"  a: {": "  z: {"},
    "category and licence": {"  b:\n": "  b:\n    category: books\n    licence: MIT\n"},
    "pattern": {'"in/a-*.jsonl"': '["in/a-0.jsonl", "in/a-1.jsonl"]'},
    "rows a step": {"global_batch_size: 4": "global_batch_size: 8"},
}


@pytest.mark.parametrize("change", SAME)
def test_what_decides_no_byte_of_chunks_takes_all(change: str, folder: Path) -> None:
    cache = fill(folder)
    assert made_with(folder, write(folder, SAME[change]), cache) == 0


def test_another_source_is_made_and_another_folder_takes_all(folder: Path) -> None:
    cache = fill(folder)
    added = write(folder, {"  n: {": "  c: {from: {path: in/c.jsonl}}\n  n: {"})
    assert made_with(folder, added, cache) == 1
    moved = folder.parent / "moved" / "mixtures"
    write_files(moved / "elsewhere")
    mixture = write(moved, {"in/": "elsewhere/"})
    assert made_with(moved, mixture, cache) == 0


def test_records_have_the_names_of_the_mixture_that_takes(folder: Path) -> None:
    cache = fill(folder)
    (folder / "in" / "b.jsonl").rename(folder / "in" / "letters.jsonl")
    changes = {"  b:\n": "  post:\n", "in/b.jsonl": "in/letters.jsonl"}
    assert made_with(folder, write(folder, changes), cache) == 0
    told = json.loads((folder.parent / "cached" / "manifest.json").read_bytes())
    [partition] = told["sources"]["post"]["partitions"]
    assert partition["input"]["path"] == "in/letters.jsonl"
    assert partition["folder"].startswith("train/post/letters-")


def test_the_package_version_decides_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = fill(folder)
    monkeypatch.setattr("pipeline.runner.tasks.partition_task.VERSION", "9.9")
    assert made_with(folder, write(folder), cache) == 0


def test_partitions_alone_and_whole_builds_share(folder: Path) -> None:
    cache, mixture = folder.parent / "cache", write(folder)
    out = folder.parent / "alone"
    assert counted(mixture, out, alone="b/b", cache=cache)["chunk"] == 1
    assert made_with(folder, mixture, cache) == NUM_PARTITIONS - 1
    assert counted(mixture, folder.parent / "two", alone="n/n", cache=cache)["chunk"] == 0


# What decides bytes

SLICED = "size: 64, algorithm: ettin-slice-v1, min_size: 8, skip_below: 4, seed: 1"
OTHER: dict[str, tuple[Mapping[str, str], str, int]] = {
    "chunk size": ({"size: 64}": "size: 32}"}, "", 4),
    "chunker": ({"size: 64}": f"{SLICED}}}"}, "", 4),
    "tokenizer": ({"chunk:": "tokenizer: {name: toy.json}\nchunk:"}, "", 4),
    "spaces": ({"chunk:": "tokenizer: {name: modernbert, add_prefix_space: true}\nchunk:"}, "", 4),
    "size of shards": ({}, "shards: {size_limit: 4KiB}\n", 4),
    "what bad documents do": ({}, "on_error: skip\n", 4),
    "how many may be bad": ({}, "on_error: skip\nmax_bad: 1/10\n", 4),
    "largest document": ({}, "max_document_bytes: 1MiB\n", 4),
    "dropped documents are kept": ({}, "keep_dropped: 1\n", 4),
    "a holdout by text": ({}, "validation: {fraction: 1/10}\n", 4),
    "a filter": ({"min_chars: 20": "min_chars: 21"}, "", 1),
    "the field of ids": ({"in/b.jsonl}": "in/b.jsonl, id: null}"}, "", 1),
    "the name of a file without ids": ({"in/n.jsonl": "in/m.jsonl"}, "", 1),
}  # fmt: skip


@pytest.mark.parametrize("change", OTHER)
def test_what_decides_bytes_is_made(change: str, folder: Path) -> None:
    cache = fill(folder)
    miniature.toy_tokenizer().save(str(folder / "toy.json"))
    shutil.copy(folder / "in" / "n.jsonl", folder / "in" / "m.jsonl")
    changes, more, num_made = OTHER[change]
    assert made_with(folder, write(folder, changes, more), cache) == num_made


def test_one_byte_of_an_input_makes_its_partition(folder: Path) -> None:
    cache = fill(folder)
    path = folder / "in" / "a-1.jsonl"
    path.write_bytes(path.read_bytes().replace(b"tide", b"tidy", 1))
    assert made_with(folder, write(folder), cache) == 1


def test_the_version_of_a_library_decides(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = fill(folder)
    monkeypatch.setattr(dependencies, "unicodedata", type("", (), {"unidata_version": "1.0"}))
    assert counted(write(folder), folder.parent / "one", cache=cache)["chunk"] == 1
    monkeypatch.setattr(cached_partition, "_libraries", lambda: {"tokenizers": "9"})
    assert counted(write(folder), folder.parent / "two", cache=cache)["chunk"] == NUM_PARTITIONS


@pytest.mark.parametrize(
    "more",
    [
        "dedup: {}\n",
        "on_error: skip\nkeep_dropped: 1/2\n",
        "validation: {fraction: 1/10}\n",
        "validation: {algorithm: ettin-validation-v1, fraction: 1/10, seed: 3}\n",
        "scale: 1/2\n",
        "sample: {algorithm: ettin-partitions-v2, seed: 42}\n",
    ],
)
def test_other_kinds_of_builds_take_their_own(more: str, folder: Path) -> None:
    # Copies of texts, and of ids.
    lines = (folder / "in" / "b.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "in" / "a-1.jsonl").write_bytes(b"".join(lines[:10]))
    if "skip" in more:
        (folder / "in" / "a-0.jsonl").write_bytes(b"".join(lines[5:]))
    cache, mixture = folder.parent / "cache", write(folder, more=more)
    first = counted(mixture, folder.parent / "first", cache=cache)["chunk"]
    assert first >= 3
    assert made_with(folder, mixture, cache) == 0


# What is wrong with the cache


def entries(cache: Path) -> list[Path]:
    return sorted(path.parent for path in cache.rglob("entry.json"))


def harm(path: Path, draw: random.Random) -> None:
    """Do harm to a file, and to no other name of it."""
    data = path.read_bytes()
    path.unlink()
    match draw.choice(["flip", "cut", "remove", "zero"]):
        case "flip":
            place = draw.randrange(len(data))
            path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        case "cut":
            path.write_bytes(data[: draw.randrange(len(data))])
        case "zero":
            path.write_bytes(bytes(len(data)))


@pytest.mark.parametrize("number", range(4))
def test_damage_ends_in_the_same_bytes_and_is_mended(
    number: int, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache, draw = fill(folder), random.Random(number)
    harmed = draw.sample(entries(cache), 2)
    for one in harmed:
        files = sorted(path for path in one.rglob("*") if path.is_file())
        harm(draw.choice(files), draw)
    assert made_with(folder, write(folder), cache) == 2
    assert outputs_are_equal(folder.parent / "cached", folder.parent / "first")
    shutil.rmtree(folder.parent / "cached")
    assert made_with(folder, write(folder), cache) == 0
    told = [one for one in caplog.messages if one.startswith("cache: ")]
    assert all("; it is removed, and made again" in one for one in told)


def refuse(number: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_cache_that_cannot_be_written_is_said_once_and_read(
    number: int, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = fill(folder)
    monkeypatch.setattr(chunk_cache, "publish", refuse(number))
    monkeypatch.setattr(os, "utime", refuse(number))
    before = builds.digests(cache)
    mixture = write(folder, {"min_chars: 20": "min_chars: 21", "id: null": "id: id"})
    assert made_with(folder, mixture, cache) == 2
    assert [one for one in caplog.messages if one.startswith("cache: ")] == [
        f"cache: [Errno {number}] {os.strerror(number)}; the build goes on without putting more"
        " there"
    ]
    assert builds.digests(cache) == before


def test_a_cache_in_an_output_and_a_file_are_refused(folder: Path) -> None:
    mixture, out = write(folder), folder.parent / "out"
    done = builds.run("build", mixture, "--out", out, "--cache", out / "cache")
    assert done.returncode == 2
    assert f"--cache {out / 'cache'}: lies in {out}, the output of a build" in done.stderr
    done = builds.run("build", mixture, "--out", out, "--cache", mixture)
    assert f"--cache {mixture}: got a file, expected a folder" in done.stderr
    assert not out.exists()


# In a store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[str]:
    """The address of a cache that is not there yet."""
    with serve_store(tmp_path, "builds"):
        yield "s3://builds/shared/cache"


def test_a_cache_in_a_store_is_taken_from_and_mended(
    folder: Path, store: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert counted(write(folder), folder.parent / "first", cache=store)["chunk"] == NUM_PARTITIONS
    shutil.rmtree(folder.parent / "first")
    changed = write(folder, {"seed: 21": "seed: 22"})
    assert made_with(folder, changed, store) == 0
    assert main(["cache", "verify", store]) == 0
    assert f"{store}: 4 partitions, 0 damaged" in capsys.readouterr().out
    objects = WritableStore(store)
    shards = sorted(one for one in objects.list("chunks") if one.endswith(".mds"))
    objects.put("chunks/entry.json", b"no entry")
    objects.put(shards[0], b"other bytes")
    objects.delete([shards[1]])
    assert main(["cache", "verify", store]) == 1
    for name in ("cached", "fresh"):
        shutil.rmtree(folder.parent / name)
    assert made_with(folder, changed, store) == 2
    told = [one.getMessage() for one in caplog.records if "made again" in one.getMessage()]
    assert sorted("got damaged" in one for one in told) == [False, True]
    assert main(["cache", "verify", store]) == 0
    assert main(["cache", "prune", store, "--older-than", "0h"]) == 0
    assert [*objects.list()] == ["chunks/entry.json"]


@pytest.mark.usefixtures("store")
def test_a_cache_in_a_bucket_that_there_is_not_fails_no_build(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert made_with(folder, write(folder), "s3://nowhere/cache") == NUM_PARTITIONS
    told = [one.getMessage() for one in caplog.records if "goes on without" in one.getMessage()]
    assert len(told) == 1


# At once, and killed


def test_two_builds_at_once_share_a_cache(folder: Path) -> None:
    cache, mixture = folder.parent / "cache", write(folder)
    outs = [folder.parent / name for name in ("one", "two")]
    started = [
        builds.start("build", mixture, "--out", out, "--cache", cache, "--workers", "1")
        for out in outs
    ]
    assert [process.wait(timeout=builds.SECONDS) for process in started] == [0, 0]
    assert outputs_are_equal(*outs)
    assert len(entries(cache)) == NUM_PARTITIONS
    assert made_with(folder, mixture, cache) == 0


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_kills_leave_a_cache_that_is_right(number: int, folder: Path) -> None:
    cache, mixture, draw = folder.parent / "cache", write(folder), random.Random(number)
    for kill in range(3):
        out = folder.parent / f"killed-{kill // 2}"
        process = builds.start("build", mixture, "--out", out, "--cache", cache, "--workers", "1")
        while not (out / ".ettin" / "mixture.json").exists() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 3))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not cache.exists() or builds.run("cache", "verify", cache).returncode == 0
    counted(mixture, folder.parent / "killed-0", cache=cache)
    assert made_with(folder, mixture, cache) == 0
    assert outputs_are_equal(folder.parent / "killed-0", folder.parent / "fresh")


# Frozen


def test_the_way_to_the_bytes_has_a_name_that_changes_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes these bytes, or what the key is made of, renames `PARTITION`."""
    monkeypatch.setattr(cached_partition, "_libraries", lambda: {"tokenizers": "0"})
    for module in (inputs, read_documents):
        monkeypatch.setattr(module, "identify", lambda *_: {"unicode": "0"})
    golden = json.loads((builds.REPOSITORY / "tests/golden/partition-v1.json").read_bytes())
    cache = folder.parent / "cache"
    more = "on_error: skip\nkeep_dropped: 1\nvalidation: {fraction: 1/10}\n"
    counted(write(folder, more=more), folder.parent / "out", cache=cache)
    found = {
        one.record.about: {
            "key": one.key,
            "files": {
                name: file.sha256
                for name, file in sorted(one.record.files.items())
                # What another version of zstd packs otherwise.
                if not name.endswith(".zst")
            },
        }
        for one in chunk_cache.ChunkCache(cache).entries()
        if one.record is not None
    }
    assert {"algorithm": cached_partition.PARTITION, "entries": found} == golden
