"""Which tokenizers the kernel serves, and the tables it needs of them.

Enters: the bytes of a `tokenizer.json`. Leaves: whether it says exactly what ModernBERT's does,
prefix space and spelling of merges apart, and its pair table. Invariant: the kernel has
ModernBERT's added tokens built in, so anything that differs at all goes to the reference.
"""

import json
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.digest import fingerprint, sha256_bytes
from pipeline.core.errors import InternalError
from pipeline.stages.tokenizer.bpe import fill_pairs

MODERNBERT_SHA256 = "9fd55248d51d33976b324fc11592e28071da7d41e0e9401dfb7082e30574b7b1"
# Fingerprint of `_essence` of that file.
MODERNBERT_FINGERPRINT = "48cbb49d7f89f9e4efbac5ccdb0bd5f29166f83b0166807bedbb863f494fff53"


def is_modernbert(data: bytes) -> bool:
    """Tell whether a `tokenizer.json` means the same as the published ModernBERT file."""
    if sha256_bytes(data) == MODERNBERT_SHA256:
        return True
    try:
        return fingerprint(_essence(json.loads(data))) == MODERNBERT_FINGERPRINT
    except (TypeError, KeyError, AttributeError):  # Another shape, so another tokenizer.
        return False


def _essence(content: dict[str, Any]) -> dict[str, Any]:
    """Drop what does not change ids or is set by us; spell merges as `left right`."""
    merges = [m if isinstance(m, str) else " ".join(m) for m in content["model"]["merges"]]
    splitter = {k: v for k, v in content["pre_tokenizer"].items() if k != "add_prefix_space"}
    return {
        **{k: v for k, v in content.items() if k not in ("truncation", "padding")},
        "model": {**content["model"], "merges": merges},
        "pre_tokenizer": splitter,
    }


def byte_alphabet() -> list[str]:
    """Return the character by which byte-level vocabularies spell each byte.

    Source: GPT-2's encoder. Printable Latin-1 bytes are themselves, the 68 others are numbered
    from U+0100 in byte order.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(b) if b in printable else chr(0x100 + others.index(b)) for b in range(256)]


def kernel_tables(data: bytes) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
    """Return the id of each byte, int32 [256] (-1: in no UTF-8 text), and the pair table.

    Raises: InternalError if an id needs more than 16 bits or ids do not increase with rank; the
    kernel packs ids and takes them for ranks.
    """
    model = json.loads(data)["model"]
    vocab: dict[str, int] = model["vocab"]
    pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    left = np.array([vocab[a] for a, _ in pairs], np.int32)
    right = np.array([vocab[b] for _, b in pairs], np.int32)
    merged = np.array([vocab[a + b] for a, b in pairs], np.int32)
    if max(vocab.values()) >= 1 << 16 or not bool(np.all(np.diff(merged) > 0)):
        raise InternalError("vocabulary: expected ids below 65,536 that increase with merge rank")
    byte_ids = np.array([vocab.get(c, -1) for c in byte_alphabet()], np.int32)
    return byte_ids, fill_pairs(left, right, merged)
