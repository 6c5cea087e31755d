"""The compiled clean-up of spaces against the original's ten replacements."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.stages.chunking import decoding, reencode

_REPLACEMENTS = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
    (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip

# Short pieces of patterns, so that matches overlap and neighbours make each other.
_PIECES = st.sampled_from([" ", " ", "'", "n", "t", "m", "s", "ve", "re", ".", "?", "!", ",", "a"])
_TEXTS = st.lists(_PIECES, min_size=1, max_size=40).map("".join)


def _original(text: str) -> str:
    for pattern, replacement in _REPLACEMENTS:
        text = text.replace(pattern, replacement)
    return text


def _ours(text: str) -> str:
    buffer = np.frombuffer(text.encode() + b"x" * 16, np.uint8).copy()
    stop = decoding._clean_up(buffer, 0, len(text.encode()))
    return buffer[:stop].tobytes().decode()


@settings(deadline=None)  # The first example compiles.
@given(_TEXTS)
@example("a ' ' ' b")
@example("  ' m")
@example("do n ' t  n't")
@example(" ' .")
@example("'  ' ?")
@example("x" * 63 + " .")
@example("x" * 62 + " n't" + "y" * 63 + " 's")
def test_clean_up_is_the_ten_replacements(text: str) -> None:
    assert _ours(text) == _original(text)


@settings(deadline=None)  # The first example compiles.
@given(_TEXTS)
def test_the_first_byte_depends_on_the_peeked_bytes_alone(text: str) -> None:
    assert _original(text)[0] == _ours(text[: reencode._PEEK_BYTES])[0]


@pytest.mark.slow
def test_clean_up_is_the_ten_replacements_for_every_short_text() -> None:
    alphabet = " 'ntmsver.?a"
    texts = [""]
    for _ in range(5):
        texts = [text + character for text in texts for character in alphabet]
        assert all(_ours(text) == _original(text) for text in texts)
