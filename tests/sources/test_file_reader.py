"""Reading: every packing of the same documents gives the same documents, in order, none lost."""

import bz2
import gzip
import hashlib
import json
import lzma
import struct
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from hypothesis import given
from hypothesis import strategies as st
from support.reading import input_file, pairs, read_all, refuse
from support.strategies import QUICK, texts

from pipeline.core.errors import DocumentError, InputError
from pipeline.sources.partitions import InputFile, list_files
from pipeline.sources.readers import file_reader, raw_file

DOCUMENTS = [
    ("a", "first"),
    ("b", "two\nlines, \u00e9 and \U0001f600"),
    ("c", " "),
    ("d", "nul \x00 and \u2028 and \x85 and \r stay"),
    ("e", "x" * 3_000),
]


def line(id_: object, text: object) -> bytes:
    return json.dumps({"id": id_, "text": text}).encode()


def lines(documents: list[tuple[str, str]] = DOCUMENTS) -> bytes:
    return b"".join(line(*document) + b"\n" for document in documents)


def zstd(data: bytes, *, checksum: bool = True) -> bytes:
    return zstandard.ZstdCompressor(level=1, write_checksum=checksum).compress(data)


def zstd_of_unknown_size(data: bytes) -> bytes:
    compressor = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    return compressor.compress(data) + compressor.flush()


def halves(pack: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Pack in two members, cut inside a line."""
    return lambda data: pack(data[:20]) + pack(data[20:])


PACK_BY_SUFFIX: dict[str, Callable[[bytes], bytes]] = {
    ".jsonl": bytes,
    ".gz": gzip.compress,
    ".zst": zstd,
}

SKIPPABLE = struct.pack("<II", 0x184D2A50, 5) + b"notes"
PACKINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("f.jsonl", bytes),
    "plain json": ("f.json", bytes),
    "gzip": ("f.json.gz", gzip.compress),
    "gzip members": ("f.jsonl.gz", halves(gzip.compress)),
    "gzip with an empty member": (
        "f.json.gz",
        lambda data: gzip.compress(data) + gzip.compress(b""),
    ),
    "gzip stored": ("f.json.gz", lambda data: gzip.compress(data, compresslevel=0)),
    "capitals": ("F.JSON.GZ", gzip.compress),
    "xz": ("f.jsonl.xz", lzma.compress),
    "xz streams": ("f.jsonl.xz", halves(lzma.compress)),
    "bzip2": ("f.json.bz2", bz2.compress),
    "zstd": ("f.jsonl.zst", zstd),
    "zstd suffix": ("f.json.zstd", zstd),
    "zstd frames": ("f.jsonl.zst", halves(zstd)),
    "zstd of unknown size": ("f.jsonl.zst", zstd_of_unknown_size),
    "zstd without checksum": ("f.jsonl.zst", lambda data: zstd(data, checksum=False)),
    "zstd skippable frames": ("f.jsonl.zst", lambda data: SKIPPABLE + zstd(data) + SKIPPABLE),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_packing_gives_the_documents_in_order_and_the_digest_of_the_file(
    tmp_path: Path, packing: str
) -> None:
    name, pack = PACKINGS[packing]
    data = pack(lines())
    documents, reader = read_all(input_file(tmp_path, name, data))
    assert pairs(documents) == DOCUMENTS
    assert [document.row for document in documents] == list(range(len(DOCUMENTS)))
    assert reader.num_rows == len(DOCUMENTS)
    assert reader.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_read_of_a_few_bytes_changes_nothing(
    tmp_path: Path, packing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_file, "_READ_BYTES", 7)
    name, pack = PACKINGS[packing]
    data = pack(lines())
    documents, reader = read_all(input_file(tmp_path, name, data))
    assert pairs(documents) == DOCUMENTS
    assert reader.sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "data",
    [
        lines().replace(b"\n", b"\r\n"),
        lines().removesuffix(b"\n"),
        b"\n \n" + lines().replace(b"\n", b"\n\n\t\r\n") + b"  ",
    ],
    ids=["CRLF", "no final newline", "blank lines"],
)
def test_ends_of_lines_and_blank_lines_make_no_documents(tmp_path: Path, data: bytes) -> None:
    documents, reader = read_all(input_file(tmp_path, "f.jsonl", data))
    assert pairs(documents) == DOCUMENTS
    assert reader.num_rows == len(DOCUMENTS)


@pytest.mark.parametrize("name", ["f.jsonl", "f.jsonl.gz", "f.jsonl.zst"])
def test_a_line_longer_than_many_reads_stays_whole(tmp_path: Path, name: str) -> None:
    long = [("before", "x"), ("long", "word " * 400_000), ("after", "y")]
    pack = PACK_BY_SUFFIX[Path(name).suffix]
    documents, _ = read_all(input_file(tmp_path, name, pack(lines(long))))
    assert pairs(documents) == long


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("f.jsonl", b""),
        ("f.jsonl", b"\n\n"),
        ("f.json.gz", gzip.compress(b"", mtime=0)),
        ("f.json.zst", zstd(b"")),
    ],
)
def test_an_empty_file_has_no_documents(tmp_path: Path, name: str, data: bytes) -> None:
    documents, reader = read_all(input_file(tmp_path, name, data))
    assert documents == []
    assert reader.num_rows == 0
    assert reader.sha256 == hashlib.sha256(data).hexdigest()


@QUICK
@given(
    documents=st.lists(texts, max_size=8),
    name=st.sampled_from(["p.jsonl", "p.jsonl.gz", "p.jsonl.zst"]),
    at=st.lists(st.integers(0, 400), max_size=3),
    end=st.sampled_from([b"\n", b"\r\n"]),
)
def test_any_documents_in_any_members_come_back(
    tmp_path: Path, documents: list[str], name: str, at: list[int], end: bytes
) -> None:
    expected = [(str(number), text) for number, text in enumerate(documents)]
    data = b"".join(line(*document) + end for document in expected)
    places = [0, *sorted(min(place, len(data)) for place in at), len(data)]
    pack = PACK_BY_SUFFIX[Path(name).suffix]
    packed = b"".join(pack(data[a:b]) for a, b in pairwise(places))
    assert pairs(read_all(input_file(tmp_path, name, packed))[0]) == expected


def test_blocks_are_bounded_and_join_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_reader, "BLOCK_BYTES", 2000)
    expected = [(str(number), "x" * 30) for number in range(50)]
    reader = file_reader.FileReader(
        input_file(tmp_path, "f.jsonl", lines(expected)), text_field="text", id_field="id"
    )
    blocks = list(reader.blocks(refuse))
    assert [len(block) for block in blocks] == [4] * 12 + [2]
    assert pairs([document for block in blocks for document in block]) == expected


def test_other_fields_are_metadata_and_fields_can_be_named(tmp_path: Path) -> None:
    record = {"url": "u", "body": "text", "key": 7, "meta": {"score": 0.5}, "text": "not this"}
    file = input_file(tmp_path, "f.jsonl", json.dumps(record).encode())
    reader = file_reader.FileReader(file, text_field="body", id_field="key")
    [[document]] = reader.blocks(refuse)
    assert (document.id, document.text) == ("7", "text")
    assert document.metadata == {"url": "u", "meta": {"score": 0.5}, "text": "not this"}


def test_without_an_id_field_ids_are_made_of_partition_and_row(tmp_path: Path) -> None:
    data = b"\n".join([line(None, "one"), b"no json", line("x", "three")])
    file = input_file(tmp_path, "my-file-01.jsonl", data)
    documents, reader = read_all(file, on_bad=lambda error: None, id_field=None)
    assert pairs(documents) == [("my_file_01/0", "one"), ("my_file_01/2", "three")]
    assert reader.num_rows == 3


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("n-1.txt", bytes),
        ("n-1.MD", bytes),
        ("n-1.txt.gz", gzip.compress),
        ("n-1.txt.zst", zstd),
    ],
)
def test_a_text_file_is_one_document(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
) -> None:
    text = "One.\r\nTwo \u00e9.\n\n" * 20_000
    data = pack(text.encode())
    documents, reader = read_all(input_file(tmp_path, name, data))
    assert pairs(documents) == [("n_1", text)]
    assert reader.num_rows == 1
    assert reader.sha256 == hashlib.sha256(data).hexdigest()


# Parquet


def parquet(folder: Path, columns: dict[str, Any], **options: Any) -> InputFile:
    """Write a table to `f.parquet` and list it."""
    pq.write_table(pa.table(columns), folder / "f.parquet", **options)
    [file] = list_files("source", ("f.parquet",), folder)
    return file


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
)
@pytest.mark.parametrize("row_group_size", [2, 1000])
def test_parquet_gives_its_rows_in_order(
    tmp_path: Path, kind: pa.DataType, row_group_size: int
) -> None:
    ids, rows = zip(*DOCUMENTS, strict=True)
    text = pa.array(rows, pa.string()).cast(kind) if kind == pa.binary() else pa.array(rows, kind)
    file = parquet(tmp_path, {"id": ids, "text": text}, row_group_size=row_group_size)
    documents, reader = read_all(file)
    assert pairs(documents) == DOCUMENTS
    assert reader.num_rows == len(DOCUMENTS)
    assert reader.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()


def test_parquet_of_many_batches_and_row_groups_stays_in_order(tmp_path: Path) -> None:
    expected = [(str(number), f"text {number}") for number in range(1_000)]
    ids, rows = zip(*expected, strict=True)
    file = parquet(tmp_path, {"text": rows, "id": ids}, row_group_size=300)
    assert pairs(read_all(file)[0]) == expected


def test_parquet_without_rows_has_no_documents(tmp_path: Path) -> None:
    file = parquet(tmp_path, {"id": pa.array([], pa.string()), "text": pa.array([], pa.string())})
    assert read_all(file)[0] == []


def test_metadata_that_python_cannot_hold_harms_no_document(tmp_path: Path) -> None:
    odd = pa.array([b"ok", b"\xff"], pa.binary()).view(pa.string())
    file = parquet(
        tmp_path,
        {
            "id": pa.array([1, 2]),
            "text": ["one", "two"],
            "odd": odd,
            "nested": pa.StructArray.from_arrays([odd], ["odd"]),
            "late": pa.array([0, 2**60], pa.timestamp("ms")),
            "nano": pa.array([1, 1_700_000_000_123_456_789], pa.timestamp("ns")),
            "far": pa.array([0, -1_000_000], pa.date32()),
            "zone": pa.array([0, 1], pa.timestamp("s", "No/Where")),
            "hour": pa.array([0, 1], pa.time64("ns")),
            "took": pa.array([0, 1], pa.duration("ns")),
            "list": pa.array([[], [1, None]], pa.list_(pa.timestamp("ns"))),
            "map": pa.array([[], [("a", 1)]], pa.map_(pa.string(), pa.timestamp("ns"))),
            "struct": pa.array([{"a": 0}, {"a": 1}], pa.struct({"a": pa.timestamp("ns")})),
        },
    )
    documents, _ = read_all(file)
    last = documents[1].metadata
    assert last["nano"] == "2023-11-14 22:13:20.123456789"
    assert last["far"] == "-0768-02-04"
    assert last["list"] == ["1970-01-01 00:00:00.000000001", None]
    assert last["struct"] == {"a": "1970-01-01 00:00:00.000000001"}
    assert documents[0].metadata["nano"] is not None
    assert all(str(value) for value in last.values())
    assert pairs(documents) == [("1", "one"), ("2", "two")]
    assert [document.metadata["odd"] for document in documents] == ["ok", b"\xff"]
    assert documents[0].metadata["nested"] == {"odd": "ok"}


# A reader of other people's gives the same on clean files, and shows why ours is our own.


@pytest.mark.parametrize("name", ["f.jsonl", "f.jsonl.gz", "f.jsonl.zst"])
def test_clean_json_lines_read_as_datatrove_reads_them(tmp_path: Path, name: str) -> None:
    expected = [(str(number), f"text {number} \u00e9\n") for number in range(300)]
    pack = PACK_BY_SUFFIX[Path(name).suffix]
    ours, _ = read_all(input_file(tmp_path, name, pack(lines(expected))))
    theirs = JsonlReader(str(tmp_path), glob_pattern=name).run()
    assert pairs(ours) == [(one.id, one.text) for one in theirs] == expected


def test_clean_parquet_reads_as_datatrove_reads_it(tmp_path: Path) -> None:
    expected = [(str(number), f"text {number}") for number in range(300)]
    ids, rows = zip(*expected, strict=True)
    ours, _ = read_all(parquet(tmp_path, {"id": ids, "text": rows}, row_group_size=70))
    theirs = ParquetReader(str(tmp_path), glob_pattern="f.parquet").run()
    assert pairs(ours) == [(one.id, one.text) for one in theirs] == expected


def test_datatrove_drops_bad_lines_without_a_count_and_we_count_them(tmp_path: Path) -> None:
    data = b"\n".join([line("a", "x"), b"{", line("b", ""), line("c", None), line("d", "y")])
    file = input_file(tmp_path, "f.jsonl", data)
    theirs = JsonlReader(str(tmp_path), glob_pattern="f.jsonl")
    assert [one.id for one in theirs.run()] == ["a", "d"]
    counted = {name: int(metric.total) for name, metric in theirs.stats.stats.items()}
    assert 3 not in counted.values(), "three were dropped and none of its counts says so"
    reasons: list[str] = []
    ours, reader = read_all(file, on_bad=lambda error: reasons.append(error.reason))
    assert [document.id for document in ours] == ["a", "d"]
    assert reasons == ["invalid_json", "empty_text", "no_text"]
    assert reader.num_rows == 5


def test_datatrove_drops_the_rest_of_a_file_after_a_bad_byte_and_we_do_not(tmp_path: Path) -> None:
    data = b"\n".join([line("a", "x"), b'{"id": "b", "text": "\xff"}', line("c", "z")])
    file = input_file(tmp_path, "f.jsonl", data)
    theirs = [one.id for one in JsonlReader(str(tmp_path), glob_pattern="f.jsonl").run()]
    assert "c" not in theirs
    reasons: list[str] = []
    ours, _ = read_all(file, on_bad=lambda error: reasons.append(error.reason))
    assert [document.id for document in ours] == ["a", "c"]
    assert reasons == ["invalid_utf8"]


def test_a_missing_file_is_one_clear_line(tmp_path: Path) -> None:
    file = input_file(tmp_path, "f.jsonl", lines())
    file.path.unlink()
    with pytest.raises(InputError, match=r"^f\.jsonl: cannot be read: No such file"):
        read_all(file)


def test_blocks_are_bounded_by_all_that_they_hold(tmp_path: Path) -> None:
    """Neither short documents by the million nor large metadata make one block of a file."""
    rows = [{"id": str(i), "text": "a"} for i in range(30_000)]
    (tmp_path / "short-0.jsonl").write_bytes(
        b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    )
    heavy = [{"id": str(i), "text": "a", "meta": "m" * 20_000} for i in range(1_000)]
    (tmp_path / "heavy-0.jsonl").write_bytes(
        b"".join(json.dumps(row).encode() + b"\n" for row in heavy)
    )
    pq.write_table(pa.Table.from_pylist(heavy), tmp_path / "heavy-0.parquet")
    expected = {"short-0.jsonl": 30_000, "heavy-0.jsonl": 1_000, "heavy-0.parquet": 1_000}
    for name, number in expected.items():
        (file,) = list_files("s", (name,), tmp_path)
        reader = file_reader.FileReader(file, text_field="text", id_field="id")
        sizes = [len(block) for block in reader.blocks(_refuse)]
        assert sum(sizes) == number
        assert len(sizes) > 2, name


def test_row_groups_that_a_footer_leaves_out_are_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = pa.Table.from_pylist([{"id": str(i), "text": "a"} for i in range(300)])
    pq.write_table(table, tmp_path / "p.parquet")
    some = pq.ParquetFile.iter_batches

    def fewer(file: pq.ParquetFile, *given: object, **options: object) -> Iterator[pa.RecordBatch]:
        yield next(some(file, batch_size=99))

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", fewer)
    (file,) = list_files("s", ("p.parquet",), tmp_path)
    reader = file_reader.FileReader(file, text_field="text", id_field="id")
    with pytest.raises(InputError, match="broken parquet after document 99: got 99 rows of 300"):
        list(reader.blocks(_refuse))


def _refuse(error: DocumentError) -> None:
    raise error
