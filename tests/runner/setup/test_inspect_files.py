"""What is in files, as far as they are read, and what is wrong with them."""

import gzip
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import mds_shards, own_files

from pipeline.config import load_mixture
from pipeline.config.filters import Regex
from pipeline.core.errors import InputError
from pipeline.runner.setup.inspect_files import SourceFacts, inspect_group
from pipeline.runner.setup.new_mixture import find_groups, write_text
from pipeline.runner.setup.propose_mixture import propose
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer

LONG = "The boat left before the fog did."


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer("modernbert", add_prefix_space=False)


def inspect(tokenizer: Tokenizer, *arguments: str, whole_bytes: int = 1 << 20) -> SourceFacts:
    (group,) = find_groups(arguments or ["f.jsonl"], Path())[0]
    return inspect_group(group, tokenizer, 64, whole_bytes)


def write(*records: dict[str, Any], path: str = "f.jsonl") -> None:
    Path(path).write_bytes(own_files.json_lines(records))


def numbered(number: int, words: int = 40) -> list[dict[str, Any]]:
    return [{"id": f"d{n}", "text": f"letter {n} " + "sea " * words} for n in range(number)]


def test_tokens_and_rows_of_little_text_are_counted(tokenizer: Tokenizer) -> None:
    records = numbered(5, words=100)
    write(*records)
    facts = inspect(tokenizer)
    lengths = tokenizer.encode([one["text"] for one in records]).lengths() - 2
    rows = -(-lengths // 62)
    assert facts.is_counted
    assert facts.is_whole
    assert facts.num_rows == rows.sum()
    assert facts.num_tokens == (lengths + 2 * rows).sum()
    assert (facts.median_tokens, facts.longest_tokens) == (np.median(lengths), lengths.max())


@pytest.mark.parametrize("kind", [".jsonl", ".jsonl.gz", ".parquet", ".csv"])
def test_what_is_read_in_part_is_estimated(kind: str, tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(1)
    records = [
        {"id": str(n), "text": " ".join(rng.choice(["sea", "fog", "boat", "letter"], 3000))}
        for n in range(800)
    ]
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(records), "f.parquet", row_group_size=50)
    elif kind == ".csv":
        Path("f.csv").write_bytes(own_files.table(records))
    else:
        data = own_files.json_lines(records)
        Path(f"f{kind}").write_bytes(gzip.compress(data, 1) if kind.endswith(".gz") else data)
    facts = inspect(tokenizer, f"f{kind}", whole_bytes=100_000)
    assert not facts.is_whole
    assert 0 < facts.num_documents < 800
    whole = 800 * (3002 + 2 * 49)
    assert 0.9 * whole < facts.num_tokens < 1.1 * whole


def test_ids_that_repeat_beyond_the_first_records_are_found(tokenizer: Tokenizer) -> None:
    write(*numbered(300), {"id": "d7", "text": "again"})
    facts = inspect(tokenizer)
    assert facts.fields.id is None
    assert facts.fields.id_reason == "`id` repeats in 1 of 301"


def test_ids_that_repeat_across_files_are_found(tokenizer: Tokenizer) -> None:
    write(*numbered(2), path="f-0.jsonl")
    write(*numbered(2), path="f-1.jsonl")
    assert inspect(tokenizer, "f-0.jsonl", "f-1.jsonl").fields.id is None


def test_an_id_that_is_missing_later_is_none(tokenizer: Tokenizer) -> None:
    write(*numbered(300), {"text": "without one"})
    facts = inspect(tokenizer)
    assert (facts.fields.id, facts.num_documents) == (None, 301)
    assert facts.fields.id_reason == "`id` is missing in some documents"


def test_an_id_that_fails_later_makes_way_for_the_next(tokenizer: Tokenizer) -> None:
    records = [one | {"post_id": n, "row_number": n} for n, one in enumerate(numbered(300))]
    write(*records, {"id": "d7", "text": "again", "row_number": 300})
    facts = inspect(tokenizer)
    assert (facts.fields.id, facts.num_documents) == ("row_number", 301)
    assert facts.fields.id_reason == (
        "`id` repeats in 1 of 301; `post_id` is missing in some documents"
    )


def test_copies_and_bad_documents_are_counted(tokenizer: Tokenizer) -> None:
    write(*numbered(3), {"id": "x", "text": numbered(1)[0]["text"] + " "}, {"id": "y", "text": ""})
    with Path("f.jsonl").open("ab") as file:
        file.write(b"not json\n")
    facts = inspect(tokenizer)
    assert (facts.num_documents, facts.num_copies) == (4, 1)
    assert facts.bad == {"empty_text": 1, "invalid_json": 1}
    assert facts.first_bad.startswith('f.jsonl: document 5: id "y" has an empty text')
    assert facts.worst_file == 0


def test_a_file_with_many_bad_documents_is_measured(tokenizer: Tokenizer) -> None:
    write(*numbered(270), *({"id": f"b{n}"} for n in range(30)))
    facts = inspect(tokenizer)
    assert facts.worst_file == Fraction(1, 10)
    made = propose("m", [facts])
    assert made.max_bad == Fraction(2, 10)
    assert made.warnings == (
        "f.jsonl: 30 of 300 documents cannot be used (no_text 30); the first: f.jsonl: document"
        ' 271: field "text" is missing among id, expected text; `on_error: skip` drops and counts'
        " them",
        "`max_bad: 0.2` is written, since a file has more than 1 % of documents that cannot be"
        " used: look at them before you build",
    )


def test_a_file_with_too_many_bad_documents_is_refused(tokenizer: Tokenizer) -> None:
    write(*numbered(206), *({"id": f"b{n}", "body": "the fog"} for n in range(23)))
    with pytest.raises(InputError) as raised:
        inspect(tokenizer)
    assert raised.value.message == (
        "f.jsonl: got 23 of 229 documents that cannot be used, expected at most 10%; the first:"
        ' f.jsonl: document 207: field "text" is missing among id, body, expected text;'
        " fields of the first documents: id, text"
    )


def test_bad_texts_of_a_folder_are_measured_together_as_in_a_build(tokenizer: Tokenizer) -> None:
    Path("d").mkdir()
    for number in range(250):
        Path(f"d/{number}.txt").write_bytes(b"caf\xe9" if number < 21 else b"the fog")
    facts = inspect(tokenizer, "d")
    assert (facts.worst_file, facts.num_documents) == (Fraction(21, 250), 229)


def test_texts_of_white_space_alone_are_counted_and_a_filter_drops_them(
    tokenizer: Tokenizer,
) -> None:
    write(*numbered(3), {"id": "x", "text": " \n\u3000"})
    facts = inspect(tokenizer)
    assert (facts.num_documents, facts.num_blank) == (3, 1)
    made = propose("m", [facts])
    assert made.warnings == (
        "f.jsonl: 1 of 4 texts are white space alone; a filter drops and counts them",
    )
    (source,) = load_mixture(Path("m.yaml"), text=write_text(made, Path("m.yaml")).encode()).sources
    assert [one.options for one in source.filters] == [Regex(pattern=r"\S", drop_if="missing")]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("f.jsonl", b'{"n": 1}\n', "f.jsonl: got no field with text among n, expected one"),
        ("f.jsonl", b"\x1f\x8b\x08\0\0\0\0\0", "f.jsonl: got gzip, expected JSON lines"),
        ("f.csv", LONG.encode("utf-16"), "f.csv: got UTF-16 or UTF-32, expected CSV"),
        ("f.txt", b" \n\t\n", "f.txt: got no document with a text, expected some"),
        ("f.txt", bytes(3), "f.txt: got a binary file, expected text"),
        ("f.txt", b"caf\xe9", "f.txt: got no document with a text, expected some"),
        ("f.jsonl", b"plain words\n", "f.jsonl: got no document that can be read"),
        ("f.json", b"[1, 2]", "f.json: got no document that can be read"),
        ("f.parquet", b"nothing", "f.parquet: broken parquet after document 0"),
        (
            "f.json.gz",
            gzip.compress(b'{"text": "x"}\n', mtime=0)[:-9],
            "f.json.gz: broken compressed data",
        ),
        ("f.jsonl", b'{"id": "a", "text": ""}\n', "f.jsonl: got no field with text among id, text"),
    ],
)
def test_files_that_hold_no_documents_are_refused(
    name: str, data: bytes, message: str, tokenizer: Tokenizer
) -> None:
    Path(name).write_bytes(data)
    with pytest.raises(InputError) as raised:
        inspect(tokenizer, name)
    assert raised.value.message.startswith(message)
    assert "\n" not in raised.value.message


def test_one_file_of_another_kind_among_good_ones_is_named(tokenizer: Tokenizer) -> None:
    write(*numbered(3), path="f-0.jsonl")
    Path("f-1.jsonl").write_text("plain words\n")
    with pytest.raises(InputError, match=r"f-1\.jsonl: got no document that can be read"):
        inspect(tokenizer, "f-0.jsonl", "f-1.jsonl")


def test_a_shard_of_token_ids_is_explained(here: Path, tokenizer: Tokenizer) -> None:
    column = ("input_ids", "ndarray:uint32", None)
    data = mds_shards.shard([column], [[mds_shards.array(np.arange(9, dtype="uint32"), column[1])]])
    (here / "shard.00000.mds").write_bytes(data)
    with pytest.raises(InputError, match='got token ids in field "input_ids", expected text'):
        inspect(tokenizer, "shard.00000.mds")


def test_encodings_of_json_that_are_no_utf8_are_bad_documents(tokenizer: Tokenizer) -> None:
    lines = [json.dumps(one).encode() for one in numbered(3)]
    Path("f.jsonl").write_bytes(b"\n".join([*lines, b'{"id": "z", "text": "caf\xe9"}']))
    assert inspect(tokenizer).bad == {"invalid_utf8": 1}


def test_the_first_rows_of_tables_are_looked_at(tokenizer: Tokenizer) -> None:
    Path("f.csv").write_text(f"a,{LONG}\nb,{LONG} Again.\n")
    (warning,) = propose("m", [inspect(tokenizer, "f.csv")]).warnings
    assert warning.startswith("f.csv: the first row names the columns, but ")
    Path("f.csv").write_text(f"id;text\n1;{LONG}\n")
    with pytest.raises(InputError, match="got columns with semicolons between them"):
        inspect(tokenizer, "f.csv")
