"""Folders that stand for places in a store: whose they are, and what they know of the store."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.store_server import serve_store

from pipeline.core.errors import OutputError
from pipeline.core.mirrored import only_here_to_read
from pipeline.runner.working_folder import raw_folder, working_folder
from pipeline.storage import open_writable
from pipeline.storage.lease import LEASE
from pipeline.storage.mirror import StoreMirror


@pytest.fixture(scope="module", autouse=True)
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with serve_store(tmp_path_factory.mktemp("store"), "bucket"):
        yield


def test_commands_that_read_the_same_files_do_not_remove_those_of_each_other(
    tmp_path: Path,
) -> None:
    address = "s3://bucket/raw"
    open_writable(address).put("one.jsonl", b"text")
    with raw_folder(address, scratch=tmp_path) as first:
        with (
            raw_folder(address, scratch=tmp_path) as second,
            only_here_to_read(first / "one.jsonl"),
        ):
            with only_here_to_read(second / "one.jsonl") as path:
                assert path.read_bytes() == b"text"
            assert (first / "one.jsonl").read_bytes() == b"text"
        with only_here_to_read(first / "one.jsonl") as path:
            assert path.read_bytes() == b"text"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_removed_before_another_build_may_begin_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, left = open_writable("s3://bucket/ends"), list[Path]()
    delete = store.delete

    def look(names: list[str]) -> None:
        if LEASE in names:
            left.extend(tmp_path.rglob("*"))
        delete(names)

    monkeypatch.setattr(store, "delete", look)
    with working_folder(store.address, scratch=tmp_path) as folder:
        (folder / "file").write_bytes(b"")
    assert left == []
    assert store.list() == {}


def test_a_link_that_knows_of_an_object_that_is_gone_is_uploaded(tmp_path: Path) -> None:
    address = "s3://bucket/again"
    mirror = StoreMirror(folder=tmp_path / "out", address=address, token=None, shares=True)
    path = mirror.folder / "shard"
    with mirror.using():
        path.write_bytes(b"rows")
        mirror.publish(path)
        os.link(path, tmp_path / "cached")
        mirror.remove(path)
        path.unlink()
        os.link(tmp_path / "cached", path)
        mirror.publish(path)
        assert open_writable(address).get("shard") == b"rows"
        mirror.fetch(path)
        assert path.read_bytes() == b"rows"


@pytest.mark.parametrize("sign", ["order/steps.parquet", "partial.json", ".ettin/mixture.json"])
def test_an_output_in_another_is_refused(sign: str, tmp_path: Path) -> None:
    store = open_writable(f"s3://bucket/outer-{sign.partition('/')[0]}")
    store.put(sign, b"")
    inner = f"{store.address}/train/inner"
    with (
        pytest.raises(OutputError, match=f"--out {inner}: lies in {store.address}, the output of"),
        working_folder(inner, scratch=tmp_path),
    ):
        pass
    assert [*store.list()] == [sign]
    assert list(tmp_path.iterdir()) == []
