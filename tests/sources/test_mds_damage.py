"""MDS shards that are damaged, or written by the public package."""

import gzip
import json
import os
import struct
import subprocess
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.mds_shards import (
    SENTENCES,
    TEXTS,
    decoding,
    input_file,
    shard,
    text_shard,
)
from support.reading import pairs, read_all
from support.strategies import QUICK
from tokenizers import Tokenizer

from pipeline.core.errors import InputError
from pipeline.sources.partitions import InputFile

WHOLE = text_shard(TEXTS[:3])


BROKEN: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "after document 0: the file is truncated"),
    "half a header": (WHOLE[:9], "after document 0: the file is truncated"),
    "another kind of file": (b"\x89PNG\r\n\x1a\n" * 9, "after document 0: the file is truncated"),
    "half a row": (WHOLE[:-1], "after document 2: the file is truncated"),
    "more behind": (WHOLE + b"x", "after document 3: bytes follow the last row"),
    "rows in the header": (
        struct.pack("<3I", 1, 8, 9) + WHOLE[12:],
        "after document 0: the first row starts in the header",
    ),
    "more rows than the file holds": (
        struct.pack("<I", 2**32 - 1) + WHOLE[4:],
        "after document 0: the file is truncated",
    ),
    "columns beyond the file": (
        struct.pack("<2I", 0, 2**32 - 1) + b"{}",
        "after document 0: the file is truncated",
    ),
    "no columns": (
        struct.pack("<2I", 0, 10) + b"{}",
        "after document 0: its header does not list its columns",
    ),
    "no JSON": (
        struct.pack("<2I", 0, 10) + b"{]",
        "after document 0: its header does not list its columns",
    ),
    "a column of negative size": (
        shard([("id", "str", None), ("text", "str", -4)], []),
        "after document 0: its header does not list its columns",
    ),
    "a row that ends before it starts": (
        WHOLE[:12] + struct.pack("<I", 20) + WHOLE[16:],
        "after document 1: a row ends before it starts",
    ),
    "a size too large": (
        WHOLE.replace(struct.pack("<2I", 1, 5), struct.pack("<2I", 1, 6)),
        "after document 0: its size does not fit the columns of the header",
    ),
    "a size too small": (
        WHOLE.replace(struct.pack("<2I", 1, 5), struct.pack("<2I", 1, 4)),
        "after document 0: its size does not fit the columns of the header",
    ),
    "a number of another width": (
        shard([("id", "int", 4), ("text", "str", None)], [[b"abcd", b"x"]]),
        'after document 0: column "id" is not a valid int',
    ),
}


@pytest.mark.parametrize("damage", BROKEN)
def test_a_damaged_shard_is_an_error_that_names_file_and_row(tmp_path: Path, damage: str) -> None:
    data, expected = BROKEN[damage]
    assert data != WHOLE
    with pytest.raises(InputError) as raised:
        read_all(input_file(tmp_path, data), on_bad=lambda error: None)
    assert raised.value.message == f"shard.00000.mds: broken MDS shard {expected}"
    assert raised.value.hint == "restore the file from where it came from"


def test_a_row_too_short_for_its_sizes_is_damage(tmp_path: Path) -> None:
    data = bytearray(text_shard([("a", "b")]))
    start = struct.unpack_from("<I", data, 4)[0]
    data[8:12] = struct.pack("<I", start + 7)
    with pytest.raises(InputError, match="after document 0: its size does not fit the columns"):
        read_all(input_file(tmp_path, bytes(data[: start + 7])))


@pytest.mark.parametrize(
    "body",
    [b"", b"\x20", b"\x21\x04", b"\x99\x04\x01\x00", b"\x10\x04\x02\x00\x00", b"\x10\x04\x01\x00"],
    ids=["nothing", "no shape", "half a shape", "no such type", "too few", "half a value"],
)
def test_an_array_that_is_none_is_damage(
    tmp_path: Path, bpe: tuple[Tokenizer, Path], body: bytes
) -> None:
    file = input_file(tmp_path, shard([("ids", "ndarray", None)], [[body]]))
    with pytest.raises(InputError, match="after document 0: it holds an invalid array"):
        read_all(file, text_field="ids", id_field=None, decoding=decoding(bpe[1]))


@pytest.mark.parametrize("suffix", [".mds.zst", ".mds.zstd"])
def test_a_packed_shard_that_breaks_off_is_an_error(tmp_path: Path, suffix: str) -> None:
    data = zstandard.ZstdCompressor().compress(WHOLE)
    with pytest.raises(InputError, match="broken compressed data after document"):
        read_all(input_file(tmp_path, data[:-2], f"s{suffix}"))
    with pytest.raises(InputError, match=r": got gzip, expected zstd\n"):
        read_all(input_file(tmp_path, gzip.compress(WHOLE), f"s{suffix}"))


@QUICK
@given(place=st.integers(0, len(WHOLE) - 1), value=st.integers(0, 255))
def test_any_byte_that_is_wrong_gives_a_wrong_text_or_one_of_our_errors(
    tmp_path: Path, place: int, value: int
) -> None:
    data = bytearray(WHOLE)
    data[place] = value
    try:
        documents, _ = read_all(input_file(tmp_path, bytes(data)), on_bad=lambda error: None)
    except InputError:
        return
    assert len(documents) <= 3


_PUBLIC = """
import json, sys, warnings
import numpy as np
with warnings.catch_warnings(action="ignore"):
    from streaming import MDSWriter
folder, columns, compression = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3] or None
samples = json.load(sys.stdin)
with MDSWriter(columns=columns, out=folder, compression=compression, size_limit=3000) as writer:
    for sample in samples:
        for name, encoding in columns.items():
            if encoding.startswith("ndarray"):
                dtype = encoding.partition(":")[2] or "uint16"
                sample[name] = np.array(sample[name], dtype.partition(":")[0])
            elif encoding == "uint64":
                sample[name] = np.uint64(sample[name])
        writer.write(sample)
"""


def _write_public(
    folder: Path, columns: dict[str, str], samples: list[dict[str, Any]], compression: str = ""
) -> list[InputFile]:
    """Write samples with the public package; return its shards."""
    python = os.environ["ETTIN_ORACLE_PYTHON"]
    arguments = [python, "-c", _PUBLIC, str(folder), json.dumps(columns), compression]
    subprocess.run(arguments, input=json.dumps(samples), text=True, check=True)
    paths = sorted(folder.glob("shard.*"))
    return [input_file(folder, path.read_bytes(), path.name) for path in paths]


needs_public = pytest.mark.skipif(
    "ETTIN_ORACLE_PYTHON" not in os.environ, reason="ETTIN_ORACLE_PYTHON names no interpreter"
)


@needs_public
@pytest.mark.oracle
@pytest.mark.parametrize("compression", ["", "zstd"])
def test_texts_of_the_public_writer_come_back(tmp_path: Path, compression: str) -> None:
    expected = [(f"\u00e9{i}", SENTENCES[i % 4] * (i % 7 + 1)) for i in range(100)]
    samples = [{"id": id_, "text": text} for id_, text in expected]
    files = _write_public(tmp_path / "out", {"text": "str", "id": "str"}, samples, compression)
    assert len(files) > 3
    assert {file.kind for file in files} == {".mds.zstd" if compression else ".mds"}
    assert [pair for file in files for pair in pairs(read_all(file)[0])] == expected


@needs_public
@pytest.mark.oracle
@pytest.mark.parametrize("encoding", ["ndarray", "ndarray:uint16", "ndarray:uint32"])
def test_ids_of_the_public_writer_become_their_text(
    tmp_path: Path, bpe: tuple[Tokenizer, Path], encoding: str
) -> None:
    tokenizer, path = bpe
    columns = {
        "domain": "str",
        "fixed": "ndarray:int64:1,2",
        "indices": "ndarray:uint32",
        "input_ids": encoding,
        "length": "uint64",
        "score": "float64",
        "whole": "int",
    }
    expected = [SENTENCES[i % 4] * (i % 50 + 1) for i in range(100)]
    samples = [
        {
            "domain": "books",
            "fixed": [[i, -i]],
            "indices": [[0, 3], [3, i + 4]],
            "input_ids": tokenizer.encode(text).ids,
            "length": i,
            "score": i / 7,
            "whole": -i,
        }
        for i, text in enumerate(expected)
    ]
    files = _write_public(tmp_path / "out", columns, samples)
    documents = [
        document
        for file in files
        for document in read_all(
            file, text_field="input_ids", id_field=None, decoding=decoding(path)
        )[0]
    ]
    assert [document.text for document in documents] == expected
    for sample in samples:
        del sample["input_ids"]
    assert [document.metadata for document in documents] == samples


@pytest.mark.parametrize(("name", "said"), [("f.mds", "truncated"), ("f.mds.zst", "its header")])
def test_a_header_of_any_size_takes_no_memory(tmp_path: Path, name: str, said: str) -> None:
    """Gigabytes of zeros, of which the file has none on disk, or a few kilobytes packed."""
    head, zeros = struct.pack("<I", 2**30), bytes(1 << 20)
    data = head
    if name.endswith("zst"):
        packer = zstandard.ZstdCompressor().compressobj()
        blocks = [packer.compress(one) for one in (head, *[zeros] * 500)]
        data = b"".join([*blocks, packer.flush()])
    file = input_file(tmp_path, data, name)
    if name.endswith("mds"):
        os.truncate(file.path, 500 << 20)
    tracemalloc.start()
    with pytest.raises(InputError, match=said):
        read_all(file)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 80 << 20
