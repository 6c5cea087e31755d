"""Stores: files and bytes from folders, the Hub, web hosts and object stores, healthy or not."""

import hashlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.source_server import Fault, Server, serve

from pipeline.config.source import Origin
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, InputError, MismatchError
from pipeline.storage.hub import HubStore
from pipeline.storage.hub_card import card_patterns
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.open_store import open_store
from pipeline.storage.retry import RetryPolicy
from pipeline.storage.store import Store, StoredFile
from pipeline.storage.web import WebStore

HERE = Path()
LARGE = bytes(range(256)) * 400
CARD = """---
license: mit
configs:
- config_name: books
  data_files: "data/books/*.json.gz"
- config_name: web
  data_files:
  - split: train
    path: ["data/web/part-0*.jsonl.zst", "data/web/deep/**"]
  - split: test
    path: data/web/test.jsonl.zst
---
# A data set
"""
FILES = {
    "README.md": CARD.encode(),
    "data/books/a.json.gz": LARGE,
    "data/books/b.json.gz": b"b",
    "data/web/part-00.jsonl.zst": b"0",
    "data/web/part-10.jsonl.zst": b"10",
    "data/web/test.jsonl.zst": b"",
    "data/web/deep/er/x.jsonl": b"x",
}
A = "data/books/a.json.gz"


def git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set as a folder."""
    root = tmp_path_factory.mktemp("content")
    for name, data in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


@pytest.fixture(scope="module")
def server_process(content: Path) -> Iterator[Server]:
    """One server for all tests that need no other settings."""
    repos = {f"org/{name}": content for name in ("set", "closed", "moves")}
    with serve(repos, files={"set": content}, gated=["org/closed"], page_size=3) as server:
        yield server


@pytest.fixture
def server(server_process: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """The server without faults, as the endpoint; no token."""
    monkeypatch.setenv("HF_ENDPOINT", server_process.endpoint)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in ("HF_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    server_process.set_faults([])
    server_process.reset()
    return server_process


def on_hub(name: str = "set", revision: str | None = None, *files: str) -> Origin:
    return Origin(hub=f"org/{name}", revision=revision, files=files or ("**",))


def at_host(server: Server, *paths: str) -> Origin:
    return Origin(url=tuple(server.url("set", path) for path in paths))


def received(origin: Store, file: StoredFile, start: int = 0) -> bytes:
    body = bytearray()
    origin.stream(file, start, body.extend)
    return bytes(body)


def file_named(files: Sequence[StoredFile], end: str) -> StoredFile:
    [file] = [file for file in files if file.path.endswith(end)]
    return file


class Sleeps(list[float]):
    """Waits that were asked for, none of which was waited."""

    def patience(self, *, timeout_seconds: float = 20.0) -> RetryPolicy:
        return RetryPolicy(sleep=self.append, timeout_seconds=timeout_seconds, max_tries=3)


# Listings


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
    file = StoredFile(path="a", num_bytes=1, digest="sha256:0")
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


# Trouble, and bytes


@pytest.fixture
def sleeps() -> Sleeps:
    """Record waits in place of waiting."""
    return Sleeps()


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


# Cards


@pytest.mark.parametrize(
    ("config", "split", "expected"),
    [
        ("books", None, ["data/books/a.json.gz", "data/books/b.json.gz"]),
        ("books", "train", ["data/books/a.json.gz", "data/books/b.json.gz"]),
        ("web", "test", ["data/web/test.jsonl.zst"]),
        ("web", "train", ["data/web/deep/er/x.jsonl", "data/web/part-00.jsonl.zst"]),
    ],
)
def test_a_split_of_a_card_is_its_files(
    server: Server, config: str, split: str | None, expected: list[str]
) -> None:
    origin = open_store(Origin(hub="org/set", config=config, split=split), HERE)
    assert [file.path for file in origin.list()] == expected


@pytest.mark.parametrize(
    ("card", "config", "split", "told"),
    [
        (CARD, "new", None, 'got configuration "new", expected one of books, web\n.*`config:`'),
        (CARD, None, "train", "got no configuration, expected one of books, web\n.*`config:`"),
        (CARD, "web", None, "got no split, expected one of train, test\n.*`split:`"),
        (CARD, "web", "dev", 'got split "dev", expected one of train, test\n.*`split:`'),
        ("# No front matter", None, "train", "got no configs, expected some .*\n.*`files:`"),
        ("---\nlicense: mit\n---\n", None, "train", "got no configs.*\n.*`files:`"),
        ("---\na: [\n---\n", None, "train", "broken front matter: .*\n.*`files:`"),
        (
            "---\nconfigs: [{config_name: a, data_dir: b}]\n---\n",
            "a",
            None,
            "got malformed configs",
        ),
        ("---\nconfigs: [7]\n---\n", "a", None, "got malformed configs.*\n.*`files:`"),
        ("---\nconfigs: 7\n---\n", "a", None, "got malformed configs.*\n.*`files:`"),
    ],
)
def test_what_a_card_does_not_say_is_told(
    card: str, config: str | None, split: str | None, told: str
) -> None:
    with pytest.raises(InputError, match=f"card: {told}"):
        card_patterns("card", card.encode(), config, split)


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ('[{config_name: a, data_files: "x/*"}]', ("x/*",)),
        ("[{config_name: a, data_files: [x, y]}]", ("x", "y")),
        (
            "[{config_name: a, data_files: x}, {config_name: b, data_files: y, default: true}]",
            ("y",),
        ),
        ("[{config_name: default, data_files: x}, {config_name: b, data_files: y}]", ("x",)),
        ("[{config_name: a, data_files: [{split: train, path: x}]}]", ("x",)),
        ("[{config_name: 1.5, data_files: x}]", ("x",)),
    ],
)
def test_the_default_configuration_of_a_card(configs: str, expected: tuple[str, ...]) -> None:
    for line in ("\n", "\r\n"):
        card = f"---\nconfigs: {configs}\n---\nText\n".replace("\n", line)
        assert card_patterns("card", card.encode(), None, "train") == expected


def test_a_data_set_without_a_card_is_told(server: Server) -> None:
    server.push("org/set", 2, "bare")
    origin = open_store(Origin(hub="org/set", revision="bare", split="train"), HERE)
    with pytest.raises(InputError, match=r"README\.md: got no such file(.*\n.*)`files:`"):
        origin.list()


# Addresses


def test_wildcards_at_a_web_host_are_refused(server: Server) -> None:
    with pytest.raises(ConfigError, match="web hosts cannot be listed"):
        open_store(at_host(server, "data/*"), HERE)


def test_addresses_of_two_kinds_are_refused(server: Server) -> None:
    origin = Origin(url=(server.url("set", A), "s3://bucket/x"))
    with pytest.raises(ConfigError, match="expected addresses of one kind"):
        open_store(origin, HERE)


# Stores


def store_path(tmp_path: Path, name: str, data: bytes) -> str:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(data)
    return f"file://{tmp_path}/{name}"


def test_a_store_is_listed_and_read_by_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.storage.object_store._PIECE_BYTES", 1000)
    first = store_path(tmp_path, "in/a.jsonl", LARGE)
    second = store_path(tmp_path, "in/deep/b.jsonl", b"b")
    origin = open_store(Origin(url=(f"file://{tmp_path}/**/*.jsonl", first)), HERE)
    files = origin.list()
    assert [(file.path, file.num_bytes) for file in files] == [(first, len(LARGE)), (second, 1)]
    assert origin.list() == files
    assert received(origin, files[0]) == LARGE
    assert received(origin, files[0], 99_999) == LARGE[99_999:]
    store_path(tmp_path, "in/a.jsonl", LARGE + b"!")
    with pytest.raises(MismatchError, match=rf"{first}: got 102,401 bytes, (.*\n.*)lock again"):
        received(origin, files[0])


def test_what_a_store_does_not_have_is_told(tmp_path: Path) -> None:
    for pattern in ("*.none", "none"):
        with pytest.raises(InputError, match=rf"file://{tmp_path}/{re.escape(pattern)}"):
            open_store(Origin(url=(f"file://{tmp_path}/{pattern}",)), HERE).list()
    with pytest.raises(ConfigError, match="Protocol not known: nope"):
        open_store(Origin(url=("nope://bucket/x",)), HERE)


MOTO = "import sys; from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """The address of a process that answers as S3 does."""
    for name in ("moto", "s3fs"):
        pytest.importorskip(name, reason="a store of that kind is not installed")
    command = [sys.executable, "-c", MOTO]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stderr is not None
        told = next(line for line in process.stderr if "Running on" in line)
        yield told.split()[-1]
    finally:
        process.kill()
        process.communicate(timeout=30)


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store whose bucket `pool` is empty; what the environment says of stores is set."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    s3fs.S3FileSystem.clear_instance_cache()
    store = s3fs.S3FileSystem()
    store.mkdir("pool")
    yield store
    store.rm("pool", recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


def in_pool(*paths: str) -> Origin:
    return Origin(url=tuple(f"s3://pool/{path}" for path in paths))


def test_a_bucket_is_listed_and_read_by_ranges(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.storage.object_store._PIECE_BYTES", 40_000)
    for path, data in FILES.items():
        bucket.pipe(f"pool/{path}", data)
    origin = open_store(in_pool("**/*.zst", "data/books/{a,b}.json.gz", "data/books/*"), HERE)
    files = origin.list()
    assert [file.path.removeprefix("s3://pool/") for file in files] == [
        path for path in sorted(FILES) if path.endswith((".zst", ".gz"))
    ]
    assert origin.list() == files
    # Put there by somebody else.
    other = type(bucket)(skip_instance_cache=True)
    other.pipe("pool/data/books/c.json.gz", b"new")
    assert len(origin.list()) == len(files) + 1
    file = file_named(files, A)
    assert (file.num_bytes, file.digest) == (
        len(LARGE),
        f'etag:"{hashlib.md5(LARGE, usedforsecurity=False).hexdigest()}"',
    )
    assert received(origin, file) == LARGE
    assert received(origin, file, 99_999) == LARGE[99_999:]
    # As long, but not the same.
    other.pipe(f"pool/{A}", LARGE[::-1])
    body = bytearray()
    with pytest.raises(MismatchError, match=rf"s3://pool/{A}: got 102,400 bytes, etag:"):
        origin.stream(file, 0, body.extend)
    assert not body


def test_a_file_that_changes_while_it_is_read_is_refused(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.storage.object_store._PIECE_BYTES", 40_000)
    bucket.pipe("pool/a", LARGE)
    origin = open_store(in_pool("a"), HERE)
    [file] = origin.list()
    with pytest.raises(
        MismatchError, match=r"s3://pool/a: got 102,400 bytes, etag:(.*\n.*)lock again"
    ):
        origin.stream(file, 0, lambda piece: bucket.pipe("pool/a", LARGE[::-1]))


def test_what_a_bucket_does_not_have_is_told(bucket: Any, sleeps: Sleeps) -> None:
    bucket.pipe("pool/a", b"a")
    for origin, told in (
        (in_pool("b"), "s3://pool/b: got no such file: "),
        (in_pool("b*"), 'from.url: "s3://pool/b*" matches no file'),
        (Origin(url=("s3://other/b",)), "s3://other/b: got no such file: "),
        (Origin(url=("s3://other/b*",)), "s3://other/b*"),
    ):
        with pytest.raises(InputError, match=re.escape(told)):
            ObjectStore(origin, HERE, None, sleeps.patience()).list()
    assert sleeps == []


def test_credentials_that_are_missing_are_told_in_words(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sleeps: Sleeps
) -> None:
    bucket.pipe("pool/a", b"a")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    type(bucket).clear_instance_cache()
    with pytest.raises(InputError) as raised:
        ObjectStore(in_pool("a"), HERE, None, sleeps.patience()).list()
    assert raised.value.message == (
        "s3://pool/a: got Unable to locate credentials, expected access to it"
    )
    assert "FSSPEC_S3_ANON=true" in str(raised.value.hint)
    assert sleeps == []


def test_a_store_that_is_not_there_is_asked_again_and_told_by_the_first_cause(
    bucket: Any, monkeypatch: pytest.MonkeyPatch, sleeps: Sleeps
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    type(bucket).clear_instance_cache()
    with pytest.raises(InputError, match=r"s3://pool/a: .*[Cc]onnect.*; gave up after 3 tries"):
        ObjectStore(in_pool("a"), HERE, None, sleeps.patience()).list()
    assert sleeps == [1, 2]
    monkeypatch.undo()


def test_a_backend_that_is_not_installed_is_named() -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from pathlib import Path\n"
        "from pipeline.core.errors import ConfigError\n"
        "from pipeline.config.source import Origin\n"
        "from pipeline.storage import open_store\n"
        "try: open_store(Origin(url=('s3://pool/a',)), Path())\n"
        "except ConfigError as error: print(error)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert "from.url: got s3://pool/a, which cannot be read: Install s3fs" in told
    assert 'hint: pip install "ettin-data[s3]"' in told
