"""The writer of dropped documents: one file of JSON lines in zstd, all of them or a fair share.

Each line has id, row, reason, text and metadata. Which documents are written depends on source,
partition and row alone, and the bytes on the documents alone, however they come in blocks.
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
from pipeline.stages.filters.verdict import Dropped

# Fast enough to hide behind the filters; texts shrink to a third of what they were.
_LEVEL: Final = 3
# More than readers let through: orjson reads 1,024 levels.
_MOST_LEVELS: Final = 2048


class DroppedWriter:
    """Writes dropped documents of one partition, until it is closed."""

    def __init__(self, path: Path, share: Fraction, source: str, partition: str) -> None:
        self._share, self._source, self._partition = share, source, partition
        self._file = path.open("wb")
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._packer = compressor.compressobj()

    def write(self, dropped: Iterable[Dropped]) -> None:
        """Write those of the share, in the order given."""
        for one in dropped:
            if self._is_among(one.document.row):
                self._file.write(self._packer.compress(_line(one)))

    def close(self) -> None:
        """Complete the file."""
        self._file.write(self._packer.flush())
        self._file.close()

    def _is_among(self, row: int) -> bool:
        """Whether a row is of the share: those of 64-bit numbers below it, exactly."""
        number = seeds.derive_key(0, "dropped", self._source, self._partition, str(row))
        return number * self._share.denominator < self._share.numerator << 64


def _line(dropped: Dropped) -> bytes:
    document = dropped.document
    record = {
        "id": document.id,
        "row": document.row,
        "reason": dropped.reason,
        "text": document.text,
        "metadata": document.metadata,
    }
    # Metadata of parquet may hold what JSON cannot: it is written as text.
    try:
        return orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # Nested deeper than orjson writes, though it reads that, or an integer of many digits.
        return _slow_line(record)


def _slow_line(record: dict[str, Any]) -> bytes:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + _MOST_LEVELS)
    try:
        return json.dumps(record, default=str, separators=(",", ":")).encode() + b"\n"
    finally:
        sys.setrecursionlimit(limit)
