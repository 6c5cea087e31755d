"""The compiled pass over UTF-8 bytes: cut documents into pre-tokens, look each one up.

Enters: many documents in one buffer. Leaves: their ids in one array, a count and a status each.
Invariant: an ENCODED document has exactly the reference's ids; where the pass cannot promise
that, it says so in the status and writes nothing.

Sixty-four bytes at a time, every rule of the GPT-2 pattern is a few operations on 64-bit masks,
one bit per byte; what is left is a loop over the bits at which a pre-token starts, without
branches that depend on the text. Source of the pattern: `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+|
?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+`, with runs of two and more spaces taken out first,
because those are added tokens.

A prefix space needs no copying: the byte before a segment is a space already, the last one of the
run before it or one laid before the document, so the first pre-token just starts one byte early.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.core.compiled import compiled
from pipeline.stages.tokenizer.bpe import merge_word
from pipeline.stages.tokenizer.char_classes import LETTER, MAYBE, NUMBER, REFERENCE, SPACE
from pipeline.stages.tokenizer.simd import classify, load64, store_ids, trailing_zeros

# Status of a document: done; has an added token or text that NFC may change; has a code point
# that only the reference may judge.
ENCODED, SPLIT, REFER = 0, 1, 2

# Bytes laid before a document and zeroed behind it, for loads that reach over its end.
LEAD, TAIL = 8, 160

# A pre-token of up to 15 bytes is two words, its length in the top byte: an exact key. A set is
# one cache line of two entries: key (2 words), 7 ids of 16 bits and their number (2 words).
WORD_BITS = 18
KEY_BYTES = 15
KEY_IDS = 7
# Longer ones, up to 64 bytes: hash, length and number, 8 words of text, 8 words of ids.
LONG_BITS = 12
LONG_BYTES = 64
LONG_IDS = 32
_LONG_WORDS = 18

_FIRST_RUN_ID = 50278  # A run of n spaces, 2 <= n <= 24, is the token 50278 - n.
_LONGEST_RUN = 24

_U0, _U1, _U2 = np.uint64(0), np.uint64(1), np.uint64(2)
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_LOW_MASKS = np.array([(1 << 8 * min(n, 8)) - 1 for n in range(16)], np.uint64)
_HIGH_MASKS = np.array([(1 << 8 * max(n - 8, 0)) - 1 for n in range(16)], np.uint64)
_LENGTHS = np.array([n << 56 for n in range(16)], np.uint64)
_MIX = np.uint64(0x9E37_79B9_7F4A_7C15)
_MIX_HIGH = np.uint64(0xC2B2_AE3D_27D4_EB4F)
_WORD_SHIFT = np.uint64(64 - WORD_BITS)
_LONG_SHIFT = np.uint64(64 - LONG_BITS)

# What added tokens other than runs of spaces begin with; more than eight bytes say nothing new.
SUSPECTS = (
    *("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "[unused", "<|padding|>", "<|endoftext|>"),
    *("|||IP_ADDRESS|||", "|||EMAIL_ADDRESS|||", "|||PHONE_NUMBER|||"),
)
_SUSPECT_WORDS = np.array([int.from_bytes(s.encode()[:8], "little") for s in SUSPECTS], np.uint64)
_SUSPECT_MASKS = np.array([(1 << 8 * min(len(s), 8)) - 1 for s in SUSPECTS], np.uint64)

Words = npt.NDArray[np.uint64]
Bytes = npt.NDArray[np.uint8]


def new_words() -> Words:
    """Return an empty cache of short pre-tokens; 16.8 MB, one per thread."""
    return np.zeros(8 << WORD_BITS, np.uint64)


def new_longs() -> Words:
    """Return an empty cache of long pre-tokens; 0.6 MB, one per thread."""
    return np.zeros(_LONG_WORDS << LONG_BITS, np.uint64)


@njit
def _is_suspect(text: Bytes, at: int) -> Any:
    word = load64(text, at)
    for i in range(_SUSPECT_WORDS.size):  # noqa: SIM110 - numba has no generators here.
        if word & _SUSPECT_MASKS[i] == _SUSPECT_WORDS[i]:
            return True
    return False


@njit
def _code_point(text: Bytes, at: int) -> Any:
    """Return the code point at a lead byte >= 0xC2 and its length in bytes."""
    a = np.int64(text[at])
    b = np.int64(text[at + 1]) & 0x3F
    if a < 0xE0:
        return (a & 0x1F) << 6 | b, 2
    c = np.int64(text[at + 2]) & 0x3F
    if a < 0xF0:
        return (a & 0x0F) << 12 | b << 6 | c, 3
    d = np.int64(text[at + 3]) & 0x3F
    return (a & 0x07) << 18 | b << 12 | c << 6 | d, 4


@njit
def _class_at(text: Bytes, at: int, table: Bytes) -> Any:
    if text[at] < 0x80:
        return np.int64(table[text[at]]) & 3
    return np.int64(table[_code_point(text, at)[0]]) & 3


@njit
def _leaves_one_space(text: Bytes, start: int, end: int) -> Any:
    """Whether the run of spaces before `end` leaves one over, which then starts a segment."""
    if end - _LONGEST_RUN - 1 < start or text[end - _LONGEST_RUN - 1] != 32:
        return False
    first = end
    while first > start and text[first - 1] == 32:
        first -= 1
    return (end - first) % _LONGEST_RUN == 1


@njit
def _run_of_spaces(text: Bytes, at: int, stop: int) -> Any:
    end = at
    while end < stop and text[end] == 32:
        end += 1
    return end


@njit
def _missed_word(
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
    """Encode a short pre-token that the cache has not; keep it, the older entry moves over."""
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


@njit
def _long_word(
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
        hashed = (hashed ^ word) * _MIX
        hashed ^= hashed >> np.uint64(29)
    base = np.int64((hashed * _MIX) >> _LONG_SHIFT) * _LONG_WORDS
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


@njit
def _scan(
    text: Bytes,
    start: int,
    stop: int,
    prefix: bool,
    guard: bool,
    table: Bytes,
    byte_ids: Any,
    pairs: Words,
    words: Words,
    longs: Words,
    scratch: Any,
    out: Any,
    count: Any,
) -> Any:
    """Encode `text[start:stop]` into `out[count:]`; return the new count, or minus a status."""
    token: Any = start
    p_letter, p_number, p_other, p_white, p_space, p_run = _U0, _U0, _U0, _U0, _U0, _U0
    carried_set, carried_clear = _U0, _U0
    mark_end: Any = -1
    mark_order: Any = 0
    if prefix and text[start] != 32:
        token = start - 1
        p_white = p_space = _U1
    at: Any = start
    size: Any = 0
    ended = False
    while not ended:
        size = min(64, stop - at)
        letter, number, white, space, high, apostrophe, suspect = classify(text, at)
        valid = _ALL if size == 64 else (_U1 << np.uint64(size)) - _U1
        leads = white & valid
        leads2, leads3 = _U0, _U0
        high &= valid
        if high != _U0:
            letter &= ~high
            white &= ~high
            todo = high
            while todo != _U0:
                i = trailing_zeros(todo)
                code_point, width = _code_point(text, at + i)
                if i + width > size:  # The character goes to the next block whole.
                    if at + size == stop:
                        return -REFER  # Not UTF-8: the reference path says so.
                    size = i
                    valid = (_U1 << np.uint64(size)) - _U1
                    break
                entry = np.int64(table[code_point])
                bits = ((_U1 << np.uint64(width)) - _U1) << np.uint64(i)
                todo &= ~bits
                kind = entry & 3
                if kind == LETTER:
                    letter |= bits
                elif kind == NUMBER:
                    number |= bits
                elif kind == SPACE:
                    white |= bits
                    leads |= _U1 << np.uint64(i)
                    if width == 2:
                        leads2 |= _U1 << np.uint64(i)
                    else:
                        leads3 |= _U1 << np.uint64(i)
                order = entry >> 2
                if order != 0:
                    if order == REFERENCE:
                        return -REFER
                    if guard:
                        if order == MAYBE or (mark_end == at + i and mark_order > order):
                            return -SPLIT
                        mark_end, mark_order = at + i + width, order
        letter &= valid
        number &= valid
        white &= valid
        space &= valid
        leads &= valid
        other = valid & ~(letter | number | white)
        if guard:
            suspect &= valid
            while suspect != _U0:
                if _is_suspect(text, at + trailing_zeros(suspect)):
                    return -SPLIT
                suspect &= suspect - _U1

        starts, run_starts = _U0, _U0
        top = np.uint64(size - 1)
        if size > 0:
            next_text, next_space, more = _U0, _U0, _U0
            if at + size < stop:
                more = _U1 << top
                if text[at + size] == 32:
                    next_space = more
                elif _class_at(text, at + size, table) != SPACE:
                    next_text = more
            before_text = (~white & valid) >> _U1 | next_text
            before_space = space >> _U1 | next_space
            run = space & (space << _U1 | p_space | before_space)
            run_starts = run & ~(run << _U1 | p_run)
            last = white & ~run & before_text
            starts = leads & ~run & ~(white << _U1 | p_white)
            starts |= last & ~high
            if leads2 | leads3 != _U0:
                starts |= leads2 & last >> _U1 | leads3 & last >> _U2
            change = letter & ~(letter << _U1 | p_letter)
            change |= number & ~(number << _U1 | p_number)
            change |= other & ~(other << _U1 | p_other)
            starts |= change & ~(space << _U1 | p_space)
            if prefix:
                after = valid >> _U1 | more
                starts |= run & ~before_space & after
            else:
                todo = (run << _U1 | p_run) & ~run & valid
                while todo != _U0:
                    i = trailing_zeros(todo)
                    if not _leaves_one_space(text, start, at + i):
                        starts |= _U1 << np.uint64(i)
                    todo &= todo - _U1
            starts = ((starts & ~carried_clear) | (carried_set & valid)) | run_starts
            carried_set = carried_clear = _U0
            todo = starts & apostrophe
            while todo != _U0:
                i = trailing_zeros(todo)
                todo &= todo - _U1
                a, b = text[at + i + 1], text[at + i + 2]
                width = 0
                if a == 115 or a == 116 or a == 109 or a == 100:  # s t m d
                    width = 2
                elif ((a == 114 or a == 118) and b == 101) or (a == 108 and b == 108):  # re ve ll
                    width = 3
                if width > 0:
                    if i + 1 < size:
                        starts &= ~(_U1 << np.uint64(i + 1))
                    else:
                        carried_clear = _U1
                    if i + width < size:
                        starts |= _U1 << np.uint64(i + width)
                    else:
                        carried_set = _U1 << np.uint64(i + width - size)
            p_letter = letter >> top & _U1
            p_number = number >> top & _U1
            p_other = other >> top & _U1
            p_white = white >> top & _U1
            p_space = space >> top & _U1
            p_run = run >> top & _U1
        if at + size == stop and size < 64:
            starts |= _U1 << np.uint64(size)
            ended = True

        while starts != _U0:
            i = trailing_zeros(starts)
            starts &= starts - _U1
            length = at + i - token
            if length <= KEY_BYTES:
                low = load64(text, token) & _LOW_MASKS[length]
                key = (load64(text, token + 8) & _HIGH_MASKS[length]) | _LENGTHS[length]
                entry = np.int64(((low ^ (key * _MIX_HIGH)) * _MIX) >> _WORD_SHIFT) * 8
                if words[entry] == low and words[entry + 1] == key:
                    store_ids(out, count, words, entry + 2)
                    count += np.int64(words[entry + 3] >> np.uint64(48))
                elif words[entry + 4] == low and words[entry + 5] == key:
                    store_ids(out, count, words, entry + 6)
                    count += np.int64(words[entry + 7] >> np.uint64(48))
                else:
                    count = _missed_word(
                        text, token, token + length, low, key, entry,
                        byte_ids, pairs, words, scratch, out, count,
                    )  # fmt: skip
            else:
                count = _long_word(
                    text, token, token + length, byte_ids, pairs, longs, scratch, out, count
                )
            token = at + i
            if run_starts >> np.uint64(i) & _U1 != _U0:
                end = _run_of_spaces(text, token, stop)
                spaces = end - token
                while spaces >= _LONGEST_RUN:
                    out[count] = _FIRST_RUN_ID - _LONGEST_RUN
                    count += 1
                    spaces -= _LONGEST_RUN
                if spaces > 1:
                    out[count] = _FIRST_RUN_ID - spaces
                    count += 1
                token = end
                if spaces == 1 or (prefix and end < stop):
                    token = end - 1
        at += size
    return count


@compiled
def encode_documents(
    data: Bytes,
    offsets: npt.NDArray[np.int64],
    first: int,
    prefix: bool,
    guard: bool,
    cls_id: int,
    sep_id: int,
    table: Bytes,
    byte_ids: npt.NDArray[np.int32],
    pairs: Words,
    words: Words,
    longs: Words,
    text: Bytes,
    scratch: npt.NDArray[np.int32],
    out: npt.NDArray[np.uint32],
    counts: npt.NDArray[np.int64],
    status: Bytes,
) -> tuple[int, int]:
    """Encode documents from `first` on while `out` has room; return `(next, num_ids)`.

    `data`: uint8, document d is `data[offsets[d]:offsets[d + 1]]`, valid UTF-8. `text`: room
    for the longest document, LEAD and TAIL. `out`: a document of n bytes needs n + 16.
    A `cls_id` below zero leaves out both special tokens.
    """
    count = 0
    document = first
    while document < offsets.size - 1:
        start, stop = offsets[document], offsets[document + 1]
        size = stop - start
        if count + size + 16 > out.size:
            break
        text[LEAD - 1] = 32
        text[LEAD : LEAD + size] = data[start:stop]
        text[LEAD + size : LEAD + size + TAIL] = 0
        begin = count
        if cls_id >= 0:
            out[count] = cls_id
            count += 1
        if size > 0:
            count = _scan(
                text, LEAD, LEAD + size, prefix, guard, table, byte_ids, pairs,
                words, longs, scratch, out, count,
            )  # fmt: skip
        if count < 0:
            status[document] = -count
            counts[document] = 0
            count = begin
        else:
            if cls_id >= 0:
                out[count] = sep_id
                count += 1
            status[document] = ENCODED
            counts[document] = count - begin
        document += 1
    return document, count
