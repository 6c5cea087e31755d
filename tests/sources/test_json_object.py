"""Fields beside text and id are kept as they were written, and cost no document."""

import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.document import Document
from pipeline.core.errors import DocumentError
from pipeline.sources.partitions import list_files
from pipeline.sources.readers import FileReader
from pipeline.sources.readers.json_object import parse_object
from pipeline.sources.readers.raw_file import Columns

COLUMNS = Columns(text="text", id="id")
LONG = "123456789012345678901234567890"


def read_line(folder: Path, line: str) -> Document:
    (folder / "f.jsonl").write_text(line)
    [file] = list_files("source", ("f.jsonl",), folder)

    def refuse(error: DocumentError) -> None:
        raise error

    [[document]] = FileReader(file, text_field="text", id_field="id").blocks(refuse)
    return document


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e400", "1e400"),
        ('"x\\udc80"', "x\udc80"),
        (LONG, LONG),
        (f"-{LONG}", f"-{LONG}"),
        ("9" * 10_000, "9" * 10_000),
        (str(2**64 - 1), 2**64 - 1),
        (str(2**64), str(2**64)),
        (str(-(2**63)), -(2**63)),
        ("1e30", 1e30),
        ("-0.5", -0.5),
    ],
)
@pytest.mark.parametrize("inside", ["%s", "[1, %s]", '{"k": {"text": "t", "id": %s}}'])
def test_another_field_is_kept_as_it_was_written(
    tmp_path: Path, inside: str, written: str, kept: object
) -> None:
    document = read_line(tmp_path, '{"id": 1, "other": ' + inside % written + ', "text": "a"}')
    assert (document.id, document.text) == ("1", "a")
    plain = json.dumps(kept)
    assert document.metadata == {"other": json.loads(inside % plain)}


def test_what_python_writes_costs_no_document(tmp_path: Path) -> None:
    scores = [float("nan"), float("inf"), 2**70]
    document = read_line(tmp_path, json.dumps({"id": "x", "text": "a", "scores": scores}))
    assert document.metadata == {"scores": ["NaN", "Infinity", str(2**70)]}


@pytest.mark.parametrize("id_", [LONG, f"-{LONG}", "18446744073709551615", "-5"])
def test_an_integer_of_any_size_is_an_id(tmp_path: Path, id_: str) -> None:
    assert read_line(tmp_path, f'{{"text": "a", "id": {id_}}}').id == id_


@pytest.mark.parametrize(
    "line",
    [
        '{"id": 1, "text": "a", "id": 2}',
        '{"id": 1, "id": 2, "text": "a"}',
        '{"text": "text", "id": 1, "meta": {"id": 3}, "text": "id"}',
        '{"text": "a", "text": null, "id": 1}',
        r'{"text": "a", "te\u0078t": "b", "id": 1}',
        r'{"text": "a", "te\u0078t": "' + "b" * 100 + '", "id": 1}',
        r'{"te\u0078t": "a", "text": "b\n", "id": 1}',
        r'{"text": "a \"quoted\" text", "id": 1, "\u0069d" : 2}',
        '{"text": null, "id": 1, "text": "a long text"}',
        '{"meta": {"text": 1}, "text": "x", "id": 1, "text": "a text that is much longer"}',
        '{"id": 1, "text": "a", "text": "' + "x" * 60 + '", "type": "text"}',
        r'{"id": 1, "text": "a", "text": "b", "m": "\u0074ext"}',
        r'{"id": 1, "id": 2, "text": "b", "m": "\u0069d"}',
    ],
)
def test_text_or_id_twice_is_an_error(line: str) -> None:
    error = parse_object(line.encode(), "f: document 1", COLUMNS, "a line")
    assert isinstance(error, DocumentError)
    assert error.reason == "duplicate_field"
    assert "an object with two fields" in error.message


@pytest.mark.parametrize(
    "record",
    [
        {"id": "text", "text": "id", "meta": {"text": "id", "id": "text"}, "list": ["id", "text"]},
        {"meta": {"id": 1, "text": 2}, "text": 'a "text" and an "id"', "id": 1},
        {"keys": ["id", "id"], "id": 2, "text": "\u00e9" * 100},
    ],
)
@pytest.mark.parametrize("is_ascii", [True, False])
def test_the_same_words_elsewhere_are_no_second_field(
    record: dict[str, Any], is_ascii: bool
) -> None:
    data = json.dumps(record, ensure_ascii=is_ascii).encode()
    assert parse_object(data, "f", COLUMNS, "a line") == record


INSIDE = Columns(text="meta.text", id="meta.by.uid")


@pytest.mark.parametrize(
    "line",
    [
        '{"meta": {"text": "a", "text": "b", "by": {"uid": 1}}}',
        '{"meta": {"text": "a", "by": {"uid": 1, "n": 3, "uid": 2}}}',
        '{"meta": {"text": "a", "by": {"uid": 1}, "by": {"uid": 2}}}',
        '{"meta": {"text": "a", "by": {"uid": 1}}, "meta": {"text": "b", "by": {"uid": 1}}}',
        '{"meta": {"by": {"uid": 1}}, "meta": {"text": "b", "by": {"uid": 1}}}',
    ],
)
def test_a_field_inside_others_is_there_once(line: str) -> None:
    error = parse_object(line.encode(), "f: document 1", INSIDE, "a line")
    assert isinstance(error, DocumentError)
    assert error.reason == "duplicate_field"
    assert re.search(r'an object with two fields "meta\.(text|by\.uid)"', error.message)


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "a", "text": "b", "meta": {"text": "c", "by": {"uid": 1, "text": 1}}}',
        '{"meta": {"text": "c", "by": {"uid": 1}, "uid": 2, "more": [{"by": 1, "by": 2}]}}',
        '{"meta": {"text": "c", "text": "d"}, "meta.text": "a", "meta.by.uid": 1}',
        '{"meta": {"text": "\\"text\\": \\"meta\\"", "by": {"uid": 1}}}',
    ],
)
def test_the_same_words_beside_a_field_inside_others_are_no_second(line: str) -> None:
    assert parse_object(line.encode(), "f", INSIDE, "a line") == json.loads(line)


def test_half_a_surrogate_inside_others_is_no_text() -> None:
    error = parse_object(b'{"meta": {"text": "\\ud800", "by": {"uid": 1}}}', "f", INSIDE, "a line")
    assert isinstance(error, DocumentError)


def test_names_that_are_not_ascii_are_found_twice_however_they_are_written() -> None:
    columns = replace(COLUMNS, text="l\u00e4ge/x")
    for one in (r"l\u00e4ge/x", r"läge\/x", "läge/x"):
        for other in (r"l\u00e4ge/x", r"läge\/x", "läge/x"):
            line = f'{{"{one}": "a", "{other}": "b", "id": 1}}'
            error = parse_object(line.encode(), "f: document 1", columns, "a line")
            assert isinstance(error, DocumentError), line
        line = f'{{"{one}": "a", "id": 1}}'
        record = parse_object(line.encode(), "f: document 1", columns, "a line")
        assert record == {"läge/x": "a", "id": 1}


@pytest.mark.parametrize("name", ['tex"t', "te\\xt", "t\tx", "null"])
def test_names_that_are_written_with_escapes_are_found_twice(name: str) -> None:
    columns = replace(COLUMNS, text=name)
    spelled = [json.dumps(name), f'"\\u{ord(name[0]):04X}{json.dumps(name)[2:]}']
    for one, other in product(spelled, repeat=2):
        line = f'{{{one}: "a", "id": 1, {other}: "b"}}'
        error = parse_object(line.encode(), "f: document 1", columns, "a line")
        assert isinstance(error, DocumentError), line
        line = f'{{{one}: "a", "id": null, "more": [null, {other}]}}'
        without = replace(columns, id=None)
        assert parse_object(line.encode(), "f", without, "a line") == json.loads(line)


def test_other_fields_may_be_there_twice() -> None:
    data = b'{"id": 1, "a": 1, "text": "x", "a": 2}'
    assert parse_object(data, "f", COLUMNS, "a line") == {"id": 1, "a": 2, "text": "x"}


def test_what_orjson_reads_and_json_finds_too_deep_is_kept() -> None:
    deep = "[" * 1_000 + "]" * 1_000
    data = f'{{"id": 1, "text": "x", "big": {2**70}, "deep": {deep}}}'.encode()
    record = parse_object(data, "f", COLUMNS, "a line")
    assert isinstance(record, dict)
    assert record["text"] == "x"
