"""Provenance: what is written comes back by row and by document, and bytes depend on rows alone."""

import ast
import re
from collections.abc import Sequence
from itertools import chain, groupby, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.indexed import write_documents
from support.paths import REPOSITORY
from support.strategies import QUICK, cuts, document_ids

from pipeline.core.digest import FileDigest
from pipeline.core.errors import MismatchError
from pipeline.dataset.provenance import document_index, writer
from pipeline.dataset.provenance.document_index import (
    document_hash,
    document_hashes,
    part_of,
    parts_of,
)
from pipeline.dataset.provenance.reader import ProvenanceReader, RowProvenance
from pipeline.dataset.provenance.writer import ProvenanceBlock, ProvenanceWriter
from pipeline.runner.shuffle import index_rows

# Every example publishes files, which waits for the disk.
FEW = settings(QUICK, max_examples=20)
# Two strings with one FNV-1a hash of 64 bits, as the world knows them.
TWINS = ("8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ")


def make_origins(
    documents: Sequence[tuple[str, str, str]], rows_per_step: int = 3
) -> list[RowProvenance]:
    """Return the rows of an order from each row's source, file and document."""
    return [
        RowProvenance(
            row, row // rows_per_step + 1, source, file, document, row % 5, 5 + row, 100 + row
        )
        for row, (source, file, document) in enumerate(documents)
    ]


def block_of(origins: Sequence[RowProvenance], places: list[tuple[str, str]]) -> ProvenanceBlock:
    ids = [origin.document.encode() for origin in origins]
    return ProvenanceBlock(
        steps=np.array([origin.step for origin in origins], np.int64),
        places=np.array([places.index((one.source, one.file)) for one in origins], np.int32),
        documents=np.frombuffer(b"".join(ids), np.uint8),
        offsets=np.cumsum([0, *map(len, ids)], dtype=np.int64),
        chunks=np.array([origin.chunk for origin in origins], np.uint32),
        num_chunks=np.array([origin.num_chunks for origin in origins], np.uint32),
        num_tokens=np.array([origin.num_tokens for origin in origins], np.uint32),
    )


def places_of(origins: Sequence[RowProvenance]) -> list[tuple[str, str]]:
    return [*dict.fromkeys((origin.source, origin.file) for origin in origins)]


def write_file(path: Path, origins: Sequence[RowProvenance], cut_at: Sequence[int] = ()) -> None:
    """Write rows as one file, in the blocks that `cut_at` makes of them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    places = places_of(origins)
    with ProvenanceWriter(path, origins[0].row, places) as writer:
        for start, stop in pairwise([0, *cut_at, len(origins)]):
            writer.write(block_of(origins[start:stop], places))


def write(folder: Path, files: Sequence[Sequence[RowProvenance]]) -> ProvenanceReader:
    """Write the provenance of an order, two files a window, with its index; open it."""
    paths = []
    for number, origins in enumerate(files):
        window, place = divmod(number, 2)
        paths.append(folder / f"checkpoint_{window + 1:06d}" / f"steps_{place:06d}_to_x.parquet")
        write_file(paths[-1], origins)
    sizes = map(len, files)
    write_documents(
        folder.parent, [*zip(paths, sizes, strict=True)], places_of([*chain.from_iterable(files)])
    )
    return opened(folder)


def opened(folder: Path) -> ProvenanceReader:
    """Open provenance as it lies there, as the manifest of these files would have it."""
    files = {
        path.relative_to(folder).as_posix(): FileDigest.of(path)
        for path in sorted(folder.rglob("*.parquet"))
    }
    return ProvenanceReader(folder, files)


names = st.sampled_from(["books", "naïve", "東京", "peps"])
documents = st.lists(st.tuples(names, names, document_ids | st.sampled_from(TWINS)), max_size=40)


def split(origins: Sequence[RowProvenance], places: Sequence[int]) -> list[Sequence[RowProvenance]]:
    return [origins[a:b] for a, b in pairwise(places) if a < b]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make row groups and parts so small that a few rows fill several."""
    monkeypatch.setattr(writer, "ROWS_PER_GROUP", 4)
    monkeypatch.setattr(document_index, "ROWS_PER_GROUP", 3)
    monkeypatch.setattr(index_rows, "ROWS_PER_PART", 8)


@FEW
@given(data=st.data(), made=documents.filter(len))
def test_rows_and_documents_lead_to_one_another(
    tiny: None, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, made: list
) -> None:
    origins = make_origins(made)
    folder = tmp_path_factory.mktemp("provenance") / "provenance"
    provenance = write(folder, split(origins, data.draw(cuts(len(origins)))))
    assert provenance.num_rows == len(origins)
    start = data.draw(st.integers(0, len(origins)))
    stop = data.draw(st.integers(start, len(origins)))
    assert provenance.rows(start, stop) == origins[start:stop]
    for source, _, document in made:
        found = [one for one in origins if one.document == document]
        assert provenance.document(document) == sorted(
            found, key=lambda one: (one.source.encode(), one.row)
        )
        assert provenance.document(document, source) == [o for o in found if o.source == source]
    assert provenance.document("is in none, being long") == []


def test_files_come_by_their_numbers_and_not_as_text(tmp_path: Path) -> None:
    names = [
        "checkpoint_000002/steps_000001_to_000100", "checkpoint_000002/steps_999901_to_1000000",
        "checkpoint_000002/steps_1000001_to_1000100", "checkpoint_999999/steps_000001_to_000100",
        "checkpoint_1000000/steps_000001_to_000100",
    ]  # fmt: skip
    origins = make_origins([("s", "f", f"d{row}") for row in range(10)])
    folder = tmp_path / "provenance"
    paths = [folder / f"{name}.parquet" for name in names]
    for place, path in enumerate(paths):
        write_file(path, origins[2 * place : 2 * place + 2])
    write_documents(tmp_path, [(path, 2) for path in paths], places_of(origins))
    provenance = opened(folder)
    assert provenance.num_rows == 10
    assert provenance.rows(0, 10) == origins
    assert provenance.rows(5, 7) == origins[5:7]
    for name in ("checkpoint/steps_000001_to_000100", "checkpoint_000001/steps_x_to_y"):
        other = folder / f"{name}.parquet"
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(paths[0].read_bytes())
        with pytest.raises(MismatchError, match="got a file of another name, expected one like"):
            opened(folder)
        other.unlink()


def test_a_row_is_found_in_one_of_many_files_by_looking_into_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of every ten files the last is short, as where a window ends.
    sizes = [2 if number % 10 == 9 else 6 for number in range(60)]
    origins = make_origins([("s", "f", f"d{row}") for row in range(sum(sizes))])
    bounds = np.cumsum([0, *sizes]).tolist()
    folder = tmp_path / "provenance"
    write(folder, split(origins, bounds))
    looked_into: list[Path] = []
    open_file = ProvenanceReader._open

    def counted(reader: ProvenanceReader, path: Path, schema: pa.Schema) -> pq.ParquetFile:
        looked_into.append(path)
        return open_file(reader, path, schema)

    monkeypatch.setattr(ProvenanceReader, "_open", counted)
    for row in range(0, len(origins), 17):
        provenance = opened(folder)
        looked_into.clear()
        assert provenance.rows(row, row + 1) == [origins[row]]
        # The last, which has the number of rows, and the one that is read, opened again.
        assert len(looked_into) <= 5


@FEW
@given(data=st.data(), made=documents.filter(len))
def test_bytes_depend_on_rows_alone(
    tiny: None, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, made: list
) -> None:
    origins = make_origins(made)
    folder = tmp_path_factory.mktemp("provenance")
    bounds = data.draw(cuts(len(origins)))
    write_file(folder / "1", origins)
    write_file(folder / "2", origins, bounds[1:-1])
    assert (folder / "1").read_bytes() == (folder / "2").read_bytes()

    # The index of many small files, sorted one by one or together, and that of one file.
    places = places_of(origins)
    write_documents(folder / "whole", [(folder / "1", len(origins))], places)
    parts = split(origins, bounds)
    paths = [folder / f"part-{number}" for number in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        write_file(path, part)
    sizes = map(len, parts)
    write_documents(folder / "parts", [*zip(paths, sizes, strict=True)], places[::-1])
    expected = sorted((folder / "whole").rglob("*.parquet"))
    assert len(expected) == -(-len(origins) // 8)
    for path in expected:
        other = folder / "parts" / path.relative_to(folder / "whole")
        assert other.read_bytes() == path.read_bytes()


def test_the_numbering_of_sources_and_files_changes_nothing(tmp_path: Path) -> None:
    origins = make_origins([("b", "2", "x"), ("a", "1", "y"), ("b", "1", "z")])
    places = sorted({(origin.source, origin.file) for origin in origins})
    given = (places, places[::-1], [("never", "seen"), *places])
    for number, given_places in enumerate(given):
        with ProvenanceWriter(tmp_path / str(number), 0, given_places) as writer:
            writer.write(block_of(origins, given_places))
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


@QUICK
@given(ids=st.lists(st.text(max_size=9)))
def test_the_two_ways_of_hashing_agree(ids: list[str]) -> None:
    spelled = [id_.encode() for id_ in ids]
    data = np.frombuffer(b"".join(spelled), np.uint8)
    offsets = np.cumsum([0, *map(len, spelled)], dtype=np.int64)
    assert document_hashes(data, offsets).tolist() == [document_hash(id_) for id_ in ids]


def test_hashes_are_those_that_files_have() -> None:
    assert [document_hash(text) for text in ("", "a", "東京")] == [
        0xEFD01F60BA992926 >> 1,
        0x82A2A958A9BECE5B >> 1,
        0xB700C569E52D4522 >> 1,
    ]
    one, other = map(document_hash, TWINS)
    assert one == other


@QUICK
@given(hashes=st.lists(st.integers(0, (1 << 63) - 1)), num_parts=st.integers(1, (1 << 31) - 1))
def test_the_two_ways_of_finding_a_part_agree(hashes: list[int], num_parts: int) -> None:
    hashes += [0, (1 << 63) - 1, -(-(1 << 63) // num_parts) - 1]
    expected = [part_of(digest, num_parts) for digest in hashes]
    assert parts_of(np.array(hashes, np.int64), num_parts).tolist() == expected


def test_documents_that_share_a_hash_are_told_apart(tmp_path: Path) -> None:
    pairs = [("a", "f", TWINS[row % 3 % 2]) for row in range(30)]
    origins = make_origins(pairs)
    provenance = write(tmp_path / "provenance", [origins])
    for twin in TWINS:
        assert provenance.document(twin) == [one for one in origins if one.document == twin]
    (path,) = (tmp_path / "provenance" / "documents").iterdir()
    stored = pq.read_table(path)["document"].to_pylist()
    assert [document for document, _ in groupby(stored)] == sorted(TWINS)


def test_files_are_as_the_description_says(tmp_path: Path) -> None:
    origins = make_origins([("s", f"f{row % 3}", f"d{row}") for row in range(20_000)])
    write(tmp_path / "provenance", [origins])
    (path,) = (tmp_path / "provenance").glob("checkpoint_*/*")
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(i).num_rows for i in range(3)] == [8192, 8192, 20_000 - 2 * 8192]
    row = metadata.row_group(1).column(0)
    assert (row.path_in_schema, row.compression) == ("row", "ZSTD")
    assert (row.statistics.min, row.statistics.max) == (8192, 2 * 8192 - 1)
    assert metadata.row_group(1).column(1).statistics.min == 8192 // 3 + 1

    path = tmp_path / "provenance" / "documents" / "documents_000000_of_000001.parquet"
    metadata, table = pq.read_metadata(path), pq.read_table(path)
    assert [metadata.row_group(i).num_rows for i in range(2)] == [16384, 20_000 - 16384]
    hashes = table["hash"].to_pylist()
    assert hashes == sorted(map(document_hash, table["document"].to_pylist()))
    least, most = metadata.row_group(0).column(0).statistics.min, hashes[16383]
    assert (least, metadata.row_group(0).column(0).statistics.max) == (hashes[0], most)
    plain = table.drop_columns(["hash"]).to_pylist()
    assert sorted(plain, key=lambda row: row["row"]) == [one._asdict() for one in origins]


def test_the_examples_of_the_description_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = [f"books-{row % 9}" for row in range(20)]
    write(tmp_path / "provenance", [make_origins([("books", "f", one) for one in documents])])
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "docs" / "spec" / "provenance.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(code) == 3
    names: dict[str, object] = {}
    for part in code:
        exec(part, names)
    counted, found = map(ast.literal_eval, capsys.readouterr().out.splitlines())
    tokens = sum(100 + row for row in range(3, 9))
    assert counted == [{"source": "books", "num_tokens_sum": tokens, "row_count": 6}]
    assert [one["row"] for one in found] == [7, 16]


def test_an_order_without_rows_has_an_empty_index(tmp_path: Path) -> None:
    write_documents(tmp_path, [], [])
    (path,) = (tmp_path / "provenance").rglob("*.parquet")
    assert pq.read_table(path).num_rows == 0
    provenance = opened(tmp_path / "provenance")
    assert (provenance.num_rows, provenance.document("d")) == (0, [])
    with pytest.raises(MismatchError, match="got no row 0"):
        provenance.rows(0, 1)


def damaged(folder: Path, what: str) -> ProvenanceReader:
    """Write provenance, damage it, and open it."""
    origins = make_origins([("s", "f", f"d{row}") for row in range(30)])
    write(folder, [origins[:10], origins[10:20], origins[20:]])
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.parquet")}
    path = next(path for name, path in paths.items() if name.startswith(what))
    if what == "documents":
        path.write_bytes(path.read_bytes()[:-20])
    elif what.endswith("steps_000001"):
        path.unlink()
    else:
        pq.write_table(pq.read_table(path).drop_columns(["file"]), path)
    return opened(folder)


@pytest.mark.parametrize("what", ["checkpoint_000001/steps_000001", "documents"])
@given(place=st.integers(0, 1 << 20), bit=st.integers(0, 7))
@settings(QUICK, max_examples=30)
def test_no_answer_comes_from_a_file_with_a_damaged_bit(
    what: str, tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("out") / "provenance"
    origins = make_origins([("s", "f", f"d{row}") for row in range(30)])
    provenance = write(folder, [origins[:10], origins[10:20], origins[20:]])
    [path] = [path for path in folder.rglob("*.parquet") if what in path.as_posix()]
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(MismatchError, match="has other bytes than the manifest says"):
        _ = provenance.document("d3") if what == "documents" else provenance.rows(12, 14)


def test_damaged_files_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"documents_000000_of_000001\.parquet: cannot be read"):
        damaged(tmp_path / "1" / "provenance", "documents").document("d3")
    provenance = damaged(tmp_path / "2" / "provenance", "checkpoint_000001/steps_000001")
    assert [origin.row for origin in provenance.rows(5, 10)] == [5, 6, 7, 8, 9]
    for start, stop in ((5, 11), (15, 16)):
        with pytest.raises(MismatchError, match=r"got no row 1[05], expected it here"):
            provenance.rows(start, stop)
    with pytest.raises(MismatchError, match=r"got columns \[.*\] of other types"):
        damaged(tmp_path / "3" / "provenance", "checkpoint_000002").rows(25, 26)


def test_an_incomplete_provenance_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="got no complete provenance of an order"):
        opened(tmp_path / "nowhere")
    origins = make_origins([("s", "f", "d")])
    write(tmp_path / "provenance", [origins])
    path = tmp_path / "provenance" / "documents" / "documents_000000_of_000001.parquet"
    path.rename(path.with_name("documents_000000_of_000002.parquet"))
    with pytest.raises(MismatchError, match="got no complete provenance of an order"):
        opened(tmp_path / "provenance")
