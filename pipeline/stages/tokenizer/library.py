"""The tokenizer of the `tokenizers` library, independent of version defaults.

The prefix space is written into the JSON itself, since releases of `transformers` disagree on
whether they honour `add_prefix_space` on loading. Truncation and padding are off.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipeline.core.arrays import BoolArray, Uint32Array
from pipeline.core.errors import ConfigError, explain_library
from pipeline.core.json_record import parse_json

NO_TOKEN = -1
"""The id in place of a special token that a tokenizer does not have."""

# The largest vocabularies in use have some 260,000.
_MOST_IDS = 1 << 24
_PAD_TOKENS = ("[PAD]", "<pad>", "<|padding|>", "<|pad|>")
_MASK_TOKENS = ("[MASK]", "<mask>", "<|mask|>")


def make_reference(name: str, data: bytes, add_prefix_space: bool) -> Tokenizer:
    """Build the library's tokenizer.

    Raises: InputError if `data` is not a tokenizer; ConfigError if it has random dropout, or a
    prefix space is requested and the pre-tokenizer has no such setting.
    """
    with explain_library(f"{name}: got no usable tokenizer.json"):
        content: dict[str, Any] = parse_json(data)
        found = _set_prefix(content.get("pre_tokenizer"), add_prefix_space)
        content["truncation"] = content["padding"] = None
        reference = Tokenizer.from_str(json.dumps(content))
    if content.get("model", {}).get("dropout"):
        raise ConfigError(
            f"{name}: its model has dropout {content['model']['dropout']}, which is random",
            hint="set model.dropout to null in a copy of the file, and name that",
        )
    if add_prefix_space and not found:
        raise ConfigError(
            f"{name}: add_prefix_space is true, but its pre-tokenizer has no such setting",
            hint="set add_prefix_space to false",
        )
    return reference


def takes_prefix_space(data: bytes) -> bool:
    """Return whether the pre-tokenizer of a `tokenizer.json` has the setting `add_prefix_space`."""
    return _set_prefix(parse_json(data).get("pre_tokenizer"), True)


def _set_prefix(splitter: Any, value: bool) -> bool:
    """Set it in a pre-tokenizer and its parts; return whether one has the setting."""
    if not isinstance(splitter, dict):
        return False
    found = "add_prefix_space" in splitter
    if found:
        splitter["add_prefix_space"] = value
    parts = [_set_prefix(part, value) for part in splitter.get("pretokenizers", [])]
    return found or any(parts)


def template_ids(name: str, reference: Tokenizer) -> tuple[int, int]:
    """Return the id that the template puts before a document, and the one after; NO_TOKEN for none.

    Raises: ConfigError if it adds more than one token on a side; InputError if it names a token
    that there is not.
    """
    with explain_library(f"{name}: got no usable template"):
        frame = reference.encode("").ids
    before, after = _around(reference, frame) if frame else ([], [])
    if len(before) > 1 or len(after) > 1:
        raise ConfigError(
            f"{name}: template adds {len(before)} tokens before a document and {len(after)} after,"
            " expected at most one on each side",
            "set post_processor to such a template in a copy of the file, and name that",
        )
    return before[0] if before else NO_TOKEN, after[0] if after else NO_TOKEN


def _around(reference: Tokenizer, frame: list[int]) -> tuple[list[int], list[int]]:
    """Return which ids of a template are before a document, and which after."""
    for text in sorted(reference.get_vocab(with_added_tokens=False)):
        try:
            bare = reference.encode(text, add_special_tokens=False).ids
        except Exception:  # The library raises this bare type for what has no ids.
            continue
        if bare and frame[0] not in bare:
            size = reference.encode(text).ids.index(bare[0])
            return frame[:size], frame[size:]
    # No text has ids, so nothing is ever between them.
    return frame[:1], frame[1:]


def _first_id(reference: Tokenizer, tokens: tuple[str, ...]) -> int | None:
    found = (reference.token_to_id(token) for token in tokens)
    return next((id_ for id_ in found if id_ is not None), None)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpecialIds:
    """The ids by which a tokenizer marks sequences, and which of all its ids are special.

    `cls_id`, `sep_id` and `mask_id` are NO_TOKEN where it has no such token.
    """

    cls_id: int
    sep_id: int
    pad_id: int
    """Fills what no model attends to: without a padding token the last special id, else 0."""
    mask_id: int
    is_special: BoolArray
    """bool [vocab_size], True for ids that decoding drops and masking spares."""

    @property
    def vocab_size(self) -> int:
        """One past the largest id; a row with a larger one comes from another tokenizer."""
        return len(self.is_special)

    @property
    def placeholder(self) -> Uint32Array:
        """The row in place of one that is lost: uint32 [2]."""
        ids = (self.cls_id, self.sep_id)
        return np.array([self.pad_id if id_ == NO_TOKEN else id_ for id_ in ids], np.uint32)


@lru_cache(maxsize=2)
def read_special_ids(name: str, data: bytes) -> SpecialIds:
    """Return the special ids of a `tokenizer.json`, which errors call by its name.

    Takes a third of a second, once; setting up the kernel would take more than one.
    Raises: InputError or ConfigError if it is unusable.
    """
    reference = make_reference(name, data, add_prefix_space=False)
    cls_id, sep_id = template_ids(name, reference)
    pad_id, mask_id = _first_id(reference, _PAD_TOKENS), _first_id(reference, _MASK_TOKENS)
    special = special_ids(reference)
    if pad_id is None:
        pad_id = int(special[-1]) if special.size else 0
    is_special = np.zeros(vocab_size(name, reference), np.bool_)
    is_special[special] = True
    return SpecialIds(
        cls_id=cls_id,
        sep_id=sep_id,
        pad_id=pad_id,
        mask_id=NO_TOKEN if mask_id is None else mask_id,
        is_special=is_special,
    )


def special_ids(reference: Tokenizer) -> Uint32Array:
    """Return the ids that decoding with `skip_special_tokens` drops: uint32, rising."""
    added = reference.get_added_tokens_decoder()
    return np.array(sorted(id_ for id_, token in added.items() if token.special), np.uint32)


def vocab_size(name: str, reference: Tokenizer) -> int:
    """Return one past the largest id. Raises: ConfigError if tables of that size are absurd."""
    size: int = max(reference.get_vocab(with_added_tokens=True).values(), default=-1) + 1
    if not 0 < size <= _MOST_IDS:
        raise ConfigError(
            f"{name}: got ids below {size:,}, expected 1 to {_MOST_IDS:,} of them",
            "number the tokens without such gaps in a copy of the file, and name that",
        )
    return size
