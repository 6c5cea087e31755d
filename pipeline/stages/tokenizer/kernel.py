"""The compiled pass over UTF-8 bytes: split documents into pre-tokens and look each one up.

An ENCODED document has exactly the ids of the library; where the pass cannot guarantee them, the
status says so and nothing is written.

On 64 bytes at a time, every rule of the GPT-2 pattern is a few operations on 64-bit masks, one bit
per byte; then a loop visits the bits at which a pre-token starts, without branches that depend on
the text. Source of the pattern: `'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+|
?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+`, after runs of two or more spaces, which are added tokens.

A prefix space needs no copy: the byte before a segment is already a space, so the first pre-token
starts one byte early.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.compiled import compiled, inlined
from pipeline.stages.tokenizer.bpe import Bytes, Words
from pipeline.stages.tokenizer.char_classes import LETTER, MAYBE, NUMBER, REFERENCE, SPACE
from pipeline.stages.tokenizer.simd import classify, load64, store_ids, trailing_zeros
from pipeline.stages.tokenizer.word_cache import (
    HIGH_MASKS,
    KEY_BYTES,
    LENGTHS,
    LOW_MASKS,
    MIX,
    MIX_HIGH,
    WORD_SHIFT,
    long_word,
    missed_word,
)

# Status of a document: done; has an added token or text that NFC may change; has a code point
# that only the library can classify.
ENCODED, SPLIT, REFER = 0, 1, 2

# Bytes before a document, and zeros behind it for loads beyond its end.
LEAD, TAIL = 8, 160

_FIRST_RUN_ID = 50278  # A run of n spaces, 2 <= n <= 24, is the token 50278 - n.
_LONGEST_RUN = 24

_U0, _U1, _U2 = np.uint64(0), np.uint64(1), np.uint64(2)
_ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
# Beginnings of added tokens other than runs of spaces; eight bytes tell them apart.
SUSPECTS = (
    *("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "[unused", "<|padding|>", "<|endoftext|>"),
    *("|||IP_ADDRESS|||", "|||EMAIL_ADDRESS|||", "|||PHONE_NUMBER|||"),
)
_SUSPECT_WORDS = np.array([int.from_bytes(s.encode()[:8], "little") for s in SUSPECTS], np.uint64)
_SUSPECT_MASKS = np.array([(1 << 8 * min(len(s), 8)) - 1 for s in SUSPECTS], np.uint64)


@inlined
def _is_suspect(text: Bytes, at: int) -> Any:
    word = load64(text, at)
    for i in range(_SUSPECT_WORDS.size):  # noqa: SIM110 - numba has no generators here.
        if word & _SUSPECT_MASKS[i] == _SUSPECT_WORDS[i]:
            return True
    return False


@inlined
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


@inlined
def _class_at(text: Bytes, at: int, table: Bytes) -> Any:
    if text[at] < 0x80:
        return np.int64(table[text[at]]) & 3
    return np.int64(table[_code_point(text, at)[0]]) & 3


@inlined
def _leaves_one_space(text: Bytes, start: int, end: int) -> Any:
    """Return whether the run of spaces before `end` leaves one over, which starts a segment."""
    if end - _LONGEST_RUN - 1 < start or text[end - _LONGEST_RUN - 1] != 32:
        return False
    first = end
    while first > start and text[first - 1] == 32:
        first -= 1
    return (end - first) % _LONGEST_RUN == 1


@inlined
def _run_of_spaces(text: Bytes, at: int, stop: int) -> Any:
    end = at
    while end < stop and text[end] == 32:
        end += 1
    return end


@inlined
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
                if i + width > size:  # The whole character goes to the next block.
                    if at + size == stop:
                        return -REFER  # Not UTF-8: the library reports it.
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
                low = load64(text, token) & LOW_MASKS[length]
                key = (load64(text, token + 8) & HIGH_MASKS[length]) | LENGTHS[length]
                entry = np.int64(((low ^ (key * MIX_HIGH)) * MIX) >> WORD_SHIFT) * 8
                if words[entry] == low and words[entry + 1] == key:
                    store_ids(out, count, words, entry + 2)
                    count += np.int64(words[entry + 3] >> np.uint64(48))
                elif words[entry + 4] == low and words[entry + 5] == key:
                    store_ids(out, count, words, entry + 6)
                    count += np.int64(words[entry + 7] >> np.uint64(48))
                else:
                    count = missed_word(
                        text, token, token + length, low, key, entry,
                        byte_ids, pairs, words, scratch, out, count,
                    )  # fmt: skip
            else:
                count = long_word(
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

    data: uint8, document d is `data[offsets[d]:offsets[d + 1]]`, valid UTF-8; text: room for the
    longest document, LEAD and TAIL; out: a document of n bytes needs n + 16. A `cls_id` below zero
    omits both special tokens.
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
