"""Reading MDS shards: rows of text, and rows of ids that a tokenizer turns back into text."""

import gzip
import hashlib
import json
import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK, Row, rows, texts
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from pipeline.core.document import Document
from pipeline.core.errors import DocumentError, InputError
from pipeline.dataset.mds.writer import MdsWriter
from pipeline.sources.partitions import InputFile
from pipeline.sources.readers import file_reader, raw_file
from pipeline.sources.readers.id_decoder import Decoding

TEXTS = [
    ("a", "first"),
    ("b", "two\nlines, \u00e9 and \U0001f600"),
    ("\u00e9", " "),
    ("d", "nul \x00 and \u2028"),
    ("e", "x" * 70_000),
]

SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Two lines,\n\tan indent and an \u00e9.",
    "if x != y: print('a', \u201cb\u201d) ! \U0001f600",
    "It isn't ' so ' , he 's sure ; do n't ask . Why ?",
]

# What each encoding stores, made by hand.
CODES = {"uint16": 16, "uint32": 32, "int64": 65}


def refuse(error: DocumentError) -> None:
    raise error


def shard(columns: list[tuple[str, str, int | None]], samples: list[list[bytes]]) -> bytes:
    """Return the bytes of a shard by the format's description; columns are sorted by name."""
    names, encodings, sizes = (list(part) for part in zip(*columns, strict=True))
    config = {
        "column_encodings": encodings,
        "column_names": names,
        "column_sizes": sizes,
        "compression": None,
        "format": "mds",
        "hashes": [],
        "size_limit": 1 << 26,
        "version": 2,
    }
    header = json.dumps(config, sort_keys=True).encode()
    bodies = []
    for sample in samples:
        variable = [len(body) for body, size in zip(sample, sizes, strict=True) if size is None]
        bodies.append(struct.pack(f"<{len(variable)}I", *variable) + b"".join(sample))
    offsets = [4 + 4 * (len(samples) + 1) + len(header)]
    for body in bodies:
        offsets.append(offsets[-1] + len(body))
    start = struct.pack(f"<{1 + len(offsets)}I", len(samples), *offsets)
    return start + header + b"".join(bodies)


def text_shard(documents: list[tuple[str, str]]) -> bytes:
    """Return a shard as the published preparation makes it of Dolma and DCLM."""
    samples = [[id_.encode(), text.encode()] for id_, text in documents]
    return shard([("id", "str", None), ("text", "str", None)], samples)


def array(values: Any, encoding: str) -> bytes:
    """Return an array as `ndarray` or `ndarray:<type>` stores it."""
    values = np.asarray(values)
    largest = max(values.shape)
    width = 0 if largest < 1 << 8 else 1 if largest < 1 << 16 else 2
    shape = struct.pack(f"<{values.ndim}{'BHI'[width]}", *values.shape)
    start = bytes([CODES[values.dtype.name]]) if encoding == "ndarray" else b""
    return b"".join([start, bytes([4 * values.ndim + width]), shape, values.tobytes()])


def input_file(folder: Path, data: bytes, name: str = "shard.00000.mds") -> InputFile:
    path = folder / name
    path.write_bytes(data)
    kind = name[name.index(".mds") :]
    return InputFile(path=path, declared=name, partition="p", kind=kind)


def read_all(
    file: InputFile, on_bad: Callable[[DocumentError], None] = refuse, **fields: Any
) -> tuple[list[Document], file_reader.FileReader]:
    reader = file_reader.FileReader(file, **{"text_field": "text", "id_field": "id", **fields})
    return [document for block in reader.blocks(on_bad) for document in block], reader


def pairs(documents: list[Document]) -> list[tuple[str, str]]:
    return [(document.id, document.text) for document in documents]


# Text


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


# Ids


def word_tokenizer(folder: Path, vocab: dict[str, int]) -> Path:
    """Save a tokenizer of whole words."""
    tokenizer = Tokenizer(models.WordLevel({**vocab, "[UNK]": 1}, unk_token="[UNK]"))
    path = folder / "words.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> tuple[Tokenizer, Path]:
    """A small tokenizer of Llama 3's kind: byte-level BPE with special tokens at both ends."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(SENTENCES * 4, trainer)
    specials = ["<|begin_of_text|>", "<|end_of_text|>"]
    tokenizer.add_special_tokens([AddedToken(special, special=True) for special in specials])
    begin, end = (tokenizer.token_to_id(special) for special in specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{specials[0]} $A {specials[1]}",
        special_tokens=[(specials[0], begin), (specials[1], end)],
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(path))
    return tokenizer, path


def decoding(path: Path, *, cleans_up: bool = False) -> Decoding:
    return Decoding(tokenizer=path, cleans_up=cleans_up)


@pytest.mark.parametrize(
    "encoding", ["ndarray", "ndarray:uint16", "ndarray:uint32", "ndarray:int64"]
)
def test_rows_of_ids_become_text_without_special_tokens(
    tmp_path: Path, bpe: tuple[Tokenizer, Path], encoding: str
) -> None:
    tokenizer, path = bpe
    dtype = encoding.partition(":")[2] or "uint32"
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
    with pytest.raises(
        InputError, match=r"t\.json: cannot be read as a tokenizer \(.*expected a tokenizer\.json"
    ):
        read_all(input_file(tmp_path, b""), decoding=decoding(tmp_path / "t.json"))


# Damage


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
    assert raised.value.hint == "pull the file again"


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
    with pytest.raises(InputError, match="broken compressed data after document"):
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


# The public package writes, we read


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
