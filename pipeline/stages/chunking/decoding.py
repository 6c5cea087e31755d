"""Decoding: ranges of token ids -> their text as transformers decodes and cleans it up.

Special tokens are skipped. The clean-up removes spaces before punctuation and contractions, which
transformers does by default for this tokenizer. Frozen: the published chunks went through it.

Source: transformers, `tokenization_utils_base.py`, `clean_up_tokenization`; 4.44.1 and 4.57.6
agree.
"""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.core.arrays import BoolArray, Int64Array, Uint8Array, Uint32Array
from pipeline.core.compiled import compiled
from pipeline.core.ragged import ByteStrings, byte_strings
from pipeline.stages.tokenizer import Tokenizer

_NO_LIMIT = np.iinfo(np.int64).max
_HEAD_BYTES = 16
_SCAN_BYTES = 64
_LOOK_AHEAD = 4
_SPACE, _QUOTE = ord(" "), ord("'")
_POINT, _QUESTION, _BANG, _COMMA = _MARKS = tuple(b".?!,")
_E, _M, _N, _R, _S, _T, _V = b"emnrstv"


class Spelling(NamedTuple):
    """The bytes of ids: id t is `token_bytes[starts[t]:stops[t]]`, empty for special tokens.

    `heads` is uint8 [vocab_size, 16]: the first 15 bytes of each id, and its length or 16 if that
    is more. They suffice for nearly all ids, with one cache line and a copy of fixed size.
    """

    token_bytes: Uint8Array
    starts: Int64Array
    stops: Int64Array
    heads: Uint8Array


def spelling_of(tokenizer: Tokenizer, *, keeps_specials: bool = False) -> Spelling:
    """Return the bytes of a tokenizer's ids; `keeps_specials`: also of those that are special."""
    spelled = tokenizer.decode_table
    starts, stops = spelled.offsets[:-1].copy(), spelled.offsets[1:].copy()
    if not keeps_specials:
        stops[tokenizer.special_ids] = starts[tokenizer.special_ids]
    padded = np.concatenate([spelled.values, np.zeros(_HEAD_BYTES, np.uint8)])
    heads = np.ascontiguousarray(sliding_window_view(padded, _HEAD_BYTES)[starts])
    heads[:, -1] = np.minimum(stops - starts, _HEAD_BYTES)
    return Spelling(spelled.values, starts, stops, heads)


def decode(
    ids: Uint32Array,
    starts: Int64Array,
    stops: Int64Array,
    spelling: Spelling,
    *,
    limit: int = _NO_LIMIT,
    cleans_up: bool = True,
) -> tuple[ByteStrings, BoolArray]:
    """Decode ranges, or `limit` bytes of each; return which are ASCII, too.

    cleans_up: whether the text is cleaned up, or left as the ids spell it.
    """
    text, offsets, is_ascii = _clean_text(ids, starts, stops, spelling, limit, cleans_up)
    return ByteStrings(text, offsets), is_ascii


def decode_valid(
    ids: Uint32Array,
    starts: Int64Array,
    stops: Int64Array,
    spelling: Spelling,
    *,
    cleans_up: bool = True,
) -> ByteStrings:
    """Decode ranges to UTF-8; arguments: as for `decode`."""
    return _replace_invalid(*decode(ids, starts, stops, spelling, cleans_up=cleans_up))


def _replace_invalid(text: ByteStrings, is_ascii: BoolArray) -> ByteStrings:
    """Replace malformed UTF-8 by U+FFFD: a piece may start or end inside a character."""
    replaced = {}
    for index in np.flatnonzero(~is_ascii).tolist():
        part = text[index].tobytes()
        try:
            part.decode()
        except UnicodeDecodeError:
            replaced[index] = part.decode(errors="replace").encode()
    if not replaced:
        return text
    return byte_strings([replaced.get(index, text[index].data) for index in range(len(text))])


@compiled
def _num_bytes(spelling: Spelling, token: int) -> np.int64:
    length = np.int64(spelling.heads[token, _HEAD_BYTES - 1])
    return length if length < _HEAD_BYTES else spelling.stops[token] - spelling.starts[token]


@compiled
def _clean_text(
    ids: Uint32Array,
    starts: Int64Array,
    stops: Int64Array,
    spelling: Spelling,
    limit: int,
    cleans_up: bool,
) -> tuple[Uint8Array, Int64Array, BoolArray]:
    num_bytes = 0
    for run in range(starts.size):
        for token in ids[starts[run] : stops[run]]:
            num_bytes += _num_bytes(spelling, token)
    # Room for a whole head at the end, and for the zeros that end the look-ahead.
    out = np.empty(num_bytes + _HEAD_BYTES, np.uint8)
    offsets = np.zeros(starts.size + 1, np.int64)
    is_ascii = np.empty(starts.size, np.bool_)
    for run in range(starts.size):
        first = position = offsets[run]
        for token in ids[starts[run] : stops[run]]:
            here, head = out[position : position + _HEAD_BYTES], spelling.heads[token]
            for j in range(_HEAD_BYTES):
                here[j] = head[j]
            length = _num_bytes(spelling, token)
            for j in range(_HEAD_BYTES - 1, length):
                out[position + j] = spelling.token_bytes[spelling.starts[token] + j]
            position += length
            if position - first >= limit:
                break
        every_bit = np.uint8(0)
        for byte in out[first:position]:
            every_bit |= byte
        is_ascii[run] = every_bit < 0x80
        offsets[run + 1] = _clean_up(out, first, position) if cleans_up else position
    return out[: offsets[-1]], offsets, is_ascii


@compiled
def _clean_up(text: Uint8Array, start: int, stop: int) -> int:
    """Clean up `text[start:stop]` in place; return the new stop.

    The original replaces one by one, over the whole text, ` .`, ` ?`, ` !`, ` ,` by the mark, ` ' `
    by the quote, and ` n't`, ` 'm`, ` 's`, ` 've`, ` 're` by themselves without the space. Neither
    the first five replacements nor the last five interfere with each other: one pass for each five.
    """
    text[stop : stop + _LOOK_AHEAD] = 0
    at, end = start, start
    hit = _next_candidate(text, at, stop)
    if hit == stop:
        return stop
    while hit < stop:
        end = _move(text, at, hit, end)
        at = hit + 1
        if text[at] == _QUOTE and text[at + 1] == _SPACE and text[at + 2] not in _MARKS:
            # A space between the quote and a mark is removed already.
            text[end] = _QUOTE
            end += 1
            at += 2
        elif text[at] == _QUOTE or text[at] == _N:
            text[end] = _SPACE
            end += 1
        hit = _next_candidate(text, at, stop)
    stop = _move(text, at, stop, end)

    text[stop : stop + _LOOK_AHEAD] = 0
    at, end = start, start
    hit = _next_candidate(text, at, stop)
    while hit < stop:
        end = _move(text, at, hit, end)
        at = hit + 1
        if not _is_contraction(text, at):
            text[end] = _SPACE
            end += 1
        hit = _next_candidate(text, at, stop)
    return int(_move(text, at, stop, end))


@compiled
def _next_candidate(text: Uint8Array, at: int, stop: int) -> int:
    """Return the position of the next space that the clean-up may remove, or `stop`."""
    while at < stop:
        width = min(_SCAN_BYTES, stop - at)
        # First a pass without branches, since hits are rare.
        here = text[at : at + width + 2]
        found = False
        for j in range(width):
            found |= _can_go(here[j], here[j + 1], here[j + 2])
        if found:
            for j in range(width):
                if _can_go(here[j], here[j + 1], here[j + 2]):
                    return at + j
        at += width
    return stop


@compiled
def _can_go(byte: int, second: int, third: int) -> bool:
    is_mark = (second == _POINT) | (second == _QUESTION) | (second == _BANG) | (second == _COMMA)
    is_quote = (second == _QUOTE) | ((second == _N) & (third == _QUOTE))
    return (byte == _SPACE) & (is_mark | is_quote)


@compiled
def _move(text: Uint8Array, start: int, stop: int, to: int) -> int:
    """Move `text[start:stop]` down to `to`; return the new end."""
    if start != to:
        for at in range(start, stop):
            text[to + at - start] = text[at]
    return to + stop - start


@compiled
def _is_contraction(text: Uint8Array, at: int) -> bool:
    """Return whether n't, 'm, 's, 've or 're is at `at`."""
    first, second, third = text[at], text[at + 1], text[at + 2]
    if first == _N:
        return bool(second == _QUOTE and third == _T)
    if first != _QUOTE:
        return False
    return second in (_M, _S) or (second in (_V, _R) and third == _E)
