"""Which first rows of tables name columns, and which are refused or doubted."""

import gzip
from pathlib import Path

import pytest

from pipeline.core.errors import InputError
from pipeline.runner.setup.table_headers import check_header
from pipeline.sources import InputFile


def check(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    kind = name[name.index(".") :]
    return check_header(InputFile(path=path, declared=name, partition="t", kind=kind))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.csv", "id,text\n1;2,a\n"),
        ("t.tsv", "id\ttext\n"),
        ("t.csv", "\ufefftext\nOne; two; three\n"),
        ("t.csv", '"a; b; c",text\n'),
        ("t.csv", ",first name,2nd line\n"),
        ("t.csv", "text,2019,2020\n"),
        ("t.csv", "text"),
        ("t.txt", "1;2;3\n"),
        ("t.jsonl", '{"a": 1, "b": 2; 3; 4; 5}\n'),
    ],
)
def test_names_of_columns_are_taken(name: str, text: str, tmp_path: Path) -> None:
    assert check(tmp_path, name, text) == ""


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "id;text\n1;sea\n", "t.csv: got columns with semicolons between them, expected"),
        ("t.csv.gz", '"id";"a, b, c"\n', "t.csv.gz: got columns with semicolons between them"),
        ("t.csv", "id\ttext\n", "t.csv: got columns with tabs between them, expected commas"),
        ("t.tsv", "id,text\n", "t.tsv: got columns with commas between them, expected tabs, as a"),
        ("t.csv", "id|text\r\n", "t.csv: got columns with bars between them"),
        ("t.csv", "1,The boat left\n", 't.csv: got "1" in the first row, expected the names of'),
        ("t.csv", "2024-05-01,fog\n", 't.csv: got "2024-05-01" in the first row'),
        ("t.csv", "a,https://example.org/a\n", 't.csv: got "https://example.org/a" in the'),
        ("t.csv", f"a,{'sea ' * 50}\n", f't.csv: got "{"sea " * 10}…" in the first row'),
    ],
)
def test_a_row_that_plainly_names_no_columns_is_refused(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as raised:
        check(tmp_path, name, text)
    assert raised.value.message.startswith(message)


def test_a_name_that_looks_like_text_is_doubted(tmp_path: Path) -> None:
    for cell in ("The boat left at dawn", "It rained."):
        assert check(tmp_path, "t.csv", f"doc-a,{cell}\ndoc-b,Fog\n") == (
            f't.csv: the first row names the columns, but "{cell}" looks like text;'
            " if it is, put a row of names before it"
        )
