"""Sources sampled longest first: which rows, in which order, in which folders, and their records.

What was published of such folders is numbers of rows: of `books_0001` nine shards of 4,179, of
`starcoder_0001` two of 4,188, of `arxiv_0004` fewer than 31,250 in seven and 40,015 in eight.
"""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from support import builds
from support.clusters import Build

from pipeline.audit.verify import verify
from pipeline.config import ShardSpec
from pipeline.config.load import load_mixture
from pipeline.dataset.mds import MdsWriter
from pipeline.dataset.mds.pool import Pool
from pipeline.runner.build_alone import build_alone

TAIL = "-tokenized-chunked-8000-512-128-backfill-nodups"
SIZE_LIMIT = 100 << 10
LONGEST = "ettin-longest-first-v1"


class Chunk(NamedTuple):
    document: str
    number: int
    of: int
    ids: tuple[int, ...]


def mixture(folder: Path, **books: Any) -> Path:
    """Write a mixture in the manner of the published extension, and its files."""
    for name, number in {"books-0000": 14, "books-0001": 40, "books-0002": 14}.items():
        lines = builds.json_lines(builds.documents(name, number, 14_000))
        (folder / f"{name}.jsonl").write_bytes(lines)
    for number in range(4):
        lines = builds.json_lines(builds.documents(f"split-{number}", 10, 300))
        (folder / f"split_{number}.jsonl").write_bytes(lines)
    content = {
        "name": "extension",
        "chunk": {"algorithm": "ettin-slice-v2", "size": 8000, "min_size": 512,
                  "skip_below": 128, "seed": 42},
        "sources": {
            "books": {"from": {"path": "books-*.jsonl"}, **books},
            "twice": {"from": {"path": "split_[01].jsonl"}, "epochs": 2},
            "some": {
                "from": {"path": "split_*.jsonl"},
                "tokens": 3000,
                "sample": {"algorithm": "ettin-partitions-v1", "seed": 42},
            },
        },
        "sample": {"algorithm": LONGEST},
        "order": {"seed": 21, "global_batch_size": 4, "max_seq_len": 7999},
        "shards": {"dtype": "uint16", "size_limit": SIZE_LIMIT, "header_compression": "zstd"},
    }  # fmt: skip
    return builds.write_mixture(folder, yaml.safe_dump(content))


def first(*names: str) -> dict[str, Any]:
    return {"algorithm": LONGEST, "first": list(names)}


def chunks_of(folder: Path) -> list[Chunk]:
    """Return the chunks of a folder that has all of them, in the order of the file."""
    pool = Pool.open(folder)
    rows = np.arange(pool.num_samples)
    names = pool.document_ids(rows)
    table = pool.table(-1, -1)
    return [
        Chunk(name, int(record["chunk"]), int(record["num_chunks"]), tuple(pool.take([row])[0]))
        for row, name, record in zip(rows, names, table, strict=True)
    ]


def drawn(out: Path, partition: str) -> list[Chunk]:
    """Return the chunks of a sampled folder as its shards and its provenance have them."""
    pool = Pool.open(out / "train" / "books" / partition)
    names = pool.document_ids(np.arange(pool.num_samples))
    numbers = pq.read_table(out / f"provenance/drawn/books/{partition}.parquet").to_pylist()
    return [
        Chunk(name, record["chunk"], record["num_chunks"], tuple(pool.take([row])[0]))
        for row, (name, record) in enumerate(zip(names, numbers, strict=True))
    ]


def plainly(chunks: list[Chunk]) -> list[Chunk]:
    return [
        chunk
        for thousands in range(8, -1, -1)
        for chunk in chunks
        if len(chunk.ids) // 1000 == thousands
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("extension")


@pytest.fixture(scope="module")
def whole(folder: Path, build_here: Build) -> dict[str, list[Chunk]]:
    """All chunks of each partition of the books, from a build that takes them all."""
    out = build_here(mixture(folder), folder / "whole")
    names = [f"books_000{number}" for number in range(3)]
    return {name: chunks_of(out / "train" / "books" / f"{name}{TAIL}") for name in names}


@pytest.fixture(scope="module")
def built(folder: Path, whole: dict[str, list[Chunk]], build_here: Build) -> tuple[Path, int]:
    """A build whose budget is all of books_0001 and a part of books_0000; and the budget."""
    sizes = {name: sum(len(chunk.ids) for chunk in part) for name, part in whole.items()}
    asked = sizes["books_0001"] + sizes["books_0000"] // 2
    path = mixture(folder, tokens=asked, sample=first("books_0001"))
    return build_here(path, folder / "out"), asked


def test_one_file_after_the_other_is_written_from_the_longest_chunk_down(
    built: tuple[Path, int], whole: dict[str, list[Chunk]]
) -> None:
    out, asked = built
    assert drawn(out, "books_0001") == plainly(whole["books_0001"])
    rest = asked - sum(len(chunk.ids) for chunk in whole["books_0001"])
    ordered = plainly(whole["books_0000"])
    before = [0, *accumulate(len(chunk.ids) for chunk in ordered)]
    taken = [chunk for chunk, sum_ in zip(ordered, before, strict=False) if sum_ < rest]
    assert 1 < len(taken) < len(ordered)
    assert drawn(out, "books_0000") == taken
    assert not (out / "train/books/books_0002").exists(), "which is not reached"
    counts = json.loads((out / "manifest.json").read_bytes())["sources"]["books"]
    assert asked <= counts["budget"]["drawn"] < asked + len(taken[-1].ids)
    assert counts["chunks"]["drawn"] == len(whole["books_0001"]) + len(taken)


def test_a_file_that_no_budget_cuts_is_the_same_when_it_is_built_alone(
    built: tuple[Path, int], folder: Path, scheduler: str, tmp_path: Path
) -> None:
    path = mixture(folder, tokens=built[1], sample=first("books_0001"))
    names = ["books/books_0001", "twice/split_1"]
    build_alone(
        load_mixture(path),
        names,
        tmp_path / "out",
        workers=1,
        scheduler=scheduler,
        report=lambda *_: None,
    )
    for shards in ("train/books/books_0001", f"train/twice/split_1{TAIL}"):
        found = builds.digests(tmp_path / "out" / shards)
        assert len(found) > 3
        assert found == builds.digests(built[0] / shards)


def test_folders_that_are_sampled_so_have_short_names_and_the_others_keep_theirs(
    built: tuple[Path, int],
) -> None:
    found = {
        source: sorted(path.name for path in (built[0] / "train" / source).iterdir())
        for source in ("books", "some", "twice")
    }
    assert found["books"] == ["books_0000", "books_0001", "index.json"]
    assert found["twice"] == ["index.json", f"split_0{TAIL}", f"split_1{TAIL}"]
    counts = json.loads((built[0] / "manifest.json").read_bytes())["sources"]["some"]
    chosen = [one["partition"] for one in counts["partitions"] if one["chunks"]["drawn"]]
    assert len(chosen) < len(counts["partitions"]) == 4
    assert found["some"] == sorted(["index.json", *(f"{name}{TAIL}" for name in chosen)])


def test_provenance_names_the_chunks_that_the_rows_are(built: tuple[Path, int]) -> None:
    out = built[0]
    assert verify(out) == []
    numbers = {
        (chunk.document, chunk.number): (chunk.of, chunk.ids)
        for name in ("books_0000", "books_0001")
        for chunk in drawn(out, name)
    }
    traced = 0
    for path in sorted(out.glob("order/checkpoint_*/*.parquet")):
        rows = pq.read_table(path)["input_ids"].to_pylist()
        beside = pq.read_table(out / "provenance" / path.relative_to(out / "order")).to_pylist()
        for ids, record in zip(rows, beside, strict=True):
            key = (record["document"], record["chunk"])
            if record["source"] == "books":
                assert numbers[key] == (record["num_chunks"], tuple(ids))
                traced += 1
    assert traced > 30


def test_full_rows_fill_the_first_shards_and_shorter_ones_the_later(
    built: tuple[Path, int],
) -> None:
    """In kind what is known of arxiv_0004."""
    pool = Pool.open(built[0] / "train" / "books" / "books_0001")
    counts, lengths = pool.num_rows.tolist(), pool.lengths()
    num_full = int((lengths == 8000).sum())
    row_bytes = 12 + 13 + 3 + 2 * 8000  # The ids of these documents have 13 to 14 characters.
    in_one = (SIZE_LIMIT - 8 - 204) // row_bytes
    assert in_one == 6
    assert num_full > 2 * in_one
    assert lengths[:num_full].tolist() == [8000] * num_full
    assert counts[: num_full // in_one] == [in_one] * (num_full // in_one)
    assert max(counts[num_full // in_one :]) > in_one
    assert (np.diff(lengths // 1000) <= 0).all()


@pytest.mark.parametrize(("id_bytes", "num_rows"), [(40, 4179), (7, 4188)])
def test_full_rows_come_to_the_published_numbers_a_shard(
    tmp_path: Path, id_bytes: int, num_rows: int
) -> None:
    """Of books_0001, whose ids have 40 characters, and of starcoder_0001, with 5 to 9."""
    writer = MdsWriter.of(tmp_path, ShardSpec(dtype="uint16", header_compression="zstd"))
    assert writer.size_limit == 67_108_864
    ids = np.full(1000 * 8000, 7, np.uint32)
    left = num_rows + 1
    while left:
        now = min(left, 1000)
        offsets = np.arange(now + 1, dtype=np.int64) * 8000
        writer.write([b"x" * id_bytes], np.zeros(now, np.int64), ids[: offsets[-1]], offsets)
        left -= now
    assert [shard["samples"] for shard in writer.finish()["shards"]] == [num_rows, 1]
    for path in tmp_path.glob("*.mds"):
        path.unlink()


def test_a_plan_says_which_algorithm_samples_which_sources(folder: Path) -> None:
    path = mixture(folder, tokens=9000, sample=first("books_0001"))
    lines = builds.run_well("plan", path).splitlines()
    assert "sampled by ettin-longest-first-v1: books (books_0001 first)" in lines
    assert "sampled by ettin-partitions-v1: some" in lines
    samples = json.loads(builds.run_well("plan", path, "--scale", "1/10", "--json"))["samples"]
    assert samples["books"] == first("books_0001")
    # Taken twice at full size, a part of it is chosen in a miniature.
    assert samples["twice"] == {"algorithm": LONGEST, "first": []}
    assert samples["some"] == {"algorithm": "keyed-v1", "first": []}


def test_an_unknown_first_partition_is_refused_with_the_nearest_name(
    folder: Path, tmp_path: Path
) -> None:
    path = mixture(folder, tokens=9000, sample=first("book_0001"))
    done = builds.run("build", path, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr.splitlines()[0]) == (
        2,
        'error: sources.books.sample.first: got "book_0001", expected partitions of the source,'
        ' such as books_0000; did you mean "books_0001"?',
    )
    assert not (tmp_path / "out").exists()


def test_a_partition_that_would_take_the_place_of_the_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.json.jsonl").write_text('{"id": "a", "text": "b"}\n')
    path = mixture(tmp_path, tokens=9000)
    path.write_text(path.read_text().replace("books-*.jsonl", "index.json.jsonl"))
    done = builds.run("plan", path)
    assert "got partition index.json, which ettin-longest-first-v1 would write" in done.stderr
    assert done.returncode == 2


def test_what_is_held_out_is_taken_from_the_files_first(
    folder: Path, whole: dict[str, list[Chunk]], build_here: Build, tmp_path: Path
) -> None:
    path = mixture(folder, tokens=120_000, sample=first("books_0001"))
    out = build_here(path, tmp_path / "out", "validation={fraction: 0.2}")
    held = Pool.open(out / "validation" / "train" / "books" / "books_0001")
    names = set(held.document_ids(np.arange(held.num_samples)))
    left = [chunk for chunk in plainly(whole["books_0001"]) if chunk.document not in names]
    found = drawn(out, "books_0001")
    assert 10 < len(found) <= len(left) < len(whole["books_0001"])
    assert found == left[: len(found)]


def test_a_miniature_is_the_start_of_the_whole(
    folder: Path, whole: dict[str, list[Chunk]], build_here: Build, tmp_path: Path
) -> None:
    """It reads the files that come first, and takes of them what the whole takes first."""
    size = sum(len(chunk.ids) for part in whole.values() for chunk in part)
    path = mixture(folder, tokens=size // 2, sample=first("books_0001"))
    out = build_here(path, tmp_path / "out", "scale=1/5")
    found = drawn(out, "books_0001")
    assert 1 < len(found) < len(whole["books_0001"])
    assert found == plainly(whole["books_0001"])[: len(found)]
    assert not (out / "train" / "books" / "books_0000").exists()
