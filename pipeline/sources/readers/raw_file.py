"""The bytes of an input file: hashed as they are stored, decompressed as they are read."""

import hashlib
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard

from pipeline.sources.partitions import InputFile
from pipeline.sources.readers.record import DamagedError
from pipeline.storage import unreadable

# 16 KiB of zstd can unpack to 160 MiB where lines repeat; a larger read gains nothing.
_READ_BYTES = 16 << 10
# The largest window that zstd can have; a frame made with `--long` needs it whole in memory.
_ZSTD_WINDOW_BYTES = 1 << 31


class RawFile:
    """An input file that is read once; then `sha256` is that of its bytes as stored."""

    def __init__(self, file: InputFile) -> None:
        self.file = file
        self.sha256 = ""

    def where(self, row: int) -> str:
        """Return what errors call the document of a row."""
        return f"{self.file.declared}: document {row + 1}"

    def unpacked(self) -> Iterator[bytes]:
        """Yield what the file holds, decompressed. Raises: DamagedError or InputError."""
        hasher = hashlib.sha256()
        try:
            yield from _unpack(self._stored(hasher), self.file.kind)
        except (EOFError, zlib.error, zstandard.ZstdError) as error:
            raise DamagedError("compressed data", error) from error
        except OSError as error:
            raise unreadable(self.file.declared, error) from error
        self.sha256 = hasher.hexdigest()

    def _stored(self, hasher: "hashlib._Hash") -> Iterator[bytes]:
        with self.file.path.open("rb", buffering=0) as raw:
            while block := raw.read(_READ_BYTES):
                hasher.update(block)
                yield block


class _Decompressor(Protocol):
    """What `zlib` and `zstandard` have in common: an object for one gzip member or zstd frame."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def _unpack(blocks: Iterator[bytes], kind: str) -> Iterator[bytes]:
    if kind.endswith(".gz"):
        return _decompress(blocks, lambda: zlib.decompressobj(wbits=16 + zlib.MAX_WBITS))
    if kind.endswith((".zst", ".zstd")):
        unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        return _decompress(blocks, unpacker.decompressobj)
    return blocks


def _decompress(
    blocks: Iterator[bytes], new_decompressor: Callable[[], _Decompressor]
) -> Iterator[bytes]:
    """Yield what all members or frames hold; they fill the file to its end, and there is one.

    Raises: EOFError when the last is truncated. The readers of both packages are laxer: that of
    zstandard takes a truncated frame for a whole one.
    """
    decompressor = new_decompressor()
    is_whole = False
    for block in blocks:
        while block:
            if is_whole:
                decompressor = new_decompressor()
            yield decompressor.decompress(block)
            is_whole = decompressor.eof
            block = decompressor.unused_data
    if not is_whole:
        raise EOFError("the file is truncated")
