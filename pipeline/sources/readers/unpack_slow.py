"""xz and bzip2 -> what they hold, in pieces: a few of their bytes may unpack to gigabytes."""

import bz2
import lzma
from collections.abc import Callable, Iterator
from typing import Final

_PIECE_BYTES = 1 << 20
# `xz -9` needs 65 MB; a file made with a larger window than this one is refused.
_XZ_MEMORY_BYTES = 1 << 30
UNPACKERS: Final[dict[str, Callable[[], "bz2.BZ2Decompressor | lzma.LZMADecompressor"]]] = {
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES),
    "bz2": bz2.BZ2Decompressor,
}
"""By the last suffix of a file."""


def unpack_slow(blocks: Iterator[bytes], suffix: str) -> Iterator[bytes]:
    """Yield what all streams hold. Raises: EOFError for one that is truncated or damaged."""
    unpacker = None
    for is_first, block in _marked(blocks):
        while block:
            if unpacker is None:
                # Zeros may follow a stream of xz, and are no part of any.
                block = block if is_first else block.lstrip(b"\0")
                if not block:
                    break
                unpacker, is_first = UNPACKERS[suffix](), False
            yield _step(unpacker, block)
            while not (unpacker.eof or unpacker.needs_input):
                yield _step(unpacker, b"")
            block = unpacker.unused_data if unpacker.eof else b""
            unpacker = None if unpacker.eof else unpacker
    if unpacker is not None:
        raise EOFError("the file is truncated")


def _marked(blocks: Iterator[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Yield whether a block is the first, and the block. Raises: EOFError if there are none."""
    is_first = True
    for block in filter(None, blocks):
        yield is_first, block
        is_first = False
    if is_first:
        raise EOFError("the file is empty")


def _step(unpacker: "bz2.BZ2Decompressor | lzma.LZMADecompressor", block: bytes) -> bytes:
    try:
        return unpacker.decompress(block, _PIECE_BYTES)
    except (OSError, ValueError, lzma.LZMAError) as error:
        raise EOFError(str(error)) from error
