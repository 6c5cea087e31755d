"""Stores: files and bytes from folders, the Hub, web hosts and object stores, healthy or not."""

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.source_server import Fault, Server, serve
from support.stores import (
    FILES,
    HERE,
    LARGE,
    A,
    Sleeps,
    at_host,
    file_named,
    git_sha1,
    on_hub,
    received,
)

from pipeline.config.source import Origin
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, InputError
from pipeline.storage.hub import HubStore
from pipeline.storage.open_store import open_store
from pipeline.storage.retry import RetryPolicy
from pipeline.storage.store import Store, StoredFile
from pipeline.storage.web import WebStore


def test_a_data_set_on_the_hub_is_listed_with_sizes_and_digests(server: Server) -> None:
    origin = open_store(on_hub(), HERE)
    assert origin.revision == server.commit
    assert origin.list() == tuple(
        StoredFile(
            path=path,
            num_bytes=len(data),
            digest=f"git-sha1:{git_sha1(data)}"
            if path == "README.md"
            else f"sha256:{sha256_bytes(data)}",
        )
        for path, data in sorted(FILES.items())
    )


@pytest.mark.parametrize("revision", [None, "main", "v1", "refs/convert/parquet"])
def test_a_revision_is_resolved_once_and_then_pinned(server: Server, revision: str | None) -> None:
    assert open_store(on_hub("set", revision), HERE).revision == server.commit
    assert len(server.log("/revision/")) == 1
    open_store(on_hub("set", revision), HERE, server.commit).list()
    assert len(server.log("/revision/")) == 1


def test_a_commit_is_listed_once_whatever_is_asked_of_it(content: Path, server: Server) -> None:
    commit = server.push("org/set", content)
    origins = [on_hub("set", None, "data/books/*"), on_hub("set", None, "**/*.zst"), on_hub()]
    for origin in origins:
        opened = open_store(origin, HERE)
        assert opened.list() == opened.list()
        assert opened.revision == commit
    # Seven files and four folders, three to a page.
    assert len(server.log(f"/tree/{commit}")) == 4


def test_what_moves_upstream_does_not_move_what_is_locked(server: Server, tmp_path: Path) -> None:
    locked = open_store(on_hub("moves"), HERE)
    before = locked.list()
    (tmp_path / "new.jsonl").write_bytes(b"new")
    commit = server.push("org/moves", tmp_path)
    moved = open_store(on_hub("moves"), HERE)
    assert (moved.revision, [file.path for file in moved.list()]) == (commit, ["new.jsonl"])
    assert locked.revision is not None
    again = open_store(on_hub("moves"), HERE, locked.revision)
    assert again.list() == before
    assert received(again, file_named(before, A)) == LARGE


def test_a_revision_that_is_not_there_is_named(server: Server) -> None:
    gone = server.push("org/moves", 3)
    server.forget("org/moves", gone)
    hint = "there is no such branch, tag or commit"
    with pytest.raises(InputError, match=rf"org/set@v9: got 404 .*(\n.*){hint}"):
        open_store(on_hub("set", "v9"), HERE)
    with pytest.raises(InputError, match=rf"org/moves@{gone}: got 404 .*(\n.*){hint}"):
        open_store(on_hub("moves"), HERE, gone).list()
    file = StoredFile(path="a", num_bytes=1, digest="sha256:" + "0" * 64)
    with pytest.raises(InputError, match=f"org/moves@{gone}/a: got 404"):
        received(open_store(on_hub("moves"), HERE, gone), file)


def test_addresses_are_spelled_out_and_asked_for_size_and_version(server: Server) -> None:
    origin = at_host(server, "data/books/{a,b}.json.gz", "data/web/part-{00..00}.jsonl.zst", A)
    opened = open_store(origin, HERE)
    assert opened.revision is None
    files = opened.list()
    assert [file.path for file in files] == [
        server.url("set", path)
        for path in ("data/books/a.json.gz", "data/books/b.json.gz", "data/web/part-00.jsonl.zst")
    ]
    assert [file.num_bytes for file in files] == [len(LARGE), 1, 1]
    assert files[1].digest == f'etag:"{sha256_bytes(b"b")[:32]}"'
    assert len(server.log("HEAD")) == 3
    assert open_store(origin, HERE).list() == files


def test_a_file_that_is_missing_at_a_host_is_named(server: Server) -> None:
    origin = at_host(server, "data/books/{a,b,c}.json.gz")
    with pytest.raises(
        InputError, match=re.escape(f"{server.url('set', 'data/books/c.json.gz')}:")
    ):
        open_store(origin, HERE).list()


def test_a_file_whose_versions_nothing_tells_apart_is_refused(server: Server) -> None:
    server.set_faults([{"method": "HEAD", "kind": "unnamed"}])
    with pytest.raises(InputError, match="got neither ETag nor Last-Modified") as refused:
        open_store(at_host(server, A), HERE).list()
    assert server.url("set", A) in refused.value.message
    assert "`path:`" in str(refused.value.hint)


def test_a_host_without_ranges_and_etags_is_read_too(content: Path, sleeps: "Sleeps") -> None:
    with serve(files={"set": content}, ranges=False, etags=False) as server:
        origin = WebStore(at_host(server, A), HERE, None, sleeps.patience())
        [file] = origin.list()
        assert file.digest.endswith(" GMT")
        assert received(origin, file) == LARGE
        assert received(origin, file, 70_000) == LARGE[70_000:]
        server.set_faults([{"method": "GET", "kind": "cut", "bytes": 50_000, "times": 2}])
        assert received(origin, file) == LARGE
        assert sleeps == [1, 2]
        server.set_faults([{"method": "GET", "kind": "short", "bytes": 50_000}])
        assert received(origin, file, 60_000) == LARGE[60_000:]
        assert sleeps == [1, 2, 1]
        shorter = StoredFile(path=file.path, num_bytes=90_000, digest=file.digest)
        with pytest.raises(InputError, match=rf"{A}: got [\d,]+ bytes and more, expected 90,000"):
            received(origin, shorter)


def test_local_files_are_listed_with_digests_and_rows(content: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", "b", "c"]}), tmp_path / "t.parquet")
    (tmp_path / "b.jsonl").write_bytes(b"{}\n")
    origin = open_store(Origin(path=("*",)), tmp_path)
    assert [(file.path, file.num_rows) for file in origin.list()] == [
        ("b.jsonl", None),
        ("t.parquet", 3),
    ]
    [file] = open_store(Origin(path=("b.jsonl",)), tmp_path).list()
    assert file == StoredFile(
        path="b.jsonl", num_bytes=3, digest=f"sha256:{sha256_bytes(b'{}' + bytes([10]))}"
    )
    assert received(origin, file, 1) == b"}\n"
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"t\.parquet: broken parquet"):
        origin.list()
    with pytest.raises(InputError, match=r'from\.path: "no\*" matches no file below'):
        open_store(Origin(path=("no*",)), tmp_path).list()


def test_the_stand_in_gives_the_client_library_the_same_bytes(
    server: Server, tmp_path: Path
) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the extra `hub` is not installed")
    for name, data in FILES.items():
        path = hub.hf_hub_download(
            "org/set",
            name,
            repo_type="dataset",
            revision=server.commit,
            cache_dir=tmp_path,
            endpoint=server.endpoint,
            token=False,
        )
        assert Path(path).read_bytes() == data


@pytest.mark.slow
def test_seventy_thousand_files_are_listed_in_under_a_minute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with serve({"org/big": 70_000}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HOME", str(tmp_path))
        began = time.monotonic()
        files = open_store(on_hub("big"), HERE).list()
        assert time.monotonic() - began < 60
    assert len(files) == 70_000


Opener = Callable[[Server, RetryPolicy], Store]


def _hub(server: Server, patience: RetryPolicy) -> Store:
    return HubStore(on_hub("set", server.commit, A), HERE, None, patience)


def _host(server: Server, patience: RetryPolicy) -> Store:
    return WebStore(at_host(server, A), HERE, None, patience)


each = pytest.mark.parametrize("opener", [_hub, _host], ids=["hub", "host"])


GET: Fault = {"match": A, "method": "GET"}


@each
@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        ({"kind": "status", "status": 429, "headers": {"Retry-After": "7"}}, [7]),
        ({"kind": "status", "status": 429, "headers": {"RateLimit": '"api";r=0;t=9'}}, [9]),
        ({"kind": "status", "status": 503, "times": 2}, [1, 2]),
        ({"kind": "cut", "bytes": 30_000, "times": 2}, [1, 2]),
        ({"kind": "short", "bytes": 30_000}, [1]),
        ({"kind": "stall", "seconds": 1.5}, [1]),
        ({"kind": "drip", "bytes": 5, "seconds": 0.02}, [1]),
        ({"kind": "drip", "bytes": 20, "seconds": 0.04, "after": 95_000}, [1]),
        ({"kind": "ignore_range"}, []),
    ],
    ids=lambda value: value.get("kind") if isinstance(value, dict) else "",
)
def test_trouble_is_met_and_every_byte_comes_once(
    server: Server, sleeps: Sleeps, opener: Opener, fault: Fault, waits: list[float]
) -> None:
    is_slow = fault["kind"] in ("stall", "drip")
    origin = opener(server, sleeps.patience(timeout_seconds=0.5 if is_slow else 20.0))
    [file] = origin.list()
    server.set_faults([{**GET, **fault}])
    assert received(origin, file, 1000) == LARGE[1000:]
    assert sleeps == waits


def test_after_a_cut_only_what_is_missing_is_asked_for(content: Path, sleeps: Sleeps) -> None:
    with serve(files={"set": content}) as server:
        origin = _host(server, sleeps.patience())
        [file] = origin.list()
        server.reset()
        server.set_faults([{**GET, "kind": "cut", "bytes": 30_000, "times": 2}])
        assert received(origin, file) == LARGE
        counters = server.counters()
        assert (counters["requests"], counters["bytes"]) == (3, len(LARGE))


def test_a_long_file_may_be_cut_more_often_than_a_short_one(tmp_path: Path, sleeps: Sleeps) -> None:
    long = LARGE * 400
    (tmp_path / "long").write_bytes(long)
    cut = {"method": "GET", "kind": "cut", "bytes": 9 << 20, "times": -1}
    with serve(files={"set": tmp_path}, faults=[cut]) as server:
        origin = WebStore(at_host(server, "long"), HERE, None, sleeps.patience())
        [file] = origin.list()
        assert sha256_bytes(received(origin, file)) == sha256_bytes(long)
    assert sleeps == [1] * (len(long) // (9 << 20))


@each
def test_trouble_without_end_is_given_up_by_name(
    server: Server, sleeps: Sleeps, opener: Opener
) -> None:
    origin = opener(server, sleeps.patience())
    [file] = origin.list()
    server.set_faults([{**GET, "kind": "status", "status": 503, "times": -1}])
    with pytest.raises(InputError, match=rf"{A}: got 503; gave up after 3 tries"):
        received(origin, file)
    server.set_faults([{**GET, "kind": "status", "status": 429, "headers": {"Retry-After": "400"}}])
    with pytest.raises(InputError, match=rf"{A}: got 429 with a retry delay of 400 seconds"):
        received(origin, file)
    assert sleeps == [1, 2]


@each
@pytest.mark.parametrize("verb", ["list", "receive"])
def test_refusals_fail_fast(
    server: Server, sleeps: Sleeps, opener: Opener, verb: str, content: Path
) -> None:
    [file] = opener(server, sleeps.patience()).list()
    commit = server.push("org/set", content, "other")
    server.set_faults([{"kind": "status", "status": 403, "times": -1}])
    origin = opener(server, sleeps.patience())
    if opener is _hub:
        # Not listed before.
        origin = HubStore(on_hub("set", commit, A), HERE, None, sleeps.patience())
    server.reset()
    with pytest.raises(InputError, match=r"got 403, expected access to it\n.*hint: "):
        origin.list() if verb == "list" else received(origin, file)
    assert sleeps == []
    # A file on the Hub is a redirect and the file.
    assert len(server.log()) == (2 if opener is _hub and verb == "receive" else 1)


@each
def test_another_version_of_a_file_is_refused_by_name(
    server: Server, sleeps: Sleeps, opener: Opener
) -> None:
    origin = opener(server, sleeps.patience())
    [file] = origin.list()
    server.set_faults([
        {**GET, "kind": "cut", "bytes": 30_000},
        {**GET, "kind": "changed", "skip": 0},
    ])  # fmt: skip
    body = bytearray()
    with pytest.raises(InputError, match=rf'{A}: got the version "changed", expected "'):
        origin.stream(file, 0, body.extend)
    assert bytes(body) == LARGE[:30_000]
    server.set_faults([])
    other = StoredFile(path=file.path, num_bytes=file.num_bytes - 1, digest=file.digest)
    with pytest.raises(InputError, match=rf"{A}: got the range .*/102400'"):
        received(origin, other)


def test_a_version_that_was_locked_is_insisted_on_before_any_byte(server: Server) -> None:
    origin = open_store(at_host(server, A), HERE)
    [file] = origin.list()
    server.set_faults([{**GET, "kind": "changed"}])
    body = bytearray()
    with pytest.raises(InputError, match=rf'{A}: got the version "changed"(.*\n.*)lock again'):
        open_store(at_host(server, A), HERE).stream(file, 0, body.extend)
    assert not body


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("wrong", 403)])
def test_gated_files_say_what_to_accept_and_are_asked_for_once(
    server: Server, monkeypatch: pytest.MonkeyPatch, token: str | None, status: int
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    origin = open_store(on_hub("closed"), HERE)
    file = file_named(origin.list(), A)
    server.reset()
    with pytest.raises(InputError) as raised:
        received(origin, file)
    where = re.escape(f"hf://datasets/org/closed@{server.commit}/{A}: got {status} (Access to")
    assert re.match(where, raised.value.message)
    assert f"{server.endpoint}/datasets/org/closed" in str(raised.value.hint)
    assert "accept its conditions" in str(raised.value.hint)
    assert len(server.log()) == 1
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert received(open_store(on_hub("closed"), HERE), file) == LARGE


def test_threads_share_an_origin(server: Server) -> None:
    origin = open_store(on_hub(), HERE)
    bodies: dict[str, bytes] = {}

    def work(file: StoredFile) -> None:
        bodies[file.path] = received(origin, file)

    threads = [threading.Thread(target=work, args=(file,)) for file in origin.list()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bodies == FILES


def test_wildcards_at_a_web_host_are_refused(server: Server) -> None:
    with pytest.raises(ConfigError, match="web hosts cannot be listed"):
        open_store(at_host(server, "data/*"), HERE)


def test_addresses_of_two_kinds_are_refused(server: Server) -> None:
    origin = Origin(url=(server.url("set", A), "s3://bucket/x"))
    with pytest.raises(ConfigError, match="expected addresses of one kind"):
        open_store(origin, HERE)
