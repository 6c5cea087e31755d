"""Documents: their rows, what is missing, and their record in the file of the source."""

import json
from pathlib import Path

import pytest
from support.builds import run_well
from support.traced import write_output

from pipeline.core.errors import ConfigError, NotFoundError
from pipeline.show import Shown, document_view
from pipeline.show import source_record as records


def rows_of(out: Path, *options: str) -> list[dict]:
    return json.loads(run_well("trace", out, *options, "--json"))


@pytest.mark.parametrize(
    ("source", "document"),
    [
        ("prose", "prose-1-9"),
        ("notes", "notes-3"),
        ("tables", "tables/4"),
        ("long", "long-2"),
        ("plain", "one"),
    ],
)
def test_a_document_has_its_rows_and_its_record(
    shown: Shown, finished: Path, source: str, document: str
) -> None:
    answer = document_view(shown, document=document, source=source)
    traced = rows_of(finished, "--document", document, "--source", source)
    keys = ("row", "step", "chunk", "num_chunks", "num_tokens")
    assert [[one[key] for key in keys] for one in answer["rows"]] == [
        [one[key] for key in keys] for one in traced
    ]
    seen = {one["chunk"] for one in traced}
    assert answer["missing_chunks"] == [*{*range(traced[0]["num_chunks"])} - seen]
    assert answer["repeats"] == len(traced) - len(seen)
    assert answer["record_problem"] is None
    assert answer["record"]["text"]
    assert not answer["record"]["is_cut"]
    ends = [last for _, last in shown.checkpoints()]
    for one in answer["rows"]:
        after = [f"step{last}" for last in ends if last >= one["step"]]
        assert one["checkpoint"] == after[0]


def test_the_record_is_that_of_the_file_to_the_byte(shown: Shown, small: Path) -> None:
    line = next(
        one
        for one in map(json.loads, (small.parent / "in/long/long-0.jsonl").read_text().splitlines())
        if one["id"] == "long-2"
    )
    answer = document_view(shown, document="long-2")
    assert answer["record"]["text"] == line["text"]
    assert answer["record_file"].endswith("in/long/long-0.jsonl")


def test_a_record_that_cannot_be_read_says_why(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    answer = document_view(shown, document="long-2")
    assert answer["record"] is None
    assert "is not beside the output, nor in the current folder" in answer["record_problem"]
    (tmp_path / "in/long").mkdir(parents=True)
    (tmp_path / "in/long/long-0.jsonl").write_text("other")
    answer = document_view(shown, document="long-2")
    assert "got 5 bytes, expected the" in answer["record_problem"]


def test_a_long_record_is_cut_and_a_slow_one_is_left(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = document_view(shown, document="long-2")["record"]["text"]
    monkeypatch.setattr(records, "_MOST_CHARACTERS", 10)
    cut = document_view(shown, document="long-2")["record"]
    assert (cut["text"], cut["is_cut"]) == (whole[:10], True)
    assert cut["num_characters"] == len(whole)
    monkeypatch.setattr(records, "_MOST_SECONDS", -1.0)
    monkeypatch.setattr(records, "_BLOCK_BYTES", 1)
    late = document_view(shown, document="long-7")
    assert "lies further in it than can be read" in late["record_problem"]


HOSTILE = [
    'it\'s "quoted"',
    "two\nlines",
    "<img src=x onerror=alert(1)>",
    "turned \u202e around",
    "a&b=c#d?e%f",
    "nul\0byte",
    " ",
    "東京",
]


def test_ids_of_any_characters_are_found_and_their_commands_run(tmp_path: Path) -> None:
    write_output(tmp_path / "o ut", [("a", document) for document in HOSTILE])
    shown = Shown.open(tmp_path / "o ut")
    for row, document in enumerate(HOSTILE):
        answer = document_view(shown, document=document)
        assert [one["row"] for one in answer["rows"]] == [row]
        names: dict = {}
        exec(answer["python"].replace("\ndocument_view(", "\nfound = document_view("), names)
        assert names["found"] == answer


def test_documents_that_are_not_there_are_refused(shown: Shown) -> None:
    with pytest.raises(NotFoundError, match="document 'nobody': is in none of the"):
        document_view(shown, document="nobody")
    with pytest.raises(NotFoundError, match="'long' has a document of this id"):
        document_view(shown, document="long-2", source="prose")
    with pytest.raises(ConfigError, match="got an id that is not valid Unicode"):
        document_view(shown, document="\udcff")
