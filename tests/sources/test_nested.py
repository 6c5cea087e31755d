"""Fields inside others are text and id, whatever the format, and a wrong name is an error."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.reading import input_file, pairs, read_all

from pipeline.config import Origin
from pipeline.core.errors import InputError
from pipeline.sources.readers.file_reader import check_fields

_RECORDS = [{"meta": {"text": f"t{n}", "by": {"uid": n}}, "more": n} for n in range(3)]
_NAMED = {"text_field": "meta.text", "id_field": "meta.by.uid"}


def _parquet(folder: Path) -> bytes:
    pq.write_table(pa.Table.from_pylist(_RECORDS), folder / "made")
    return (folder / "made").read_bytes()


def _lines(folder: Path) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in _RECORDS)


_WRITERS = {"a.jsonl": _lines, "a.parquet": _parquet}


@pytest.mark.parametrize("name", _WRITERS)
def test_a_path_names_a_field_inside_others(tmp_path: Path, name: str) -> None:
    file = input_file(tmp_path, name, _WRITERS[name](tmp_path))
    documents, _ = read_all(file, **_NAMED)
    assert pairs(documents) == [(str(n), f"t{n}") for n in range(3)]
    left = [{"meta": {"by": {}}, "more": n} for n in range(3)]
    assert [one.metadata for one in documents] == left


def test_a_field_with_the_whole_name_is_the_one_that_is_meant(tmp_path: Path) -> None:
    data = json.dumps({"id": 1, "meta": {"text": "inside"}, "meta.text": "named"}).encode()
    documents, _ = read_all(input_file(tmp_path, "a.jsonl", data), text_field="meta.text")
    assert documents[0].text == "named"
    assert documents[0].metadata == {"meta": {"text": "inside"}}


@pytest.mark.parametrize("name", _WRITERS)
def test_a_wrong_path_names_the_fields_there_are(tmp_path: Path, name: str) -> None:
    file = input_file(tmp_path, name, _WRITERS[name](tmp_path))
    origin = Origin(path=(name,), text="meta.txt", id=None)
    with pytest.raises(InputError, match=r'meta, meta.text, .*, expected "meta.txt"'):
        check_fields(file, origin)
