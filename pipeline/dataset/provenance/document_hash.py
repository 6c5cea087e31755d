"""Hashes of document ids, by which the index of documents is sorted and divided.

FNV-1a with 64 bits, then mixed so that equal ranges of hashes hold about equally many documents
even where ids differ in their last letters alone. Of the 64 bits the upper 63 are kept: not all
that reads parquet knows integers without a sign.

Source: FNV-1a as in draft-eastlake-fnv, section 2; the mixing is the last step of the x64 form of
MurmurHash3.
"""

import numpy as np

from pipeline.core.arrays import Int64Array, Uint8Array
from pipeline.core.compiled import compiled

HASH_BITS = 63
_MASK = (1 << 64) - 1


def document_hash(document: str) -> int:
    """Return the hash of one id, 63 bits. Pure."""
    value = 0xCBF29CE484222325
    for byte in document.encode():
        value = (value ^ byte) * 0x100000001B3 & _MASK
    value = (value ^ value >> 33) * 0xFF51AFD7ED558CCD & _MASK
    value = (value ^ value >> 33) * 0xC4CEB9FE1A85EC53 & _MASK
    return (value ^ value >> 33) >> 1


@compiled
def document_hashes(data: Uint8Array, offsets: Int64Array) -> Int64Array:
    """Return the hash of each id: int64 [num_ids].

    Id i is the UTF-8 `data[offsets[i]:offsets[i + 1]]`; the offsets must lie in `data`.
    """
    hashes = np.empty(offsets.size - 1, np.int64)
    shift = np.uint64(33)
    for i in range(hashes.size):
        value = np.uint64(0xCBF29CE484222325)
        for position in range(offsets[i], offsets[i + 1]):
            value = (value ^ np.uint64(data[position])) * np.uint64(0x100000001B3)
        value = (value ^ (value >> shift)) * np.uint64(0xFF51AFD7ED558CCD)
        value = (value ^ (value >> shift)) * np.uint64(0xC4CEB9FE1A85EC53)
        hashes[i] = np.int64((value ^ (value >> shift)) >> np.uint64(1))
    return hashes
