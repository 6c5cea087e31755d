"""Why no row has a document: what the output shows of it."""

import json
from pathlib import Path

import pytest
from support.clusters import Build
from support.outputs import read_dropped

from pipeline.audit.trace.lookup import Trace
from pipeline.core.errors import NotFoundError

MIXTURE = """\
name: absent
chunk: {size: 64}
sources:
  letters: {from: {path: letters.jsonl}, filters: [length: {min_chars: 20}]}
  posts: {from: {path: posts.jsonl}, tokens: 200}
validation: {fraction: 0.2}
KEEP
order: {seed: 3, global_batch_size: 4, max_seq_len: 64}
"""


def write(folder: Path, keep: str) -> Path:
    for name in ("letters", "posts"):
        texts = [f"letter {n} " + "the boat left before the fog " * 3 for n in range(30)]
        records = [{"id": f"{name[0]}{n}", "text": text} for n, text in enumerate(texts)]
        if name == "letters":
            records.append({"id": 'short "é"', "text": "brief"})
        lines = "".join(json.dumps(one) + "\n" for one in records)
        (folder / f"{name}.jsonl").write_text(lines)
    mixture = folder / f"absent{keep}.yaml"
    mixture.write_text(MIXTURE.replace("KEEP", f"keep_dropped: {keep}" if keep else ""))
    return mixture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("absent")


@pytest.fixture(scope="module")
def kept(folder: Path, build_here: Build) -> Trace:
    build_here(write(folder, "1"), folder / "kept")
    return Trace.open(folder / "kept")


@pytest.fixture(scope="module")
def plain(folder: Path, build_here: Build) -> Trace:
    build_here(write(folder, ""), folder / "plain")
    return Trace.open(folder / "plain")


def hint(trace: Trace, document: str, source: str | None = None) -> str:
    with pytest.raises(NotFoundError, match="is in none of the") as raised:
        trace.document(document, source)
    return str(raised.value.hint)


def test_a_document_that_is_held_out_is_found_there(kept: Trace) -> None:
    held = Trace.open(kept.out / "validation")
    one = next(iter(held.rows(held.positions.rows(0, 1))))
    assert hint(kept, one.document) == (
        f"it is held out for validation, from source '{one.source}';"
        f" `ettin-data trace {kept.out / 'validation'} --document {one.document}` lists its rows"
    )


def test_a_document_that_was_dropped_is_found_with_its_reason(kept: Trace) -> None:
    (dropped,) = read_dropped(kept.out, "letters")
    assert hint(kept, dropped["id"]) == (
        f"it was dropped for {dropped['reason']}; dropped/letters/letters.jsonl.zst has it"
    )
    assert hint(kept, dropped["id"], "posts").startswith("check the id; tokens beyond the budget")


def test_what_is_not_known_is_told_by_what_was_dropped_or_not_sampled(plain: Trace) -> None:
    told = hint(plain, 'short "é"')
    unused = plain.manifest.sources["posts"].budget
    assert told.startswith(
        "check the id; documents were dropped: letters 1, which `keep_dropped: 1` in the mixture"
        " names; tokens beyond the budget were not sampled: posts"
        f" {unused.available - unused.drawn:,}"
    )
    assert hint(plain, "l1000", "letters").startswith("check the id; documents were dropped: ")
    assert "not sampled" not in hint(plain, "l1000", "letters")


def test_a_source_that_is_none_is_named_so(plain: Trace) -> None:
    expected = "no source is called 'sermons'; the sources are letters, posts"
    assert hint(plain, "l1000", "sermons") == expected


def test_a_holdout_that_is_damaged_is_said(folder: Path, plain: Trace) -> None:
    (plain.out / "validation" / "manifest.json").write_bytes(b"{}")
    assert hint(plain, "x").endswith("is damaged, so it may be held out for validation")
