"""A JSON array gives its elements as lines give theirs, wherever reads and elements end."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.strategies import QUICK, texts

from pipeline.core.errors import InputError
from pipeline.sources.partitions import list_files
from pipeline.sources.readers import FileReader, raw_file
from pipeline.sources.readers.json_array import split_array

TEXTS = ["one", 'a "quote", a \\ and ] } , [ {', "\u00e9 \U0001f600", "\\", '\\"', "x" * 5_000]
RECORDS: list[Any] = [
    {"id": str(number), "text": text, "meta": {"of": [[], {}, [number, "]"]]}}
    for number, text in enumerate(TEXTS)
]


def read(folder: Path, name: str, data: bytes) -> tuple[list[str], list[str]]:
    """Return the texts of the documents and the messages of the bad."""
    (folder / name).write_bytes(data)
    [file] = list_files("source", (name,), folder)
    bad: list[str] = []
    reader = FileReader(file, text_field="text", id_field="id")
    documents = [one for block in reader.blocks(lambda e: bad.append(e.message)) for one in block]
    assert reader.num_rows == len(documents) + len(bad)
    assert reader.sha256
    return [one.text for one in documents], bad


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("read_bytes", [1, 7, 1 << 14])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz"])
def test_an_array_is_read_element_by_element_whatever_its_ending(
    tmp_path: Path, name: str, read_bytes: int, indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_file, "_READ_BYTES", read_bytes)
    data = json.dumps(RECORDS, indent=indent, ensure_ascii=False).encode()
    data = b"\xef\xbb\xbf\n " + data + b"\n\n"
    assert read(tmp_path, name, gzip.compress(data) if name.endswith("gz") else data) == (TEXTS, [])


@QUICK
@given(values=st.lists(texts), size=st.integers(1, 30), indent=st.sampled_from([None, 1]))
def test_any_array_is_cut_where_its_elements_end(
    values: list[str], size: int, indent: int | None
) -> None:
    elements = [[value, {value: [value]}, len(value)] for value in values]
    data = json.dumps(elements, indent=indent).encode()
    blocks = iter([data[start : start + size] for start in range(0, len(data), size)])
    cut = [element for element in split_array(blocks, 1 << 20) if isinstance(element, bytes)]
    assert [json.loads(element) for element in cut] == elements


def test_an_empty_array_has_no_documents(tmp_path: Path) -> None:
    assert read(tmp_path, "a.json", b" [ \n ] ") == ([], [])


def test_a_bad_element_is_one_bad_document(tmp_path: Path) -> None:
    data = b'[{"id": 1, "text": "a"}, 5, {"id" 2}, {"id": 3, "text": "b"}]'
    documents, bad = read(tmp_path, "a.json", data)
    assert documents == ["a", "b"]
    assert bad[0] == "a.json: document 2: got a JSON int, expected an object"
    assert bad[1].startswith("a.json: document 3: got an element that is not JSON (")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'[{"id": 1, "text": "a"}, {"id"', "the file is truncated"),
        (b'[{"id": 1, "text": "a', "the file is truncated"),
        (b'[{"id": 1, "text": "a"},', "the file is truncated"),
        (b'[{"id": 1, "text": "a"}]\n{"id": 2, "text": "b"}', "text follows its end"),
        (b"[1]\n[2]\n", "text follows its end"),
        (b'[{"id": 1, "text": "a"},,{"id": 2, "text": "b"}]', "an element is missing"),
        (b'[{"id": 1, "text": "a"},]', "an element is missing"),
        (b"[,]", "an element is missing"),
    ],
)
def test_an_array_that_is_not_the_whole_file_is_damage(
    tmp_path: Path, data: bytes, reason: str
) -> None:
    with pytest.raises(InputError, match=rf"broken JSON array after document \d: {reason}"):
        read(tmp_path, "a.json", data)


def test_an_element_above_the_limit_is_its_size_and_is_not_held() -> None:
    def blocks() -> Iterator[bytes]:
        yield b'["'
        for _ in range(1_000):
            yield b"x" * 1_000
        yield b'", 2]'

    assert list(split_array(blocks(), 5_000)) == [1_000_002, b" 2"]
