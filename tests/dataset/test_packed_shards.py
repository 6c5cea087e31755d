"""Pools of other writers: other types of ids, other columns, and compressed shards are read."""

import gzip
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray
from support.mds_shards import array, shard

from pipeline.core.errors import InputError
from pipeline.dataset.mds import INDEX_NAME, Pool

_ROWS = [np.array([50281, *range(100 + row, 110 + row), 50282]) for row in range(4)]
_Column = tuple[str, str, int | None]
_TYPED = {"uint16": 16, "uint32": 32, "int32": 33, "int64": 65}
_LENGTH = len(_ROWS[0])


def _write(
    folder: Path, columns: list[_Column], samples: list[list[bytes]], pack: str = ""
) -> None:
    names, encodings, sizes = (list(part) for part in zip(*columns, strict=True))
    data = shard(columns, samples)
    entry = {
        "column_names": names, "column_encodings": encodings, "column_sizes": sizes,
        "raw_data": {"basename": "shard.00000.mds", "bytes": len(data), "hashes": {}},
        "samples": len(samples),
    }  # fmt: skip
    (folder / INDEX_NAME).write_text(json.dumps({"version": 2, "shards": [entry]}))
    (folder / f"shard.00000.mds{pack}").write_bytes(_PACK[pack](data))


_PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".zstd": zstandard.compress,
    ".zst": lambda data: zstandard.compress(data[:50]) + zstandard.compress(data[50:]),
    ".gz": gzip.compress,
}


def _typed(ids: NDArray[np.int64], dtype: str) -> bytes:
    return bytes([_TYPED[dtype]]) + array(ids.astype(dtype), f"ndarray:{dtype}")


def _written(folder: Path, form: str) -> None:
    kind, _, dtype = form.partition(" ")
    if kind == "bytes":
        _write(folder, [("tokens", "bytes", None)], [[ids.tobytes()] for ids in _ROWS])
        return
    encoding, size, store = {
        "shaped": (
            f"ndarray:{dtype}", None, lambda ids: array(ids.astype(dtype), f"ndarray:{dtype}")
        ),
        "fixed": (
            f"ndarray:{dtype}:{_LENGTH}",
            _LENGTH * np.dtype(dtype or "u1").itemsize,
            lambda ids: ids.astype(dtype).tobytes(),
        ),
        "untyped": ("ndarray", None, lambda ids: _typed(ids, dtype)),
    }[kind]  # fmt: skip
    columns: list[_Column] = [("id", "int", 8), ("input_ids", encoding, size)]
    _write(folder, columns, [[struct.pack("<q", row), store(ids)] for row, ids in enumerate(_ROWS)])


_KINDS = ("shaped", "fixed", "untyped")
_FORMS = ["bytes", *(f"{kind} {dtype}" for kind in _KINDS for dtype in _TYPED)]


def _check(folder: Path) -> Pool:
    pool = Pool.open(folder)
    assert pool.lengths().tolist() == [_LENGTH] * 4
    rows = np.array([2, 0, 3, 1])
    expected = np.concatenate([_ROWS[row] for row in rows])
    assert (pool.gather(rows, pool.lengths()[rows]) == expected).all()
    assert (pickle.loads(pickle.dumps(pool)).take(rows).values == expected).all()
    table = pool.table(50281, 50282)
    assert table["has_cls"].all()
    assert table["has_sep"].all()
    return pool


@pytest.mark.parametrize("form", _FORMS)
def test_ids_are_read_however_they_are_stored(tmp_path: Path, form: str) -> None:
    _written(tmp_path, form)
    pool = _check(tmp_path)
    names = pool.document_ids(np.arange(4))
    assert names == ([""] * 4 if form == "bytes" else ["0", "1", "2", "3"])
    turned = pool.take_named(np.arange(4)[::-1])[1]
    assert [name.tobytes().decode() for name in turned] == names[::-1]


@pytest.mark.parametrize("pack", [".zstd", ".zst", ".gz"])
def test_compressed_shards_are_read(tmp_path: Path, pack: str) -> None:
    columns: list[_Column] = [("input_ids", "ndarray:uint32", None)]
    samples = [[array(ids.astype(np.uint32), "ndarray:uint32")] for ids in _ROWS]
    _write(tmp_path, columns, samples, pack)
    _check(tmp_path)


@pytest.mark.parametrize("pack", [".zstd", ".gz"])
def test_a_damaged_compressed_shard_is_one_clear_error(tmp_path: Path, pack: str) -> None:
    columns: list[_Column] = [("input_ids", "ndarray:uint32", None)]
    _write(tmp_path, columns, [[array(_ROWS[0].astype(np.uint32), "ndarray:uint32")]], pack)
    path = tmp_path / f"shard.00000.mds{pack}"
    whole = path.read_bytes()
    for data in (whole[:-9], whole[: len(whole) // 2], b"not packed"):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"shard\.00000\.mds"):
            Pool.open(tmp_path).lengths()


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_a_negative_id_is_named(tmp_path: Path, dtype: str) -> None:
    ids = np.where(_ROWS[0] == 105, -100, _ROWS[0])
    columns: list[_Column] = [("input_ids", f"ndarray:{dtype}", None)]
    _write(tmp_path, columns, [[array(ids.astype(dtype), f"ndarray:{dtype}")]])
    pool = Pool.open(tmp_path)
    for read in (
        lambda: pool.gather(np.array([0]), pool.lengths()),
        lambda: pool.take(np.array([0])),
    ):
        with pytest.raises(InputError, match="row 0: got id -100 at position 6") as raised:
            read()
        assert "labels" in str(raised.value.hint)


def test_an_array_of_another_type_than_the_first_is_an_error(tmp_path: Path) -> None:
    columns: list[_Column] = [("input_ids", "ndarray", None)]
    _write(tmp_path, columns, [[_typed(_ROWS[0], "int32")], [_typed(_ROWS[1], "uint32")]])
    with pytest.raises(InputError, match="row 1: got bytes that are no row of int32 ids"):
        Pool.open(tmp_path).lengths()
