"""Rows of an order that has no copy of them: its manifest and its pool -> a `RowReader`.

Row r is the sample that the permutation has at position r, under the view of the order. What tells
that a pool is another is looked at when it is opened; its bytes are compared with the ledger.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from pipeline.core.arrays import Int64Array
from pipeline.core.errors import InputError, MismatchError, OutputError
from pipeline.core.json_record import ABSENT, Absent
from pipeline.core.mirrored import total_bytes
from pipeline.core.ragged import Rows
from pipeline.core.regular_file import read_file
from pipeline.dataset.manifest import Manifest, PoolRecord
from pipeline.dataset.mds.pool import Pool
from pipeline.dataset.mds.reader import MdsRows
from pipeline.dataset.order_folder import list_local
from pipeline.dataset.paths import INDEX_NAME, ORDER, POOL_PLACE, STEPS
from pipeline.dataset.rows import check_numbers, check_range
from pipeline.order import Permutation, View, load_permutation, permutation_file, view_rows


@dataclass(frozen=True, kw_only=True)
class IndexRows:
    """The rows of a pool in order, under a view; a `RowReader`."""

    where: str
    pool: MdsRows
    """Its rows in the order of the permutation, those beyond the last step too."""
    num_rows: int
    view: View
    max_seq_len: int
    cls_id: int
    sep_id: int
    granularity: ClassVar = "sequence"
    num_wrapped: ClassVar = 0
    commit: ClassVar = None

    @property
    def dtype(self) -> str:
        return self.pool.dtype

    def file_of(self, row: int) -> str:
        return self.pool.file_of(row)

    def take(self, rows: Int64Array) -> Rows:
        """Return rows by number, rising. Raises: as `RowReader.take`."""
        check_numbers(rows, self.num_rows)
        return self._viewed(self.pool.take(rows))

    def read(self, start: int, stop: int) -> Iterator[Rows]:
        """Yield rows `start` to `stop` in blocks. Raises: as `MdsRows.read`."""
        check_range(self.where, start, stop, self.num_rows)
        yield from map(self._viewed, self.pool.read(start, stop))

    def _viewed(self, rows: Rows) -> Rows:
        return view_rows(rows, self.view, self.max_seq_len, self.cls_id, self.sep_id)


def open_index_rows(out: Path, manifest: Manifest) -> IndexRows:
    """Open the rows of an output that has none of its own.

    Raises: InputError when its pool is not where it was; MismatchError when that is another.
    """
    order, tokenizer = manifest.order, manifest.tokenizer
    return IndexRows(
        where=str(out),
        pool=replace(open_order_pool(out, manifest), order=_load_permutation(out, manifest)),
        num_rows=order.num_rows,
        view=order.view,
        max_seq_len=manifest.mixture.declaration["order"]["max_seq_len"],
        cls_id=tokenizer.cls_id,
        sep_id=tokenizer.sep_id,
    )


def open_order_pool(out: Path, manifest: Manifest) -> MdsRows:
    """Open the pool of such an output, in the order of its index. Raises: as `open_index_rows`."""
    record = manifest.order.pool
    assert not isinstance(record, Absent)
    folder, hint = _folder_of(out, record)
    try:
        rows = MdsRows.of(list_local(folder, parquet=False), {})
    except OSError as error:
        raise InputError(
            f"{folder}: got no {INDEX_NAME} ({error.strerror}), expected the pool of {out}", hint
        ) from error
    if rows.index_sha256 != record.index_sha256:
        raise MismatchError(
            f"{folder / INDEX_NAME}: sha256 is {rows.index_sha256}, expected"
            f" {record.index_sha256} as of the pool of {out}",
            hint,
        )
    _check_sizes(folder, rows.pool, record, hint)
    return rows


def _folder_of(out: Path, record: PoolRecord) -> tuple[Path, str]:
    """Return where a pool lies, and what to do if it does not."""
    if record.folder is not None:
        return out / record.folder, "build again, or get the folder again"
    place = out / POOL_PLACE
    hint = f"get the pool again; if it was moved, write into {place} where it lies now"
    try:
        # Of bytes that are no UTF-8, Python's paths have lone surrogates.
        named = read_file(place).decode(errors="surrogateescape").rstrip("\n")
    except OSError as error:
        raise InputError(
            f"{place}: cannot be read: {error.strerror}; expected the path of the pool", hint
        ) from error
    return out / named, hint


def _check_sizes(folder: Path, pool: Pool, record: PoolRecord, hint: str) -> None:
    """Compare the sizes of shards; what an index says of them need not be right."""
    try:
        total = total_bytes(folder, (shard.path for shard in pool.shards))
    except OSError as error:
        raise InputError(
            f"{error.filename}: got no shard ({error.strerror}), expected one of the pool", hint
        ) from error
    if total != record.num_bytes:
        raise MismatchError(
            f"{folder}: got shards of {total:,} bytes, expected {record.num_bytes:,}: the pool was"
            " changed after the order was made",
            hint,
        )


def _load_permutation(out: Path, manifest: Manifest) -> Permutation:
    key = manifest.order.permutation_key
    try:
        return load_permutation(key, out / ORDER)
    except OutputError as error:
        raise InputError(
            f"{out / ORDER}/{permutation_file(key)}: is missing or damaged, expected the"
            " permutation",
            "build again, or get the folder again",
        ) from error


def without_rows(manifest: Manifest) -> Manifest:
    """Return a manifest as it is whether or not rows are written, without what differs. Pure."""
    files = {
        path: file
        for path, file in manifest.files.items()
        if path == STEPS or not path.startswith(f"{ORDER}/")
    }
    return replace(manifest, order=replace(manifest.order, pool=ABSENT), files=files)


def is_other_form(one: Manifest, other: Manifest) -> bool:
    """Return whether both are of one order, of which one side alone has rows of its own. Pure."""
    forms = {isinstance(side.order.pool, Absent) for side in (one, other)}
    return len(forms) == 2 and without_rows(one) == without_rows(other)
