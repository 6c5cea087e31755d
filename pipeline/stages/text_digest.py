"""Text digests: the normal form `text-v1` of a text and 16 bytes of its BLAKE3.

The form is NFC of Unicode 14.0 with each run of white space as one space and none at the ends. The
tokenizer starts with NFC too. Frozen: newer Unicode tables in Python do not change it.
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


def normalise(text: str) -> str:
    """Return the form `text-v1` of a text. Pure."""
    if not text.isascii() and not unicodedata.is_normalized("NFC", text):
        text = _compose(text)
    return " ".join(text.split())


def digest_normal(normal: Sequence[str]) -> Uint64Array:
    """Return the digests of texts in normal form: uint64 [num_texts, 2], little-endian."""
    joined = b"".join([blake3(text.encode()).digest(length=DIGEST_BYTES) for text in normal])
    return np.frombuffer(joined, "<u8").reshape(-1, 2)


def text_digests(texts: Sequence[str]) -> Uint64Array:
    """Return the digests of the normal forms of texts: uint64 [num_texts, 2]."""
    return digest_normal([normalise(text) for text in texts])


def _compose(text: str) -> str:
    """Return the NFC of a text by Unicode 14.0.

    In that version nothing composes with a character assigned later, so the text is split there.
    The NFC of the other characters never changes.
    Source: unicode.org/policies/stability_policy.html, normalization stability.
    """
    normalize = unicodedata.normalize
    return "".join([normalize("NFC", part) for part in _later().split(text)])


@cache
def _later() -> "re.Pattern[str]":
    """Return a pattern of characters unassigned in Unicode 14.0, in a group that splits keep."""
    known = "".join(
        f"{re.escape(chr(start))}-{re.escape(chr(stop - 1))}" for start, stop, _ in ranges()
    )
    return re.compile(f"([^{known}])")
