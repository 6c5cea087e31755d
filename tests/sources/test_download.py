"""Pulls from a real server, in good health and in bad: nothing lost, nothing doubled."""

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import builds
from support.source_server import Fault, Server, serve
from support.strategies import QUICK

from pipeline.config.load import load_mixture
from pipeline.config.mixture import Mixture
from pipeline.core.errors import ConfigError, InputError, MismatchError, OutputError
from pipeline.sources.download.download_plan import plan_download, scratch_folder
from pipeline.sources.download.fetch import fetch, part_path
from pipeline.sources.download.pull import PullCounts, pull
from pipeline.sources.lock.checksum import Hasher, check_file, note_path
from pipeline.sources.lock.create import make_lock
from pipeline.sources.lock.lock import Lock, locate
from pipeline.sources.lock.lock_file import write_lock
from pipeline.storage.store import StoredFile

RANDOM = np.random.default_rng(5)
LARGE = 3_000_000
CONTENTS = {
    "a/data/part-0.bin.jsonl.zst": RANDOM.bytes(LARGE),
    "a/data/part-1.jsonl.zst": RANDOM.bytes(70_000),
    "a/data/empty.jsonl.zst": b"",
    "a/notes.json": RANDOM.bytes(500),
    "dolma/books-0000.json.gz": RANDOM.bytes(100_000),
    "dolma/books-0001.json.gz": RANDOM.bytes(200_000),
    "in/a.txt": b"text",
}
REMOTE_BYTES = sum(len(content) for name, content in CONTENTS.items() if name != "in/a.txt")
HUB_LARGE = "/lfs/org/a/data/part-0"
URL_SECOND = "/files/dolma/books-0001"

MIXTURE = """\
name: small
chunk: {algorithm: whole-v1, size: 128}
sources:
  hub: {from: {hub: org/a, files: ["data/*.zst", notes.json]}}
  again: {from: {hub: org/a, files: "data/part-1*"}}
  plain: {from: {url: "ENDPOINT/files/dolma/books-{0000..0001}.json.gz"}}
  here: {from: {path: "in/*.txt"}}
order: {seed: 21, global_batch_size: 16, max_seq_len: 128}
"""


def quiet(stage: str, done: int, total: int) -> None:
    """Report nothing."""


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what the server has, and the mixture."""
    return tmp_path_factory.mktemp("pull") / "there"


@pytest.fixture
def folder(there: Path) -> Path:
    """What the server has, and the mixture's folder; a test may change it."""
    for name, content in CONTENTS.items():
        path = there / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
    return there


@pytest.fixture(scope="module")
def server_process(there: Path) -> Iterator[Server]:
    """One server for all tests that need no other settings."""
    with serve({"org/a": there / "a"}, files={"dolma": there / "dolma"}) as server:
        yield server


@pytest.fixture
def server(server_process: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """The server without faults; the endpoint of the Hub, which knows no token."""
    server_process.set_faults([])
    at_home(monkeypatch, server_process, tmp_path)
    return server_process


def at_home(monkeypatch: pytest.MonkeyPatch, server: Server, home: Path) -> None:
    """Make a server the endpoint, and let no token be found."""
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
    monkeypatch.setenv("HF_HOME", str(home / "home"))
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def mixture_of(server: Server, folder: Path) -> Mixture:
    text = MIXTURE.replace("ENDPOINT", server.endpoint)
    (folder / "small.yaml").write_text(text)
    return load_mixture(folder / "small.yaml")


@pytest.fixture
def locked(server: Server, folder: Path) -> Lock:
    """The lock of what the server has; its requests are not counted."""
    made = make_lock(mixture_of(server, folder), quiet)
    server.reset()
    return made


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """Where pulled files go."""
    return tmp_path / "raw"


def pull_all(lock: Lock, folder: Path, dest: Path, **choice: Any) -> dict[str, PullCounts]:
    return pull(plan_download(lock, folder, dest, **choice), quiet)


def expected_path(server: Server, dest: Path, name: str) -> Path:
    """Where a file of the server lies once it was pulled."""
    if name.startswith("a/"):
        return dest / f"hub/org/a/{server.commit}" / name.removeprefix("a/")
    return dest / "http" / server.endpoint.removeprefix("http://") / "files" / name


def check_all(server: Server, dest: Path) -> None:
    """Insist that all remote files are there, and nothing else but the notes of ETags."""
    remote = [name for name in CONTENTS if not name.startswith("in/")]
    expected = {expected_path(server, dest, name): CONTENTS[name] for name in remote}
    for path, content in expected.items():
        assert path.read_bytes() == content, path
    notes = {note_path(path) for path in expected if "/files/" in str(path)}
    assert {path for path in dest.rglob("*") if path.is_file()} == {*expected, *notes}


def source_files(lock: Lock, name: str) -> dict[str, StoredFile]:
    return {file.path.rpartition("/")[2]: file for file in lock.sources[name].files}


def test_every_file_comes_once_and_lies_where_it_is_looked_for(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    told: list[tuple[int, int]] = []
    plan = plan_download(locked, folder, dest)
    pulled = pull(plan, lambda stage, done, total: told.append((done, total)))
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
        pull_all(locked, folder, dest)
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
            part = part_path(scratch_folder(dest), file)
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(next(CONTENTS[one] for one in CONTENTS if one.endswith(name))[:400])
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


def test_a_partial_file_of_one_version_is_never_continued_with_another(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    part = part_path(scratch_folder(dest), source_files(locked, "plain")["books-0001.json.gz"])
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENTS["dolma/books-0001.json.gz"][:400])
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


def test_a_local_file_that_changed_is_refused_by_name(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    (folder / "in/a.txt").write_bytes(b"other")
    with pytest.raises(MismatchError, match=r"in/a\.txt: has 5 bytes, the lock says 4"):
        pull_all(locked, folder, dest)
    (folder / "in/a.txt").unlink()
    with pytest.raises(MismatchError, match=r"in/a\.txt: is gone"):
        pull_all(locked, folder, dest)


def test_bytes_that_are_not_those_that_were_locked_are_found(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    pull_all(locked, folder, dest)
    for source in ("hub", "plain"):
        for file in locked.sources[source].files:
            path = locate(dest, folder, locked.sources[source], file)
            if file.num_bytes:
                content = bytearray(path.read_bytes())
                content[-1] ^= 1
                path.write_bytes(content)
                with pytest.raises(MismatchError, match=f"{path.name}: is .*, the lock says"):
                    check_file(path, file)
                path.write_bytes(content[:-1])
                with pytest.raises(MismatchError, match=f"{path.name}: has .* bytes, the lock"):
                    check_file(path, file)
            path.unlink()
            with pytest.raises(MismatchError, match=f"{path.name}: cannot be read"):
                check_file(path, file)


def test_a_note_of_another_version_is_refused(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    pull_all(locked, folder, dest)
    path = expected_path(server, dest, "dolma/books-0000.json.gz")
    told = json.loads(note_path(path).read_bytes())
    assert told["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    note_path(path).write_text(json.dumps({**told, "etag": '"other"'}))
    with pytest.raises(MismatchError, match='was pulled as the version "other", the lock says'):
        plan_download(locked, folder, dest)


@QUICK
@given(st.lists(st.binary(max_size=40), max_size=5))
def test_digests_of_pieces_are_those_of_the_whole(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    blob = b"blob %d\0" % len(content) + content
    for kind, digest in (("sha256", hashlib.sha256(content)), ("git-sha1", hashlib.sha1(blob))):
        spelled = f"{kind}:{digest.hexdigest()}"
        hasher = Hasher(StoredFile(path="x", num_bytes=len(content), digest=spelled))
        for piece in pieces:
            hasher.update(piece)
        assert hasher.digest == spelled


def test_the_digest_of_a_blob_is_that_of_git() -> None:
    # `echo hello | git hash-object --stdin`
    spelled = "git-sha1:ce013625030ba8dba906f756967f9e9ca394464a"
    hasher = Hasher(StoredFile(path="x", num_bytes=6, digest=spelled))
    hasher.update(b"hello\n")
    assert hasher.digest == spelled


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
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    part = part_path(scratch_folder(dest), source_files(locked, "hub")["part-1.jsonl.zst"])
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")
    with pytest.raises(OutputError, match="the disk is full\nhint: make room and run the same"):
        pull_all(locked, folder, dest)
    assert not expected_path(server, dest, "a/data/part-1.jsonl.zst").exists()


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


def write_inputs(server: Server, folder: Path, lock: Lock) -> Sequence[str | Path]:
    """Write mixture and lock; return the arguments of the command."""
    mixture_of(server, folder)
    write_lock(lock, folder / "lock.json")
    return ["pull", folder / "small.yaml", "--lock", folder / "lock.json"]


def left_in(dest: Path) -> int:
    """Return how many bytes lie below a folder that changes meanwhile."""
    total = 0
    for path in dest.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total


def start_slow_pull(
    server: Server, arguments: Sequence[str | Path], dest: Path
) -> subprocess.Popen[str]:
    """Start the command, and wait until a part of a file that drips has come."""
    server.set_faults(
        [{"kind": "drip", "bytes": 50_000, "seconds": 0.05, "match": HUB_LARGE, "times": -1}]
    )
    process = builds.start(*arguments, "--dest", dest, stderr=subprocess.PIPE)
    stop = time.monotonic() + builds.SECONDS
    while left_in(dest) < REMOTE_BYTES - LARGE + 500_000:
        assert process.poll() is None
        assert time.monotonic() < stop
        time.sleep(0.01)
    return process


def settle(server: Server) -> None:
    """Mend the server, and wait until it has seen that nobody listens any more."""
    server.set_faults([])
    is_quiet, stop = False, time.monotonic() + builds.SECONDS
    while not is_quiet:
        assert time.monotonic() < stop
        server.reset()
        time.sleep(0.3)
        is_quiet = server.counters()["bytes"] == 0


def test_a_killed_pull_goes_on_where_it_was(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    arguments = write_inputs(server, folder, locked)
    process = start_slow_pull(server, arguments, dest)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    assert not expected_path(server, dest, "a/data/part-0.bin.jsonl.zst").exists()
    there = left_in(scratch_folder(dest))
    assert there >= 500_000

    settle(server)
    out = builds.run_well(*arguments, "--dest", dest, "--json")
    assert server.counters()["bytes"] == LARGE - there
    assert json.loads(out)["sources"]["hub"]["num_bytes_pulled"] == LARGE - there
    check_all(server, dest)


def test_an_interrupted_pull_says_how_to_go_on(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    arguments = write_inputs(server, folder, locked)
    process = start_slow_pull(server, arguments, dest)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "run the same command again to resume" in told
    assert "Traceback" not in told
    settle(server)
    there = left_in(scratch_folder(dest))
    builds.run_well(*arguments, "--dest", dest)
    assert 0 < there == LARGE - server.counters()["bytes"]
    check_all(server, dest)


def test_the_command_tells_what_is_ahead_and_what_was_done(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    arguments = write_inputs(server, folder, locked)
    done = builds.run(*arguments, "--dest", dest)
    assert done.returncode == 0, done.stderr
    assert "raw: 6 of 7 files to pull, 3.2MiB in at least 6 requests, " in done.stderr
    assert " free\n" in done.stderr
    assert "pull: 3.2MiB/3.2MiB, " in done.stderr
    assert "raw: pulled 3.2MiB in " in done.stdout
    check_all(server, dest)
    again = builds.run(*arguments, "--dest", dest)
    assert "raw: 0 of 7 files to pull, 0B in at least 0 requests" in again.stderr


def test_of_a_miniature_only_what_it_reads_is_pulled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number in range(10):
        made = builds.documents(f"part-{number}", 20, 200)
        path = tmp_path / f"there/part-{number}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{json.dumps(one)}\n" for one in made))
    mixture = tmp_path / "small.yaml"
    mixture.write_text(
        """\
name: small
chunk: {algorithm: whole-v1, size: 128}
sources:
  a: {from: {hub: org/a, files: "*.jsonl"}, tokens: 9000}
  b: {from: {hub: org/a, files: "part-[0-7].jsonl"}, tokens: 9000}
order: {seed: 21, global_batch_size: 4, max_seq_len: 128}
"""
    )

    def run(*arguments: str) -> set[str]:
        hub.reset()
        builds.run_well(arguments[0], mixture, *arguments[1:], cwd=tmp_path)
        return {line.split(" ")[1] for line in hub.log("/resolve/")}

    with serve({"org/a": tmp_path / "there"}) as hub:
        at_home(monkeypatch, hub, tmp_path)
        run("lock")
        assert len(run("pull", "--scale", "1/5", "--sources", "a", "--limit-files", "1")) == 1
        assert len(run("pull", "--scale", "1/5", "--sources", "a")) == 3
        assert 1 <= len(run("pull", "--set", "scale=1/5")) <= 4
        assert run("build", "--scale", "1/5", "--out", "out", "--workers", "1") == set()
        assert hub.log() == []
        left = {path.name for path in (tmp_path / "raw").rglob("*.jsonl")}
        assert len(run("pull")) == 10 - len(left) > 0


def test_the_command_refuses_a_mixture_that_was_not_locked(
    server: Server, folder: Path, locked: Lock, dest: Path
) -> None:
    arguments = write_inputs(server, folder, locked)
    changed = builds.run(*arguments, "--dest", dest, "--set", "sources.hub.from.files=notes.json")
    assert changed.returncode == 2
    assert "sources.hub.from: got " in changed.stderr
    assert "hint: lock again" in changed.stderr
    other = builds.run(*arguments[:2], "--dest", dest, cwd=folder)
    assert other.returncode == 2
    assert "manifests/small.lock.json: got no file" in other.stderr
    assert not dest.exists()
