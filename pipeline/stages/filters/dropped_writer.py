"""The writer of dropped documents: JSON lines in zstd, for all of them or a random share.

The choice depends on source, file name and row alone, and the bytes are independent of blocks.
"""

import json
import sys
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import orjson
import zstandard

from pipeline.core import seeds
from pipeline.core.hashed_file import HashedFile
from pipeline.stages.filters.verdict import Dropped

# Hides behind the filters in time; texts shrink to a third.
_LEVEL: Final = 3
# More than readers let through: orjson reads 1,024 levels.
_MOST_LEVELS: Final = 2048


class DroppedWriter:
    """Writes to a new file, `file`, which is complete when it is closed."""

    def __init__(self, path: Path, share: Fraction, source: str) -> None:
        self._share, self._source = share, source
        self.file = HashedFile(path)
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._packer = compressor.compressobj()

    def write(self, dropped: Iterable[Dropped], name: str, path: str | None = None) -> None:
        """Write the documents of the share in the given order, all of one file.

        name: the file's, which decides with source and row. path: the file's, where lines name it.
        """
        for one in dropped:
            document = one.document
            if self._is_in_share(name, document.row):
                record = {
                    "id": document.id,
                    **({} if path is None else {"file": path}),
                    "row": document.row,
                    "reason": one.reason,
                    "text": document.text,
                    "metadata": document.metadata,
                }
                self.file.write(self._packer.compress(_line(record)))

    def close(self) -> None:
        with self.file:
            self.file.write(self._packer.flush())

    def _is_in_share(self, name: str, row: int) -> bool:
        """Whether the 64-bit random number of a row is below the share, exactly."""
        number = seeds.derive_key(0, "dropped", self._source, name, str(row))
        return number * self._share.denominator < self._share.numerator << 64


def _line(record: dict[str, Any]) -> bytes:
    try:
        # Metadata from parquet may hold values that JSON cannot; they become strings.
        return orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Nested deeper than orjson writes, though it reads that, or half a surrogate pair.
        return _slow_line(record)


def _slow_line(record: dict[str, Any]) -> bytes:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + _MOST_LEVELS)
    try:
        return json.dumps(record, default=str, separators=(",", ":")).encode() + b"\n"
    finally:
        sys.setrecursionlimit(limit)
