"""Places in stores that are written to, each against a process that answers as that store does."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.store_proxy import Fault, Proxy, serve_proxy
from support.store_server import serve_store
from support.store_servers import (
    NO_AZURITE,
    NO_FAKE_GCS,
    azurite,
    fake_gcs,
    serve_azure,
    serve_google,
)
from support.stores import Sleeps

from pipeline.core.errors import ConfigError, NetworkError, OutputError
from pipeline.storage.writable_store import ChangedError, WritableStore, is_store_address

_LARGE = bytes(range(256)) * (12 << 12)  # 12 MiB, in pieces of 5.


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("s3", serve_store), id="s3"),
        pytest.param(
            ("az", serve_azure),
            id="az",
            marks=[
                pytest.mark.oracle,
                pytest.mark.skipif(azurite() is None, reason=NO_AZURITE),
            ],
        ),
        pytest.param(
            ("gs", serve_google),
            id="gs",
            marks=[
                pytest.mark.oracle,
                pytest.mark.skipif(fake_gcs() is None, reason=NO_FAKE_GCS),
            ],
        ),
    ],
)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    scheme, serve = request.param
    with serve(tmp_path_factory.mktemp(scheme), "bucket"):
        yield f"{scheme}://bucket"


@pytest.fixture
def store(place: str, request: pytest.FixtureRequest) -> WritableStore:
    return WritableStore(f"{place}/{request.node.originalname}")


def test_objects_are_written_whole_read_and_removed(store: WritableStore, tmp_path: Path) -> None:
    names = ["a b%é+=.json", "deep/er/x", "deep/y", "deeper", "empty", "large"]
    contents = dict.fromkeys(names, b"content") | {"empty": b"", "large": _LARGE}
    for name, content in contents.items():
        path = tmp_path / "file"
        path.write_bytes(content)
        version = store.put(name, path)
        found = store.head(name)
        assert found is not None
        assert (found.num_bytes, found.version) == (len(content), version)
    listed = store.list()
    assert {name: one.num_bytes for name, one in listed.items()} == {
        name: len(content) for name, content in contents.items()
    }
    assert all(
        store.head(name) == one or (not one.version and store.address.startswith("gs:"))
        for name, one in listed.items()
    )
    assert sorted(store.list("deep")) == ["deep/er/x", "deep/y"]
    assert {name: store.get(name) for name in names} == contents
    assert store.get_range("large", 1 << 20, (1 << 20) + 3) == b"\0\1\2"
    store.delete(["deep/y", "none", "large"])
    assert sorted(store.list()) == ["a b%é+=.json", "deep/er/x", "deeper", "empty"]
    assert (store.get("large"), store.head("large"), store.hash("large")) == (None, None, None)


def test_a_write_replaces_only_what_it_was_told(store: WritableStore) -> None:
    first = store.put_if_absent("one", b"1")
    with pytest.raises(ChangedError):
        store.put_if_absent("one", b"2")
    second = store.put_if("one", b"2", first)
    assert second != first
    for version in (first, "0"):
        with pytest.raises(ChangedError):
            store.put_if("one", b"3", version)
    store.delete(["one"])
    with pytest.raises(ChangedError):
        store.put_if("one", b"3", second)
    assert store.list() == {}


def test_a_download_brings_only_another_version(store: WritableStore, tmp_path: Path) -> None:
    path = tmp_path / "large"
    version = store.put("large", _LARGE)
    assert store.download("large", path) == version
    assert path.read_bytes() == _LARGE
    path.unlink()
    assert store.download("large", path, version) is None
    assert not path.exists()
    other = store.put("large", b"other")
    assert store.download("large", path, version) == other
    assert path.read_bytes() == b"other"
    with pytest.raises(FileNotFoundError):
        store.download("none", path)
    found = store.hash("large")
    assert found is not None
    assert found[0] == 5


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with (
        serve_store(tmp_path, "bucket"),
        serve_proxy(os.environ["AWS_ENDPOINT_URL"]) as proxy,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.address)
        yield proxy


def test_a_store_that_refuses_is_told_at_once(proxy: Proxy, sleeps: Sleeps) -> None:
    store = WritableStore("s3://bucket/x", sleeps.patience())
    proxy.faults = [Fault("PUT", "status", 403), Fault("GET", "status", 403, skip=1)]
    with pytest.raises(OutputError, match=r"s3://bucket/x/a: got the status 403, AccessDenied, exp"
                       r"ected access to it\nhint: set AWS_ACCESS_KEY_ID"):  # fmt: skip
        store.put("a", b"")
    with pytest.raises(OutputError, match="cannot be written: the store has no such bucket"):
        WritableStore("s3://none/x", sleeps.patience()).put("a", b"")
    assert sleeps == []


def test_throttling_and_lost_connections_are_tried_again_with_a_bound_and_counted(
    proxy: Proxy, sleeps: Sleeps, tmp_path: Path
) -> None:
    store = WritableStore("s3://bucket/x", sleeps.patience())
    proxy.faults = [Fault("PUT", "status", 503), Fault("PUT", "cut")]
    store.put("a", b"1")
    assert (sleeps, store.num_repeated) == ([1.0, 2.0], 2)
    proxy.faults = [Fault("GET", "cut"), Fault("HEAD", "lost")]
    assert store.get("a") == b"1"
    assert store.head("a") is not None
    assert store.num_repeated == 4
    proxy.faults = [Fault("PUT", "status", 503, times=-1)]
    with pytest.raises(NetworkError, match="s3://bucket/x/a: got the status 503, SlowDown; gave up"
                       " after 3 tries"):  # fmt: skip
        store.put("a", b"2")
    assert store.get("a") == b"1"


def test_of_an_upload_in_pieces_that_is_cut_nothing_appears(
    proxy: Proxy, sleeps: Sleeps, tmp_path: Path
) -> None:
    store = WritableStore("s3://bucket/x", sleeps.patience())
    path = tmp_path / "large"
    path.write_bytes(_LARGE)
    proxy.faults = [Fault("PUT .*partNumber=2", "cut", times=-1)]
    with pytest.raises(NetworkError, match="gave up after 3 tries"):
        store.put("large", path)
    assert store.list() == {}
    proxy.faults = [Fault("PUT .*partNumber=3", "lost"), Fault("POST .*uploadId", "status", 503)]
    store.put("large", path)
    assert store.get("large") == _LARGE


def test_addresses() -> None:
    addresses = ("s3://b/x", "gs://b/x", "az://b/x", "abfs://b/x", "file:///x", "/x", "s3:", "x")
    assert list(filter(is_store_address, addresses)) == [*addresses[:4]]
    with pytest.raises(
        ConfigError, match=r"got an address that cannot be opened.*\nhint: write it"
    ):
        WritableStore("s3://")
