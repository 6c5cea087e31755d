"""Bad documents and damaged files: one clear line that says where, what and what to do."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from support.bad_lines import BAD_LINES, GOOD

from pipeline.core.errors import DocumentError, InputError
from pipeline.sources.partitions import list_files
from pipeline.sources.readers import SKIP_HINT, FileReader

HINTS = {
    "no_text": f"name the field that holds the text with from.text; {SKIP_HINT}",
    "no_id": f"name the field with from.id, or write `id: null` to make ids; {SKIP_HINT}",
}
"""By reason; of all others it is `SKIP_HINT`."""


def reader_of(folder: Path, name: str, data: bytes) -> FileReader:
    (folder / name).write_bytes(data)
    [file] = list_files("source", (name,), folder)
    return FileReader(file, text_field="text", id_field="id")


def refuse(error: DocumentError) -> None:
    raise error


def read_counting(reader: FileReader) -> tuple[list[str], list[str]]:
    """Return the ids of the good documents and the reasons of the bad."""
    reasons: list[str] = []
    blocks = list(reader.blocks(lambda error: reasons.append(error.reason)))
    return [document.id for block in blocks for document in block], reasons


# One document


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_bad_line_is_one_clear_line(tmp_path: Path, case: str) -> None:
    line, reason, what = BAD_LINES[case]
    reader = reader_of(tmp_path, "f.jsonl", GOOD + b"\n\n" + line + b"\n" + GOOD)
    with pytest.raises(DocumentError) as raised:
        list(reader.blocks(refuse))
    assert raised.value.message.startswith(f"f.jsonl: document 2: {what}")
    assert len(raised.value.message.splitlines()) == 1
    assert raised.value.hint == HINTS.get(reason, SKIP_HINT)
    assert raised.value.reason == reason


def test_skipped_lines_are_counted_by_reason_and_change_no_other(tmp_path: Path) -> None:
    expected_ids, lines = [], []
    for number, (line, _, _) in enumerate(BAD_LINES.values()):
        expected_ids.append(str(number))
        lines += [json.dumps({"id": number, "text": f"text {number}"}).encode(), line]
    reader = reader_of(tmp_path, "f.jsonl", b"\n".join(lines))
    ids, reasons = read_counting(reader)
    assert ids == expected_ids
    assert reasons == [reason for _, reason, _ in BAD_LINES.values()]
    assert reader.num_rows == len(ids) + len(reasons)


@pytest.mark.parametrize("column", ["id", "text"])
@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_invalid_utf8_in_parquet_is_of_one_document(
    tmp_path: Path, column: str, kind: pa.DataType
) -> None:
    wide = kind == pa.large_string()
    values = [b"ok", b"a\xffb", "\u00e9".encode()]
    odd = pa.array(values, pa.large_binary() if wide else pa.binary()).view(kind)
    plain = pa.array(["1", "2", "3"], kind)
    columns = {"id": plain, "text": plain, column: odd}
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    [file] = list_files("source", ("f.parquet",), tmp_path)
    reader = FileReader(file, text_field="text", id_field="id")
    with pytest.raises(DocumentError, match=r"^f\.parquet: document 2: invalid UTF-8 at byte 1: "):
        list(reader.blocks(refuse))
    ids, reasons = read_counting(FileReader(file, text_field="text", id_field="id"))
    assert ids == (["ok", "\u00e9"] if column == "id" else ["1", "3"])
    assert reasons == ["invalid_utf8"]


def test_missing_values_and_numbers_in_parquet(tmp_path: Path) -> None:
    table = pa.table({"id": [1, None, 3, 4], "text": ["a", "b", None, ""]})
    pq.write_table(table, tmp_path / "f.parquet")
    [file] = list_files("source", ("f.parquet",), tmp_path)
    ids, reasons = read_counting(FileReader(file, text_field="text", id_field="id"))
    assert ids == ["1"]
    assert reasons == ["no_id", "no_text", "empty_text"]


def test_parquet_without_the_column_names_those_it_has(tmp_path: Path) -> None:
    pq.write_table(pa.table({"key": [1], "body": ["a"]}), tmp_path / "f.parquet")
    [file] = list_files("source", ("f.parquet",), tmp_path)
    with pytest.raises(InputError) as raised:
        read_counting(FileReader(file, text_field="body", id_field="id"))
    assert raised.value.message == 'f.parquet: got columns key, body, expected "id"'
    assert raised.value.hint == "name the columns with from.text and from.id (null makes ids)"


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize(
    ("missing", "record", "hint"),
    [
        ("id", {"text": "a", "meta": {"id": 1}}, "from.id: meta.id"),
        ("text", {"id": 1, "a": {"b": {"text": "x"}}}, "from.text: a.b.text"),
        ("text", {"id": 1, "a": {"text": "x"}, "b": {"text": "x"}}, "from.text: a.text or b.text"),
    ],
)
def test_a_field_that_is_missing_is_looked_for_inside_others(
    kind: str, missing: str, record: dict[str, Any], hint: str, tmp_path: Path
) -> None:
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([record]), tmp_path / "f.parquet")
    else:
        (tmp_path / "f.jsonl").write_text(json.dumps(record) + "\n")
    [file] = list_files("source", (f"f.{kind}",), tmp_path)

    def stop(error: DocumentError) -> None:
        raise error

    with pytest.raises(InputError) as raised:
        list(FileReader(file, text_field="text", id_field="id").blocks(stop))
    assert missing in raised.value.message
    assert str(raised.value.hint).startswith(f"it may be inside another field: {hint}")


@pytest.mark.parametrize("column", ["text", "id"])
def test_two_columns_of_text_or_id_are_an_error(tmp_path: Path, column: str) -> None:
    names = [column, "text", "id"]
    pq.write_table(pa.table([pa.array(["a"])] * 3, names=names), tmp_path / "f.parquet")
    [file] = list_files("source", ("f.parquet",), tmp_path)
    with pytest.raises(InputError, match=f'^f.parquet: got 2 columns "{column}", expected one'):
        read_counting(FileReader(file, text_field="text", id_field="id"))


@pytest.mark.parametrize(
    ("values", "ids"),
    [
        (pa.array([b"a", "\u00e9".encode(), b"\xff\x01"], pa.binary()), ["a", "\u00e9", "ff01"]),
        (pa.array([b"\xfe\x00", b"ab"], pa.binary(2)), ["fe00", "ab"]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([10**30, -5], pa.decimal128(38, 0)), ["1" + "0" * 30, "-5"]),
    ],
)
def test_bytes_and_large_integers_are_ids_in_one_form(
    tmp_path: Path, values: pa.Array, ids: list[str]
) -> None:
    pq.write_table(pa.table({"id": values, "text": ["x"] * len(values)}), tmp_path / "f.parquet")
    [file] = list_files("source", ("f.parquet",), tmp_path)
    assert read_counting(FileReader(file, text_field="text", id_field="id")) == (ids, [])


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty_text"), (b"a\xff", "invalid_utf8")], ids=["empty", "bytes"]
)
def test_a_bad_text_file_is_one_bad_document(tmp_path: Path, data: bytes, reason: str) -> None:
    reader = reader_of(tmp_path, "f.txt", data)
    assert read_counting(reader) == ([], [reason])
    assert reader.num_rows == 1


def test_nul_and_an_empty_id_are_not_bad(tmp_path: Path) -> None:
    reader = reader_of(tmp_path, "f.jsonl", b'{"id": "", "text": "\\u0000"}')
    assert read_counting(reader) == ([""], [])


# Damaged files: errors always, since nobody can say what is lost


TEXT = b"\n".join(b'{"id": %d, "text": "Document %d."}' % (n, n) for n in range(1_000)) + b"\n"
PACKS: dict[str, Callable[[bytes], bytes]] = {
    "f.json.gz": gzip.compress,
    "f.json.zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


def damaged(name: str, how: str) -> bytes:
    """Return a packed file with one kind of damage."""
    pack = PACKS[name]
    whole = pack(TEXT)
    middle = len(whole) // 2
    return {
        "truncated": whole[:middle],
        "one byte short": whole[:-1],
        "checksum cut off": whole[:-4],
        "header alone": whole[:6],
        "second member truncated": whole + whole[:middle],
        "second member without its end": whole + whole[:-1],
        "second header cut": whole + whole[:1],
        "wrong checksum": whole[:-1] + bytes([whole[-1] ^ 1])
        if name.endswith("zst")
        else whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
        "garbage in the middle": whole[:middle] + b"\xff" * 64 + whole[middle + 64 :],
        "garbage at the end": whole + b"garbage",
        "zeros in the middle": whole[:middle] + bytes(16) + whole[middle:],
        "not packed": TEXT,
        "no byte": b"",
    }[how]


HOW = [
    "truncated", "one byte short", "checksum cut off", "header alone", "second member truncated",
    "second member without its end", "second header cut", "wrong checksum",
    "garbage in the middle", "garbage at the end", "zeros in the middle", "not packed", "no byte",
]  # fmt: skip


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", PACKS)
def test_a_damaged_file_is_an_error_even_where_documents_are_skipped(
    tmp_path: Path, name: str, how: str
) -> None:
    reader = reader_of(tmp_path, name, damaged(name, how))
    with pytest.raises(InputError) as raised:
        read_counting(reader)
    assert not isinstance(raised.value, DocumentError)
    assert raised.value.message.startswith(
        f"{name}: broken compressed data after document {reader.num_rows}: "
    )
    assert len(raised.value.message.splitlines()) == 1
    assert raised.value.hint == "restore the file from where it came from"
    assert reader.sha256 == ""


def test_zeros_after_zstd_are_no_frame(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="broken compressed data after document"):
        read_counting(reader_of(tmp_path, "f.json.zst", PACKS["f.json.zst"](TEXT) + bytes(16)))


@pytest.mark.parametrize("name", PACKS)
def test_a_file_cut_off_anywhere_is_an_error(tmp_path: Path, name: str) -> None:
    whole = PACKS[name](TEXT[:2_000])
    for length in range(len(whole)):
        with pytest.raises(InputError, match="broken compressed data"):
            read_counting(reader_of(tmp_path, name, whole[:length]))
    assert len(read_counting(reader_of(tmp_path, name, whole))[0]) > 50


@pytest.mark.parametrize("how", ["empty", "cut", "page", "no parquet"])
def test_broken_parquet_is_an_error(tmp_path: Path, how: str) -> None:
    path = tmp_path / "f.parquet"
    table = pa.table({"id": list(range(2_000)), "text": ["text"] * 2_000})
    pq.write_table(table, path, compression="zstd")
    whole = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut": whole[: len(whole) // 2],
            "page": whole[:4] + b"\xff" * 40 + whole[44:],
            "no parquet": TEXT,
        }[how]
    )
    [file] = list_files("source", ("f.parquet",), tmp_path)
    with pytest.raises(
        InputError, match=r"^f\.parquet: broken parquet after document 0: "
    ) as raised:
        read_counting(FileReader(file, text_field="text", id_field="id"))
    assert len(raised.value.message.splitlines()) == 1
    assert raised.value.hint == "restore the file from where it came from"
