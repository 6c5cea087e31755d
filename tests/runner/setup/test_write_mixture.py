"""The file that is written: it loads, plans, and says what is in it."""

from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support import own_files

from pipeline.config import NAME, load_mixture
from pipeline.core.errors import ConfigError, InputError
from pipeline.runner import make_plan
from pipeline.runner.setup.inspect_files import inspect_group
from pipeline.runner.setup.new_mixture import draft_mixture, find_groups, write_text
from pipeline.runner.setup.propose_mixture import propose
from pipeline.runner.setup.write_mixture import mixture_text, quoted
from pipeline.sources import FileReader
from pipeline.stages.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("modernbert", add_prefix_space=False)

names = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
plain = st.none() | st.integers(-5, 5) | st.sampled_from(["", "no", "the boat left before the fog"])
nested = st.recursive(plain, lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=6)
texts = st.sampled_from(
    ["the boat left before the fog did", "船は霧の前に出た " * 4, "x", "", None]
)


@st.composite
def some_records(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Records that have texts and ids under some name, beside any other fields."""
    text = draw(st.sampled_from(["text", "doc.text", "a.b.c", "a: #b", "null", "inhalt"]))
    id_ = draw(st.sampled_from(["id", "meta.id", "doc.id", "7"]))
    made = []
    for number in range(draw(st.integers(1, 6))):
        record = draw(st.dictionaries(names, nested, max_size=2))
        for name, value in ((text, draw(texts)), (id_, draw(st.just(number) | nested))):
            *outer, last = name.split(".")
            inside = record
            for part in outer:
                inner = inside.get(part)
                inside[part] = inner if isinstance(inner, dict) else {}
                inside = inside[part]
            inside[last] = value
        made.append(record)
    return made


@settings(max_examples=40, deadline=None)
@given(some_records(), names)
def test_a_mixture_of_any_records_loads_and_plans_and_its_fields_are_there(
    made: list[dict[str, Any]], stem: str
) -> None:
    with TemporaryDirectory() as folder, chdir(folder):
        Path("data").mkdir()
        file = Path("data", f"f{''.join(filter(str.isalnum, stem))}.jsonl")
        file.write_bytes(own_files.json_lines(made))
        try:
            (group,) = find_groups(["data"], Path())[0]
            facts = inspect_group(group, TOKENIZER, 1024)
        except InputError as error:
            event(error.message[:60])
            return
        text = write_text(propose("any", [facts]), Path("any.yaml"))
        mixture = load_mixture(Path("any.yaml"), text=text.encode())
        (planned,) = make_plan(mixture, None, Path("raw")).sources
        assert [one.declared for one in planned.files or ()] == [file.as_posix()]
        origin = mixture.sources[0].origin
        reader = FileReader((planned.files or ())[0], text_field=origin.text, id_field=origin.id)
        bad: list[str] = []
        found = [one for block in reader.blocks(lambda e: bad.append(e.reason)) for one in block]
        assert len(found) == facts.num_documents
        assert len({one.id for one in found}) == len(found)
        assert bool(bad) == (mixture.on_error == "skip")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_quoted_scalar_reads_as_its_text(text: str) -> None:
    assert yaml.safe_load(f"a: {quoted(text)}  # b") == {"a": text}
    assert yaml.safe_load(f"{quoted(text)}: 1") == {text: 1}


def test_the_first_line_is_for_editors_and_the_rest_says_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [
        {"key": n % 2, "body": own_files.texts()[0], "title": "The boat left at dawn"}
        for n in range(3)
    ]
    own_files.write("txt", tmp_path / "2024")
    Path("on.csv").write_bytes(own_files.table(rows) + b"7,,no text\n")
    text = mixture_text(draft_mixture("mine", ["2024", "on.csv"], Path()))
    lines = [line.strip() for line in text.splitlines()]
    assert lines[0] == "# yaml-language-server: $schema=mixture.schema.json"
    assert '"2024":' in lines
    assert '"on":' in lines
    assert "# 1 file (.csv), " in text
    assert "text: body" in text
    assert "# only one field is read; not title" in text
    assert "id: null" in text
    assert "# made from file and row: `key` repeats in 1 of 4" in text
    assert (
        "# 1 of 4 documents cannot be used (empty_text 1); the first: on.csv: document 4: " in text
    )
    assert "on_error: skip" in lines[lines.index("order:") - 1]
    assert "# 2 texts are copies of earlier ones; `dedup: {}` drops them" in lines
    # What is commented out can be taken as it is.
    chosen = text.replace("# dedup:", "dedup:").replace("# validation:", "validation:")
    mixture = load_mixture(tmp_path / "m.yaml", text=chosen.encode())
    assert mixture.dedup is not None
    assert mixture.validation is not None


def test_what_is_found_and_decided_is_said_in_whole_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.runner.setup.propose_mixture._LITTLE_TOKENS", 100)
    Path("notes").mkdir()
    for number in range(120):
        Path(f"notes/{number}.txt").write_text("the boat left " * (1 + number % 119))
    rows = [{"post_id": n, "row_hash": f"{n:x}", "text": "sea fog " * n} for n in range(1, 90)]
    Path("posts.csv").write_bytes(own_files.table(rows))
    text = mixture_text(draft_mixture("mine", ["notes", "posts.csv"], Path()))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert (
        "files_per_partition: 8 # 120 files of 833B on average: 15 partitions instead of one "
        "each" in lines
    )
    assert "id: post_id # row_hash would do as well" in lines
    assert "# 1 text is a copy of an earlier one; `dedup: {}` drops it" in lines
    assert sum("# of `tokens` at the top; all shares sum to 100%" in line for line in lines) == 2
    assert any(line.endswith("; 14 to 1,666 characters") for line in lines)
    assert any(line.startswith("# The sources with a share have about ") for line in lines)
    decided = lines[lines.index("# To decide:") :]
    assert any(line.startswith("# - `global_batch_size`: ") for line in decided)
    assert any(" steps of " in line and "dropped; about " in line for line in decided)
    mixture = load_mixture(tmp_path / "m.yaml", text=text.encode())
    assert mixture.sources[0].origin.files_per_partition == 8


def test_budgets_and_shares_are_written_as_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pipeline.runner.setup.propose_mixture._LITTLE_TOKENS", 100)
    for name in ("a", "b", "c"):
        own_files.write("jsonl", tmp_path / name)
    proposal = draft_mixture("mine", ["a", "b", "c"], Path())
    mixture = load_mixture(tmp_path / "m.yaml", text=mixture_text(proposal).encode())
    assert mixture.tokens == proposal.tokens
    assert {one.name: one.share for one in mixture.sources} == proposal.shares
    assert all(
        mixture.tokens_of(one) < found.num_tokens
        for one, found in zip(mixture.sources, proposal.sources, strict=True)
    )


@pytest.mark.parametrize("name", ["a/b", "../a", "", "a b", "ä", "-a", "a" * 101])
def test_names_that_a_mixture_cannot_have_are_refused(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        draft_mixture(name, ["x"], Path())
    assert raised.value.message.endswith(f"expected {NAME.expected}")
