import sys
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.character_classes import UNICODE_VERSION
from support.strategies import QUICK

from pipeline.stages.text_digest import _later, digest_normal, normalise, text_digests

WHITE_SPACE = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)

# Letters, marks that join or change places, jamo, and what Unicode 14.0 does not know.
tricky = st.text(
    st.sampled_from(
        "aeo \n²ﬁ\u0301\u0323\u0308\u00e9\u1ec7\u212b\u1100\u1161\u11a8\uac00\u0344\u0958\u09be"
        "\U00011f41\U0001e4ec\u0897\U000105c9\u0378\U0010ffff"
    ),
    max_size=12,
)
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("", "af1349b9f5f9a1a6a0404dea36dcc949"),
        ("a", "17762fddd969a453925d65717ac3eea2"),
        ("  one\n\ttwo  ", "fbd3b47fbbf8d20cd45c94641250dc73"),
        ("cafe\u0301 \u212b \u1100\u1161\u11a8", "0d5963361b90522c151158f62b7e1040"),
        ("e\U0001e4ec\u0301", "94baa2567ef16e98e7bd21ff7a7fad2d"),
    ],
)
def test_digests_are_frozen(text: str, digest: str) -> None:
    assert text_digests([text]).tobytes().hex() == digest


def test_white_space_is_frozen() -> None:
    found = [c for c in map(chr, range(sys.maxunicode + 1)) if not c.split()]
    assert "".join(found) == WHITE_SPACE
    for character in WHITE_SPACE:
        assert normalise(f"{character}a{character}{character}b{character}") == "a b"


def test_what_only_looks_like_white_space_stays() -> None:
    for character in "\u200b\u2060\ufeff\u180e\0":
        assert normalise(f"a{character}b") == f"a{character}b"


def test_case_and_punctuation_tell_texts_apart() -> None:
    assert len({row.tobytes() for row in text_digests(["a b", "A b", "a, b", "ab"])}) == 4


@QUICK
@given(text=tricky | any_text)
def test_the_form_is_nfc_with_single_spaces(text: str) -> None:
    if unicodedata.unidata_version != UNICODE_VERSION:
        pytest.skip("this Python knows another version of Unicode")
    assert normalise(text) == " ".join(unicodedata.normalize("NFC", text).split())


@QUICK
@given(text=tricky | any_text)
def test_a_normal_form_is_its_own(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@QUICK
@given(texts=st.lists(tricky | any_text, max_size=5))
def test_a_block_has_the_digests_of_its_texts(texts: list[str]) -> None:
    expected = b"".join(text_digests([text]).tobytes() for text in texts)
    digests = text_digests(texts)
    assert digests.shape == (len(texts), 2)
    assert digests.dtype == np.uint64
    assert digests.tobytes() == expected
    assert digest_normal([normalise(text) for text in texts]).tobytes() == expected


def test_what_unicode_14_does_not_know_is_left_out_of_nfc() -> None:
    if unicodedata.unidata_version != UNICODE_VERSION:
        pytest.skip("this Python knows another version of Unicode")
    unknown = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) in ("Cn", "Cs")]
    assert _later().findall("".join(map(chr, range(0x110000)))) == unknown
