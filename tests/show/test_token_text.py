"""The text of each token, also where a character is spread over several."""

import numpy as np
import pytest

from pipeline.show.token_text import TokenText
from pipeline.stages.tokenizer import Tokenizer, load_tokenizer


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return load_tokenizer("modernbert", add_prefix_space=False)


@pytest.fixture(scope="module")
def text(tokenizer: Tokenizer) -> TokenText:
    return TokenText.of(tokenizer)


HOSTILE = (
    "plain words, and a  line\n\tend",
    "東京 🙂 naïve ﬁne",
    "<script>alert('x')</script>",
    "turned \u202e around \u2066 here \u0000 nul",
    "👩‍👩‍👧‍👦🏳️‍🌈",
)


@pytest.mark.parametrize("content", HOSTILE)
def test_tokens_joined_are_the_text(text: TokenText, tokenizer: Tokenizer, content: str) -> None:
    ids = tokenizer.encode_reference([content])[0]
    tokens = text.tokens(ids)
    assert [one["id"] for one in tokens] == ids.tolist()
    assert [one["kind"] for one in (tokens[0], tokens[-1])] == ["special", "special"]
    assert (tokens[0]["text"], tokens[-1]["text"]) == ("[CLS]", "[SEP]")
    shown = [one.get("joined", one["text"] if one["kind"] != "bytes" else "") for one in tokens]
    assert "".join(shown[1:-1]) == content
    assert text.plain(ids[1:-1]) == content
    assert text.start(ids, 7) == content[:7]


def test_parts_of_characters_are_shown_as_bytes(text: TokenText, tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_reference(["🏳"])[0]
    tokens = text.tokens(ids)[1:-1]
    assert len(tokens) > 1
    assert {one["kind"] for one in tokens} == {"bytes"}
    spelled = "".join(one["text"] for one in tokens)
    assert bytes.fromhex(spelled.replace("\\x", "")).decode() == "🏳"
    assert [one.get("joined") for one in tokens] == ["🏳", *[None] * (len(tokens) - 1)]
    # The character ends where its bytes do.
    after = text.tokens(tokenizer.encode_reference(["🏳 plain 🏳"])[0])[1:-1]
    assert [one["kind"] for one in after].count("word") == 1
    assert [one["joined"] for one in after if "joined" in one] == ["🏳", " 🏳"]
    # Cut within the character, as at the end of a chunk.
    (cut,) = text.tokens(ids[1:2])
    assert cut["kind"] == "bytes"
    assert cut["joined"].startswith("\\x")


def test_a_part_without_the_rest_leaves_the_words_after_it_alone(
    text: TokenText, tokenizer: Tokenizer
) -> None:
    """As in a row with tokens replaced at random."""
    words = tokenizer.encode_reference(["his two nurses"])[0][1:-1]
    part = tokenizer.encode_reference(["🏳"])[0][1:-1]
    for parts in (part[:1], part[-1:], [*part[:1], *part[:1]]):
        tokens = text.tokens(np.array([*parts, *words, *parts, *part], np.uint32))
        assert "".join(one["text"] for one in tokens if one["kind"] == "word") == "his two nurses"
        assert [one.get("joined", "") for one in tokens[: len(parts)]] == [
            one["text"] for one in tokens[: len(parts)]
        ]
        assert [one["joined"] for one in tokens if "joined" in one][-1] == "🏳"


def test_spaces_words_and_ids_of_nothing_have_a_kind(text: TokenText, tokenizer: Tokenizer) -> None:
    ids = np.array([*tokenizer.encode_reference(["a \n\n b"])[0], 10**6], np.uint32)
    kinds = [one["kind"] for one in text.tokens(ids)]
    assert kinds[-1] == "unknown"
    assert {"space", "word", "special"} < {*kinds}
    assert text.plain(ids).startswith("[CLS]a")


def test_a_tokenizer_without_bytes_of_its_own_is_decoded_id_by_id(tokenizer: Tokenizer) -> None:
    plain = TokenText(tokenizer=tokenizer, pieces=None, special=frozenset({50281}))
    tokens = plain.tokens(np.array([50281, 510], np.uint32))
    assert tokens == [
        {"id": 50281, "text": "<50281>", "kind": "special"},
        {"id": 510, "text": "The", "kind": "word"},
    ]
