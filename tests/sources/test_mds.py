"""Reading MDS shards: rows of text, and rows of ids that a tokenizer turns back into text."""

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.mds_shards import (
    SENTENCES,
    TEXTS,
    array,
    decoding,
    input_file,
    shard,
    text_shard,
)
from support.reading import pairs, read_all, refuse
from support.strategies import QUICK, Row, rows, texts
from tokenizers import Tokenizer, models

from pipeline.core.errors import DocumentError, InputError
from pipeline.dataset.mds.writer import MdsWriter
from pipeline.sources.readers import file_reader, raw_file

PACKINGS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "raw": ("s.mds", bytes),
    "zstd": ("s.mds.zstd", zstandard.ZstdCompressor().compress),
    "zst": ("s.mds.zst", zstandard.ZstdCompressor(write_checksum=True).compress),
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_rows_of_text_are_documents_in_order_and_the_digest_is_that_of_the_file(
    tmp_path: Path, packing: str
) -> None:
    name, pack = PACKINGS[packing]
    data = pack(text_shard(TEXTS))
    documents, reader = read_all(input_file(tmp_path, data, name))
    assert pairs(documents) == TEXTS
    assert [document.row for document in documents] == list(range(len(TEXTS)))
    assert reader.num_rows == len(TEXTS)
    assert reader.sha256 == hashlib.sha256(data).hexdigest()


def test_a_row_is_read_from_its_literal_bytes(tmp_path: Path) -> None:
    """Vector: id "a", ids 50281, 7, 50282, as the public writer stores them."""
    row = bytes.fromhex("010000000e000000 61 0403 69c40000 07000000 6ac40000".replace(" ", ""))
    config = b'{"column_encodings": ["str", "ndarray:uint32"], "column_names": ["id", "input_ids"],'
    config += b' "column_sizes": [null, null]}'
    start = 12 + len(config)
    data = struct.pack("<3I", 1, start, start + len(row)) + config + row
    tokenizer = word_tokenizer(tmp_path, {"seven": 7, "cls": 50281, "sep": 50282})
    documents, _ = read_all(
        input_file(tmp_path, data), text_field="input_ids", decoding=decoding(tokenizer)
    )
    assert pairs(documents) == [("a", "cls seven sep")]


@QUICK
@given(documents=st.lists(st.tuples(texts, texts), max_size=8), read_bytes=st.integers(1, 99))
def test_any_texts_come_back_however_they_are_read(
    tmp_path: Path, documents: list[tuple[str, str]], read_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw_file, "_READ_BYTES", read_bytes)
        found, _ = read_all(input_file(tmp_path, text_shard(documents)))
    assert pairs(found) == documents


def test_a_shard_without_rows_has_no_documents(tmp_path: Path) -> None:
    documents, reader = read_all(input_file(tmp_path, text_shard([])))
    assert documents == []
    assert reader.num_rows == 0


def test_blocks_are_bounded_and_join_to_the_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_reader, "BLOCK_BYTES", 2000)
    expected = [(str(number), "x" * 30) for number in range(50)]
    reader = file_reader.FileReader(
        input_file(tmp_path, text_shard(expected)), text_field="text", id_field="id"
    )
    blocks = list(reader.blocks(refuse))
    assert [len(block) for block in blocks] == [4] * 12 + [2]
    assert pairs([document for block in blocks for document in block]) == expected


def test_other_columns_are_metadata_and_columns_can_be_named(tmp_path: Path) -> None:
    columns: list[tuple[str, str, int | None]] = [
        ("body", "str", None),
        ("broken", "str", None),
        ("fixed", "ndarray:uint16:2,2", 8),
        ("key", "int", 8),
        ("picture", "jpeg", None),
        ("record", "json", None),
        ("score", "float32", 4),
        ("spans", "ndarray", None),
        ("text", "str", None),
    ]
    sample = [
        b"text", b"\xff", struct.pack("<4H", 1, 2, 3, 4), struct.pack("<q", -7), b"\xff\xd8",
        b'{"a": [1]}', struct.pack("<f", 0.5), array(np.array([[1, 2]], np.int64), "ndarray"),
        b"not this",
    ]  # fmt: skip
    file = input_file(tmp_path, shard(columns, [sample]))
    [document], _ = read_all(file, text_field="body", id_field="key")
    assert (document.id, document.text) == ("-7", "text")
    assert document.metadata == {
        "broken": b"\xff",
        "fixed": [[1, 2], [3, 4]],
        "picture": b"\xff\xd8",
        "record": {"a": [1]},
        "score": 0.5,
        "spans": [[1, 2]],
        "text": "not this",
    }


def test_without_an_id_column_ids_are_made_of_partition_and_row(tmp_path: Path) -> None:
    file = input_file(tmp_path, shard([("text", "str", None)], [[b"one"], [b"\xff"], [b"three"]]))
    documents, reader = read_all(file, on_bad=lambda error: None, id_field=None)
    assert pairs(documents) == [("p/0", "one"), ("p/2", "three")]
    assert reader.num_rows == 3


def test_bad_documents_are_counted_by_their_reasons_and_the_others_read(tmp_path: Path) -> None:
    samples = [[b"a", b"x"], [b"b", b""], [b"c", b"\xff"], [b"\xff", b"x"], [b"d", b"y"]]
    file = input_file(tmp_path, shard([("id", "str", None), ("text", "str", None)], samples))
    found: list[DocumentError] = []
    documents, reader = read_all(file, on_bad=found.append)
    assert pairs(documents) == [("a", "x"), ("d", "y")]
    assert [error.reason for error in found] == ["empty_text", "invalid_utf8", "invalid_utf8"]
    assert found[0].message == 'shard.00000.mds: document 2: id "b" has an empty text'
    assert reader.num_rows == 5


def word_tokenizer(folder: Path, vocab: dict[str, int]) -> Path:
    """Save a tokenizer of whole words."""
    tokenizer = Tokenizer(models.WordLevel({**vocab, "[UNK]": 1}, unk_token="[UNK]"))
    path = folder / "words.json"
    tokenizer.save(str(path))
    return path


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [
        *((f"ndarray:{dtype}", dtype) for dtype in ("uint16", "uint32", "int32", "int64")),
        *(("ndarray", dtype) for dtype in ("uint32", "int32")),
    ],
)
def test_rows_of_ids_become_text_without_special_tokens(
    tmp_path: Path, bpe: tuple[Tokenizer, Path], encoding: str, dtype: str
) -> None:
    tokenizer, path = bpe
    sentences = [*SENTENCES, "long " * 400]
    ids = [tokenizer.encode(sentence).ids for sentence in sentences]
    assert {len(row) >= 256 for row in ids} == {False, True}, "both widths of a length"
    columns: list[tuple[str, str, int | None]] = [
        ("id", "str", None),
        ("input_ids", encoding, None),
    ]
    samples = [
        [str(number).encode(), array(np.array(row, dtype), encoding)]
        for number, row in enumerate(ids)
    ]
    file = input_file(tmp_path, shard(columns, samples))
    documents, _ = read_all(file, text_field="input_ids", decoding=decoding(path))
    assert pairs(documents) == [(str(i), sentence) for i, sentence in enumerate(sentences)]


def test_rows_as_prolong_has_them_are_documents_with_made_ids(
    tmp_path: Path, bpe: tuple[Tokenizer, Path]
) -> None:
    """Columns of `princeton-nlp/prolong-data-64K`: no id, and where documents were joined."""
    tokenizer, path = bpe
    columns: list[tuple[str, str, int | None]] = [
        ("domain", "str", None),
        ("indices", "ndarray:uint32", None),
        ("input_ids", "ndarray:uint32", None),
        ("length", "uint64", 8),
    ]
    joined = [number for text in SENTENCES[:2] for number in tokenizer.encode(text).ids]
    spans = np.array([[0, 14], [14, len(joined)]], np.uint32)
    sample = [
        b"books",
        array(spans, "ndarray:uint32"),
        array(np.array(joined, np.uint32), "ndarray:uint32"),
        struct.pack("<Q", len(joined)),
    ]
    file = input_file(tmp_path, shard(columns, [sample]))
    [document], _ = read_all(file, text_field="input_ids", id_field=None, decoding=decoding(path))
    assert (document.id, document.text) == ("p/0", SENTENCES[0] + SENTENCES[1])
    assert document.metadata == {
        "domain": "books",
        "indices": spans.tolist(),
        "length": len(joined),
    }


@QUICK
@given(stored=rows(300), dtype=st.sampled_from(["uint16", "uint32"]))
def test_what_our_writer_wrote_is_decoded_row_by_row(
    tmp_path: Path, bpe: tuple[Tokenizer, Path], stored: list[Row], dtype: Any
) -> None:
    tokenizer, path = bpe
    folder = tmp_path / "ours"
    folder.mkdir(exist_ok=True)
    writer = MdsWriter(folder=folder, dtype=dtype, size_limit=1 << 20)
    offsets = np.cumsum([0, *(len(row.ids) for row in stored)])
    ids = np.array([number for row in stored for number in row.ids], np.uint32)
    writer.write([row.id.encode() for row in stored], np.arange(len(stored)), ids, offsets)
    names = [entry["raw_data"]["basename"] for entry in writer.finish()["shards"]]
    expected = [(row.id, tokenizer.decode(row.ids, skip_special_tokens=True)) for row in stored]
    found = [
        pair
        for name in names
        for pair in pairs(
            read_all(
                input_file(folder, (folder / name).read_bytes(), name),
                on_bad=lambda error: None,
                text_field="input_ids",
                decoding=decoding(path),
            )[0]
        )
    ]
    assert found == [pair for pair in expected if pair[1]]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if x != y .", "if x!= y."),
        ("a , b ? c !", "a, b? c!"),
        ("it 's 'm 've 're n't", "it's'm've'ren't"),
        ("he said ' so '", "he said'so '"),
        ("a 'b", "a 'b"),
    ],
)
def test_text_is_cleaned_up_as_it_was_published_or_left_alone(
    tmp_path: Path, bpe: tuple[Tokenizer, Path], before: str, after: str
) -> None:
    tokenizer, path = bpe
    ids = np.array(tokenizer.encode(before).ids, np.uint16)
    columns: list[tuple[str, str, int | None]] = [("input_ids", "ndarray:uint16", None)]
    file = input_file(tmp_path, shard(columns, [[array(ids, "ndarray:uint16")]]))
    for cleans_up, expected in ((False, before), (True, after)):
        [document], _ = read_all(
            file,
            text_field="input_ids",
            id_field=None,
            decoding=decoding(path, cleans_up=cleans_up),
        )
        assert document.text == expected


def test_rows_that_are_no_ids_are_bad_documents(
    tmp_path: Path, bpe: tuple[Tokenizer, Path]
) -> None:
    tokenizer, path = bpe
    [special] = tokenizer.encode("", add_special_tokens=True).ids[:1]
    values = [
        np.array([40, 41]),
        np.array([40, 10**6]),
        np.array([-1, 40]),
        np.array([[40, 41]]),
        np.array([special]),
        np.array([42]),
    ]
    columns: list[tuple[str, str, int | None]] = [("ids", "ndarray", None)]
    file = input_file(tmp_path, shard(columns, [[array(one, "ndarray")] for one in values]))
    found: list[DocumentError] = []
    documents, _ = read_all(
        file, on_bad=found.append, text_field="ids", id_field=None, decoding=decoding(path)
    )
    assert [document.row for document in documents] == [0, 5]
    assert [error.reason for error in found] == [
        "undecodable", "undecodable", "no_text", "empty_text",
    ]  # fmt: skip
    assert [error.message for error in found[:3]] == [
        "shard.00000.mds: document 2: got id 1000000, expected ids of the tokenizer of from.decode",
        "shard.00000.mds: document 3: got id -1, expected ids of the tokenizer of from.decode",
        "shard.00000.mds: document 4: got an array of 1 x 2 int64, expected a row of ids",
    ]


def test_ids_that_the_vocabulary_skips_are_undecodable(tmp_path: Path) -> None:
    path = word_tokenizer(tmp_path, {"a": 0, "z": 9})
    columns: list[tuple[str, str, int | None]] = [("ids", "ndarray", None)]
    file = input_file(tmp_path, shard(columns, [[array(np.array([0, 5, 9]), "ndarray")]]))
    with pytest.raises(DocumentError, match="got id 5, expected ids of the tokenizer"):
        read_all(file, text_field="ids", id_field=None, decoding=decoding(path))


# What the mixture says must fit the columns
def test_columns_that_are_not_there_are_named(tmp_path: Path) -> None:
    file = input_file(tmp_path, text_shard(TEXTS))
    with pytest.raises(InputError) as raised:
        read_all(file, text_field="body")
    assert raised.value.message == 'shard.00000.mds: got columns id, text, expected "body"'
    assert raised.value.hint == "name the columns with from.text and from.id (null makes ids)"
    with pytest.raises(InputError, match='expected "key"'):
        read_all(file, id_field="key")


def test_ids_need_a_tokenizer_and_text_takes_none(
    tmp_path: Path, bpe: tuple[Tokenizer, Path]
) -> None:
    ids = [[array(np.array([40], np.uint16), "ndarray:uint16")]]
    file = input_file(tmp_path, shard([("text", "ndarray:uint16", None)], ids))
    with pytest.raises(InputError) as raised:
        read_all(file, id_field=None)
    assert raised.value.message == (
        'shard.00000.mds: got ids in column "text" (ndarray:uint16), expected text'
    )
    assert raised.value.hint == "name the tokenizer that made the ids with from.decode"
    with pytest.raises(InputError, match=r'got column "text" as str, expected ids to decode\n'):
        read_all(input_file(tmp_path, text_shard(TEXTS)), decoding=decoding(bpe[1]))


def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(InputError, match=r"t\.json: got no usable tokenizer\.json: Model missing"):
        read_all(input_file(tmp_path, b""), decoding=decoding(tmp_path / "t.json"))


def test_bytes_are_ids_of_int64_where_they_are_decoded(
    tmp_path: Path, bpe: tuple[Tokenizer, Path]
) -> None:
    tokenizer, path = bpe
    ids = np.array(tokenizer.encode(SENTENCES[0]).ids, np.int64)
    file = input_file(tmp_path, shard([("tokens", "bytes", None)], [[ids.tobytes()]]))
    documents, _ = read_all(file, text_field="tokens", id_field=None, decoding=decoding(path))
    assert [document.text for document in documents] == [SENTENCES[0]]
