"""Pulls from a real server, in good health and in bad: nothing lost, nothing doubled."""

import os
import threading
import time
from pathlib import Path

import pytest
from support.pulls import (
    CONTENTS,
    HUB_LARGE,
    RANDOM,
    REMOTE_BYTES,
    URL_SECOND,
    at_home,
    check_all,
    expected_path,
    leave_part,
    mixture_of,
    pull_all,
    quiet,
    settle,
    source_files,
)
from support.source_server import Fault, Server, serve

from pipeline.config.load import load_mixture
from pipeline.core.errors import ConfigError, InputError, MismatchError, OutputError
from pipeline.sources.download.download_plan import plan_download, scratch_folder
from pipeline.sources.download.fetch import fetch
from pipeline.sources.download.part_file import log_path, num_bytes_left, part_path
from pipeline.sources.download.pull import PullCounts, pull
from pipeline.sources.lock.checksum import check_file
from pipeline.sources.lock.create import make_lock
from pipeline.sources.lock.lock import Lock, locate
from pipeline.storage.store import StoredFile


def test_every_file_comes_once_and_lies_where_it_is_looked_for(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    told: list[tuple[int, int]] = []
    plan = plan_download(locked, folder, dest)
    pulled = pull(plan, lambda stage, done, total, _: told.append((done, total)))
    check_all(server, dest)
    assert server.counters()["bytes"] == REMOTE_BYTES
    assert told[-1] == (REMOTE_BYTES, REMOTE_BYTES)
    assert sum(one.num_bytes_pulled for one in pulled.values()) == REMOTE_BYTES
    # Of two sources that have the same file, it counts for the first.
    assert pulled["again"] == PullCounts(
        num_files=1, num_bytes=70_000, num_files_pulled=1, num_bytes_pulled=70_000
    )
    assert pulled["hub"].num_files == 3
    assert pulled["here"] == PullCounts(
        num_files=1, num_bytes=4, num_files_pulled=0, num_bytes_pulled=0
    )
    for name, source in locked.sources.items():
        for file in source.files:
            check_file(locate(dest, folder, source, file), file)
        assert name in pulled


def test_a_second_pull_asks_for_nothing(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    pull_all(locked, folder, dest)
    server.reset()
    pulled = pull_all(locked, folder, dest)
    assert server.counters()["log"] == []
    assert sum(one.num_files_pulled for one in pulled.values()) == 0
    check_all(server, dest)


def test_a_part_of_a_mixture_is_pulled(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    pulled = pull_all(locked, folder, dest, sources=["plain"], limit_files=1)
    assert list(pulled) == ["plain"]
    assert server.counters()["bytes"] == 100_000
    with pytest.raises(ConfigError, match='--sources: got "other", expected some of again, here'):
        pull_all(locked, folder, dest, sources=["plain", "other"])


FAULTS: dict[str, Fault] = {
    "429": {"kind": "status", "status": 429, "headers": {"Retry-After": "1"}},
    "503": {"kind": "status", "status": 503},
    "cut": {"kind": "cut", "bytes": 30_000},
    "drip": {"kind": "drip", "bytes": 50_000, "seconds": 0.01},
    "stall": {"kind": "stall", "seconds": 0.3},
}


@pytest.mark.parametrize("name", FAULTS)
def test_after_trouble_nothing_is_lost_and_nothing_comes_twice(
    server: Server, folder: Path, locked: Lock, dest: Path, name: str
) -> None:
    server.set_faults([{**FAULTS[name], "match": match} for match in (HUB_LARGE, URL_SECOND)])
    began = time.monotonic()
    pull_all(locked, folder, dest)
    check_all(server, dest)
    assert server.counters()["bytes"] == REMOTE_BYTES
    assert name != "429" or time.monotonic() - began >= 1


def test_a_short_answer_that_says_it_is_all_is_not_believed(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    short = {"kind": "short", "bytes": 30_000}
    server.set_faults([{**short, "match": match} for match in (HUB_LARGE, URL_SECOND)])
    pull_all(locked, folder, dest)
    check_all(server, dest)
    assert server.counters()["bytes"] == REMOTE_BYTES


def test_the_wait_that_the_hub_asks_for_is_kept(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    limit = {"RateLimit": '"resolvers";r=0;t=1'}
    server.set_faults(
        [{"kind": "status", "status": 429, "headers": limit, "match": "/org/a/resolve/"}]
    )
    began = time.monotonic()
    pull_all(locked, folder, dest)
    assert time.monotonic() - began >= 1
    check_all(server, dest)


def test_a_wait_that_is_too_long_is_told_at_once(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    fault = {"kind": "status", "status": 429, "headers": {"Retry-After": "9000"}}
    server.set_faults([{**fault, "match": HUB_LARGE, "times": -1}])
    with pytest.raises(InputError, match=r"part-0.*429 with a retry delay of 9,000 seconds"):
        pull_all(locked, folder, dest)
    server.set_faults([])
    pull_all(locked, folder, dest)
    check_all(server, dest)


def test_a_file_of_another_version_is_refused_by_name(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    changed: Fault = {"kind": "changed", "match": URL_SECOND}
    server.set_faults([changed])
    with pytest.raises(InputError, match=r"books-0001\.json\.gz: got the version .*\nhint: "):
        pull_all(locked, folder, dest, sources=["plain"])
    assert not expected_path(server, dest, "dolma/books-0001.json.gz").exists()
    # What the Hub calls a version is not known before something of it came.
    cut: Fault = {"kind": "cut", "bytes": 1000}
    server.set_faults([{**cut, "match": HUB_LARGE}, {**changed, "match": HUB_LARGE, "times": -1}])
    with pytest.raises(InputError, match=r"part-0\.bin\.jsonl\.zst: got the version"):
        pull_all(locked, folder, dest)
    assert not expected_path(server, dest, "a/data/part-0.bin.jsonl.zst").exists()
    server.set_faults([])
    pull_all(locked, folder, dest)
    check_all(server, dest)


CHANGES = [
    ("a/data/part-1.jsonl.zst", RANDOM.bytes(70_000)),
    ("a/data/part-1.jsonl.zst", RANDOM.bytes(70_001)),
    ("a/data/part-1.jsonl.zst", RANDOM.bytes(69_999)),
    ("a/notes.json", RANDOM.bytes(500)),
    ("dolma/books-0001.json.gz", RANDOM.bytes(200_000)),
    ("dolma/books-0001.json.gz", RANDOM.bytes(200_001)),
]


@pytest.mark.parametrize(("name", "content"), CHANGES)
def test_a_file_that_changed_since_it_was_locked_is_refused_by_name(
    server: Server, folder: Path, locked: Lock, dest: Path, name: str, content: bytes
) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises((InputError, MismatchError)) as refused:
        pull_all(locked, folder, dest)
    assert name.rpartition("/")[2] in refused.value.message
    assert refused.value.hint is not None
    assert not expected_path(server, dest, name).exists()


def test_a_file_that_is_gone_is_refused_by_name(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    (folder / "a/data/part-1.jsonl.zst").unlink()
    with pytest.raises(InputError, match=r"part-1\.jsonl\.zst: got 404"):
        pull_all(locked, folder, dest)


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 403)])
def test_gated_data_fails_fast_with_the_page_to_accept(
    folder: Path,
    dest: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    token: str | None,
    status: int,
) -> None:
    with serve(
        {"org/a": folder / "a"}, files={"dolma": folder / "dolma"}, gated=["org/a"]
    ) as server:
        at_home(monkeypatch, server, tmp_path)
        if token is not None:
            monkeypatch.setenv("HF_TOKEN", token)
        made = make_lock(mixture_of(server, folder), quiet)
        began = time.monotonic()
        with pytest.raises(InputError, match=rf"got {status} \(Access to dataset") as refused:
            pull_all(made, folder, dest)
        assert time.monotonic() - began < 5
        assert f"{server.endpoint}/datasets/org/a" in str(refused.value.hint)
        monkeypatch.setenv("HF_TOKEN", "secret")
        pull_all(made, folder, dest)
        check_all(server, dest)


def test_one_file_that_fails_ends_the_others_and_keeps_what_came(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    server.set_faults(
        [
            {"kind": "drip", "bytes": 30_000, "seconds": 0.2, "match": HUB_LARGE},
            {"kind": "status", "status": 404, "match": URL_SECOND},
        ]
    )
    began = time.monotonic()
    with pytest.raises(InputError, match=r"books-0001\.json\.gz: got 404"):
        pull_all(locked, folder, dest)
    # The dripping file alone would take twenty seconds.
    assert time.monotonic() - began < 10
    settle(server)
    pull_all(locked, folder, dest)
    check_all(server, dest)


def test_what_is_left_of_an_earlier_pull_is_gone_on_from(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    for source in ("hub", "plain"):
        for name, file in source_files(locked, source).items():
            content = next(CONTENTS[one] for one in CONTENTS if one.endswith(name))
            leave_part(dest, file, content[:400])
    ahead = plan_download(locked, folder, dest)
    assert ahead.num_bytes_missing == REMOTE_BYTES - 5 * 400
    pulled = pull_all(locked, folder, dest)
    check_all(server, dest)
    assert server.counters()["bytes"] == REMOTE_BYTES - 5 * 400
    assert sum(one.num_bytes_pulled for one in pulled.values()) == REMOTE_BYTES - 5 * 400


@pytest.mark.parametrize("left", [b"\0" * 400, b"\0" * 70_000, b"\0" * 70_001])
def test_what_is_left_and_wrong_is_pulled_again(
    server: Server, folder: Path, locked: Lock, dest: Path, left: bytes
) -> None:
    part = part_path(scratch_folder(dest), source_files(locked, "hub")["part-1.jsonl.zst"])
    part.parent.mkdir(parents=True)
    part.write_bytes(left)
    pulled = pull_all(locked, folder, dest)
    check_all(server, dest)
    assert REMOTE_BYTES <= server.counters()["bytes"] <= REMOTE_BYTES + 70_000 - 400
    came = sum(one.num_bytes_pulled for one in pulled.values())
    assert came == server.counters()["bytes"]


def test_what_came_of_a_store_is_not_believed_once_the_store_has_another(
    tmp_path: Path, dest: Path
) -> None:
    stored, mixture = tmp_path / "a.jsonl", tmp_path / "small.yaml"
    stored.write_bytes(b"one")
    mixture.write_text(
        f"""\
name: small
chunk: {{algorithm: whole-v1, size: 128}}
sources: {{a: {{from: {{url: "file://{stored}"}}}}}}
order: {{seed: 21, global_batch_size: 16, max_seq_len: 128}}
"""
    )
    locked = make_lock(load_mixture(mixture), quiet)
    part = part_path(scratch_folder(dest), locked.sources["a"].files[0])
    part.parent.mkdir(parents=True)
    part.write_bytes(b"all")
    stored.write_bytes(b"two")
    with pytest.raises(MismatchError, match=r"a\.jsonl: got 3 bytes, etag:"):
        pull_all(locked, tmp_path, dest)
    assert part.read_bytes() == b""
    pull_all(make_lock(load_mixture(mixture), quiet), tmp_path, dest)
    assert (dest / f"file/localhost{stored}").read_bytes() == b"two"


@pytest.mark.parametrize("is_logged", [True, False])
@pytest.mark.parametrize("zeroed", [0, 100, 399])
def test_a_part_is_trusted_only_as_far_as_its_log_proves(
    server: Server, folder: Path, locked: Lock, dest: Path, is_logged: bool, zeroed: int
) -> None:
    content = CONTENTS["dolma/books-0001.json.gz"]
    file = source_files(locked, "plain")["books-0001.json.gz"]
    part = leave_part(dest, file, content[:300], content[300:1000])
    part.write_bytes(content[: 1000 - zeroed] + bytes(zeroed))
    if not is_logged:
        log_path(part).unlink()
    proven = 0 if not is_logged else 300 if zeroed else 1000
    pull_all(locked, folder, dest)
    check_all(server, dest)
    assert server.counters()["bytes"] == REMOTE_BYTES - proven


def test_a_log_that_is_damaged_proves_nothing_more(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    content = CONTENTS["dolma/books-0001.json.gz"]
    file = source_files(locked, "plain")["books-0001.json.gz"]
    part = leave_part(dest, file, content[:300], content[300:1000])
    lines = log_path(part).read_bytes()
    for damaged in (lines[:-1], lines[:80] + bytes(len(lines) - 80), lines + b"9" * 5000):
        part.write_bytes(content[:1000])
        log_path(part).write_bytes(damaged)
        assert num_bytes_left(part, file) == (1000 if damaged.startswith(lines) else 300)
    pull_all(locked, folder, dest)
    check_all(server, dest)


def test_a_log_that_names_more_bytes_than_came_proves_nothing_of_them(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    content = CONTENTS["dolma/books-0001.json.gz"]
    file = source_files(locked, "plain")["books-0001.json.gz"]
    part = leave_part(dest, file, content[:300], content[300:1000])
    # One bit of a digit: what is hashed ends where the part does.
    log_path(part).write_bytes(log_path(part).read_bytes().replace(b"700 ", b"708 "))
    pull_all(locked, folder, dest)
    check_all(server, dest)


def test_a_stopped_pull_leaves_a_log_of_all_that_came(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    file = source_files(locked, "plain")["books-0001.json.gz"]
    cut: Fault = {"kind": "cut", "bytes": 30_000, "match": URL_SECOND}
    gone: Fault = {"kind": "status", "status": 404, "match": URL_SECOND}
    server.set_faults([cut, gone])
    with pytest.raises(InputError, match="got 404"):
        pull_all(locked, folder, dest, sources=["plain"])
    assert num_bytes_left(part_path(scratch_folder(dest), file), file) == 30_000
    settle(server)
    pull_all(locked, folder, dest)
    check_all(server, dest)
    assert server.counters()["bytes"] == REMOTE_BYTES - 130_000


def test_a_partial_file_of_one_version_is_never_continued_with_another(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    file = source_files(locked, "plain")["books-0001.json.gz"]
    part = leave_part(dest, file, CONTENTS["dolma/books-0001.json.gz"][:400])
    server.set_faults([])
    changed = RANDOM.bytes(200_000)
    (folder / "dolma/books-0001.json.gz").write_bytes(changed)
    again = make_lock(mixture_of(server, folder), quiet)
    pull_all(again, folder, dest, sources=["plain"])
    path = expected_path(server, dest, "dolma/books-0001.json.gz")
    assert path.read_bytes() == changed
    # A pull by the old lock would go on from there.
    assert part.stat().st_size == 400


def test_what_lies_in_the_place_of_a_file_is_not_touched(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    names = ["a/data/part-1.jsonl.zst", "dolma/books-0000.json.gz"]
    for name in names:
        path = expected_path(server, dest, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    with pytest.raises(MismatchError, match="has 4 bytes, the lock says 70,000") as refused:
        pull_all(locked, folder, dest)
    assert "has 4 bytes, the lock says 100,000\nhint: remove it" in str(refused.value)
    # Of the right size, but nobody can tell whether it is the file of that ETag.
    path.write_bytes(bytes(100_000))
    expected_path(server, dest, names[0]).unlink()
    with pytest.raises(MismatchError, match=r"got no books-0000\.json\.gz\.etag\.json beside it"):
        pull_all(locked, folder, dest)
    assert path.read_bytes() == bytes(100_000)
    assert server.counters()["requests"] == 0


def test_room_is_checked_before_anything_comes(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    # No disk has an exbibyte to spare.
    file = locked.sources["plain"].files[0]
    huge = StoredFile(path=file.path, num_bytes=2**60, digest=file.digest)
    source = locked.sources["plain"]
    sources = {"plain": type(source)(origin=source.origin, revision=None, files=(huge,))}
    lock = Lock(name="small", tokenizer=locked.tokenizer, algorithms={}, sources=sources)
    with pytest.raises(OutputError, match=r"needs 1048576TiB more, and the disk has .* of room"):
        pull_all(lock, folder, dest)
    assert server.counters()["log"] == []
    assert not dest.exists()


def test_a_full_disk_is_told_in_words(
    server: Server, folder: Path, locked: Lock, dest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = part_path(scratch_folder(dest), source_files(locked, "hub")["part-1.jsonl.zst"])
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    name = "pipeline.sources.download.part_file.open_below"
    monkeypatch.setattr(name, lambda ours, path, flags: os.open(path, flags))
    with pytest.raises(OutputError, match="the disk is full\nhint: make room and run the same"):
        pull_all(locked, folder, dest)
    assert not expected_path(server, dest, "a/data/part-1.jsonl.zst").exists()


@pytest.mark.parametrize("linked", ["part", ".partial", "hub"])
def test_a_pull_writes_through_no_link(
    server: Server, folder: Path, locked: Lock, dest: Path, tmp_path: Path, linked: str
) -> None:
    stranger = tmp_path / "stranger"
    part = part_path(scratch_folder(dest), source_files(locked, "hub")["part-1.jsonl.zst"])
    link = part if linked == "part" else dest / linked
    link.parent.mkdir(parents=True)
    link.symlink_to(stranger)
    if linked == "part":
        stranger.write_text("theirs")
    else:
        stranger.mkdir()
    with pytest.raises(OutputError, match=r"got a link to .*stranger, expected what ettin-data"):
        pull_all(locked, folder, dest)
    assert stranger.read_text() == "theirs" if linked == "part" else not list(stranger.iterdir())


def test_a_folder_that_cannot_be_made_is_told_in_words(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    dest.write_bytes(b"a file")
    with pytest.raises(OutputError, match="got Not a directory, expected a writable folder"):
        pull_all(locked, folder, dest)


def test_any_other_trouble_of_a_disk_is_told_in_words(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    part = part_path(scratch_folder(dest), source_files(locked, "hub")["part-1.jsonl.zst"])
    part.mkdir(parents=True)
    with pytest.raises(
        OutputError, match="cannot be written: Is a directory\nhint: choose another"
    ):
        pull_all(locked, folder, dest)


def test_one_file_is_fetched_as_a_streaming_build_does(
    server: Server, folder: Path, locked: Lock, tmp_path: Path
) -> None:
    source = locked.sources["hub"]
    file = source_files(locked, "hub")["part-1.jsonl.zst"]
    path, scratch = tmp_path / "some/where.zst", tmp_path / "scratch"
    fetch(source.origin, folder, source.revision, file, path, scratch)
    assert path.read_bytes() == CONTENTS["a/data/part-1.jsonl.zst"]
    assert list(scratch.iterdir()) == []
    # One request, and the redirect: the revision is not looked up again.
    assert len(server.counters()["log"]) == 2
    server.reset()
    fetch(source.origin, folder, source.revision, file, path, scratch)
    assert server.counters()["log"] == []


def test_pulls_at_the_same_time_share_the_work(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    server.set_faults(
        [{"kind": "drip", "bytes": 100_000, "seconds": 0.01, "match": HUB_LARGE, "times": -1}]
    )
    failures: list[BaseException] = []

    def run() -> None:
        try:
            pull_all(locked, folder, dest)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    check_all(server, dest)
    assert server.counters()["bytes"] == REMOTE_BYTES
