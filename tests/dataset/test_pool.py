"""Pools: rows of many shards by their position, and what an order needs to know of them."""

import json
import struct
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.mds import write
from support.strategies import QUICK, Row, rows

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.shard import ROW_DTYPE
from pipeline.dataset.mds.writer import Dtype, index_bytes, merge_indexes

CLS, SEP = 7, 8


def fnv1a(data: bytes) -> int:
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return digest


def test_the_hash_is_fnv_1a() -> None:
    # Vectors of the function's authors.
    assert fnv1a(b"") == 0xCBF29CE484222325
    assert fnv1a(b"a") == 0xAF63DC4C8601EC8C
    assert fnv1a(b"foobar") == 0x85944171F73967E8


def offsets(found: list[Row]) -> Int64Array:
    return np.array([len(row.ids) for row in found], np.int64)


@QUICK
@given(st.data())
def test_any_rows_in_any_order_come_out_of_many_shards(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dtype: Dtype = data.draw(st.sampled_from(["uint16", "uint32"]))
    written = data.draw(rows(60_000))
    folder = tmp_path_factory.mktemp("pool")
    write(folder, written, dtype=dtype, size_limit=data.draw(st.integers(230, 500)))
    pool = Pool.open(folder)
    assert pool.num_rows.sum() == len(written)
    assert pool.lengths().tolist() == [len(row.ids) for row in written]
    places = st.lists(st.integers(0, len(written) - 1), max_size=30) if written else st.just([])
    asked = np.array(data.draw(places), np.int64)
    expected = [written[row] for row in asked.tolist()]
    gathered = pool.gather(asked, offsets(expected))
    assert gathered.dtype == np.uint32
    assert gathered.tolist() == [id_ for row in expected for id_ in row.ids]
    assert pool.document_ids(asked) == [row.id for row in expected]
    taken, names = pool.take_named(asked)
    for ids in (taken, pool.take(asked)):
        assert ids.values.tolist() == gathered.tolist()
        assert np.diff(ids.offsets).tolist() == [len(row.ids) for row in expected]
    assert [name.tobytes().decode() for name in names] == [row.id for row in expected]


@QUICK
@given(written=rows(12), dtype=st.sampled_from(["uint16", "uint32"]))
def test_the_table_says_of_every_row_what_the_row_says(
    tmp_path_factory: pytest.TempPathFactory, written: list[Row], dtype: Dtype
) -> None:
    folder = tmp_path_factory.mktemp("table")
    write(folder, written, dtype=dtype, size_limit=260)
    table = Pool.open(folder).table(CLS, SEP)
    assert table.dtype == ROW_DTYPE
    runs = [list(run) for _, run in groupby(written, key=lambda row: row.id)]
    assert table.tolist() == [
        (
            len(row.ids),
            row.ids[0] == CLS,
            row.ids[-1] == SEP,
            fnv1a(row.id.encode()),
            chunk,
            len(run),
            0,
        )
        for run in runs
        for chunk, row in enumerate(run)
    ]


def test_a_merged_index_joins_the_rows_of_its_folders(tmp_path: Path) -> None:
    one = [Row("a", [1, 2]), Row("b", [3])]
    two = [Row("c", [4]), Row("d", [5, 6])]
    indexes = [
        (name, write(tmp_path / name, part, size_limit=230))
        for name, part in (("two", two), ("one", one))
    ]
    (tmp_path / "index.json").write_bytes(index_bytes(merge_indexes(indexes), merged=True))
    pool = Pool.open(tmp_path)
    assert pool.document_ids(np.arange(4)) == ["c", "d", "a", "b"]
    assert pool.gather(np.array([3, 1, 0]), np.array([1, 2, 1])).tolist() == [3, 5, 6, 4]


def test_a_name_that_is_no_utf8_is_an_error_with_its_file(tmp_path: Path) -> None:
    write(tmp_path, [Row("a", [1]), Row("b", [2]), Row("cc", [3])], size_limit=240)
    [path] = [one for one in tmp_path.iterdir() if b"cc" in one.read_bytes()]
    path.write_bytes(path.read_bytes().replace(b"cc", b"\xc3\xc3"))
    pool = Pool.open(tmp_path)
    assert pool.take_named(np.array([1, 0]))[1].values.tobytes() == b"ba"
    for read in (pool.take_named, pool.names):
        with pytest.raises(InputError, match=rf"{path}: got an id of a document that is no UTF-8"):
            read(np.array([0, 2, 1]))


def test_an_empty_pool_has_no_rows(tmp_path: Path) -> None:
    write(tmp_path, [])
    pool = Pool.open(tmp_path)
    assert len(pool.lengths()) == len(pool.table(CLS, SEP)) == 0
    assert len(pool.gather(np.empty(0, np.int64), np.empty(0, np.int64))) == 0
    assert [len(one) for one in pool.take_named(np.empty(0, np.int64))] == [0, 0]


def test_lengths_that_are_not_the_rows_are_an_error(tmp_path: Path) -> None:
    write(tmp_path, [Row("a", [1, 2, 3])])
    with pytest.raises(InputError, match="row 0: "):
        Pool.open(tmp_path).gather(np.zeros(1, np.int64), np.array([2]))


def test_shards_of_other_columns_are_an_error(tmp_path: Path) -> None:
    index = write(tmp_path, [Row("a", [1])])
    index["shards"][0]["column_encodings"] = ["str", "ndarray:uint8"]
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match="got columns id: str, input_ids: ndarray:uint8; "):
        Pool.open(tmp_path)


def test_a_damaged_row_is_named_with_its_file(tmp_path: Path) -> None:
    write(tmp_path, [Row("a", [1]), Row("b", [2])])
    path = tmp_path / "shard.00000.mds"
    data = bytearray(path.read_bytes())
    data[-6] = 9
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"shard\.00000\.mds: row 1: got bytes that are no row"):
        Pool.open(tmp_path).table(CLS, SEP)


def write_foreign(folder: Path, columns: dict[str, str], found: list[Row]) -> None:
    """Write a shard of any columns by the description of the format: name to encoding."""
    names = sorted(columns)
    fixed = {"int": 8}
    bodies = []
    for number, row in enumerate(found):
        parts = []
        for name in names:
            encoding = columns[name]
            if encoding.startswith("ndarray:"):
                ids = np.array(row.ids, encoding.removeprefix("ndarray:"))
                parts.append(bytes([4, len(row.ids)]) + ids.tobytes())
            elif encoding == "int":
                parts.append(struct.pack("<q", len(row.ids)))
            else:
                parts.append((row.id if name == "id" else f"domain {number}").encode())
        sizes = [len(part) for name, part in zip(names, parts, strict=True)
                 if columns[name] not in fixed]  # fmt: skip
        bodies.append(struct.pack(f"<{len(sizes)}I", *sizes) + b"".join(parts))
    config = {
        "column_encodings": [columns[name] for name in names],
        "column_names": names,
        "column_sizes": [fixed.get(columns[name]) for name in names],
        "compression": "zstd",
        "format": "mds",
        "hashes": [],
        "size_limit": 1 << 26,
        "version": 2,
    }
    text = json.dumps(config, sort_keys=True).encode()
    offsets = np.cumsum([4 + 4 * (len(found) + 1) + len(text), *map(len, bodies)])
    head = struct.pack("<I", len(found)) + offsets.astype("<u4").tobytes()
    data = head + text + b"".join(bodies)
    (folder / "shard.00000.mds").write_bytes(data)
    raw = {"basename": "shard.00000.mds", "bytes": len(data), "hashes": {}}
    packed = {"basename": "shard.00000.mds.zstd", "bytes": 1, "hashes": {}}
    shard = {**config, "raw_data": raw, "samples": len(found), "zip_data": packed}
    (folder / "index.json").write_text(json.dumps({"version": 2, "shards": [shard]}))


FOREIGN = [
    {"id": "str", "input_ids": "ndarray:uint16"},
    {"id": "str", "input_ids": "ndarray:uint32", "len": "int"},
    {"domain": "str", "id": "str", "input_ids": "ndarray:int64", "len": "int"},
    {"a": "int", "input_ids": "ndarray:uint16", "z": "str"},
]


@pytest.mark.parametrize("columns", FOREIGN, ids=lambda one: "+".join(one))
def test_shards_of_other_columns_are_read_whatever_their_index_says_of_compression(
    tmp_path: Path, columns: dict[str, str]
) -> None:
    found = [Row("é", [CLS, 50_000, 3]), Row("é", [9]), Row("", [4, SEP]), Row("b", [5] * 200)]
    write_foreign(tmp_path, columns, found)
    pool = Pool.open(tmp_path)
    asked = np.array([3, 0, 2, 1])
    lengths = pool.lengths()
    assert lengths.tolist() == [3, 1, 2, 200]
    expected = [id_ for row in asked.tolist() for id_ in found[row].ids]
    assert pool.gather(asked, lengths[asked]).tolist() == expected
    assert pool.take(asked).values.tolist() == expected
    names = [row.id if "id" in columns else "" for row in found]
    numbers = [(0, 2), (1, 2), (0, 1), (0, 1)] if "id" in columns else [(0, 1)] * 4
    assert pool.document_ids(asked) == [names[row] for row in asked.tolist()]
    spelled = [name.tobytes().decode() for name in pool.names(asked)]
    assert spelled == [names[row] for row in asked.tolist()]
    assert [name.tobytes().decode() for name in pool.take_named(asked)[1]] == spelled
    table = pool.table(CLS, SEP)
    assert table["has_cls"].tolist() == [True, False, False, False]
    assert table["has_sep"].tolist() == [False, False, True, False]
    assert table[["chunk", "num_chunks"]].tolist() == numbers


def test_an_id_that_fits_no_token_is_an_error(tmp_path: Path) -> None:
    write_foreign(tmp_path, FOREIGN[2], [Row("a", [1]), Row("b", [-1]), Row("c", [1 << 32])])
    pool = Pool.open(tmp_path)
    assert pool.gather(np.array([0]), np.array([1])).tolist() == [1]
    for row in (1, 2):
        with pytest.raises(InputError, match=f"row {row}: got id .* at position 0"):
            pool.gather(np.array([row]), np.array([1]))
        with pytest.raises(InputError, match=f"row {row}: got id .* at position 0"):
            pool.take(np.array([0, row]))


def test_more_or_fewer_rows_than_the_index_says_are_an_error_with_their_number(
    tmp_path: Path,
) -> None:
    index = write(tmp_path, [Row("a", [1]), Row("b", [2])])
    for claimed, difference in ((3, "-1"), (1, r"\+1")):
        index["shards"][0]["samples"] = claimed
        (tmp_path / "index.json").write_text(json.dumps(index))
        expected = (
            rf"shard\.00000\.mds: got 2 rows, expected {claimed} by the index \({difference}\)"
        )
        with pytest.raises(InputError, match=expected):
            Pool.open(tmp_path).table(CLS, SEP)
        with pytest.raises(InputError, match=expected):
            Pool.open(tmp_path).take(np.array([0]))


def _sizes(sizes: object) -> Callable[[dict[str, Any]], None]:
    def change(shard: dict[str, Any]) -> None:
        shard["column_sizes"] = sizes

    return change


BAD_ENTRIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no sizes": (lambda shard: shard.pop("column_sizes"), "without valid columns"),
    "few sizes": (_sizes([None]), "without valid columns"),
    "negative size": (_sizes([None, -(2**31)]), "without valid columns"),
    "size of words": (_sizes([None, "8"]), "without valid columns"),
    "negative rows": (lambda shard: shard.update(samples=-1), "is not an index of MDS shards"),
    "more rows than 32 bits": (
        lambda shard: shard.update(samples=2**63),
        "is not an index of MDS shards",
    ),
    "rows of truth": (lambda shard: shard.update(samples=True), "is not an index of MDS shards"),
    "no name": (
        lambda shard: shard["raw_data"].update(basename=7),
        "is not an index of MDS shards",
    ),
    "name above": (
        lambda shard: shard["raw_data"].update(basename="../shard.00000.mds"),
        "is not an index of MDS shards",
    ),
    "absolute name": (
        lambda shard: shard["raw_data"].update(basename="/shard.00000.mds"),
        "is not an index of MDS shards",
    ),
}


@pytest.mark.parametrize("case", BAD_ENTRIES)
def test_an_index_that_cannot_be_believed_is_an_error(tmp_path: Path, case: str) -> None:
    index = write(tmp_path, [Row("a", [1])])
    change, expected = BAD_ENTRIES[case]
    change(index["shards"][0])
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=expected):
        Pool.open(tmp_path)


@pytest.mark.parametrize("change", [b"\xff\xc3", b"\xc3\xc3", b"a\x80"])
def test_an_id_that_is_no_utf_8_is_an_error(tmp_path: Path, change: bytes) -> None:
    write(tmp_path, [Row("é", [1]), Row("ab", [2])])
    path = tmp_path / "shard.00000.mds"
    pool = Pool.open(tmp_path)
    assert pool.document_ids(np.array([1, 0])) == ["ab", "é"]
    path.write_bytes(path.read_bytes().replace(b"ab", change))
    with pytest.raises(InputError, match="got an id of a document that is no UTF-8"):
        Pool.open(tmp_path).names(np.array([0, 1]))
