"""CSV and TSV: rows are documents, quotes are kept to, and what is broken is named."""

from pathlib import Path

import pytest
from support.reading import input_file, pairs, read_all

from pipeline.core.errors import DocumentError, InputError


@pytest.mark.parametrize(("name", "mark"), [("a.csv", b","), ("a.tsv", b"\t"), ("B.CSV", b",")])
def test_rows_are_documents_and_other_columns_are_metadata(
    tmp_path: Path, name: str, mark: bytes
) -> None:
    data = b'\xef\xbb\xbfid,text,n\r\n1,"two\nlines, ""quoted""",7\r\n\r\n2,\xc3\xa9,\xff\r\n'
    rows, _ = read_all(input_file(tmp_path, name, data.replace(b",", mark)))
    expected = f'two\nlines{mark.decode()} "quoted"'
    assert pairs(rows) == [("1", expected), ("2", "\u00e9")]
    assert [row.metadata for row in rows] == [{"n": "7"}, {"n": "\ufffd"}]


def test_a_bad_row_costs_itself_alone(tmp_path: Path) -> None:
    bad: list[DocumentError] = []
    data = b"id,text\n1,one\n2\n3,\xff\n4,four\n"
    rows, _ = read_all(input_file(tmp_path, "a.csv", data), bad.append)
    assert pairs(rows) == [("1", "one"), ("4", "four")]
    assert [error.reason for error in bad] == ["invalid_row", "invalid_utf8"]
    assert "got a row of 1 fields, expected 2" in str(bad[0])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b'id,text\n1,"open\n2,two\n', "broken CSV after document 0: unexpected end of data"),
        (b'id,text\n1,one\n2,"a"b\n', "broken CSV after document 1: ',' expected after '\"'"),
        (b"id,content\n1,one\n", 'got columns id, content, expected "text"'),
        (b"id,text,text\n1,one,two\n", 'got 2 columns "text", expected one'),
    ],
)
def test_a_broken_table_is_an_error_of_the_file(tmp_path: Path, data: bytes, match: str) -> None:
    with pytest.raises(InputError, match=match):
        read_all(input_file(tmp_path, "a.csv", data), lambda error: None)


def test_an_open_quote_takes_no_more_than_a_document_may_have(tmp_path: Path) -> None:
    file = input_file(tmp_path, "a.csv", b'id,text\n1,"' + b"x\n" * 1000)
    with pytest.raises(InputError, match=r"a row of more than 100 bytes.*is a quote open"):
        read_all(file, max_document_bytes=100)
