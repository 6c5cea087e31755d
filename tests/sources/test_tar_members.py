"""Tar archives of JSON lines: streamed, in archive order; anything else in them is one line."""

import gzip
import hashlib
import json
import tarfile
import tracemalloc
from codecs import BOM_UTF8
from pathlib import Path

import pytest
from support.archives import member, packed, tar
from support.reading import input_file, pairs, read_all

from pipeline.core.errors import DocumentError, InputError
from pipeline.sources.partitions import list_files
from pipeline.sources.readers import raw_file

NAME = "pes2o_0005-tokenized-chunked-1024-512-128-backfill-nodups.jsonl.tar.gz"
ONE = b'{"id": "1", "text": "one"}\n{"id": "2", "text": "two"}\n'
TWO = b'{"id": "3", "text": "three"}'
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
ALL = [("1", "one"), ("2", "two"), ("3", "three")]


@pytest.mark.parametrize("read_bytes", [7, 1 << 14])
@pytest.mark.parametrize("format", FORMATS)
def test_members_are_read_in_archive_order_and_folders_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: int, read_bytes: int
) -> None:
    monkeypatch.setattr(raw_file, "_READ_BYTES", read_bytes)
    data = packed(
        member("out", kind=tarfile.DIRTYPE),
        # Its last line does not end.
        member("out/z.jsonl", BOM_UTF8 + ONE.rstrip()),
        member("out/empty.jsonl"),
        member("out/mark.jsonl", BOM_UTF8),
        member("out/a.json", BOM_UTF8 + TWO),
        format=format,
    )
    file = input_file(tmp_path, NAME, data)
    documents, reader = read_all(file)
    assert pairs(documents) == ALL
    assert [one.row for one in documents] == [0, 1, 2]
    assert reader.sha256 == hashlib.sha256(data).hexdigest()
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME], "nothing is unpacked"


@pytest.mark.parametrize("format", FORMATS[1:])
def test_long_names_and_sizes_in_extended_headers_are_read(tmp_path: Path, format: int) -> None:
    info, data = member(f"{'long/' * 40}b\u00e9.jsonl", ONE)
    info.pax_headers = {"size": str(len(ONE)), "mtime": "1.5", "comment": "x" * 900}
    file = input_file(tmp_path, NAME, packed((info, data), member("b.jsonl", TWO), format=format))
    assert pairs(read_all(file)[0]) == ALL


def test_an_archive_keeps_the_name_of_its_partition_and_logs_are_left_alone(tmp_path: Path) -> None:
    for name in (NAME, NAME.upper(), f"{NAME.removesuffix('.jsonl.tar.gz')}.log"):
        (tmp_path / name).write_bytes(packed(member("a.jsonl", ONE)))
    files = list_files("source", ("*.jsonl.tar.gz", "*.JSONL.TAR.GZ"), tmp_path)
    stem = NAME.removesuffix(".jsonl.tar.gz")
    assert [file.partition for file in files] == [stem.upper(), stem]


def broken(tmp_path: Path, data: bytes) -> InputError:
    with pytest.raises(InputError) as raised:
        read_all(input_file(tmp_path, "f.jsonl.tar.gz", data), on_bad=lambda error: None)
    assert not isinstance(raised.value, DocumentError)
    assert "\n" not in raised.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["f.jsonl.tar.gz"]
    return raised.value


@pytest.mark.parametrize(
    ("name", "kind", "got"),
    [
        ("/etc/cron.jsonl", tarfile.REGTYPE, "a name outside the archive's folder"),
        ("../up.jsonl", tarfile.REGTYPE, "a name outside the archive's folder"),
        ("a/../../up.jsonl", tarfile.REGTYPE, "a name outside the archive's folder"),
        ("../up", tarfile.DIRTYPE, "a name outside the archive's folder"),
        ("a.jsonl", tarfile.SYMTYPE, "a link"),
        ("a.jsonl", tarfile.LNKTYPE, "a link"),
        ("a.jsonl", tarfile.CHRTYPE, "a device"),
        ("a.jsonl", tarfile.BLKTYPE, "a device"),
        ("a.jsonl", tarfile.FIFOTYPE, "a pipe"),
        ("a.jsonl", b"Q", "a member of type b'Q'"),
        ("a.log", tarfile.REGTYPE, "another file"),
        ("a\n\x1b[31m.py", tarfile.REGTYPE, "another file"),
    ],
)
def test_any_other_member_is_refused_by_name(
    tmp_path: Path, name: str, kind: bytes, got: str
) -> None:
    data = TWO if kind == tarfile.REGTYPE else b""
    error = broken(tmp_path, packed(member("b.jsonl", ONE), member(name, data, kind)))
    assert error.message == (
        f"f.jsonl.tar.gz: got the member {json.dumps(name)}, {got}, expected files of JSON lines"
        " (.jsonl) alone"
    )
    assert str(error.hint).startswith("nothing was unpacked")


def test_a_name_outside_is_found_in_an_extended_header_too(tmp_path: Path) -> None:
    for format in FORMATS[1:]:
        data = packed(member(f"../{'long/' * 40}b.jsonl", ONE), format=format)
        assert "a name outside the archive's folder" in broken(tmp_path, data).message


def test_a_negative_size_is_damage(tmp_path: Path) -> None:
    info, _ = member("a.jsonl")
    info.size = -513
    data = gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + ONE.ljust(4096, b"\0"))
    assert "got a size of -513" in broken(tmp_path, data).message


@pytest.mark.parametrize("gone", [1, 20, 77, 140])
def test_lines_that_end_like_those_of_windows_and_several_streams_are_read(
    tmp_path: Path, gone: int
) -> None:
    data = tar([member("a.jsonl", ONE.replace(b"\n", b"\r\n")), member("b.jsonl", TWO)])
    cut = len(data) * gone // 141
    packed_twice = gzip.compress(data[:cut]) + gzip.compress(data[cut:])
    assert pairs(read_all(input_file(tmp_path, NAME, packed_twice))[0]) == ALL
    broken_off = input_file(tmp_path, "f.jsonl.tar.gz", packed_twice[:-gone])
    with pytest.raises(InputError, match=r"broken (compressed data|tar archive) after"):
        read_all(broken_off)


WHOLE = tar([member("a.jsonl", ONE), member("b.jsonl", TWO)])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (gzip.compress(WHOLE)[:-9], "compressed data"),
        (gzip.compress(WHOLE)[:60], "compressed data"),
        # Cut before it was packed: inside a header, inside a file, between two, at the very end.
        (gzip.compress(WHOLE[:100]), "the archive is truncated"),
        (gzip.compress(WHOLE[: 512 + 30]), "the archive is truncated"),
        (gzip.compress(WHOLE[:1024]), "the archive is truncated"),
        (gzip.compress(WHOLE[:2048]), "the archive is truncated"),
        (gzip.compress(b""), "the archive is truncated"),
        (gzip.compress(WHOLE + WHOLE), "data follow its end"),
        (gzip.compress(ONE * 20), "invalid header"),
        (gzip.compress(b"\xff" + WHOLE[1:]), "bad checksum"),
    ],
    ids=range(10),
)
def test_an_archive_that_is_cut_or_goes_on_is_damaged(
    tmp_path: Path, data: bytes, expected: str
) -> None:
    error = broken(tmp_path, data)
    assert error.message.startswith("f.jsonl.tar.gz: broken ")
    assert expected in error.message


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"12 path=a.js", "an extended header is malformed"),
        (b"path=a.jsonl\n", "an extended header is malformed"),
        (b"99999999 path=a.jsonl\n", "an extended header is malformed"),
        (b"12 size=-10\n", "got a size of '-10'"),
        (b"x" * 70_000, "got an extended header of 70,000 bytes"),
    ],
)
def test_a_broken_extended_header_is_damage(tmp_path: Path, header: bytes, reason: str) -> None:
    data = packed(member("x", header, tarfile.XHDTYPE), member("a.jsonl", ONE))
    assert broken(tmp_path, data).message.endswith(f"after document 0: {reason}")


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    info, data = member("a.jsonl", ONE)
    info.pax_headers = {"GNU.sparse.major": "1"}
    assert "a sparse file" in broken(tmp_path, packed((info, data), format=FORMATS[2])).message


def test_lines_without_text_and_too_large_are_bad_documents(tmp_path: Path) -> None:
    lines = [b'{"id": "a"}', b'{"id": "b", "text": ""}', b'{"id": "c", "text": 7}', b"{"]
    lines += [b'{"id": "d", "text": "%s"}' % (b"x" * 3000), b"", TWO]
    bad: list[DocumentError] = []
    file = input_file(tmp_path, "f.jsonl.tar.gz", packed(member("a.jsonl", b"\n".join(lines))))
    documents, _ = read_all(file, on_bad=bad.append, max_document_bytes=2000)
    assert pairs(documents) == [("3", "three")]
    assert [one.reason for one in bad] == [
        "no_text", "empty_text", "no_text", "invalid_json", "too_large",
    ]  # fmt: skip
    assert bad[0].message.startswith("f.jsonl.tar.gz: document 1: ")


def test_little_that_unpacks_to_much_stays_small_in_memory(tmp_path: Path) -> None:
    large = b'{"id": "a", "text": "%s"}\n' % (b"y" * (300 << 20))
    data = packed(member("a.jsonl", large + ONE))
    assert len(data) < 1 << 20
    file = input_file(tmp_path, "f.jsonl.tar.gz", data)
    del large, data
    bad: list[DocumentError] = []
    tracemalloc.start()
    documents, _ = read_all(file, on_bad=bad.append, max_document_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs(documents) == ALL[:2]
    assert [one.reason for one in bad] == ["too_large"]
    assert peak < 150 << 20
