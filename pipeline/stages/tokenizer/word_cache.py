"""The caches of encoded pre-tokens: one of short, one of long ones, each for one thread."""

from typing import Any

import numpy as np

from pipeline.core.compiled import inlined
from pipeline.stages.tokenizer.bpe import Bytes, Words, merge_word
from pipeline.stages.tokenizer.simd import load64, store_ids

# A pre-token of up to 15 bytes is an exact key of two words, with the length in the top byte. A set
# is one cache line of two entries: key (2 words), 7 ids of 16 bits and their number (2 words).
WORD_BITS = 18
KEY_BYTES = 15
KEY_IDS = 7
# Up to 64 bytes: hash, length and number, 8 words of text, 8 words of ids.
LONG_BITS = 12
LONG_BYTES = 64
LONG_IDS = 32
_LONG_WORDS = 18

_U0, _ALL = np.uint64(0), np.uint64(0xFFFF_FFFF_FFFF_FFFF)
LOW_MASKS = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(16)], np.uint64)
HIGH_MASKS = np.array([(1 << 8 * max(n - 8, 0)) - 1 for n in range(16)], np.uint64)
LENGTHS = np.array([n << 56 for n in range(16)], np.uint64)
MIX = np.uint64(0x9E37_79B9_7F4A_7C15)
MIX_HIGH = np.uint64(0xC2B2_AE3D_27D4_EB4F)
WORD_SHIFT = np.uint64(64 - WORD_BITS)
_LONG_SHIFT = np.uint64(64 - LONG_BITS)


def new_words() -> Words:
    """Return an empty cache of short pre-tokens: 16.8 MB."""
    return np.zeros(8 << WORD_BITS, np.uint64)


def new_longs() -> Words:
    """Return an empty cache of long pre-tokens: 0.6 MB."""
    return np.zeros(_LONG_WORDS << LONG_BITS, np.uint64)


@inlined
def missed_word(
    text: Bytes,
    start: int,
    stop: int,
    low: Any,
    high: Any,
    entry: int,
    byte_ids: Any,
    pairs: Words,
    words: Words,
    scratch: Any,
    out: Any,
    count: int,
) -> Any:
    """Encode and cache a short pre-token, in place of the older entry of its set."""
    if stop == start:
        return count
    number = merge_word(text, start, stop, byte_ids, pairs, scratch)
    for i in range(number):
        out[count + i] = scratch[i]
    if number <= KEY_IDS:
        for i in range(4):
            words[entry + 4 + i] = words[entry + i]
        words[entry] = low
        words[entry + 1] = high
        packed0, packed1 = _U0, np.uint64(number) << np.uint64(48)
        for i in range(number):
            if i < 4:
                packed0 |= np.uint64(scratch[i]) << np.uint64(16 * i)
            else:
                packed1 |= np.uint64(scratch[i]) << np.uint64(16 * (i - 4))
        words[entry + 2] = packed0
        words[entry + 3] = packed1
    return count + number


@inlined
def long_word(
    text: Bytes,
    start: int,
    stop: int,
    byte_ids: Any,
    pairs: Words,
    longs: Words,
    scratch: Any,
    out: Any,
    count: int,
) -> Any:
    """Encode a pre-token of more than KEY_BYTES bytes."""
    length = stop - start
    if length > LONG_BYTES:
        ids = scratch
        if 2 * length > scratch.size:
            ids = np.empty(2 * length, np.int32)
        number = merge_word(text, start, stop, byte_ids, pairs, ids)
        for i in range(number):
            out[count + i] = ids[i]
        return count + number
    num_words = (length + 7) >> 3
    rest = np.uint64(64 * num_words - 8 * length)
    last = load64(text, start + 8 * num_words - 8) & (_ALL >> rest)
    hashed = np.uint64(length)
    for i in range(num_words):
        word = last if i == num_words - 1 else load64(text, start + 8 * i)
        hashed = (hashed ^ word) * MIX
        hashed ^= hashed >> np.uint64(29)
    base = np.int64((hashed * MIX) >> _LONG_SHIFT) * _LONG_WORDS
    same = longs[base] == hashed and longs[base + 1] >> np.uint64(32) == np.uint64(length)
    if same:
        for i in range(num_words - 1):
            same = same and longs[base + 2 + i] == load64(text, start + 8 * i)
        same = same and longs[base + 1 + num_words] == last
    if same:
        number = np.int64(longs[base + 1] & np.uint64(0xFFFF))
        for i in range(0, number, 8):
            store_ids(out, count + i, longs, base + 10 + (i >> 2))
        return count + number
    number = merge_word(text, start, stop, byte_ids, pairs, scratch)
    for i in range(number):
        out[count + i] = scratch[i]
    if number <= LONG_IDS:
        longs[base] = hashed
        longs[base + 1] = np.uint64(length) << np.uint64(32) | np.uint64(number)
        for i in range(num_words):
            longs[base + 2 + i] = last if i == num_words - 1 else load64(text, start + 8 * i)
        for i in range(8):
            longs[base + 10 + i] = _U0
        for i in range(number):
            longs[base + 10 + (i >> 2)] |= np.uint64(scratch[i]) << np.uint64(16 * (i & 3))
    return count + number
