"""The kernel with what it needs: tables, buffers, and what encodes the documents that it refuses.

What the kernel cannot guarantee goes through `added_tokens`, and the rest through the library.
"""

import threading
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.core.arrays import Uint8Array, Uint32Array
from pipeline.core.ragged import ByteStrings, Rows, byte_strings, offsets_of
from pipeline.stages.tokenizer import added_tokens, bpe, char_classes, kernel, word_cache

# Bytes of text for which there is room from the start.
_TEXT_BYTES = 1 << 20
# Ids per kernel call: 4 MB.
_GROUP_IDS = 1 << 20

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
        self.text = np.zeros(_TEXT_BYTES, np.uint8)
        self.scratch = np.zeros(1 << 16, np.int32)
        self.out = np.empty(_GROUP_IDS, np.uint32)


class Fast:
    """Encodes as the library does, for ModernBERT's tokenizer. Threads may share it."""

    def __init__(
        self,
        data: bytes,
        add_prefix_space: bool,
        frame: tuple[int, int],
        reference: Callable[[Sequence[str]], Rows],
    ) -> None:
        """data: the `tokenizer.json`; frame: ids before and after each document, or NO_TOKEN;
        reference: the library.
        """
        self._byte_ids, self._pairs = bpe.kernel_tables(data)
        self._table = char_classes.read_table()
        self._prefix = add_prefix_space
        self._frame = frame
        self._reference = reference
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

    def encode(self, documents: ByteStrings) -> Rows:
        """Encode documents in valid UTF-8. Pure."""
        rows, status = self.run(documents, whole=True)
        left = np.flatnonzero(status)
        if not left.size:
            return rows
        index = np.arange(len(rows))
        index[left] = len(rows) + np.arange(len(left))
        redone = self._encode_left(
            [documents[index].tobytes().decode() for index in left.tolist()], status[left]
        )
        return Rows.concat([rows, redone]).take(index)

    def _encode_left(self, texts: list[str], status: Uint8Array) -> Rows:
        """Encode what the kernel refused: by segments, else with the library."""
        plans: list[list[int | bytes]] = [
            added_tokens.plan(text) if state == kernel.SPLIT else []
            for text, state in zip(texts, status, strict=True)
        ]
        pieces = [step for steps in plans for step in steps if isinstance(step, bytes)]
        encoded, states = self.run(byte_strings(pieces), whole=False)
        number = 0
        results = []
        for text, state, steps in zip(texts, status, plans, strict=True):
            result = [np.array([self._frame[0]], np.uint32)]
            refer = state == kernel.REFER
            for step in steps:
                if isinstance(step, int):
                    result.append(np.array([step], np.uint32))
                else:
                    result.append(encoded[number])
                    refer = refer or states[number] != kernel.ENCODED
                    number += 1
            result.append(np.array([self._frame[1]], np.uint32))
            results.append(self._reference([text]).values if refer else np.concatenate(result))
        return Rows.pack(results)

    def agrees(self) -> bool:
        """Return whether the installed library gives the same, of texts for every rule."""
        expected = self._reference(_CHECKED)
        got = self.encode(byte_strings([text.encode() for text in _CHECKED]))
        return (
            np.array_equal(expected.offsets, got.offsets)
            and np.array_equal(expected.values, got.values)
            and char_classes.classes_agree()
        )
