"""BLAKE3 of many short messages at once.

A library takes a message a call, half a microsecond more than its bytes take. A compiled kernel,
`blake3_kernel`, takes them all, and seconds to compile: until it is worth that, the library hashes.

Source: github.com/BLAKE3-team/BLAKE3-specs, blake3.pdf, section 2; words and flags are from there.
"""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
from blake3 import blake3

from pipeline.core.arrays import Int64Array, Uint8Array, Uint32Array
from pipeline.core.compiled import Budget
from pipeline.core.errors import InternalError
from pipeline.core.ragged import offsets_of

_DIGEST_BYTES = 32
_PAIR_WORDS = 16
_DERIVE_KEY_MATERIAL = 64
# Of rows and pairs that the library hashes first, where there is little work: 50 ms.
_LITTLE = Budget(1 << 15)

_CHECK_LENGTHS = (1, 15, 16, 255, 256, 1000, 3000)
# The digests of rows with these lengths and ids 0, 1, 2, …, by exclusive or.
_CHECK_DIGEST = "8da5564dee19a878f59c174b8a9f8a410152f157d2466292367f1e5788368d80"


def row_digests(ids: Uint32Array, offsets: Int64Array) -> Uint8Array:
    """Return the BLAKE3 digest of each row, of its length and its ids: uint8 [num_rows, 32].

    ids: uint32 [num_ids], hashed as little-endian; offsets: int64 [num_rows + 1].
    Raises: InternalError when this machine computes other digests than the frozen ones.
    """
    if not _LITTLE.covers(len(offsets) - 1):
        return _hash(ids, offsets, 1, b"", 0)
    data = np.ascontiguousarray(ids, "<u4").view(np.uint8).data
    digests = []
    for start, stop in pairwise(offsets.tolist()):
        length = (stop - start).to_bytes(4, "little")
        digests.append(blake3(length).update(data[4 * start : 4 * stop]).digest())
    return _join(digests)


def derive_pairs(pairs: Uint8Array, context: str, key: bytes) -> Uint8Array:
    """Return the BLAKE3 `derive_key` of pairs of digests: uint8 [num_pairs, 32].

    pairs: uint8 [num_pairs, 64]; key: 32 bytes, the hash of the context string.
    Raises: InternalError when this machine computes other digests than the frozen ones.
    """
    pairs = np.ascontiguousarray(pairs)
    if _LITTLE.covers(len(pairs)):
        return _join([blake3(pair.data, derive_key_context=context).digest() for pair in pairs])
    offsets = np.arange(0, len(pairs) + 1) * _PAIR_WORDS
    words = pairs.view(np.uint32).reshape(-1)
    return _hash(words, offsets, 0, key, _DERIVE_KEY_MATERIAL)


def _join(digests: list[bytes]) -> Uint8Array:
    return np.frombuffer(bytearray().join(digests), np.uint8).reshape(-1, _DIGEST_BYTES)


def _hash(
    words: Uint32Array, offsets: Int64Array, num_prefixed: int, key: bytes, mode: int
) -> Uint8Array:
    """Load the kernel, which numba comes with, and run it. Raises: as `row_digests`."""
    from pipeline.dataset.blake3_kernel import hash_words

    _check(hash_words)
    return hash_words(words, offsets, num_prefixed, key, mode)


@cache
def _check(hash_words: Callable[..., Uint8Array]) -> None:
    """Compare with a frozen digest, once in a process: covers words, lanes, levels of parents."""
    offsets = offsets_of(_CHECK_LENGTHS)
    digests = hash_words(np.arange(offsets[-1], dtype=np.uint32), offsets, 1, b"", 0)
    got = np.bitwise_xor.reduce(digests).tobytes().hex()
    if got != _CHECK_DIGEST:
        raise InternalError(
            f"blake3: got {got} for rows of known digest, expected {_CHECK_DIGEST}",
            "report this with the machine and the versions of numba and llvmlite",
        )
