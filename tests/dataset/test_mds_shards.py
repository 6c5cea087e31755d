"""MDS shards: literal bytes, a naive writer as the oracle, and damage that is found."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.mds import LIMIT, read, write
from support.strategies import QUICK, Row, cuts, rows

from pipeline.core.errors import InputError, InternalError
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.shard import Columns, MdsShard, table_of
from pipeline.dataset.mds.writer import Dtype, MdsWriter, index_bytes, merge_indexes

DTYPES: tuple[Dtype, ...] = ("uint16", "uint32")


def naive_row(row: Row, dtype: Dtype) -> bytes:
    """Encode one row by the description of the format."""
    code = 0 if len(row.ids) < 1 << 8 else 1 if len(row.ids) < 1 << 16 else 2
    array = bytes([4 + code]) + struct.pack("<" + "BHI"[code], len(row.ids))
    array += b"".join(struct.pack("<H" if dtype == "uint16" else "<I", id_) for id_ in row.ids)
    name = row.id.encode()
    return struct.pack("<II", len(name), len(array)) + name + array


def naive_config(dtype: Dtype, size_limit: int, header: str) -> str:
    return (
        f'{{"column_encodings": ["str", "ndarray:{dtype}"], "column_names": ["id", "input_ids"], '
        f'"column_sizes": [null, null], "compression": {header}, "format": "mds", "hashes": [], '
        f'"size_limit": {size_limit}, "version": 2}}'
    )


def naive_shards(
    written: Sequence[Row], dtype: Dtype, size_limit: int, header: str = "null"
) -> list[bytes]:
    """Write all shards row by row; header: what theirs says of compression, as JSON."""
    config = naive_config(dtype, size_limit, header).encode()
    groups: list[list[bytes]] = [[]]
    running = 8 + len(config)
    for row in written:
        body = naive_row(row, dtype)
        if size_limit < running + len(body) + 4 and groups[-1]:
            groups.append([])
            running = 8 + len(config)
        groups[-1].append(body)
        running += len(body) + 4
    shards = []
    for group in groups:
        offsets = [4 + 4 * (len(group) + 1) + len(config)]
        for body in group:
            offsets.append(offsets[-1] + len(body))
        header = struct.pack(f"<{len(offsets) + 1}I", len(group), *offsets)
        shards.append(header + config + b"".join(group))
    return shards if written else []


def shard_files(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("*.mds"))]


# Literal bytes


CONFIG = (
    '{"column_encodings": ["str", "ndarray:%s"], "column_names": ["id", "input_ids"], '
    '"column_sizes": [null, null], "compression": null, "format": "mds", "hashes": [], '
    '"size_limit": 67108864, "version": 2}'
)


def test_a_tiny_shard_is_these_bytes(tmp_path: Path) -> None:
    write(tmp_path, [Row("a", [50281, 7, 50282])])
    [shard] = shard_files(tmp_path)
    assert shard == (
        bytes.fromhex("01000000 d8000000 ef000000")
        + (CONFIG % "uint32").encode()
        + bytes.fromhex("01000000 0e000000 61 04 03 69c40000 07000000 6ac40000")
    )


def test_a_tiny_shard_of_uint16_is_these_bytes(tmp_path: Path) -> None:
    write(tmp_path, [Row("\u00e9", [50281, 7, 50282]), Row("", [0])], dtype="uint16")
    [shard] = shard_files(tmp_path)
    assert shard == (
        bytes.fromhex("02000000 dc000000 ee000000 fa000000")
        + (CONFIG % "uint16").encode()
        + bytes.fromhex("02000000 08000000 c3a9 04 03 69c4 0700 6ac4")
        + bytes.fromhex("00000000 04000000 04 01 0000")
    )


def test_a_long_row_starts_with_its_length_in_two_bytes(tmp_path: Path) -> None:
    write(tmp_path, [Row("a", [9] * 300)])
    [shard] = shard_files(tmp_path)
    assert shard[-1203:-1196] == bytes.fromhex("052c0109000000")


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_index_has_as_many_bytes_as_the_published_one(tmp_path: Path, dtype: Dtype) -> None:
    # The published shards are compressed, which ours say by null; sizes have eight digits there.
    index = write(tmp_path, [Row("a", [1])], dtype=dtype)
    assert (tmp_path / "index.json").read_bytes() == index_bytes(index, merged=False)
    [shard] = index["shards"]
    assert shard["zip_data"] is shard["compression"] is None
    shard["raw_data"]["bytes"] = 67_108_838
    shard["samples"] = 16_000
    shard["compression"] = "zstd"
    shard["zip_data"] = {"basename": "shard.00000.mds.zstd", "bytes": 22_000_000, "hashes": {}}
    assert len(index_bytes(index, merged=False)) == 413
    smaller = {**shard, "samples": 1_000, "raw_data": {**shard["raw_data"], "bytes": 1_000_000}}
    index["shards"].append(smaller)
    assert len(index_bytes(index, merged=False)) == 798


def test_the_index_is_this_text(tmp_path: Path) -> None:
    write(tmp_path, [Row("a", [1])], size_limit=2048, dtype="uint16")
    assert (tmp_path / "index.json").read_text() == (
        '{"shards": [{"column_encodings": ["str", "ndarray:uint16"], "column_names": ["id", '
        '"input_ids"], "column_sizes": [null, null], "compression": null, "format": "mds", '
        '"hashes": [], "raw_data": {"basename": "shard.00000.mds", "bytes": 225, "hashes": {}}, '
        '"samples": 1, "size_limit": 2048, "version": 2, "zip_data": null}], "version": 2}'
    )


def test_a_folder_without_rows_has_an_index_alone(tmp_path: Path) -> None:
    writer = MdsWriter(folder=tmp_path, dtype="uint32", size_limit=LIMIT)
    writer.write([], np.empty(0, np.int64), np.empty(0, np.uint32), np.zeros(1, np.int64))
    writer.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]
    assert (tmp_path / "index.json").read_text() == '{"shards": [], "version": 2}'


# As published: headers, and an index, that speak of compression


@pytest.mark.parametrize(("id_bytes", "num_ids"), [(40, 8000), (47, 1026), (7, 255)])
def test_a_published_header_makes_the_published_sizes(
    tmp_path: Path, id_bytes: int, num_ids: int
) -> None:
    """Released raw shards say zstd: 8 + 206 bytes, then 12 + id + 3 (2 below 256) + 2 an id."""
    written = [Row("x" * id_bytes, [7] * num_ids)] * 5
    index = write(tmp_path, written, dtype="uint16", header_compression="zstd")
    [shard], [entry] = shard_files(tmp_path), index["shards"]
    row_bytes = 4 + 8 + id_bytes + (2 if num_ids < 256 else 3) + 2 * num_ids
    assert len(shard) == entry["raw_data"]["bytes"] == 8 + 206 + 5 * row_bytes
    config = (CONFIG % "uint16").replace('"compression": null', '"compression": "zstd"')
    assert shard[28 : 28 + 206] == config.encode()
    # Nothing is compressed, and the index, which readers go by, says so.
    assert entry["compression"] is entry["zip_data"] is None
    assert read(tmp_path, index) == written


@pytest.mark.parametrize(("header", "counts"), [(None, [2]), ("zstd", [1, 1])])
def test_the_header_counts_where_shards_are_cut(
    tmp_path: Path, header: str | None, counts: list[int]
) -> None:
    size_limit = 8 + 199 + 2 * (4 + 8 + 1 + 2 + 2 * 60)  # The limit has five digits less.
    written = [Row("a", [9] * 60), Row("b", [9] * 60)]
    index = write(
        tmp_path, written, dtype="uint16", size_limit=size_limit, header_compression=header
    )
    assert [shard["samples"] for shard in index["shards"]] == counts


def test_an_index_names_the_compressed_shards_that_would_be_published(tmp_path: Path) -> None:
    written = [Row(f"{row}", list(range(row, row + 200))) for row in range(40)]
    index = write(
        tmp_path,
        written,
        size_limit=8192,
        header_compression="zstd",
        index_compression="zstd",
    )
    assert len(index["shards"]) > 3
    for shard in index["shards"]:
        name = shard["raw_data"]["basename"]
        packed = zstandard.ZstdCompressor(level=3).compress((tmp_path / name).read_bytes())
        assert shard["compression"] == "zstd"
        assert shard["zip_data"] == {"basename": f"{name}.zstd", "bytes": len(packed), "hashes": {}}
        assert 0 < len(packed) < shard["raw_data"]["bytes"]
    # They are counted, and not stored; ours read the raw ones.
    assert not list(tmp_path.glob("*.zstd"))
    pool = Pool.open(tmp_path)
    assert pool.lengths().tolist() == [200] * 40
    merged = merge_indexes([("all", merge_indexes([("part", index)]))])
    assert [shard["zip_data"]["basename"] for shard in merged["shards"]] == [
        f"all/part/shard.{number:05d}.mds.zstd" for number in range(len(index["shards"]))
    ]
    assert list(merged["shards"][0]) == list(index["shards"][0]), "keys keep their order"


# Against the naive writer


@QUICK
@given(st.data())
def test_any_rows_are_written_as_the_naive_writer_does_and_come_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    dtype = data.draw(st.sampled_from(DTYPES))
    written = data.draw(rows(np.iinfo(dtype).max))
    size_limit = data.draw(st.integers(230, 700))
    calls = data.draw(cuts(len(written)))
    header = data.draw(st.sampled_from([None, "zstd"]))
    folder = tmp_path_factory.mktemp("rows")
    index = write(
        folder, written, dtype=dtype, size_limit=size_limit, calls=calls, header_compression=header
    )
    expected = naive_shards(written, dtype, size_limit, json.dumps(header))
    assert shard_files(folder) == expected
    assert [shard["raw_data"]["bytes"] for shard in index["shards"]] == list(map(len, expected))
    assert json.loads((folder / "index.json").read_bytes()) == index
    assert read(folder, index) == written


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 254, 255, 256, 257, 65_535, 65_536, 65_537])
def test_lengths_around_the_widths_of_their_fields(
    tmp_path: Path, length: int, dtype: Dtype
) -> None:
    written = [Row("a", [index % 60_000 for index in range(length)]), Row("b", [1, 2])]
    index = write(tmp_path, written, dtype=dtype)
    assert shard_files(tmp_path) == naive_shards(written, dtype, LIMIT)
    assert read(tmp_path, index) == written


@pytest.mark.parametrize("num_bytes", [0, 1, 255, 256, 70_000])
def test_ids_of_any_length_and_script(tmp_path: Path, num_bytes: int) -> None:
    written = [Row("\u6771" * (num_bytes // 3) + "x" * (num_bytes % 3), [1, 2, 3])] * 2
    index = write(tmp_path, written)
    assert shard_files(tmp_path) == naive_shards(written, "uint32", LIMIT)
    assert read(tmp_path, index) == written


def test_a_file_may_fill_the_limit_exactly_and_not_pass_it(tmp_path: Path) -> None:
    written = [Row("a", [1, 2, 3]), Row("b", [4, 5, 6])]
    # Any limit of three digits makes the configuration in the file equally long.
    [whole] = naive_shards(written, "uint32", 999)
    for limit, counts in ((len(whole), [2]), (len(whole) + 1, [2]), (len(whole) - 1, [1, 1])):
        folder = tmp_path / str(limit)
        index = write(folder, written, size_limit=limit)
        assert [shard["samples"] for shard in index["shards"]] == counts
        assert shard_files(folder) == naive_shards(written, "uint32", limit)
    [full] = shard_files(tmp_path / str(len(whole)))
    assert len(full) == len(whole)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_row_larger_than_the_limit_gets_a_file_of_its_own(tmp_path: Path, place: int) -> None:
    written = [Row("a", [1]), Row("b", [2])]
    written.insert(place, Row("large", [7] * 500))
    index = write(tmp_path, written, size_limit=300)
    [large] = [shard for shard in index["shards"] if shard["raw_data"]["bytes"] > 300]
    assert large["samples"] == 1
    assert shard_files(tmp_path) == naive_shards(written, "uint32", 300)
    assert read(tmp_path, index) == written


def test_many_shards_are_numbered_in_order(tmp_path: Path) -> None:
    written = [Row(str(number), [number]) for number in range(12)]
    index = write(tmp_path, written, size_limit=100)
    names = [shard["raw_data"]["basename"] for shard in index["shards"]]
    assert names == [f"shard.{number:05d}.mds" for number in range(12)]
    assert read(tmp_path, index) == written


# What cannot be written


def test_an_id_that_uint16_cannot_hold_names_its_document(tmp_path: Path) -> None:
    write(tmp_path / "fits", [Row("a", [65_535])], dtype="uint16")
    written = [Row("a", [1, 2]), Row('b"', [3, 65_536, 4]), Row("c", [5])]
    with pytest.raises(InputError) as raised:
        write(tmp_path / "not", written, dtype="uint16")
    assert raised.value.message == (
        'shards.dtype: got token id 65536 in document "b\\"", expected ids that fit uint16'
    )
    assert raised.value.hint == "set shards.dtype to uint32"
    assert not list((tmp_path / "not").iterdir())


def test_a_row_without_ids_is_a_defect(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="got a row without ids, expected at least one"):
        write(tmp_path, [Row("a", [1]), Row("b", [])])


# Merged indexes


def test_merged_indexes_prefix_names_and_keep_the_order(tmp_path: Path) -> None:
    one = write(tmp_path / "one", [Row("a", [1]), Row("b", [2])], size_limit=230)
    two = write(tmp_path / "two", [Row("c", [3])])
    empty = write(tmp_path / "empty", [])
    merged = merge_indexes([("two", two), ("empty", empty), ("one", one)])
    assert [shard["raw_data"]["basename"] for shard in merged["shards"]] == [
        "two/shard.00000.mds",
        "one/shard.00000.mds",
        "one/shard.00001.mds",
    ]
    assert one["shards"][0]["raw_data"]["basename"] == "shard.00000.mds", "inputs stay"
    root = merge_indexes([("source", merged)])
    assert root["shards"][0]["raw_data"]["basename"] == "source/two/shard.00000.mds"
    assert index_bytes(root, merged=True).startswith(b'{"version": 2, "shards": [{"column_enc')
    assert index_bytes(merge_indexes([]), merged=True) == b'{"version": 2, "shards": []}'


def test_a_merged_index_read_from_files_keeps_the_order_of_keys(tmp_path: Path) -> None:
    write(tmp_path, [Row("a", [1])])
    loaded = json.loads((tmp_path / "index.json").read_bytes())
    assert index_bytes(merge_indexes([("x", loaded)]), merged=True) == (
        b'{"version": 2, "shards": ['
        + json.dumps(loaded["shards"][0]).replace("shard.0", "x/shard.0").encode()
        + b"]}"
    )


# Damage


def tampered(folder: Path, change: Any, dtype: Dtype = "uint32") -> MdsShard:
    write(folder, [Row("a", [1, 2, 3]), Row("bc", list(range(300)))])
    path = folder / "shard.00000.mds"
    data = bytearray(path.read_bytes())
    path.write_bytes(change(data) or data)
    columns = Columns(sizes=(0, 0), ids=1, id=0, dtype=dtype)
    return MdsShard(path=path, columns=columns)


def put(data: bytearray, position: int, value: int) -> None:
    struct.pack_into("<I", data, position, value)


def first_row(data: bytearray) -> int:
    return int(struct.unpack_from("<I", data, 4)[0])


HEADERS: dict[str, tuple[Any, str]] = {
    "empty": (lambda data: data.clear(), "got an empty file, expected an MDS shard"),
    "three bytes": (lambda data: data[:3], "got a file that is no MDS shard"),
    "seven bytes": (lambda data: data[:7], "got a file that is no MDS shard"),
    "too many rows": (lambda data: put(data, 0, 2**31), "got a file that is no MDS shard"),
    "most rows": (lambda data: put(data, 0, 2**32 - 1), "got a file that is no MDS shard"),
    "one byte short": (lambda data: data[:-1], "got 1455 bytes, expected 1456 by its header"),
    "one byte more": (lambda data: data + b"x", "got 1457 bytes, expected 1456 by its header"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_damaged_header_is_an_error(tmp_path: Path, case: str) -> None:
    change, what = HEADERS[case]
    shard = tampered(tmp_path, change)
    with pytest.raises(InputError) as raised:
        shard.lengths()
    assert raised.value.message == f"{shard.path}: {what}"
    assert raised.value.hint == "build or pull it again"


ROWS: dict[str, Any] = {
    "offset beyond the file": lambda data: put(data, 8, 2**32 - 1),
    "offset before the row": lambda data: put(data, 8, 0),
    "length of the id": lambda data: put(data, first_row(data), 2**32 - 1),
    "length of the array": lambda data: put(data, first_row(data) + 4, 13),
    "rank of the array": lambda data: data.__setitem__(first_row(data) + 9, 8),
    "width of the length": lambda data: data.__setitem__(first_row(data) + 9, 6),
    "number of ids": lambda data: data.__setitem__(first_row(data) + 10, 255),
}


@pytest.mark.parametrize("case", ROWS)
def test_a_damaged_row_is_an_error_and_never_a_wild_read(tmp_path: Path, case: str) -> None:
    shard = tampered(tmp_path, ROWS[case])
    expected = r"row 0: got bytes that are no row of uint32 ids"
    with pytest.raises(InputError, match=expected):
        shard.lengths()
    with pytest.raises(InputError, match=expected):
        table_of(shard, 7, 8)
    zero = np.zeros(1, np.int64)
    with pytest.raises(InputError, match=expected):
        shard.gather(zero, zero + 3, np.empty(500, np.uint32), zero)


def test_the_wrong_width_of_ids_is_an_error(tmp_path: Path) -> None:
    shard = tampered(tmp_path, lambda data: None, dtype="uint16")
    with pytest.raises(InputError, match="row 0: got bytes that are no row of uint16 ids"):
        shard.lengths()


def test_a_row_that_is_not_there_or_has_no_room_is_an_error(tmp_path: Path) -> None:
    shard = tampered(tmp_path, lambda data: None)
    room = np.empty(10, np.uint32)
    starts, lengths = np.array([0, 3]), np.array([3, 300])
    with pytest.raises(InputError, match="row 2: "):
        shard.gather(np.array([0, 2]), lengths, room, starts)
    with pytest.raises(InputError, match="row 1: "):
        shard.gather(np.array([0, 1]), lengths, room, starts)
    for other in (2, 4):
        with pytest.raises(InputError, match="row 0: "):
            shard.gather(np.array([0]), np.array([other]), room, starts)


@QUICK
@given(position=st.integers(0, 1455), value=st.integers(0, 255))
def test_no_changed_byte_crashes_the_reader(
    tmp_path_factory: pytest.TempPathFactory, position: int, value: int
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    shard = tampered(folder, lambda data: data.__setitem__(position, value))
    try:
        lengths = shard.lengths()
        out = np.empty(int(lengths.sum()), np.uint32)
        shard.gather(np.arange(len(lengths)), lengths, out, np.cumsum(lengths) - lengths)
    except InputError:
        pass
