"""`ettin-line-v1` against its plain form: each text encoded by the library alone, none dropped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chunks import (
    CLS,
    FROZEN_IDS,
    HOSTILE,
    OWN_TEXT,
    SEP,
    frozen_documents,
    in_blocks,
    listed,
    real_texts,
    tokenizer,
)
from support.strategies import QUICK, texts

from pipeline.config.mixture import ChunkSpec
from pipeline.core.errors import ConfigError
from pipeline.stages.chunking import make_chunker

SPEC = ChunkSpec(algorithm="ettin-line-v1", size=16)


def check(lines: list[str], prefix: bool, blocks: list[int]) -> None:
    made, firsts = in_blocks(
        make_chunker(SPEC, tokenizer(prefix)), tokenizer(prefix).encode(lines), blocks
    )
    plain = tokenizer(prefix).encode_reference(lines)
    assert listed(made, firsts) == [(row, ids.tolist()) for row, ids in enumerate(plain)]
    assert [(one.failed.tolist(), one.num_discarded, one.num_added) for one in made] == [
        ([], 0, 0)
    ] * len(made)


@pytest.mark.parametrize("prefix", [False, True], ids=["plain", "prefix"])
def test_each_text_is_a_row_however_long_it_is(prefix: bool) -> None:
    lines = [*real_texts(), *HOSTILE, OWN_TEXT * 40, "", "[CLS]"]
    check(lines, prefix, [0, 3, 3, len(lines)])
    longest = max(map(len, tokenizer(prefix).encode(lines)))
    assert longest > 1_024 > SPEC.size, "nothing is cut"


@settings(QUICK, max_examples=20)
@given(lines=st.lists(texts, min_size=1, max_size=4), prefix=st.booleans())
def test_rows_equal_the_plain_form_on_any_text(lines: list[str], prefix: bool) -> None:
    check(lines, prefix, [0, len(lines)])


def test_line_is_frozen() -> None:
    made = make_chunker(SPEC, tokenizer(False)).chunk(frozen_documents(tokenizer(False)))
    assert made.rows.values.tolist() == FROZEN_IDS
    assert made.rows.offsets.tolist() == [0, 30, 34, 52]
    np.testing.assert_array_equal(made.documents, [0, 1, 2])
    assert FROZEN_IDS[0] == CLS
    assert FROZEN_IDS[-1] == SEP


def test_rules_for_short_pieces_have_no_place() -> None:
    with pytest.raises(ConfigError, match="min_size: got 8, expected none with ettin-line-v1"):
        ChunkSpec(algorithm="ettin-line-v1", size=16, min_size=8)
