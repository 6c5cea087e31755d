"""Shards that are not on disk: fetched once, checked, and the next one ahead."""

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from support.clusters import Build
from support.parquet import as_lists, made, write_phase
from support.places import REPO, lying, output, serving, shards

from pipeline import dataset
from pipeline.core.arrays import Int64Array
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import InputError


@pytest.fixture(scope="module")
def as_mds(small: Path, build_here: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of the small mixture, its order in shards; not to be changed."""
    return build_here(small, tmp_path_factory.mktemp("mds") / "out", "order.format=mds")


def damaged_size(folder: Path) -> None:
    path = folder / "shard.00001.mds"
    path.write_bytes(path.read_bytes()[:-1])


def damaged_byte(folder: Path) -> None:
    path = folder / "shard.00001.mds"
    path.write_bytes(path.read_bytes()[:-1] + b"\xee")


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "gone": (lambda folder: (folder / "shard.00001.mds").unlink(), "is missing, and the index"),
    "cut": (damaged_size, "bytes, expected [0-9,]+ by the index"),
    "a byte": (damaged_byte, "sha1 is [0-9a-f]{40}, expected [0-9a-f]{40}"),
}


@pytest.mark.parametrize("place", ["hub", "memory"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_remote_shard_that_is_damaged_is_named_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, damage: str
) -> None:
    expected = shards(tmp_path, made(60))
    bad, said = DAMAGE[damage]
    bad(tmp_path)
    ends = [
        entry["samples"] for entry in json.loads((tmp_path / "index.json").read_bytes())["shards"]
    ]
    first, stop = ends[0], ends[0] + ends[1]
    with lying(place, tmp_path, monkeypatch) as where:
        order = dataset.open(where)
        address = rf"{re.escape(order.where)}/shard\.00001\.mds"
        assert as_lists(order.rows.take(np.arange(first))) == expected[:first]
        for asked in ([first], [first, 59]):
            with pytest.raises(InputError, match=rf"{address}: .*{said}"):
                order.rows.take(_numbers(asked))
        assert as_lists(order.rows.take(np.arange(stop, 60))) == expected[stop:]


def test_a_remote_shard_of_a_build_is_held_to_its_manifest(
    as_mds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "order"
    output(as_mds, folder)
    path = sorted(folder.rglob("shard.00000.mds"))[0]
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with lying("hub", folder, monkeypatch) as where:
        order = dataset.open(where, checks=False)
        name = path.relative_to(folder).as_posix()
        expected = sha256_bytes((as_mds / name).read_bytes())
        with pytest.raises(InputError, match=rf"{name}: sha256 is .*, expected {expected}"):
            order.rows.take(_numbers([0]))


def test_remote_shards_are_fetched_once_and_the_next_ahead_and_leave_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, scratch = tmp_path / "order", tmp_path / "scratch"
    expected = shards(folder, made(120))
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    num_shards = len(json.loads((folder / "index.json").read_bytes())["shards"])
    assert num_shards > 6
    with serving(folder, monkeypatch) as server:
        order = dataset.open(f"hf://datasets/{REPO}")
        assert not server.log("GET /lfs") or not any(".mds" in line for line in server.log("/lfs"))
        before = len(os.listdir("/proc/self/fd"))
        assert as_lists(order.rows.take(_numbers([0]))) == expected[:1]
        until = time.monotonic() + 20
        while not any("shard.00001" in line for line in server.log("/lfs")):
            assert time.monotonic() < until
            time.sleep(0.01)
        for start in range(0, 120, 6):
            asked = np.arange(start, start + 6)
            assert as_lists(order.rows.take(asked)) == expected[start : start + 6]
            assert list(scratch.iterdir()) == []
            # A few copies, the one made ahead, and connections.
            assert len(os.listdir("/proc/self/fd")) <= before + 10
        fetched = [line for line in server.log("/lfs") if ".mds" in line]
        assert len(fetched) == len(set(fetched)) == num_shards


FAULTS = [
    {"kind": "status", "status": 503, "headers": {"Retry-After": "0"}, "match": ".mds"},
    {"kind": "status", "status": 503, "headers": {"Retry-After": "0"}, "match": ".parquet"},
    {"kind": "cut", "bytes": 90, "match": "shard.00001"},
]


@pytest.mark.parametrize("place", ["hub", "web"])
@pytest.mark.parametrize("kind", ["shards", "file"])
def test_trouble_with_a_server_is_borne(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, kind: str
) -> None:
    below = ""
    if kind == "shards":
        expected = shards(tmp_path, made(60))
    else:
        expected = write_phase(tmp_path, 1)[:12]
        below = "/checkpoint_000001/steps_000001_to_000004.parquet"
    with serving(tmp_path, monkeypatch, faults=FAULTS) as server:
        where = f"hf://datasets/{REPO}" if place == "hub" else server.url("order", "")[:-1]
        order = dataset.open(f"{where}{below}")
        assert as_lists(order.rows.take(np.arange(len(expected)))) == expected


def test_shards_come_from_a_host_that_knows_no_ranges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = shards(tmp_path, made(60))
    with serving(tmp_path, monkeypatch, ranges=False) as server:
        order = dataset.open(server.url("order", "")[:-1])
        assert as_lists(order.rows.take(np.arange(60))) == expected


def _numbers(rows: Sequence[int]) -> Int64Array:
    return np.array(rows, np.int64)
