"""Object stores: a folder through fsspec, and a bucket of S3."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from support.stores import FILES, HERE, LARGE, A, Sleeps, file_named, received

from pipeline.config.source import Origin
from pipeline.core.errors import ConfigError, InputError, MismatchError
from pipeline.storage.object_store import ObjectStore
from pipeline.storage.open_store import open_store


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


def test_patterns_of_local_addresses_follow_the_rules_of_paths(tmp_path: Path) -> None:
    first = store_path(tmp_path, "a.jsonl", b"a")
    store_path(tmp_path, ".ipynb_checkpoints/a.jsonl", b"a")
    pattern = (f"file://{tmp_path}/**/*.jsonl",)
    assert [one.path for one in open_store(Origin(url=pattern), HERE).list()] == [first]
    (tmp_path / "gone.jsonl").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"gone.jsonl is a link to nowhere: No such file"):
        open_store(Origin(url=pattern), HERE).list()


def test_hidden_files_of_a_store_are_matched_by_patterns_that_name_the_dot() -> None:
    store = fsspec.filesystem("memory")
    for name in ("a.x", ".hidden.x", ".folder/b.x"):
        store.pipe(f"/dotted/{name}", b"1")

    def listed(pattern: str) -> list[str]:
        origin = open_store(Origin(url=(f"memory://dotted/{pattern}",)), HERE)
        return [file.path.removeprefix("memory:///dotted/") for file in origin.list()]

    assert listed("**/*.x") == ["a.x"]
    assert listed(".folder/*.x") == [".folder/b.x"]
    assert listed(".*.x") == [".hidden.x"]


class Accounts(MemoryFileSystem):
    """A store whose paths, as those of Azure, begin with a container and know no account."""

    protocol = "accounts"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        container, _, rest = path.removeprefix("accounts://").lstrip("/").partition("/")
        return super()._strip_protocol(f"/{container.partition('@')[0]}/{rest}")


def test_a_pattern_keeps_the_account_of_a_container() -> None:
    fsspec.register_implementation("accounts", Accounts, clobber=True)
    Accounts().pipe("/data/a.jsonl", A.encode())
    store = open_store(Origin(url=("accounts://data@one/*.jsonl",)), HERE)
    [file] = store.list()
    assert file.path == "accounts://data@one/a.jsonl"
    assert received(store, file) == A.encode()


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
