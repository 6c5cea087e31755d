"""The beginning of a raw MDS shard -> its header, the size of each row, and the rows that it has.

A shard starts with the number of rows, an offset for each and one more, and its configuration as
JSON; so a few kilobytes tell the sizes of all rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError
from pipeline.core.json_record import parse_json
from pipeline.core.ragged import Rows, offsets_of
from pipeline.dataset.mds import Columns, MdsShard

_OFFSETS_AT = 4
_BIN_IDS = 1000
# Full rows lie on the edge of a bin, and ids of documents of one source differ by a few bytes.
_ID_SLACK = 16
# Longest first, no row follows one of a lower bin. In file order it is 7 % of rows of documents of
# twelve full rows each, and 13 to 43 % of those of books, news and technical prose.
_FEW_RISES, _MANY_RISES = 0.01, 0.03
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True, kw_only=True)
class ShardHead:
    """What the first bytes of a shard hold."""

    config: Mapping[str, Any]
    """The header."""
    dtype: str
    """Of the ids, as they are stored."""
    row_bytes: Int64Array
    """int64 [num_rows], the size of each row of the shard."""
    ids: tuple[str, ...]
    """Of documents, of those rows that are there whole; empty ones where it has none."""
    rows: Rows
    """These rows, uint32."""
    is_first: bool
    """Whether it is the first of its folder, so that its first row begins a document."""

    @property
    def bins(self) -> Int64Array:
        """int64 [num_rows], the thousands of ids of each row of the shard, by its bytes."""
        item = np.dtype(self.dtype).itemsize
        here = self.row_bytes[: len(self.rows)] - item * self.rows.lengths()
        rest = np.median(here) if len(here) else 0
        return (((self.row_bytes - rest) / item + _ID_SLACK) // _BIN_IDS).astype(np.int64)

    @property
    def num_rises(self) -> int:
        """How many rows lie in a higher bin than the row before them."""
        return int((np.diff(self.bins) > 0).sum())

    @property
    def falls(self) -> bool | None:
        """Whether rows come longest first; None where it cannot be told, as of short rows."""
        if len(self.row_bytes) < 2 or not self.bins.any():
            return None
        share = self.num_rises / len(self.row_bytes)
        return True if share <= _FEW_RISES else False if share >= _MANY_RISES else None

    @property
    def is_whole(self) -> bool:
        return len(self.ids) == len(self.row_bytes)


def read_head(data: bytes, where: str) -> ShardHead:
    """Read the beginning of a raw shard, or all of it.

    Raises: InputError when it is none, is cut off before its rows, or holds damaged rows.
    """
    if data.startswith(_ZSTD):
        raise InputError(f"{where}: got zstd, expected a raw MDS shard", "decompress it first")
    num_rows = int.from_bytes(data[:_OFFSETS_AT], "little")
    table_end = _OFFSETS_AT * (num_rows + 2)
    if len(data) < table_end:
        raise _refused(data, where, f"a table of {num_rows:,} rows would take {table_end:,}")
    offsets = np.frombuffer(data, "<u4", num_rows + 1, _OFFSETS_AT).astype(np.int64)
    begin, end = int(offsets[0]), int(offsets[-1])
    if begin < table_end or (np.diff(offsets) <= 0).any():
        raise _refused(data, where, "the offsets of its rows do not rise")
    if len(data) < begin:
        raise _refused(data, where, f"its header would end at {begin:,}")
    if len(data) > end:
        raise _refused(data, where, f"its last row would end at {end:,}")
    try:
        config = parse_json(data[table_end:begin])
    except ValueError as error:
        raise _refused(data, where, f"its header is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise _refused(data, where, "its header is no JSON object")
    columns = Columns.of(config, f"{where}: header")
    num_here = int(np.searchsorted(offsets, len(data), side="right")) - 1
    shard = _shard_of(data, offsets[: num_here + 1], columns, where)
    lengths = shard.lengths()
    ids = np.empty(int(lengths.sum()), np.uint32)
    rows = Rows(values=ids, offsets=offsets_of(lengths))
    every = np.arange(num_here)
    shard.gather(every, lengths, ids, rows.offsets[:-1])
    return ShardHead(
        config=config,
        dtype=shard.columns.dtype,
        row_bytes=np.diff(offsets),
        ids=tuple(name.tobytes().decode() for name in shard.names(every)),
        rows=rows,
        is_first=where.endswith("shard.00000.mds"),
    )


def _shard_of(data: bytes, offsets: Int64Array, columns: Columns, where: str) -> MdsShard:
    """Return a shard of the rows that are whole alone."""
    num_rows = len(offsets) - 1
    begin = _OFFSETS_AT * (num_rows + 2)
    table = np.array([num_rows, *(offsets - offsets[0] + begin)], "<u4").tobytes()
    return MdsShard.of_bytes(table + data[offsets[0] : offsets[-1]], columns, where)


def _refused(data: bytes, where: str, why: str) -> InputError:
    return InputError(
        f"{where}: got {len(data):,} bytes that do not begin a raw MDS shard: {why}",
        "fetch it again, raw and from its beginning",
    )
