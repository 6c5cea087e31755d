"""`max_document_bytes`: a larger document is a bad one, and no reader holds it."""

import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from support.mds_shards import text_shard

from pipeline.core.errors import DocumentError, InputError
from pipeline.sources.partitions import InputFile, list_files
from pipeline.sources.readers import FileReader, parquet

GOOD = b'{"id": "good", "text": "one"}'
LIMIT = 2_000
MIB = 1 << 20


def listed(folder: Path, name: str) -> InputFile:
    [file] = list_files("source", (name,), folder)
    return file


def read(file: InputFile, limit: int = LIMIT) -> tuple[list[str], list[DocumentError]]:
    """Return the ids of the documents, and the errors of the bad."""
    bad: list[DocumentError] = []
    reader = FileReader(file, text_field="text", id_field="id", max_document_bytes=limit)
    ids = [one.id for block in reader.blocks(bad.append) for one in block]
    assert reader.num_rows == len(ids) + len(bad)
    return ids, bad


def packed(path: Path, blocks: Iterable[bytes]) -> Path:
    """Write a file of zstd."""
    compressor = zstandard.ZstdCompressor().compressobj()
    with path.open("wb") as file:
        for block in blocks:
            file.write(compressor.compress(block))
        file.write(compressor.flush())
    return path


LARGE = b'{"id": "large", "text": "%s"}' % (b"x" * LIMIT)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("f.jsonl", b"\n".join([GOOD, LARGE, GOOD.replace(b"good", b"last")])),
        ("f.json", b"[%s, %s, %s]" % (GOOD, LARGE, GOOD.replace(b"good", b"last"))),
        ("f.mds", text_shard([("good", "one"), ("large", "x" * LIMIT), ("last", "two")])),
    ],
)
def test_a_larger_document_is_bad_and_the_next_is_read(
    tmp_path: Path, name: str, data: bytes
) -> None:
    (tmp_path / name).write_bytes(data)
    ids, [error] = read(listed(tmp_path, name))
    assert ids == ["good", "last"]
    assert error.reason == "too_large"
    assert error.message.startswith(f"{name}: document 2: got 2,0")
    assert error.message.endswith(" bytes, expected at most 2,000")
    assert str(error.hint).startswith("raise max_document_bytes, or ")
    assert len(read(listed(tmp_path, name), 2 * LIMIT)[0]) == 3


def test_of_parquet_and_text_too(tmp_path: Path) -> None:
    # Fewer characters than the limit, and more bytes.
    table = pa.table({"id": ["a", "b"], "text": ["\u00e9" * LIMIT, "x" * LIMIT]})
    pq.write_table(table, tmp_path / "f.parquet")
    ids, [error] = read(listed(tmp_path, "f.parquet"))
    assert (ids, error.reason) == (["b"], "too_large")
    (tmp_path / "f.txt").write_bytes(b"x" * (LIMIT + 1))
    ids, [error] = read(listed(tmp_path, "f.txt"))
    assert (ids, error.reason) == ([], "too_large")


@pytest.mark.parametrize(
    "error",
    [pa.lib.ArrowMemoryError("realloc failed"), OSError("Failed to launch worker thread: busy")],
)
def test_want_of_memory_is_no_damage_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), tmp_path / "f.parquet")
    monkeypatch.setattr("pipeline.sources.readers.parquet._batches", fail)
    with pytest.raises(MemoryError, match=r"^f\.parquet: "):
        read(listed(tmp_path, "f.parquet"))


def test_few_large_rows_of_parquet_are_decoded_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.sources.readers.parquet._BATCH_BYTES", 4 * MIB)
    table = pa.table({"id": [str(one) for one in range(100)], "text": ["x" * MIB] * 100})
    # A page a row; a page is decoded whole.
    pages = {"use_dictionary": False, "row_group_size": 50, "write_batch_size": 1}
    pq.write_table(table, tmp_path / "f.parquet", **pages)
    before = pa.total_allocated_bytes()
    sizes = []
    for batch in parquet._batches(tmp_path / "f.parquet", 128):
        if isinstance(batch, pa.RecordBatch):
            sizes.append((batch.num_rows, pa.total_allocated_bytes() - before))
    assert sum(rows for rows, _ in sizes) == 100
    assert max(sizes)[0] in (3, 4)
    assert max(allocated for _, allocated in sizes) < 20 * MIB


def test_a_zstd_window_is_bounded(tmp_path: Path) -> None:
    for log, name in ((27, "f.jsonl.zst"), (28, "g.jsonl.zst")):
        wide = zstandard.ZstdCompressionParameters(window_log=log, write_content_size=False)
        packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
        (tmp_path / name).write_bytes(packer.compress(GOOD) + packer.flush())
    assert read(listed(tmp_path, "f.jsonl.zst")) == (["good"], [])
    with pytest.raises(InputError, match=r"^g\.jsonl\.zst: got zstd with a window above 128 MiB"):
        read(listed(tmp_path, "g.jsonl.zst"))


@pytest.mark.parametrize(
    ("block", "reasons"),
    [(b"\n" * MIB, []), (b"x" * MIB, ["too_large"]), (b'{"text": "' + b"y" * MIB, ["too_large"])],
    ids=["ends of lines", "one line", "one value"],
)
def test_little_zstd_that_unpacks_to_much_stays_small_in_memory(
    tmp_path: Path, block: bytes, reasons: list[str]
) -> None:
    path = packed(tmp_path / "f.jsonl.zst", [*[block] * 300, b"\n", GOOD])
    assert path.stat().st_size < MIB
    tracemalloc.start()
    ids, bad = read(listed(tmp_path, path.name), 10 * MIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (ids, [error.reason for error in bad]) == (["good"], reasons)
    assert peak < 150 * MIB


def test_an_array_that_unpacks_to_much_stays_small_in_memory(tmp_path: Path) -> None:
    large = [b'[{"id": "large", "text": "', *[b"x" * MIB] * 300, b'"}, ', GOOD, b"]"]
    path = packed(tmp_path / "f.json.zst", large)
    tracemalloc.start()
    ids, bad = read(listed(tmp_path, path.name), 10 * MIB)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (ids, [error.reason for error in bad]) == (["good"], ["too_large"])
    assert peak < 150 * MIB
