"""Token ids -> text, with the tokenizer that made them; special tokens are left out.

Source: JHU-CLSP/ettin-encoder-vs-decoder,
`pretraining/data_processing/src/tokenization/decode_mds.py`.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.core.errors import DocumentError, explain_library
from pipeline.sources.readers.raw_file import SKIP_HINT

# What `clean_up_tokenization_spaces` of transformers changes in decoded text, in this order.
_CLEAN_UP: Final = (
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"),
    (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Decoding:
    """How ids become text."""

    tokenizer: Path
    """The `tokenizer.json` that made the ids."""
    cleans_up: bool
    """Whether spaces before punctuation go, as with transformers and the tokenizers of Llama 3."""


class IdDecoder:
    def __init__(self, decoding: Decoding) -> None:
        self._tokenizer, self._is_known = _load(decoding.tokenizer)
        self._cleans_up = decoding.cleans_up

    def decode(self, ids: NDArray[Any], where: str) -> str:
        """Return the text of a row of ids. Raises: DocumentError for ids of another tokenizer."""
        if ids.ndim != 1 or ids.dtype.kind not in "iu":
            got = f"an array of {' x '.join(map(str, ids.shape))} {ids.dtype}"
            raise DocumentError(f"{where}: got {got}, expected a row of ids", SKIP_HINT, "no_text")
        unknown = (ids < 0) | (ids >= len(self._is_known))
        if not unknown.any():
            unknown = ~self._is_known[ids]
        if unknown.any():
            raise DocumentError(
                f"{where}: got id {ids[unknown][0]}, expected ids of the tokenizer of from.decode",
                SKIP_HINT,
                "undecodable",
            )
        with explain_library(f"{where}: cannot be decoded by the tokenizer of from.decode"):
            text: str = self._tokenizer.decode(ids.tolist(), skip_special_tokens=True)
        if self._cleans_up:
            for before, after in _CLEAN_UP:
                text = text.replace(before, after)
        return text


@lru_cache(maxsize=1)
def _load(path: Path) -> tuple[Tokenizer, NDArray[np.bool_]]:
    """Load a tokenizer once in a process: that of Llama 3 takes about a second."""
    hint = "fix from.decode.tokenizer, or pull the file again"
    with explain_library(f"{path}: got no usable tokenizer.json", hint):
        tokenizer = Tokenizer.from_file(str(path))
    ids = list(tokenizer.get_vocab(with_added_tokens=True).values())
    is_known = np.zeros(max(ids, default=-1) + 1, np.bool_)
    is_known[ids] = True
    return tokenizer, is_known
