"""The tokenizer of the `tokenizers` library, independent of version defaults.

The prefix space is written into the JSON itself, since releases of `transformers` disagree on
whether they honour `add_prefix_space` on loading. Truncation and padding are off.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipeline.core.arrays import BoolArray, Uint32Array
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, explain_library
from pipeline.core.json_record import parse_json
from pipeline.stages.tokenizer.tokenizer_json import read_json

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


def _set_prefix(splitter: Any, value: bool) -> bool:
    """Set it in a pre-tokenizer and its parts; return whether one has the setting."""
    if not isinstance(splitter, dict):
        return False
    found = "add_prefix_space" in splitter
    if found:
        splitter["add_prefix_space"] = value
    parts = [_set_prefix(part, value) for part in splitter.get("pretokenizers", [])]
    return found or any(parts)


def template_ids(name: str, reference: Tokenizer) -> tuple[int, int, int]:
    """Return the ids before and after a document, and the padding id.

    Raises: ConfigError if the template does not add one token on each side, or without a known
    padding token; InputError if it names a token that there is not.
    """
    with explain_library(f"{name}: got no usable template"):
        frame = reference.encode("").ids
    if len(frame) != 2:
        raise ConfigError(
            f"{name}: template adds {len(frame)} tokens to a document, expected one on each side",
            "set post_processor to such a template in a copy of the file, and name that",
        )
    for token in _PAD_TOKENS:
        pad_id = reference.token_to_id(token)
        if pad_id is not None:
            return frame[0], frame[1], pad_id
    raise ConfigError(
        f"{name}: has no padding token, expected one of {', '.join(_PAD_TOKENS)}",
        "add one to added_tokens in a copy of the file, and name that",
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpecialIds:
    """The ids by which a tokenizer marks sequences, and which of all its ids are special."""

    cls_id: int
    sep_id: int
    pad_id: int
    mask_id: int
    is_special: BoolArray
    """bool [vocab_size], True for ids that decoding drops and masking spares."""

    @property
    def vocab_size(self) -> int:
        """One past the largest id; a row with a larger one comes from another tokenizer."""
        return len(self.is_special)


def read_special_ids(name: str) -> tuple[SpecialIds, str]:
    """Return the special ids of "modernbert" or of the `tokenizer.json` at a path, and its sha256.

    Takes a third of a second; setting up the kernel would take more than one.
    Raises: as `read_json`; ConfigError where a special token is missing.
    """
    data = read_json(name)
    reference = make_reference(name, data, add_prefix_space=False)
    cls_id, sep_id, pad_id = template_ids(name, reference)
    found = (reference.token_to_id(token) for token in _MASK_TOKENS)
    mask_id = next((id_ for id_ in found if id_ is not None), None)
    if mask_id is None:
        raise ConfigError(f"{name}: has no mask token, expected one of {', '.join(_MASK_TOKENS)}")
    is_special = np.zeros(vocab_size(reference), np.bool_)
    is_special[special_ids(reference)] = True
    ids = SpecialIds(
        cls_id=cls_id, sep_id=sep_id, pad_id=pad_id, mask_id=mask_id, is_special=is_special
    )
    return ids, sha256_bytes(data)


def special_ids(reference: Tokenizer) -> Uint32Array:
    """Return the ids that decoding with `skip_special_tokens` drops: uint32, rising."""
    added = reference.get_added_tokens_decoder()
    return np.array(sorted(id_ for id_, token in added.items() if token.special), np.uint32)


def vocab_size(reference: Tokenizer) -> int:
    """Return one past the largest id."""
    return max(reference.get_vocab(with_added_tokens=True).values()) + 1
