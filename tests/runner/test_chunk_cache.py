"""The cache of chunks as a place: what is put there is taken whole, or not at all."""

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.digest import FileDigest
from pipeline.core.errors import OutputError
from pipeline.runner import chunk_cache
from pipeline.runner.chunk_cache import ChunkCache

KEY = "ab" * 32
OTHER = "cd" * 32
FILES = {"shards/shard.00000.mds": b"rows" * 1000, "shards/index.json": b"{}", "digests.npy": b"8"}


def put(cache: ChunkCache, folder: Path, key: str = KEY) -> None:
    """Put the files into a cache, from a folder that has them."""
    files = {}
    for name, data in FILES.items():
        path = folder / name.replace("/", "=")
        if not path.exists():
            folder.mkdir(exist_ok=True)
            path.write_bytes(data)
        files[name] = (path, FileDigest.of_bytes(data))
    cache.put(key, "s/one", {"chunks": 3}, files)


def taken(cache: ChunkCache, into: Path, key: str = KEY) -> dict[str, bytes] | None:
    """Take an entry; return what lies in the folder."""
    record = cache.take(key, into)
    if record is None:
        return None
    assert (record.key, record.about, record.content) == (key, "s/one", {"chunks": 3})
    found = {p.relative_to(into).as_posix(): p.read_bytes() for p in into.rglob("*") if p.is_file()}
    assert found.keys() == record.files.keys()
    return found


@pytest.fixture
def cache(tmp_path: Path) -> ChunkCache:
    return ChunkCache(tmp_path / "cache")


def entry(tmp_path: Path, key: str = KEY) -> Path:
    return tmp_path / "cache" / "chunks" / key[:2] / key


def test_what_is_put_is_taken_as_links_and_read_only(cache: ChunkCache, tmp_path: Path) -> None:
    assert not cache.exists()
    assert taken(cache, tmp_path / "none") is None
    put(cache, tmp_path / "made")
    assert cache.exists()
    assert taken(cache, tmp_path / "one") == FILES
    assert taken(cache, tmp_path / "two") == FILES
    assert taken(cache, tmp_path / "three", OTHER) is None
    for path in entry(tmp_path).rglob("*"):
        if path.is_file() and path.name != "entry.json":
            assert path.stat().st_nlink == 4
        assert path.is_dir() or path.stat().st_mode & 0o222 == 0
    assert list((tmp_path / "cache" / ".partial").iterdir()) == []


def fail_to_link(*_: object, **__: object) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def test_what_cannot_be_linked_is_copied(
    cache: ChunkCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", fail_to_link)
    put(cache, tmp_path / "made")
    assert taken(cache, tmp_path / "one") == FILES
    assert (tmp_path / "one" / "digests.npy").stat().st_nlink == 1
    # What is written into a copy changes nothing else.
    (tmp_path / "one" / "digests.npy").write_bytes(b"9")
    assert taken(cache, tmp_path / "two") == FILES


def rewrite(path: Path, data: bytes) -> None:
    """Write into a file in its place, as no program of ours does."""
    path.chmod(0o644)
    path.write_bytes(data)


def flip(folder: Path) -> None:
    path = folder / "shards/shard.00000.mds"
    data = path.read_bytes()
    rewrite(path, bytes([data[0] ^ 1]) + data[1:])


def reseal(folder: Path) -> None:
    """Let a record that is right about itself lead elsewhere, where such a file is."""
    shutil.copy(folder / "digests.npy", folder.parent / "x.npy")
    _, _, data = (folder / "entry.json").read_bytes().partition(b"\n")
    data = data.replace(b"digests.npy", b"../x.npy")
    rewrite(folder / "entry.json", chunk_cache.sha256_bytes(data).encode() + b"\n" + data)


def make_link(folder: Path) -> None:
    (folder / "digests.npy").rename(folder / "moved")
    (folder / "digests.npy").symlink_to(folder / "moved")


HARMS: dict[str, Callable[[Path], Any]] = {
    "a bit": flip,
    "cut": lambda folder: rewrite(folder / "shards/shard.00000.mds", b"rows"),
    "empty": lambda folder: rewrite(folder / "shards/index.json", b""),
    "gone": lambda folder: (folder / "digests.npy").unlink(),
    "a folder": lambda folder: shutil.rmtree(folder / "shards"),
    "a link": make_link,
    "a pipe": lambda folder: ((folder / "digests.npy").unlink(), os.mkfifo(folder / "digests.npy")),
    "record cut": lambda folder: rewrite(folder / "entry.json", b"0" * 64 + b"\n{"),
    "record empty": lambda folder: rewrite(folder / "entry.json", b""),
    "record changed": lambda folder: rewrite(
        folder / "entry.json", (folder / "entry.json").read_bytes().replace(b"s/one", b"s/two")
    ),
    "record of other paths": reseal,
}


@pytest.mark.parametrize("harm", HARMS)
def test_damage_is_said_removed_and_never_taken(
    harm: str, cache: ChunkCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(cache, tmp_path / "made")
    put(cache, tmp_path / "made", OTHER)
    shutil.rmtree(tmp_path / "made")
    rewritten = shutil.copytree(entry(tmp_path), tmp_path / "copy", symlinks=True)
    shutil.rmtree(entry(tmp_path))
    rewritten.rename(entry(tmp_path))
    HARMS[harm](entry(tmp_path))
    [one] = [one for one in cache.entries() if one.key == KEY]
    assert cache.damage(one)
    assert taken(cache, tmp_path / "one") is None
    assert f"cache: {entry(tmp_path)}: " in caplog.text
    assert "it is removed, and made again" in caplog.text
    assert not entry(tmp_path).exists()
    assert not (tmp_path / "x.npy").exists()
    put(cache, tmp_path / "again")
    assert taken(cache, tmp_path / "two") == FILES
    assert taken(cache, tmp_path / "other", OTHER) == FILES


def test_an_entry_whose_record_is_gone_is_replaced(cache: ChunkCache, tmp_path: Path) -> None:
    put(cache, tmp_path / "made")
    (entry(tmp_path) / "entry.json").unlink()
    assert taken(cache, tmp_path / "one") is None
    put(cache, tmp_path / "made")
    assert taken(cache, tmp_path / "two") == FILES


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_place_that_cannot_be_written_keeps_nothing_half_written(
    number: int, cache: ChunkCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cache, tmp_path / "made", OTHER)

    def fail(source: Path, target: Path) -> None:
        if source.name == "digests.npy":
            raise OSError(number, os.strerror(number), str(target))
        os.link(source, target)

    monkeypatch.setattr(chunk_cache, "_link", fail)
    with pytest.raises(OutputError):
        put(cache, tmp_path / "made")
    assert [one.key for one in cache.entries()] == [OTHER]
    assert list((tmp_path / "cache" / ".partial").iterdir()) == []


def test_many_builds_at_once_put_take_and_prune_one_entry(
    cache: ChunkCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        for turn in range(40):
            put(cache, tmp_path / f"made-{number}")
            found = taken(cache, tmp_path / f"taken-{number}-{turn}")
            wrong.extend([found] if found not in (FILES, None) else [])
            if number == 0 and turn % 4 == 0:
                cache.prune(older_than=None, larger_than=1)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert "got damaged" not in caplog.text
    put(cache, tmp_path / "last")
    assert taken(cache, tmp_path / "end") == FILES


def test_what_was_used_longest_ago_is_pruned_first(cache: ChunkCache, tmp_path: Path) -> None:
    keys = [letter * 64 for letter in "0123"]
    size = sum(map(len, FILES.values()))
    for age, key in enumerate(keys):
        put(cache, tmp_path / "made", key)
        used = 10**9 - 1000 * age
        os.utime(entry(tmp_path, key) / "entry.json", (used, used))
    assert taken(cache, tmp_path / "one", keys[3]) == FILES
    removed = cache.prune(older_than=None, larger_than=3 * size)
    assert [one.key for one in removed] == [keys[2]]
    assert [one.key for one in cache.prune(older_than=3600, larger_than=None)] == [keys[1], keys[0]]
    assert [one.key for one in cache.entries()] == [keys[3]]
    assert cache.prune(older_than=3600, larger_than=size) == []


def test_pruning_removes_damage_and_what_a_killed_build_left(
    cache: ChunkCache, tmp_path: Path
) -> None:
    put(cache, tmp_path / "made")
    rewrite(entry(tmp_path) / "entry.json", b"")
    left = tmp_path / "cache" / ".partial" / "left"
    for path in (left, left.with_name("new")):
        path.mkdir()
        (path / "half").write_text("half")
    os.utime(left, (10**9, 10**9))
    stranger = tmp_path / "cache" / "chunks" / "letters" / "mine.txt"
    stranger.parent.mkdir()
    stranger.write_text("mine")
    assert [one.key for one in cache.prune(older_than=10**6, larger_than=None)] == [KEY]
    assert not left.exists()
    assert left.with_name("new").exists()
    assert stranger.exists()
