"""Orders put in different places: on disk, on the Hub, at a web host, in stores."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import pytest
from support import source_server
from support.mds import write as write_mds
from support.orders import read_rows
from support.parquet import Ids
from support.strategies import Row

REPO = "org/order"


def shards(folder: Path, rows: list[Ids], size_limit: int = 400) -> list[Ids]:
    """Write rows to shards with digests in their index, as the public package can write them."""
    named = [Row(str(number), ids) for number, ids in enumerate(rows)]
    index = write_mds(folder, named, dtype="uint16", size_limit=size_limit)
    for entry in index["shards"]:
        raw = entry["raw_data"]
        data = (folder / raw["basename"]).read_bytes()
        raw["hashes"] = {"sha1": hashlib.sha1(data).hexdigest(), "xxh64": "not known here"}
    (folder / "index.json").write_text(json.dumps(index))
    return rows


def output(finished: Path, folder: Path) -> list[Ids]:
    """Copy what a feed needs of a build."""
    folder.mkdir(parents=True)
    shutil.copytree(finished / "order", folder / "order")
    shutil.copy(finished / "manifest.json", folder)
    return read_rows(finished / "order")


@contextmanager
def serving(folder: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Iterator[Any]:
    """Serve a folder as a data set of the Hub and at a plain host."""
    with source_server.serve({REPO: folder}, files={"order": folder}, **options) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


PLACES = ("path", "file", "hub", "web", "s3", "memory")


@contextmanager
def lying(place: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Put a folder somewhere; yield what names it there."""
    if place in ("hub", "web"):
        with serving(folder, monkeypatch, ranges=True) as server:
            yield f"hf://datasets/{REPO}" if place == "hub" else server.url("order", "")[:-1]
    elif place in ("s3", "memory"):
        where = f"{place}://pool/order"
        store, root = fsspec.core.url_to_fs(where)
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                store.pipe(f"{root}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        yield where
        store.rm(root, recursive=True)
    else:
        yield {"path": str(folder), "file": f"file://{folder}"}[place]
