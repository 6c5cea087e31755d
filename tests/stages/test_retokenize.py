"""Chunks: `ettin-slice-v2` and `ettin-retokenize-v1` against their plain form, chunk by chunk."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chunks import (
    CASES,
    CLS,
    FROZEN_IDS,
    HOSTILE,
    OWN_TEXT,
    SEP,
    Case,
    chunker,
    clean_up,
    frozen_documents,
    in_blocks,
    listed,
    real_texts,
    slices,
    tokenizer,
)
from support.strategies import QUICK, texts

SLICE, RETOKENIZE = "ettin-slice-v2", "ettin-retokenize-v1"


def retokenized(chunks: list[tuple[int, list[int]]], prefix: bool) -> list[tuple[int, list[int]]]:
    """Decode each slice, clean its text up and tokenize that, with the library alone."""
    reference = tokenizer(prefix)
    cleaned = [clean_up(reference.decode_reference(ids)) for _, ids in chunks]
    encoded = reference.encode_reference(cleaned)
    owners = [document for document, _ in chunks]
    return [(owner, ids.tolist()) for owner, ids in zip(owners, encoded, strict=True)]


def check(documents: list[str], case: Case, prefix: bool, blocks: list[int]) -> None:
    encoded = tokenizer(prefix).encode(documents)
    expected, num_dropped = slices(encoded, case)
    for algorithm in (SLICE, RETOKENIZE):
        if algorithm == RETOKENIZE:
            expected = retokenized(expected, prefix)
        made, firsts = in_blocks(chunker(algorithm, case, prefix), encoded, blocks)
        got = listed(made, firsts)
        for ours, theirs in zip(got, expected, strict=False):
            assert ours == theirs
        assert len(got) == len(expected)
        assert [one.failed.tolist() for one in made] == [[]] * len(made)
        num_discarded = sum(one.num_discarded for one in made)
        assert num_discarded == num_dropped
        num_written = sum(len(ids) for _, ids in got)
        num_added = sum(one.num_added for one in made)
        assert len(encoded.values) + num_added == num_written + num_discarded, "counts balance"


@pytest.mark.parametrize("prefix", [False, True], ids=["plain", "prefix"])
@pytest.mark.parametrize("case", [*CASES, Case(16, 16, 3)])
def test_chunks_equal_the_plain_form(case: Case, prefix: bool) -> None:
    documents = [*real_texts(), *HOSTILE, "".join(HOSTILE[:6])]
    documents += [one + OWN_TEXT for one in HOSTILE]
    check(documents, case, prefix, [0, 3, 3, 11, len(documents)])


@pytest.mark.parametrize("seed", range(8))
def test_chunks_equal_the_plain_form_cut_at_any_byte(seed: int) -> None:
    draw = random.Random(seed)
    fragments = [" ", "  ", "\n", " .", " '", "' ", "n't", " n't", ".", "\u00e9", "\u6f6e"]
    fragments += ["\U0001f30a", "[SEP]", "[MASK]", "[CLS]", "a", " the", "\u0301", " \u200d"]
    fragments += ["\ufffd", " 's", "0", "\t", "<|endoftext|>", "|||IP_ADDRESS|||", "    "]
    documents = ["".join(draw.choices(fragments, k=draw.randrange(1, 200))) for _ in range(40)]
    check(documents, Case(16, 14, 3), draw.random() < 0.5, [0, 7, 7, 30, 40])


@settings(QUICK, max_examples=20)
@given(documents=st.lists(texts, min_size=1, max_size=4), prefix=st.booleans())
def test_chunks_equal_the_plain_form_on_any_text(documents: list[str], prefix: bool) -> None:
    check(documents, Case(5, 3, 1), prefix, [0, len(documents)])


def test_a_slice_of_special_tokens_alone_becomes_cls_and_sep() -> None:
    hole = "word " * 20 + "[SEP]" * 100 + " word" * 20
    encoded = tokenizer(False).encode([hole])
    rows = [ids.tolist() for ids in chunker(RETOKENIZE, CASES[0], prefix=False).chunk(encoded).rows]
    assert [CLS, SEP] in rows


# Frozen: these change with a new name of an algorithm, and never under the old one

FROZEN = Case(12, 9, 2)


def test_slice_is_frozen() -> None:
    made = chunker(SLICE, FROZEN, prefix=False).chunk(frozen_documents(tokenizer(False)))
    assert listed([made], [0]) == [
        (0, FROZEN_IDS[:12]),
        (0, FROZEN_IDS[12:21]),
        (0, FROZEN_IDS[21:30]),
        (1, FROZEN_IDS[30:34]),
        (2, FROZEN_IDS[34:42]),
        (2, FROZEN_IDS[42:]),
    ]
    assert (made.num_added, made.num_discarded) == (0, 0)


def test_retokenize_is_frozen() -> None:
    made = chunker(RETOKENIZE, FROZEN, prefix=False).chunk(frozen_documents(tokenizer(False)))
    assert listed([made], [0]) == [
        # " ," and " ." lost a space, and " it 's" became " it's".
        (0, [CLS, 510, 26816, 13, 344, 2296, 13, 310, 3563, 15, 5037, 626, SEP]),
        (0, [CLS, 2564, 352, 3706, 352, 434, 760, 1824, 209, SEP]),
        (0, [CLS, 162, 123, 108, 285, 535, 50276, 40918, 2, SEP]),
        (1, [CLS, 17624, 15, SEP]),
        (2, [CLS, 344, 2296, 13, 310, 3563, 15, 5037, SEP]),
        (2, [CLS, 626, 2564, 352, 3706, 352, 434, 760, 5172, SEP]),
    ]
    assert (made.num_added, made.num_discarded) == (4, 0)
