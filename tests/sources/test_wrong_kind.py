"""A file of another kind than its name says is refused as a file, by its first bytes."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.core.errors import DocumentError, InputError
from pipeline.sources.partitions import list_files
from pipeline.sources.readers import FileReader, raw_file

LINES = b'{"id": "1", "text": "one"}\n{"id": "2", "text": "two"}\n'
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
HTML = b"\n<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n"
UTF16 = "UTF-16 or UTF-32"


def parquet() -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table({"id": ["1"], "text": ["one"]}), written)
    return written.getvalue()


def read(folder: Path, name: str, data: bytes) -> list[str]:
    """Return the texts of a file, whose bad documents are skipped."""
    (folder / name).write_bytes(data)
    [file] = list_files("source", (name,), folder)
    reader = FileReader(file, text_field="text", id_field="id")
    return [one.text for block in reader.blocks(lambda error: None) for one in block]


@pytest.mark.parametrize(
    ("name", "data", "got", "hint"),
    [
        ("f.jsonl", gzip.compress(LINES, mtime=0), "gzip", "give its name the ending .gz"),
        ("f.txt", gzip.compress(LINES, mtime=0), "gzip", "give its name the ending .gz"),
        ("f.parquet", gzip.compress(LINES, mtime=0), "gzip", "give its name the ending .gz"),
        ("f.jsonl.zst", gzip.compress(LINES, mtime=0), "gzip", "give its name the ending .gz"),
        ("f.jsonl.gz", gzip.compress(gzip.compress(LINES, mtime=0), mtime=0), "gzip", "ending .gz"),
        ("f.json", zstandard.compress(LINES), "zstd", "give its name the ending .zst"),
        ("f.json.gz", zstandard.compress(LINES), "zstd", "give its name the ending .zst"),
        ("f.json", lzma.compress(LINES), "xz", "give its name the ending ."),
        ("f.json", bz2.compress(LINES), "bzip2", "give its name the ending ."),
        ("f.json", b"PK\x03\x04" + LINES, "a zip archive", "unpack it"),
        ("f.jsonl", parquet(), "parquet", "give its name the ending .parquet"),
        ("f.jsonl", LFS, "a pointer of Git LFS", "git lfs pull"),
        ("f.jsonl.gz", LFS, "a pointer of Git LFS", "git lfs pull"),
        ("f.parquet", LFS, "a pointer of Git LFS", "git lfs pull"),
        ("f.mds", LFS, "a pointer of Git LFS", "git lfs pull"),
        ("f.txt", LFS, "a pointer of Git LFS", "git lfs pull"),
        ("f.jsonl", HTML, "a page of HTML", "fetch the file itself"),
        ("f.json.gz", HTML, "a page of HTML", "fetch the file itself"),
        ("f.parquet", HTML.upper(), "a page of HTML", "fetch the file itself"),
        ("f.txt", b"\xef\xbb\xbf<html lang=en>", "a page of HTML", "fetch the file itself"),
        ("f.json", b'<?xml version="1.0"?><Error/>', "XML", "fetch the file itself"),
        ("f.jsonl", LINES.decode().encode("utf-16"), UTF16, "iconv"),
        ("f.jsonl", LINES.decode().encode("utf-16-le"), UTF16, "iconv"),
        ("f.jsonl", LINES.decode().encode("utf-16-be"), UTF16, "iconv"),
        ("f.jsonl.gz", gzip.compress(LINES.decode().encode("utf-16"), mtime=0), UTF16, "iconv"),
        ("f.txt", "Text.".encode("utf-32"), UTF16, "iconv"),
    ],
)
@pytest.mark.parametrize("read_bytes", [5, 1 << 14])
def test_a_file_of_another_kind_is_refused_even_where_documents_are_skipped(
    tmp_path: Path,
    name: str,
    data: bytes,
    got: str,
    hint: str,
    read_bytes: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(raw_file, "_READ_BYTES", read_bytes)
    with pytest.raises(InputError) as raised:
        read(tmp_path, name, data)
    assert not isinstance(raised.value, DocumentError)
    assert raised.value.message.startswith(f"{name}: got {got}, expected ")
    assert hint in str(raised.value.hint)


@pytest.mark.parametrize(
    ("name", "data", "texts"),
    [
        ("f.txt", b"<p>A paragraph.", ["<p>A paragraph."]),
        ("f.txt", b'<?xml version="1.0"?><a/>', ['<?xml version="1.0"?><a/>']),
        ("f.txt", b"PAR1 is a word, and PK too", ["PAR1 is a word, and PK too"]),
        ("f.txt", b"version https://example.org", ["version https://example.org"]),
        ("f.jsonl", b'{"id": "<html>", "text": "<html>"}', ["<html>"]),
    ],
)
def test_text_that_only_looks_like_it_is_read(
    tmp_path: Path, name: str, data: bytes, texts: list[str]
) -> None:
    assert read(tmp_path, name, data) == texts


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
@pytest.mark.parametrize("kind", [".jsonl", ".txt"])
def test_a_utf8_mark_at_the_start_of_a_file_is_no_part_of_it(
    tmp_path: Path, kind: str, pack: Callable[[bytes], bytes]
) -> None:
    suffix = {bytes: "", gzip.compress: ".gz"}.get(pack, ".zst")
    data = LINES if kind == ".jsonl" else b"hello"
    texts = read(tmp_path, f"f{kind}{suffix}", pack(b"\xef\xbb\xbf" + data))
    assert texts == (["one", "two"] if kind == ".jsonl" else ["hello"])


def test_gzip_that_is_padded_with_zeros_is_read(tmp_path: Path) -> None:
    one, two = LINES.splitlines(keepends=True)
    data = gzip.compress(one) + bytes(40_000) + gzip.compress(two) + bytes(512)
    assert read(tmp_path, "f.jsonl.gz", data) == ["one", "two"]
