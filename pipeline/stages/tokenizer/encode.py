"""Text to token ids and back, id for id as in the `tokenizers` library.

For ModernBERT a compiled kernel encodes. It takes seconds to compile, so the library does little
work.
Text must be encodable as UTF-8: callers refuse lone surrogates.
"""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.core.arrays import Uint32Array
from pipeline.core.compiled import Budget
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, explain_library
from pipeline.core.ragged import ByteStrings, Rows, byte_strings, offsets_of
from pipeline.stages.tokenizer.bpe import byte_alphabet
from pipeline.stages.tokenizer.library import (
    NO_TOKEN,
    make_reference,
    special_ids,
    takes_prefix_space,
    template_ids,
    vocab_size,
)
from pipeline.stages.tokenizer.tokenizer_json import is_modernbert, read_json

if TYPE_CHECKING:
    from pipeline.stages.tokenizer.fast import Fast

# Characters per kernel call: large enough to hide the call, small enough for caches.
_GROUP_CHARACTERS = 1 << 20
# Of texts that the library encodes first, where there is little work: half a second.
_LITTLE_CHARACTERS = 1 << 20
# The library's encodings take about 200 bytes per token, so few documents at a time.
_REFERENCE_CHARACTERS = 1 << 18


class Tokenizer:
    """One tokenizer, pinned by the sha256 of its `tokenizer.json`.

    `make_tokenizer` makes it. May be pickled, forked and shared by threads. `cls_id`, `sep_id`:
    what its template puts before and after each document, or NO_TOKEN. `special_ids`: uint32, the
    ids that decoding with `skip_special_tokens` drops.
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
        self._may_be_fast = sys.byteorder == "little" and is_modernbert(data)
        self._little = Budget(_LITTLE_CHARACTERS)

    def __reduce__(self) -> tuple[Any, ...]:
        return make_tokenizer, (self.name, self._data, self.add_prefix_space)

    @property
    def is_fast(self) -> bool:
        """Whether the kernel can encode for this tokenizer, which loads it."""
        return self._fast is not None

    @property
    def has_loaded(self) -> bool:
        """Whether the kernel was loaded: from then on it encodes."""
        return self.__dict__.get("_fast") is not None

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
        fast = self._fast_for(sum(map(len, texts)))
        if fast is None:
            return self.encode_reference(texts)
        groups = _groups(texts, _GROUP_CHARACTERS)
        return Rows.concat(
            [fast.encode(byte_strings([text.encode() for text in group])) for group in groups]
        )

    def encode_utf8(self, documents: ByteStrings) -> Rows:
        """Encode documents in valid UTF-8. Pure."""
        fast = self._fast_for(documents.values.size)
        if fast is None:
            return self.encode_reference([one.tobytes().decode() for one in documents])
        return fast.encode(documents)

    def _fast_for(self, num_characters: int) -> "Fast | None":
        """Return the kernel, unless the library can as well encode texts of this size."""
        if not self.has_loaded and self._little.covers(num_characters):
            return None
        return self._fast

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

    @cached_property
    def decode_table(self) -> ByteStrings:
        """The bytes of each id below `vocab_size`, empty for ids not in the vocabulary.

        Source: the library's ByteLevel decoder, which reads a token as bytes if all of its
        characters are in the byte alphabet, else as text.
        Raises: ConfigError if the tokenizer has another decoder.
        """
        if (json.loads(self._data).get("decoder") or {}).get("type") != "ByteLevel":
            raise ConfigError(f"{self.name}: got another decoder, expected ByteLevel")
        byte_of = {character: byte for byte, character in enumerate(byte_alphabet())}
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

    @cached_property
    def _fast(self) -> "Fast | None":
        """The kernel; None for another tokenizer, or where the installed library disagrees."""
        if not self._may_be_fast:
            return None
        from pipeline.stages.tokenizer.fast import Fast

        frame = (self.cls_id, self.sep_id)
        fast = Fast(self._data, self.add_prefix_space, frame, self.encode_reference)
        if fast.agrees():
            return fast
        warnings.warn(
            f"{self.name}: the kernel and the installed tokenizers library disagree, so the"
            " library is used, about fifty times slower; please report this",
            RuntimeWarning,
            stacklevel=4,
        )
        return None


# One with a space before segments, and one without.
@lru_cache(maxsize=2)
def make_tokenizer(name: str, data: bytes, add_prefix_space: bool) -> Tokenizer:
    """Return the tokenizer of a `tokenizer.json`, once in a process: its tables take half a second.

    Raises: InputError or ConfigError if the file is unusable.
    """
    return Tokenizer(name, data, add_prefix_space)


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
    return make_tokenizer(name, read_json(name, revision, folder), add_prefix_space)


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
