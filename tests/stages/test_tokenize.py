"""The guard on the fast tokenizer: what it checks, what it costs, what it says."""

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.core.compiled import little_work
from pipeline.core.document import Document
from pipeline.core.errors import InternalError
from pipeline.core.ragged import Rows
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer, read_json
from pipeline.stages.tokenizer.tokenize import tokenize


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """Return the embedded tokenizer, with its kernel."""
    loaded = load_tokenizer("modernbert", add_prefix_space=False)
    assert loaded.is_fast
    return loaded


def documents(*texts: str) -> list[Document]:
    return [Document(id=f"d\n{row}", text=text, row=row) for row, text in enumerate(texts)]


def test_a_difference_stops_the_build_and_names_the_document(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(texts: Sequence[str]) -> Rows:
        return Rows(
            values=np.array([50281, 7, 50282], np.uint32), offsets=np.array([0, 3], np.int64)
        )

    monkeypatch.setattr(tokenizer, "encode_reference", wrong)
    expected = r'f\.jsonl: document 1 \(id "d\\n0"\): the fast tokenizer\'s 4 ids differ'
    with pytest.raises(InternalError, match=expected):
        tokenize(tokenizer, documents("a b"), "f.jsonl", is_first=True)


def test_of_a_long_document_the_reference_sees_only_the_start(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    reference = tokenizer.encode_reference

    def watched(texts: Sequence[str]) -> Rows:
        seen.extend(len(text) for text in texts)
        return reference(texts)

    monkeypatch.setattr(tokenizer, "encode_reference", watched)
    tokenize(tokenizer, documents("word " * 100_000, "another"), "f.txt", is_first=True)
    assert seen == [64 << 10]


def test_about_one_document_in_two_thousand_is_checked(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    reference = tokenizer.encode_reference

    def watched(texts: Sequence[str]) -> Rows:
        counts.append(len(texts))
        return reference(texts)

    monkeypatch.setattr(tokenizer, "encode_reference", watched)
    tokenize(tokenizer, documents(*["x"] * 20_000), "f.jsonl", is_first=True)
    assert 1 < sum(counts) < 40


def test_of_a_later_file_the_first_document_is_as_any(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a folder of small files it would be most of the work."""
    monkeypatch.setattr(tokenizer, "encode_reference", None)
    found = tokenize(tokenizer, documents("a b", "c"), "f.jsonl", is_first=False)
    assert len(found) == 2


def test_what_the_library_encodes_is_not_checked_against_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    little = Tokenizer("modernbert", read_json("modernbert"), add_prefix_space=False)
    counts: list[int] = []
    reference = little.encode_reference

    def watched(texts: Sequence[str]) -> Rows:
        counts.append(len(texts))
        return reference(texts)

    monkeypatch.setattr(little, "encode_reference", watched)
    with little_work():
        tokenize(little, documents("a b", "c"), "f.jsonl", is_first=True)
    assert counts == [2]
