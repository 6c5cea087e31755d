"""The special ids of a tokenizer, read without what encoding needs.

Enters: the name of a tokenizer. Leaves: the ids that trainers need to know. To make the kernel
takes a second and more, and this a third of one.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.core.arrays import Uint32Array
from pipeline.core.digest import sha256_bytes
from pipeline.core.errors import ConfigError
from pipeline.stages.tokenizer.reference import make_reference, template_ids
from pipeline.stages.tokenizer.resolve import read_json

_MASK_TOKENS = ("[MASK]", "<mask>", "<|mask|>")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Frame:
    """What a tokenizer puts around and in place of tokens."""

    digest: str
    """sha256 of the `tokenizer.json`."""
    cls_id: int
    """Put before a document."""
    sep_id: int
    """Put after a document."""
    pad_id: int
    """Fills what is no sequence."""
    mask_id: int
    """Stands where an id is to be predicted."""
    special_ids: Uint32Array
    """uint32, rising: what decoding drops."""
    vocab_size: int
    """One past the largest id."""


def read_frame(name: str) -> Frame:
    """Return the special ids of "modernbert", or of the `tokenizer.json` at a path.

    Raises: as `load`; ConfigError too where there is no mask token.
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
    return Frame(
        digest=sha256_bytes(data),
        cls_id=cls_id,
        sep_id=sep_id,
        pad_id=pad_id,
        mask_id=mask_id,
        special_ids=np.array(special, np.uint32),
        vocab_size=max(reference.get_vocab(with_added_tokens=True).values()) + 1,
    )
