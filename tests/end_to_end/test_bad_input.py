"""Bad input: one clear line that says where, what and what to do; or a count, and nothing lost."""

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.config.load import load_mixture
from pipeline.core.errors import ConfigError, DocumentError, InputError
from pipeline.dataset.manifest import manifest_bytes
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.writer import index_bytes, merge_indexes
from pipeline.runner import run as building
from pipeline.sources.partitions import list_files
from pipeline.sources.readers import SKIP_HINT, FileReader, file_reader

HINTS = {
    "no_text": f"name the field that holds the text with from.text; {SKIP_HINT}",
    "no_id": f"name the field with from.id, or write `id: null` to make ids; {SKIP_HINT}",
}
"""By reason; of all others it is `SKIP_HINT`."""

GOOD = b'{"id": "good", "text": "A good document."}'
NO_JSON = ("invalid_json", "got a line that is not JSON (")
BAD_LINES: dict[str, tuple[bytes, str, str]] = {
    "no JSON": (b"{", *NO_JSON),
    "two objects": (b'{"id": 1} {}', *NO_JSON),
    "half a line": (GOOD[:20], *NO_JSON),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, *NO_JSON),
    "NaN": (b'{"id": "x", "text": NaN}', *NO_JSON),
    "deep": (b"[" * 100_000, *NO_JSON),
    "lone surrogate": (b'{"id": "x", "text": "\\ud800"}', *NO_JSON),
    "lone surrogate in the id": (b'{"id": "\\udfff", "text": "x"}', *NO_JSON),
    "a list": (b'["id"]', "invalid_json", "got a JSON list, expected an object"),
    "a string": (b'"text"', "invalid_json", "got a JSON str, expected an object"),
    "null": (b"null", "invalid_json", "got a JSON NoneType, expected an object"),
    "invalid UTF-8": (
        b'{"id": "x", "text": "ab\xff"}',
        "invalid_utf8",
        "invalid UTF-8 at byte 23: invalid start byte",
    ),
    "UTF-8 of a surrogate": (
        b'{"id": "x", "text": "\xed\xa0\x80"}',
        "invalid_utf8",
        "invalid UTF-8 at byte 21: invalid continuation byte",
    ),
    "no text": (b'{"id": "x"}', "no_text", 'field "text" is missing, expected text'),
    "text is null": (
        b'{"id": "x", "text": null}',
        "no_text",
        'field "text" is missing, expected text',
    ),
    "text is a number": (
        b'{"id": "x", "text": 1}',
        "no_text",
        'field "text" is an int, expected text',
    ),
    "text is a list": (
        b'{"id": 0, "text": []}',
        "no_text",
        'field "text" is a list, expected text',
    ),
    "no id": (b'{"text": "x"}', "no_id", 'field "id" is missing, expected an id'),
    "id is a fraction": (
        b'{"id": 1.5, "text": "x"}',
        "no_id",
        'field "id" is a float, expected an id',
    ),
    "id is true": (b'{"id": true, "text": "x"}', "no_id", 'field "id" is a bool, expected an id'),
    "empty text": (b'{"id": "x\\n1", "text": ""}', "empty_text", 'id "x\\n1" has an empty text'),
}


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
        "zeros at the end": whole + bytes(16),
        "not packed": TEXT,
        "no byte": b"",
    }[how]


HOW = [
    "truncated", "one byte short", "checksum cut off", "header alone", "second member truncated",
    "second member without its end", "second header cut", "wrong checksum",
    "garbage in the middle", "garbage at the end", "zeros at the end", "not packed", "no byte",
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
    assert raised.value.hint == "pull the file again"
    assert reader.sha256 == ""


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
    assert raised.value.hint == "pull the file again"


# End to end


class Here:
    """An engine that carries tasks out in this process."""

    def map(self, stage: str, function: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        return [function(task) for task in tasks]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the mixtures of all builds, so that the tokenizer is loaded once."""
    return tmp_path_factory.mktemp("mixtures")


@pytest.fixture
def build(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Return a function that builds files of one source; its output is `tmp_path / out`."""

    @contextmanager
    def open_here(*_: object) -> Iterator[Here]:
        yield Here()

    monkeypatch.setattr(building, "open_cluster", open_here)

    def run(
        files: Mapping[str, bytes],
        *settings: str,
        algorithm: str = "whole-v1",
        on_error: str = "skip",
        out: str = "out",
    ) -> dict[str, Any]:
        inputs = tmp_path / f"{out}-inputs"
        inputs.mkdir()
        for name, data in files.items():
            (inputs / name).write_bytes(data)
        ettin = "" if algorithm == "whole-v1" else ", min_size: 10, skip_below: 3, seed: 42"
        declared = f"""
name: bad
chunk: {{algorithm: {algorithm}, size: 16{ettin}}}
sources: {{s: {{from: {{path: "{inputs}/*"}}}}}}
order: {{seed: 1, global_batch_size: 2, max_seq_len: 16}}
on_error: {on_error}
"""
        mixture = load_mixture(folder / "mixture.yaml", settings, text=declared.encode())
        made = building.build(
            mixture, tmp_path / out, workers=1, scheduler=None, report=lambda *_: None
        )
        content: dict[str, Any] = json.loads(manifest_bytes(made))
        return content

    return run


def lines(*documents: tuple[str, str]) -> bytes:
    return b"".join(
        json.dumps({"id": id_, "text": text}).encode() + b"\n" for id_, text in documents
    )


def stored(out: Path) -> dict[str, bytes]:
    """Return the shards of an output by path, less what names no rows."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted((out / "train").rglob("*"))
        if path.is_file()
    }


def written_ids(out: Path) -> list[str]:
    """Return the document ids of all rows, in the order of the root index."""
    pool = Pool.open(out / "train")
    ids = []
    for shard in pool.shards:
        names = shard.names(np.arange(len(shard.row_offsets) - 1))
        ids += [names[row].tobytes().decode() for row in range(len(names))]
    return ids


PROSE = "The tide tables hang beside the door, and nobody reads them but the cat. " * 4


def test_every_kind_of_bad_document_is_counted_and_the_rest_is_as_without_it(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    good = [("a", PROSE), ("b", "short"), ("c", PROSE[5:])]
    bad = b"".join(line + b"\n" for line, _, _ in BAD_LINES.values())
    bad += lines(("only", "[CLS][SEP]"), ("only 2", "[MASK]"), ("a", "again"))
    manifest = build({"f.jsonl": lines(good[0]) + bad + lines(*good[1:])})
    build({"f.jsonl": lines(*good)}, out="clean")
    documents = manifest["sources"]["s"]["documents"]
    assert documents["dropped"] == {
        "duplicate_id": 1,
        "empty_text": 1,
        "invalid_json": 11,
        "invalid_utf8": 2,
        "no_id": 3,
        "no_text": 4,
        "only_special_tokens": 2,
    }
    assert documents["kept"] == 3
    assert documents["in"] == 3 + sum(documents["dropped"].values())
    assert stored(tmp_path / "out") == stored(tmp_path / "clean")


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (("x", "[CLS] [SEP]"), None),
        (("x", "[CLS][SEP]"), 'id "x" has only special tokens'),
        (("a", "again"), 'id "a" was seen before'),
    ],
    ids=["a space is content", "only special tokens", "duplicate"],
)
def test_a_bad_document_stops_a_build_by_name(
    build: Callable[..., dict[str, Any]],
    tmp_path: Path,
    document: tuple[str, str],
    what: str | None,
) -> None:
    files = {"f.jsonl": lines(("a", PROSE), document)}
    if what is None:
        assert build(files, on_error="stop")["sources"]["s"]["documents"]["kept"] == 2
        return
    with pytest.raises(DocumentError) as raised:
        build(files, on_error="stop")
    assert raised.value.message.endswith(f"f.jsonl: document 2: {what}")
    assert raised.value.hint == SKIP_HINT
    assert not list((tmp_path / "out").rglob("*.mds")), "nothing half-written stays"


@pytest.mark.parametrize("algorithm", ["whole-v1", "ettin-slice-v1", "ettin-reencode-v1"])
def test_the_first_of_a_repeated_id_is_kept_and_the_bytes_are_as_without_the_later_ones(
    build: Callable[..., dict[str, Any]], tmp_path: Path, algorithm: str
) -> None:
    one = [("a", PROSE), ("b", PROSE[3:]), ("c", "short text"), ("d", PROSE[9:])]
    two = [("e", PROSE[1:]), ("f", PROSE[2:])]
    repeated_one = [one[0], ("a", "adjacent"), one[1], one[2], ("a", PROSE[7:]), one[3], ("c", "x")]
    repeated_two = [("b", "of the other file"), two[0], ("e", PROSE), two[1], ("e", "later")]
    files = {"1.jsonl": lines(*repeated_one), "2.jsonl": lines(*repeated_two)}
    manifest = build(files, algorithm=algorithm)
    build({"1.jsonl": lines(*one), "2.jsonl": lines(*two)}, algorithm=algorithm, out="clean")
    documents = manifest["sources"]["s"]["documents"]
    assert documents == {"in": 12, "kept": 6, "dropped": {"duplicate_id": 6}}
    assert stored(tmp_path / "out") == stored(tmp_path / "clean")


def test_repeated_ids_across_files_are_all_named_when_the_build_stops(
    build: Callable[..., dict[str, Any]],
) -> None:
    files = {"1.jsonl": lines(("a", "x"), ("b", "y")), "2.jsonl": lines(("b", "z"), ("a", "w"))}
    with pytest.raises(DocumentError) as raised:
        build(files, on_error="stop")
    assert raised.value.message == (
        "sources.s: got documents that share an id, expected ids unique in a source: "
        '"a" in 1 and 2; "b" in 1 and 2'
    )


def test_the_first_file_by_name_wins_whatever_was_listed_first(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    build({"b.jsonl": lines(("x", "from b"), ("y", "y")), "a.jsonl": lines(("x", "from a"))})
    assert written_ids(tmp_path / "out") == ["x", "y"]


@pytest.mark.parametrize("middle", [14, 40, 3_000])
def test_a_document_with_a_piece_that_decodes_to_nothing_is_counted_or_named(
    build: Callable[..., dict[str, Any]], tmp_path: Path, middle: int
) -> None:
    # Pieces are of 14 ids, CLS among those of the first: one of the pieces is special ids alone.
    hole = ("hole", PROSE + "[SEP]" * (middle + 13) + PROSE)
    files = {"f.jsonl": lines(("a", PROSE), hole, ("b", PROSE))}
    with pytest.raises(DocumentError) as raised:
        build(files, algorithm="ettin-reencode-v1", on_error="stop")
    assert raised.value.message.endswith(
        'f.jsonl: document 2: id "hole" has a piece that decodes to nothing, which '
        "ettin-reencode-v1 cannot chunk"
    )
    manifest = build(files, algorithm="ettin-reencode-v1", out="skipped")
    source = manifest["sources"]["s"]
    assert source["documents"] == {"in": 3, "kept": 2, "dropped": {"undecodable": 1}}
    tokens = source["tokens"]
    assert tokens["in"] + tokens["added"] == tokens["written"] + tokens["discarded"]
    assert set(written_ids(tmp_path / "skipped")) == {"a", "b"}


@pytest.mark.parametrize("algorithm", ["whole-v1", "ettin-slice-v1"])
def test_the_same_document_is_no_trouble_for_the_others(
    build: Callable[..., dict[str, Any]], tmp_path: Path, algorithm: str
) -> None:
    hole = ("hole", PROSE + "[SEP]" * 100 + PROSE)
    manifest = build({"f.jsonl": lines(hole)}, algorithm=algorithm, on_error="stop")
    assert manifest["sources"]["s"]["documents"] == {"in": 1, "kept": 1, "dropped": {}}
    assert set(written_ids(tmp_path / "out")) == {"hole"}


def test_a_source_without_a_good_document_builds_to_nothing_and_says_so(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    manifest = build({"f.jsonl": b"{\n", "g.jsonl": b""})
    source = manifest["sources"]["s"]
    assert source["documents"] == {"in": 1, "kept": 0, "dropped": {"invalid_json": 1}}
    assert source["chunks"] == {"written": 0, "validation": 0, "drawn": 0}
    assert manifest["order"]["num_samples"] == 0
    index = (tmp_path / "out" / "train" / "index.json").read_bytes()
    assert index == index_bytes(merge_indexes([]), merged=True)


def test_a_budget_over_nothing_is_refused(build: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(ConfigError, match=r"^sources\.s\.tokens: needs 5 tokens, has 0\n"):
        build({"f.jsonl": b""}, "sources.s.tokens=5")


def test_a_damaged_file_stops_a_build_that_skips(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="broken compressed data after document "):
        build({"f.json.gz": gzip.compress(TEXT)[:-3]})
    assert not list((tmp_path / "out").rglob("*.mds"))


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 20])
def test_repeats_are_told_apart_whatever_is_dropped_between_and_wherever_blocks_end(
    build: Callable[..., dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    block_bytes: int,
) -> None:
    monkeypatch.setattr(file_reader, "BLOCK_BYTES", block_bytes)
    special, hole = "[SEP]", PROSE + "[SEP]" * 40 + PROSE
    documents = [
        *[("a", special), ("a", PROSE), ("b", special), ("a", "again"), ("c", hole), ("a", "more")],
        *[("d", PROSE), ("e", special), ("d", "again"), ("a", "late"), ("e", "first of its id")],
    ]
    source = build({"f.jsonl": lines(*documents)}, algorithm="ettin-reencode-v1")["sources"]["s"]
    dropped = {"duplicate_id": 4, "only_special_tokens": 3, "undecodable": 1}
    assert source["documents"] == {"in": 11, "kept": 3, "dropped": dropped}
    kept = dict.fromkeys(written_ids(tmp_path / "out"))
    assert list(kept) == ["a", "d", "e"]


def test_names_of_documents_lead_nowhere(
    build: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    ids = ["../../up", "/etc/passwd", "a\nb", "", ".", "\u00e9\x00", "x" * 5_000]
    build({"f.jsonl": lines(*((id_, "text") for id_ in ids))})
    assert written_ids(tmp_path / "out") == ids
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out-inputs"}
