"""Text to token ids and back, id for id as in the `tokenizers` library.

What the kernel cannot guarantee goes through `added_tokens`, and the rest through the library. Text
must be encodable as UTF-8: callers refuse lone surrogates.
"""

import json
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.arrays import Uint8Array, Uint32Array
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, explain_library
from pipeline.core.ragged import ByteStrings, Rows, byte_strings, offsets_of
from pipeline.stages.tokenizer import added_tokens, bpe, char_classes, kernel, word_cache
from pipeline.stages.tokenizer.library import (
    NO_TOKEN,
    make_reference,
    special_ids,
    takes_prefix_space,
    template_ids,
    vocab_size,
)
from pipeline.stages.tokenizer.tokenizer_json import is_modernbert, read_json

# Characters per kernel call: large enough to hide the call, small enough for caches.
_GROUP_CHARACTERS = 1 << 20
# Ids per kernel call: 4 MB.
_GROUP_IDS = 1 << 20
# The library's encodings take about 200 bytes per token, so few documents at a time.
_REFERENCE_CHARACTERS = 1 << 18

# Hostile texts, one per rule, that are encoded both ways whenever the kernel is set up.
_CHECKED = [
    *("", " ", "  ", " a", "  a", "a ", "a  ", "\n", " \n", "  \n", "\n  ", "\t\t", "a\n b\n\n c"),
    *("'s", " 's", "  's", "\n's", "x's'S'll'lla've'r'd're'm't''t", "a 'tis", "1's2't!'d"),
    *("x" + " " * n + "y" for n in (2, 23, 24, 25, 26, 48, 49, 50)),
    *("x" + " " * n + tail for n in (25, 49) for tail in ("", "\n", "\nz", "\t\n", "'s", "\u00e9")),
    *("\x1c\x1f a", "\x85b\xa0 \xa0c", "\u2028\u3000\u3000d \u2003e", "1\u00b2\u0664\u2167"),
    *("caf\u00e9 cafe\u0301", "\u0915\u093c \u1e9b\u0323", "\uac00\u11a8", "a\u0315\u0300"),
    *("a \t [MASK]b", "[MASK] [MASK]", "[CLS][SEP]  x", "[unused0][unused82][unused83]", "[UNK"),
    *("|||IP_ADDRESS|||||||EMAIL_ADDRESS|||", "<|endoftext|><|padding|> <|pad|>", "[ MASK]"),
    *("\U0001f468\u200d\U0001f469", "\u4f60\u597d\u4e16\u754c", "-" * 70, "ab" * 60),
    "The quick brown fox's 12 jumps, we'll see: they've 3.14 don't I'm you're he'd \u201cso\u201d",
    "def f(x):\n    return [y for y in x]\n\n\n\tpass  # none\r\n\r\n        e = {'a': 1}\n",
]


class _State(threading.local):
    """The caches and buffers of one thread, 26 MB."""

    def __init__(self) -> None:
        self.words = word_cache.new_words()
        self.longs = word_cache.new_longs()
        self.text = np.zeros(_GROUP_CHARACTERS, np.uint8)
        self.scratch = np.zeros(1 << 16, np.int32)
        self.out = np.empty(_GROUP_IDS, np.uint32)


class _Fast:
    def __init__(self, data: bytes, add_prefix_space: bool, frame: tuple[int, int]) -> None:
        self._byte_ids, self._pairs = bpe.kernel_tables(data)
        self._table = char_classes.read_table()
        self._prefix = add_prefix_space
        self._frame = frame
        self._state = _State()

    def run(self, documents: ByteStrings, *, whole: bool) -> tuple[Rows, Uint8Array]:
        """Return the ids and the status of documents; one that is not ENCODED has no ids.

        With `whole` false, they are segments without special tokens and need no guard.
        """
        num_documents = len(documents)
        counts = np.zeros(num_documents, np.int64)
        status = np.zeros(num_documents, np.uint8)
        longest = int(documents.lengths().max(initial=0))
        state = self._state
        text, out = state.text, state.out
        if longest + kernel.LEAD + kernel.TAIL > text.size:
            text = np.empty(longest + kernel.LEAD + kernel.TAIL, np.uint8)
        if longest + 16 > out.size:
            out = np.empty(longest + 16, np.uint32)
        cls_id, sep_id = self._frame if whole else (-1, -1)
        parts: list[Uint32Array] = []
        first = 0
        while first < num_documents or not parts:
            first, num_ids = kernel.encode_documents(
                documents.values, documents.offsets, first, self._prefix, whole, cls_id, sep_id,
                self._table, self._byte_ids, self._pairs,
                state.words, state.longs, text, state.scratch, out, counts, status,
            )  # fmt: skip
            parts.append(out[:num_ids].copy())
        ids = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return Rows(ids, offsets_of(counts)), status


class Tokenizer:
    """One tokenizer, pinned by the sha256 of its `tokenizer.json`.

    May be pickled, forked and shared by threads. `cls_id`, `sep_id`: what its template puts before
    and after each document, or NO_TOKEN. `special_ids`: uint32, the ids that decoding with
    `skip_special_tokens` drops.
    """

    def __init__(self, name: str, data: bytes, add_prefix_space: bool) -> None:
        self.name = name
        self.digest = sha256_bytes(data)
        self.add_prefix_space = add_prefix_space
        self._data = data
        self._reference = make_reference(name, data, add_prefix_space)
        self.cls_id, self.sep_id = template_ids(name, self._reference)
        self.special_ids = special_ids(self._reference)
        self.vocab_size = vocab_size(name, self._reference)
        self._fast: _Fast | None = None
        if sys.byteorder == "little" and is_modernbert(data):
            self._fast = _Fast(data, add_prefix_space, (self.cls_id, self.sep_id))
            self._check_fast()

    def __reduce__(self) -> tuple[Any, ...]:
        return Tokenizer, (self.name, self._data, self.add_prefix_space)

    @property
    def is_fast(self) -> bool:
        """Whether the kernel encodes for this tokenizer."""
        return self._fast is not None

    @property
    def is_framed(self) -> bool:
        """Whether its template puts a token on both sides of each document."""
        return NO_TOKEN not in (self.cls_id, self.sep_id)

    @property
    def content(self) -> slice:
        """The part of an encoded document without what the template adds."""
        return slice(int(self.cls_id != NO_TOKEN), None if self.sep_id == NO_TOKEN else -1)

    @property
    def takes_prefix_space(self) -> bool:
        """Whether `add_prefix_space` can be True."""
        return takes_prefix_space(self._data)

    @property
    def data(self) -> bytes:
        """Its `tokenizer.json`."""
        return self._data

    def encode(self, texts: Sequence[str]) -> Rows:
        """Encode documents. Pure."""
        if self._fast is None:
            return self.encode_reference(texts)
        groups = _groups(texts, _GROUP_CHARACTERS)
        return Rows.concat(
            [self._encode_fast(byte_strings([text.encode() for text in group])) for group in groups]
        )

    def encode_utf8(self, documents: ByteStrings) -> Rows:
        """Encode documents in valid UTF-8. Pure."""
        if self._fast is None:
            return self.encode_reference(_decoded(documents, range(len(documents))))
        return self._encode_fast(documents)

    def encode_reference(self, texts: Sequence[str]) -> Rows:
        """Encode documents with the `tokenizers` library alone.

        Raises: InputError if it has no ids for one of them, as without an unknown token.
        """
        parts = []
        for group in _groups(texts, _REFERENCE_CHARACTERS):
            with explain_library(f"{self.name}: cannot encode a document"):
                ids = [encoding.ids for encoding in self._reference.encode_batch(group)]
            values = np.fromiter(chain.from_iterable(ids), np.uint32)
            parts.append(Rows(values, offsets_of(list(map(len, ids)))))
        return Rows.concat(parts)

    def decode_table(self) -> ByteStrings:
        """Return the bytes of each id below `vocab_size`, empty for ids not in the vocabulary.

        Source: the library's ByteLevel decoder, which reads a token as bytes if all of its
        characters are in the byte alphabet, else as text.
        Raises: ConfigError if the tokenizer has another decoder.
        """
        if (json.loads(self._data).get("decoder") or {}).get("type") != "ByteLevel":
            raise ConfigError(f"{self.name}: got another decoder, expected ByteLevel")
        byte_of = {character: byte for byte, character in enumerate(bpe.byte_alphabet())}
        spelled = [b""] * self.vocab_size
        for token, token_id in self._reference.get_vocab(with_added_tokens=True).items():
            known = all(c in byte_of for c in token)
            spelled[token_id] = bytes(byte_of[c] for c in token) if known else token.encode()
        return byte_strings(spelled)

    def decode_reference(self, ids: Sequence[int] | Uint32Array) -> str:
        """Decode with the library, without special tokens and without clean-up of spaces."""
        with explain_library(f"{self.name}: cannot decode ids"):
            text: str = self._reference.decode([int(i) for i in ids], skip_special_tokens=True)
        return text

    def _encode_fast(self, documents: ByteStrings) -> Rows:
        assert self._fast is not None
        rows, status = self._fast.run(documents, whole=True)
        left = np.flatnonzero(status)
        if not left.size:
            return rows
        index = np.arange(len(rows))
        index[left] = len(rows) + np.arange(len(left))
        redone = self._encode_left(_decoded(documents, left.tolist()), status[left])
        return Rows.concat([rows, redone]).take(index)

    def _encode_left(self, texts: list[str], status: Uint8Array) -> Rows:
        """Encode what the kernel refused: by segments, else with the library."""
        assert self._fast is not None
        plans: list[list[int | bytes]] = [
            added_tokens.plan(text) if state == kernel.SPLIT else []
            for text, state in zip(texts, status, strict=True)
        ]
        pieces = [step for steps in plans for step in steps if isinstance(step, bytes)]
        encoded, states = self._fast.run(byte_strings(pieces), whole=False)
        number = 0
        results = []
        for text, state, steps in zip(texts, status, plans, strict=True):
            result = [np.array([self.cls_id], np.uint32)]
            refer = state == kernel.REFER
            for step in steps:
                if isinstance(step, int):
                    result.append(np.array([step], np.uint32))
                else:
                    result.append(encoded[number])
                    refer = refer or states[number] != kernel.ENCODED
                    number += 1
            result.append(np.array([self.sep_id], np.uint32))
            results.append(
                self.encode_reference([text]).values if refer else np.concatenate(result)
            )
        return Rows.pack(results)

    def _check_fast(self) -> None:
        """Drop the kernel with a warning if the installed library disagrees with it."""
        expected = self.encode_reference(_CHECKED)
        got = self.encode(_CHECKED)
        if not (
            np.array_equal(expected.offsets, got.offsets)
            and np.array_equal(expected.values, got.values)
            and char_classes.classes_agree()
        ):
            self._fast = None
            warnings.warn(
                f"{self.name}: the kernel and the installed tokenizers library disagree, so the"
                " library is used, about fifty times slower; please report this",
                RuntimeWarning,
                stacklevel=4,
            )


def load_tokenizer(
    name: str,
    *,
    add_prefix_space: bool,
    revision: str | None = None,
    folder: Path | None = None,
) -> Tokenizer:
    """Load a tokenizer; the arguments are those of `read_json`.

    Raises: as `read_json`; InputError or ConfigError if the file is unusable.
    """
    return Tokenizer(name, read_json(name, revision, folder), add_prefix_space)


def _groups(texts: Iterable[str], limit: int) -> Iterator[list[str]]:
    """Yield groups of at most `limit` characters, or of one document; at least one group."""
    group: list[str] = []
    size = 0
    for text in texts:
        if group and size + len(text) > limit:
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text)
    yield group


def _decoded(documents: ByteStrings, which: Iterable[int]) -> list[str]:
    return [documents[index].tobytes().decode() for index in which]
