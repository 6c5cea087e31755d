"""The `tokenizers` library's tokenizer from JSON, independent of its versions' defaults.

Enters: the bytes of a `tokenizer.json`. Leaves: a `tokenizers.Tokenizer` whose prefix space is
written in the JSON itself, with truncation and padding off, and its special tokens.
Releases of `transformers` disagree on whether they honour `add_prefix_space` on loading, so it is
never set that way.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipeline.core.arrays import Uint32Array
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError, explain_library
from pipeline.core.json_record import parse_json
from pipeline.stages.tokenizer.tokenizer_json import read_json

_PAD_TOKENS = ("[PAD]", "<pad>", "<|padding|>", "<|pad|>")
_MASK_TOKENS = ("[MASK]", "<mask>", "<|mask|>")


def make_reference(name: str, data: bytes, add_prefix_space: bool) -> Tokenizer:
    """Build the library's tokenizer.

    Raises: InputError if `data` is no tokenizer; ConfigError if a prefix space is asked for and
    the pre-tokenizer has no such setting.
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
    """Write the setting into a pre-tokenizer and its parts; tell whether one has it."""
    if not isinstance(splitter, dict):
        return False
    found = "add_prefix_space" in splitter
    if found:
        splitter["add_prefix_space"] = value
    parts = [_set_prefix(part, value) for part in splitter.get("pretokenizers", [])]
    return found or any(parts)


def template_ids(name: str, reference: Tokenizer) -> tuple[int, int, int]:
    """Return the ids put before and after a document, and the padding id.

    Raises: ConfigError if the template does not add one token on each side, or if no padding
    token is known; InputError if it names a token that there is not.
    """
    with explain_library(f"{name}: got no usable template"):
        frame = reference.encode("").ids
    if len(frame) != 2:
        raise ConfigError(
            f"{name}: template adds {len(frame)} tokens to a document, expected one on each side"
        )
    for token in _PAD_TOKENS:
        pad_id = reference.token_to_id(token)
        if pad_id is not None:
            return frame[0], frame[1], pad_id
    raise ConfigError(f"{name}: has no padding token, expected one of {', '.join(_PAD_TOKENS)}")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpecialTokens:
    """What a tokenizer puts around and in place of tokens."""

    digest: str
    """sha256 of the `tokenizer.json`."""
    cls_id: int
    """Put before a document."""
    sep_id: int
    """Put after a document."""
    pad_id: int
    """Fills a row behind its sequence."""
    mask_id: int
    """Replaces an id that is to be predicted."""
    special_ids: Uint32Array
    """uint32, sorted: what decoding drops."""
    vocab_size: int
    """One past the largest id."""


def read_special_tokens(name: str) -> SpecialTokens:
    """Read the special tokens of "modernbert", or of the `tokenizer.json` at a path.

    Without the kernel, which takes a second and more to set up; this takes a third of one.
    Raises: as `read_json`; ConfigError where a special token is missing.
    """
    data = read_json(name)
    reference = make_reference(name, data, add_prefix_space=False)
    cls_id, sep_id, pad_id = template_ids(name, reference)
    found = (reference.token_to_id(token) for token in _MASK_TOKENS)
    mask_id = next((id_ for id_ in found if id_ is not None), None)
    if mask_id is None:
        raise ConfigError(f"{name}: has no mask token, expected one of {', '.join(_MASK_TOKENS)}")
    added = reference.get_added_tokens_decoder()
    special = sorted(id_ for id_, token in added.items() if token.special)
    return SpecialTokens(
        digest=sha256_bytes(data),
        cls_id=cls_id,
        sep_id=sep_id,
        pad_id=pad_id,
        mask_id=mask_id,
        special_ids=np.array(special, np.uint32),
        vocab_size=max(reference.get_vocab(with_added_tokens=True).values()) + 1,
    )
