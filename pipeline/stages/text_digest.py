"""Text digests: which texts count as one text, and 16 bytes that stand for each.

Enters: texts. Leaves: their normal form `text-v1` and its BLAKE3, cut to 128 bits. The form is NFC
by Unicode 14.0, every run of white space as one space, none at the ends; case and all else stay.
NFC and no more, since that is what the tokenizer does first: two texts of one digest are the same
words to a model. Frozen: a Python with newer tables of Unicode gives the same digests.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np
from blake3 import blake3

from pipeline.core.arrays import Uint64Array
from pipeline.stages.tokenizer.char_classes import ranges

ALGORITHM: Final = "text-v1"
DIGEST_BYTES: Final = 16
WHITE_SPACE: Final = (
    "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""What `str.split` splits at; a test holds the two together."""


def normalise(text: str) -> str:
    """Return the form `text-v1` of a text: NFC, single spaces, none at the ends. Pure."""
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = _compose(text)
    return " ".join(text.split())


def digest_normal(normal: Sequence[str]) -> Uint64Array:
    """Return the digests of texts in normal form: uint64 [num_texts, 2], little-endian.

    Each is the first 16 bytes of the BLAKE3 of the form in UTF-8.
    """
    joined = b"".join([blake3(text.encode()).digest(length=DIGEST_BYTES) for text in normal])
    return np.frombuffer(joined, "<u8").reshape(-1, 2)


def text_digests(texts: Sequence[str]) -> Uint64Array:
    """Return the digests of texts, of their normal form: uint64 [num_texts, 2]."""
    return digest_normal([normalise(text) for text in texts])


def _compose(text: str) -> str:
    """Return the NFC of a text by Unicode 14.0.

    To that version a character assigned later is one that nothing joins, so the text is cut there;
    NFC of the others never changes.
    Source: unicode.org/policies/stability_policy.html, normalization stability.
    """
    normalize = unicodedata.normalize
    return "".join([normalize("NFC", part) for part in _later().split(text)])


@cache
def _later() -> "re.Pattern[str]":
    """Return a pattern of what is not assigned in Unicode 14.0, which splits keep."""
    known = "".join(
        f"{re.escape(chr(start))}-{re.escape(chr(stop - 1))}" for start, stop, _ in ranges()
    )
    return re.compile(f"([^{known}])")
